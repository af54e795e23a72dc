"""Bars and curves for reports, drawn with Pillow: white paper, thin axes, error bars, a legend.

Pillow's built-in font has no Greek, dashes or arrows: words here are plain ASCII.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

COLORS = ("#3b6fb6", "#e07b39", "#3a9a6e", "#a0559a", "#b8a02e", "#7a7f87", "#c84d4d", "#4fb0c6", "#7d5a3c")
INK, FAINT, GRID = "#22252b", "#6d727c", "#e4e6ea"
SCALE = 2
"""Drawn larger and made smaller: smooth lines."""


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its height, and half the height of its error bar (0 or NaN: none), for each series; None
    leaves a place empty."""

    label: str
    values: tuple[float | None, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """A line through (x, y, error), NaN and 0 draw no error bar, in one of `COLORS`: the same thing has the same
    colour in every picture."""

    label: str
    points: tuple[tuple[float, float, float], ...]
    color: int = 0


def bars(
    items: Sequence[Bar], series: Sequence[str], title: str, unit: str, note: str = "", width: int = 1100
) -> Image.Image:
    """Horizontal bars, one group per item, and the value at each bar's end; ``note`` stands below."""
    thick, gap, top, left, right = 15, 12, 64, 360, 90
    group = thick * len(series) + gap
    height = top + group * len(items) + 40
    paper = _Paper(width, height, title)
    most = 100.0 if unit.startswith("%") else math.inf  # an error bar does not make more than all
    pairs = [(v, e) for bar in items for v, e in zip(bar.values, bar.errors, strict=True) if v is not None]
    ends = [min(v + _finite(e), most) for v, e in pairs]
    ticks = nice_ticks(0.0, max(ends, default=1.0))
    room = width - left - right

    def x(value: float) -> float:
        return left + room * value / ticks[-1]

    for tick in ticks:
        paper.line((x(tick), top - 6, x(tick), height - 34), GRID)
        paper.text((x(tick), height - 30), f"{tick:g}", FAINT, "ma")
    paper.text((left + room + 12, height - 30), unit, FAINT, "la")
    paper.text((16, height - 30), note, FAINT, "la", 12)
    for k, bar in enumerate(items):
        y = top + k * group
        paper.text((left - 10, y + thick * len(series) / 2), bar.label, INK, "rm")
        for s, (value, error) in enumerate(zip(bar.values, bar.errors, strict=True)):
            if value is None:
                continue
            low = y + s * thick
            paper.box((left, low, x(value), low + thick - 2), COLORS[s])
            end, middle = x(value), low + thick / 2 - 1
            if _finite(error):
                end = x(min(value + error, most))
                paper.line((x(max(0.0, value - error)), middle, end, middle), INK)
                for at in (x(max(0.0, value - error)), end):
                    paper.line((at, middle - 3, at, middle + 3), INK)
            paper.text((end + 5, middle), f"{value:.1f}", FAINT, "lm", 12)
    paper.legend(series, left, 38, range(len(series)))
    return paper.done()


def curves(
    lines: Sequence[Curve],
    title: str,
    across: str,
    up: str,
    even: bool = False,
    note: str = "",
    width: int = 1000,
    height: int = 520,
) -> Image.Image:
    """Lines with markers and error bars.

    Args:
        across, up: what the axes are.
        even: distances along x say nothing: the values that occur stand side by side.
    """
    left, right, top, bottom = 64, 30, 66 + 22 * math.ceil(max(1, len(lines)) / 2), 54
    paper = _Paper(width, height + top, title)
    base = height + top - bottom
    xs = sorted({x for line in lines for x, _, _ in line.points}) or [0.0, 1.0]
    ys = [y + sign * _finite(e) for line in lines for _, y, e in line.points for sign in (-1, 1)] or [0.0, 1.0]
    ticks = nice_ticks(min(0.0, *ys), max(ys))
    places = {x: i + 0.5 for i, x in enumerate(xs)} if even else {x: x for x in xs}
    low, high = (0.0, float(len(xs))) if even else (xs[0], max(xs[-1], xs[0] + 1e-9))

    def at(x: float, y: float) -> tuple[float, float]:
        across_ = left + (width - left - right) * (places.get(x, x) - low) / (high - low)
        return across_, base - (base - top) * (y - ticks[0]) / (ticks[-1] - ticks[0])

    for tick in ticks:
        y = at(xs[0], tick)[1]
        paper.line((left, y, width - right, y), GRID)
        paper.text((left - 8, y), f"{tick:g}", FAINT, "rm")
    for tick in xs if even else nice_ticks(xs[0], xs[-1]):
        if even or xs[0] <= tick <= xs[-1]:
            paper.text((at(tick, 0)[0], base + 8), f"{tick:g}", FAINT, "ma")
    paper.text((width - right, base + 28), across, FAINT, "ra")
    paper.text((16, top - 18), up, FAINT, "lm")
    paper.text((16, base + 28), note, FAINT, "la", 12)
    for line in lines:
        color = COLORS[line.color % len(COLORS)]
        spots = [at(x, y) for x, y, _ in line.points]
        for a, b in pairwise(spots):
            paper.line((*a, *b), color, 2)
        for (x, y, error), (px, py) in zip(line.points, spots, strict=True):
            if _finite(error):
                paper.line((px, at(x, y - error)[1], px, at(x, y + error)[1]), color)
            paper.box((px - 3, py - 3, px + 3, py + 3), color)
    for k in range(0, len(lines), 2):
        pair = lines[k : k + 2]
        paper.legend([line.label for line in pair], left, 38 + 11 * k, [line.color for line in pair], 440)
    return paper.done()


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers, evenly spaced, from at most ``low`` to at least ``high``."""
    span = max(high - low, 1e-9)
    raw = span / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


class _Paper:
    """A white picture in units of its final pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size = (width, height)
        self._image = Image.new("RGB", (width * SCALE, height * SCALE), "white")
        self._draw = ImageDraw.Draw(self._image)
        self.text((16, 12), title, INK, "la", 17)

    def line(self, box: tuple[float, float, float, float], color: str, width: float = 1) -> None:
        self._draw.line([v * SCALE for v in box], fill=color, width=round(width * SCALE))

    def box(self, box: tuple[float, float, float, float], color: str) -> None:
        self._draw.rectangle([v * SCALE for v in box], fill=color)

    def text(self, at: tuple[float, float], words: str, color: str, anchor: str, size: int = 13) -> None:
        font = ImageFont.load_default(size * SCALE)
        self._draw.text((at[0] * SCALE, at[1] * SCALE), words, fill=color, font=font, anchor=anchor)

    def legend(self, words: Sequence[str], left: float, top: float, colors: Sequence[int], column: int = 170) -> None:
        for k, (word, color) in enumerate(zip(words, colors, strict=True)):
            x = left + column * k
            self.box((x, top + 3, x + 12, top + 13), COLORS[color % len(COLORS)])
            self.text((x + 18, top + 8), word, INK, "lm")

    def done(self) -> Image.Image:
        return self._image.resize(self._size, Image.Resampling.LANCZOS)


def _finite(error: float) -> float:
    return error if math.isfinite(error) else 0.0
