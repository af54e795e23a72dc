"""Classes tab: accuracy of the linear probe per class, and a legend that hides and recolours classes."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import viser

from ...render.catalog import Layer
from ...render.classes import ClassStyle, ClassTable, Rgb, class_table
from ...render.colors import to_image
from ...scenes.source import SceneState
from ..context import PanelContext
from .base import Panel, register
from .controls import Link, assign, unmark

_ROWS = 40
"""Largest number of classes in the legend, the most frequent ones."""

_LAYERS: tuple[Layer, ...] = ("Classes", "Labels", "RGB")
"""Layers that the tab offers, where the scene has them."""

_NOTHING = (
    '<div style="padding:.6em .9em;opacity:.75;font-size:.9em">This scene has neither labels nor predictions of '
    "a linear probe. Pre-training on labelled scenes trains a probe automatically.</div>"
)


@register("probe", tab="Classes")
class ProbePanel(Panel):
    """Rebuilds the legend's widgets when the set of classes changes, not when numbers do."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._state: SceneState | None = None
        self._table: ClassTable | None = None
        self._ticks: dict[str, Link] = {}
        self._swatches: dict[str, Link] = {}
        gui, guard = context.gui, context.guarded
        self._text = gui.add_html("")
        self._layer = gui.add_button_group("Layer", _LAYERS, visible=False)
        self._layer.on_click(guard(lambda _: context.model.choose_layer(unmark(self._layer.value))))
        self._legend = gui.add_folder("Hide and show classes", expand_by_default=False, visible=False)
        with self._legend:
            self._all = gui.add_button_group("Show", ("All", "None", "Invert"))
            self._all.on_click(guard(lambda _: self._choose(self._all.value)))
        self._recolor = gui.add_folder("Colours of classes", expand_by_default=False, visible=False)
        with self._recolor:
            original = gui.add_button("Original colours", icon=viser.Icon.REFRESH, color="gray", order=1e9)
            original.on_click(guard(lambda _: self._restyle(lambda style: replace(style, colors=()))))
        self._write()

    # --- display ----------------------------------------------------------------------------------------------

    def pulse(self) -> None:
        """Ask for a new table when another state is shown."""
        state = self.context.state()
        if state is not None and state is not self._state:
            self._state = state
            self.context.ask("classes", lambda: self._measure(state), "background")

    def _measure(self, state: SceneState) -> None:
        """Compute the table of classes. Render thread."""
        self._table = class_table(state, tuple(self.context.source.class_names))
        self._write()

    def _write(self) -> None:
        with self.context.lock:  # a choice and a measurement may both want to write
            table, style = self._table, self.context.view.style
            present = () if table is None else tuple(sorted(table.names[i] for i in table.present()[:_ROWS]))
            colors = {} if table is None else dict(zip(table.names, _palette(table, style), strict=True))
            assign(self._text, "content", _NOTHING if table is None else _as_html(table, list(colors.values()), style))
            for part in (self._legend, self._recolor):
                assign(part, "visible", bool(present))
            layers = self.context.renderer.layers(self.context.view.scene)
            options = tuple(layer for layer in _LAYERS if layer in layers)
            if options and tuple(self._layer.options) != options:
                self._layer.options = options
            assign(self._layer, "visible", bool(present) and len(options) > 1)
            if present and present != tuple(self._ticks):
                self._rebuild({name: colors[name] for name in present})
            for name, tick in self._ticks.items():
                tick.show(name not in style.hidden)
                if name in colors:
                    self._swatches[name].show(colors[name])

    def _rebuild(self, colors: dict[str, Rgb]) -> None:
        for link in (*self._ticks.values(), *self._swatches.values()):
            link.handle.remove()
        self._ticks, self._swatches = {}, {}
        context = self.context
        gui, hidden = context.gui, context.view.style.hidden
        for name, color in colors.items():
            with self._legend:
                tick = gui.add_checkbox(name, name not in hidden)
            self._ticks[name] = Link(tick, context, partial(self._toggle, name))
            with self._recolor:
                swatch = gui.add_rgb(name, color)
            self._swatches[name] = Link(swatch, context, partial(self._paint, name))

    # --- user actions -----------------------------------------------------------------------------------------

    def _restyle(self, change: Callable[[ClassStyle], ClassStyle], drag: str = "") -> None:
        with self.context.lock:
            before = self.context.view.style
            self.context.model.history.record(drag or "classes", lambda: self._set_style(before), bool(drag))
            self._set_style(change(before))

    def _set_style(self, style: ClassStyle) -> None:
        with self.context.lock:
            self.context.change(style=style)
            self._write()

    def _toggle(self, name: str, shown: bool) -> None:
        self._restyle(lambda style: replace(style, hidden=style.hidden - {name} if shown else style.hidden | {name}))

    def _choose(self, which: str) -> None:
        def restyled(style: ClassStyle) -> ClassStyle:
            present = frozenset(self._ticks)
            hidden = {"All": style.hidden - present, "None": style.hidden | present, "Invert": style.hidden ^ present}
            return replace(style, hidden=hidden[which])

        self._restyle(restyled)

    def _paint(self, name: str, color: Rgb) -> None:
        self._restyle(lambda style: style.recoloured(name, color), f"colour {name}")


def _palette(table: ClassTable, style: ClassStyle) -> list[Rgb]:
    return [tuple(int(v) for v in color) for color in to_image(style.palette(table.names))]  # type: ignore[misc]


def _as_html(table: ClassTable, colors: list[Rgb], style: ClassStyle) -> str:
    """A heading and one row per class: colour, name, share of the points, IoU as a number and a bar."""
    counts = table.labelled if table.labelled is not None else table.predicted
    assert counts is not None
    total, scores = max(1, int(counts.sum())), table.scores
    what = "labels" if table.labelled is not None else "predictions of the probe"
    head = f"<b>This scene</b>: {what}"
    if scores is not None:
        head = (
            f"<b>Probe against labels</b>, this scene: mIoU <b>{100 * scores.miou_present:.1f} %</b>, "
            f"accuracy <b>{100 * scores.allacc:.1f} %</b>"
        )
    rows = []
    for i in table.present()[:_ROWS]:
        faint = ";opacity:.4" if table.names[i] in style.hidden else ""
        iou = ""
        if scores is not None:
            value = 100 * float(scores.iou[i])
            iou = (
                f'<td style="text-align:right;padding-left:.8em">{value:.0f}</td>'
                '<td style="width:30%;padding-left:.5em"><div style="height:.5em;border-radius:.25em;'
                'background:rgba(128,128,128,.25)">'
                f'<div style="width:{value:.1f}%;height:100%;border-radius:.25em;background:rgb{colors[i]}"></div>'
                "</div></td>"
            )
        rows.append(
            f'<tr style="line-height:1.5{faint}"><td style="width:1.2em"><i style="display:inline-block;width:.8em;'
            f'height:.8em;border-radius:.2em;background:rgb{colors[i]}"></i></td><td>{html.escape(table.names[i])}</td>'
            f'<td style="text-align:right">{100 * counts[i] / total:.1f}</td>{iou}</tr>'
        )
    iou_head = "" if scores is None else '<td style="text-align:right">IoU %</td><td></td>'
    return (
        f'<div style="padding:.5em .9em;font-size:.85em;font-variant-numeric:tabular-nums">{head}'
        '<table style="width:100%;border-collapse:collapse;margin-top:.4em"><tr style="opacity:.6;font-size:.85em">'
        f'<td></td><td>class</td><td style="text-align:right">points %</td>{iou_head}</tr>{"".join(rows)}</table></div>'
    )
