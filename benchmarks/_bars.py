"""Bar charts for reports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..app.inspector.layers import Image as Picture

_BACK, _INK, _FAINT, _LINE = (20, 21, 26), (232, 234, 240), (150, 155, 168), (52, 55, 64)
_BARS = ((92, 104, 128), (96, 143, 196), (93, 173, 160), (214, 168, 92), (226, 121, 96), (170, 130, 200))


def bars(
    title: str,
    groups: Sequence[str],
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    spread: Sequence[Sequence[float]] | None = None,
    marks: Sequence[float | None] = (),
    width: int = 1400,
) -> Picture:
    """Groups of bars from 0 to 100 %.

    Args:
        groups: G things that are measured. names: B things that are compared, one colour each.
        values: [B][G] shares in [0, 1]. spread: as many half lengths of error bars.
        marks: a line across each group, what was asked for.
    """
    text = max(12, width // 70)
    font, small = ImageFont.load_default(text), ImageFont.load_default(round(0.85 * text))
    left, top, plot = 4 * text, 3 * text, 20 * text
    height = top + plot + 3 * text + round(1.6 * text) * len(names) + text
    canvas = Image.new("RGB", (width, height), _BACK)
    draw = ImageDraw.Draw(canvas)
    draw.text((left, text), title, font=font, fill=_INK)

    def y(share: float) -> float:
        return top + plot * (1 - min(max(share, 0.0), 1.0))

    for tick in range(0, 101, 20):
        draw.line((left, y(tick / 100), width - text, y(tick / 100)), fill=_LINE)
        draw.text((left - text // 2, y(tick / 100)), f"{tick} %", font=small, fill=_FAINT, anchor="rm")
    pitch = (width - left - text) / len(groups)
    bar = 0.8 * pitch / len(names)
    for g, group in enumerate(groups):
        x0 = left + g * pitch + 0.1 * pitch
        draw.text((x0 + 0.4 * pitch, top + plot + text), group, font=small, fill=_INK, anchor="mm")
        for b in range(len(names)):
            value, x = values[b][g], x0 + b * bar
            draw.rectangle((x + 1, y(value), x + bar - 2, y(0)), fill=_BARS[b % len(_BARS)])
            if spread is not None and spread[b][g] > 0:
                low, high, middle = y(value - spread[b][g]), y(value + spread[b][g]), x + bar / 2
                draw.line((middle, low, middle, high), fill=_INK, width=2)
            draw.text((x + bar / 2, y(value) - 3), f"{100 * value:.0f}", font=small, fill=_INK, anchor="mb")
        if g < len(marks) and (mark := marks[g]) is not None:
            draw.line((x0, y(mark), x0 + 0.8 * pitch, y(mark)), fill=(240, 240, 160), width=2)
    for b, name in enumerate(names):
        line = top + plot + 2.4 * text + b * 1.6 * text
        draw.rectangle((left, line, left + text, line + text), fill=_BARS[b % len(_BARS)])
        draw.text((left + 1.6 * text, line + text / 2), name, font=small, fill=_INK, anchor="lm")
    return np.asarray(canvas)
