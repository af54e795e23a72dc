"""Curves panel: losses and metrics over the training steps."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import viser
from numpy.typing import NDArray
from viser import uplot

from ..context import PanelContext
from .base import Panel, register

_EVERY = 2.0
"""Seconds between updates."""
_POINTS = 300
"""Largest number of points per curve."""
_INKS = ("#7dd3fc", "#fca5a5", "#86efac", "#fcd34d", "#c4b5fd", "#fdba74")


@dataclass(frozen=True)
class Chart:
    """A chart of one or more curves.

    Attributes:
        title: with the unit.
        series: metric name → legend.
        scale: factor on the values.
        log: use a logarithmic axis; values that are not positive are left out.
    """

    title: str
    series: dict[str, str]
    scale: float = 1.0
    log: bool = False


_LOSSES = {
    "loss/total": "total",
    "loss/rgb": "RGB",
    "loss/depth": "depth",
    "loss/feature": "feature",
    "loss/points": "points",
    "loss/contrast": "contrast",
}

GROUPS = {
    "Training": (
        Chart("Losses (unweighted, except the total)", _LOSSES, log=True),
        Chart("PSNR of training views (dB)", {"train/psnr": "train"}),
        Chart("Learning rate (10⁻⁴)", {"lr": "lr"}, 1e4),
        Chart("Gradient norm", {"grad_norm": "before clipping"}, log=True),
    ),
    "Held-out views": (
        Chart("PSNR (dB)", {"eval/psnr": "render", "eval/psnr_gain": "gain over mean colour"}),
        Chart("Depth error (%, median)", {"eval/depth_error": "depth"}, 100.0),
        Chart("Cosine to the teacher", {"eval/teacher_cosine": "cosine"}),
    ),
    "Features": (
        Chart("Linear probe, held out (%)", {"probe/miou": "mIoU", "probe/acc": "accuracy"}, 100.0),
        Chart("Linear probe, loss", {"probe/loss": "cross-entropy"}),
        Chart("Effective rank", {"eval/effective_rank": "rank"}),
        Chart("Spread", {"eval/feature_spread": "spread"}),
    ),
    "Machine": (
        Chart("Speed (steps per second)", {"its_per_s": "it/s"}),
        Chart("Memory (GB)", {"memory_gb": "peak"}),
        Chart("Skipped steps (loss or gradient not finite)", {"nan_steps": "steps"}),
        Chart("Gaussians per scene", {"gaussians": "Gaussians"}),
    ),
}
"""Folder → its charts, in the order of the page."""


@register("curves", tab="Run", order=2)
class CurvesPanel(Panel):
    """Charts appear as soon as their metrics do."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        shared = context.shared
        self._available = shared.feed is not None or shared.metrics is not None
        gui = context.gui
        self._empty = gui.add_markdown(
            "*No curves yet: they appear after the first step.*"
            if shared.feed is not None
            else "*This run has no curves.*",
            visible=self._available,
        )
        self._folders = {
            group: gui.add_folder(group, expand_by_default=group != "Machine", visible=False) for group in GROUPS
        }
        self._charts: dict[str, tuple[tuple[str, ...], viser.GuiUplotHandle]] = {}
        self._updated = 0.0
        self._seen: list[int] = []

    def pulse(self) -> None:
        if not self._available or time.monotonic() - self._updated < _EVERY:
            return
        self._updated = time.monotonic()
        series = self.context.shared.series()
        steps = [curve[-1][0] for curve in series.values() if curve]
        if steps == self._seen:
            return
        self._seen = steps
        for group, charts in GROUPS.items():
            for position, chart in enumerate(charts):
                names = tuple(n for n in chart.series if len(series.get(n, ())) >= 2)
                if names:
                    data = aligned([series[n] for n in names], chart.scale)
                    self._draw(group, position, chart, names, positive(data) if chart.log else data)

    def _draw(
        self, group: str, position: int, chart: Chart, names: tuple[str, ...], data: tuple[NDArray[np.float64], ...]
    ) -> None:
        key = f"{group}/{chart.title}"
        chart_names, handle = self._charts.get(key, ((), None))
        if handle is not None and chart_names == names:
            handle.data = data
            return
        if handle is not None:
            handle.remove()
        self._empty.visible = False
        self._folders[group].visible = True
        with self._folders[group]:
            handle = self.context.gui.add_uplot(
                data,
                series=(
                    uplot.Series(label="step"),
                    *(
                        uplot.Series(label=chart.series[n], stroke=_INKS[i % len(_INKS)], width=1.5, spanGaps=True)
                        for i, n in enumerate(names)
                    ),
                ),
                title=chart.title,
                scales={
                    "x": uplot.Scale(time=False, auto=True),
                    "y": uplot.Scale(auto=True, distr=3 if chart.log else 1),
                },
                axes=(_axis(), _axis()),
                legend=uplot.Legend(show=len(names) > 1),
                aspect=2.1,
                padding=(10, 14, 0, 0),  # space for the topmost and the rightmost number
                order=float(position),
            )
        self._charts[key] = (names, handle)


def _axis() -> uplot.Axis:
    return uplot.Axis(
        stroke="#a1a7b3",
        grid=uplot.Axis_Grid(stroke="#ffffff14", width=1),
        ticks=uplot.Axis_Ticks(stroke="#ffffff22", width=1),
        size=44,
    )


def aligned(curves: list[list[tuple[int, float]]], scale: float = 1.0) -> tuple[NDArray[np.float64], ...]:
    """Curves [(step, value), …] on the steps of the longest, at most `_POINTS`: steps, then values of each curve
    (NaN where a curve has none). Long curves are averaged in equal bins, so that no peak is invented or moved."""
    steps = np.array(sorted({s for c in curves for s, _ in c}), np.float64)
    table = np.full((len(curves), len(steps)), np.nan)
    for row, curve in zip(table, curves, strict=True):
        where = np.searchsorted(steps, [s for s, _ in curve])
        row[where] = [v * scale for _, v in curve]
    if len(steps) > _POINTS:
        edges = np.linspace(0, len(steps), _POINTS + 1).astype(int)[:-1]
        finite = np.isfinite(table)
        counts = np.add.reduceat(finite, edges, axis=1)
        sums = np.add.reduceat(np.where(finite, table, 0.0), edges, axis=1)
        table = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        steps = steps[np.append(edges[1:], len(steps)) - 1]
    return (steps, *table)


def positive(data: tuple[NDArray[np.float64], ...]) -> tuple[NDArray[np.float64], ...]:
    """Steps and curves of `aligned` for a logarithmic axis: values of 0 and below become gaps."""
    return (data[0], *(np.where(curve > 0, curve, np.nan) for curve in data[1:]))
