"""A histogram of scores with its threshold, as SVG: sharp at any size, and a few kilobytes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..render.colors import colormap, to_image
from .search import QueryResult

BINS = 64
_WIDTH, _HEIGHT, _BASE = 320, 96, 14
_FAINT = "#4b5160"


def _rgb(color: NDArray[np.uint8]) -> str:
    return "#" + bytes(color).hex()


def histogram_svg(found: QueryResult, cut: float) -> str:
    """Counts on a square-root scale, so that a small object beside a large room can be seen.

    Bars above the threshold have the colours of the heat map, the others are grey. A line marks the threshold, a small
    triangle the automatic one.
    """
    values = found.scores[found.scores.isfinite() & (found.scores != 0)].clamp(found.low, found.high)
    counts = torch.histc(values, BINS, found.low, found.high).sqrt()
    heights = (counts / counts.max().clamp_min(1) * (_HEIGHT - _BASE - 8)).tolist()
    centers = (torch.arange(BINS) + 0.5) / BINS
    colors = to_image(colormap(centers))
    step = _WIDTH / BINS
    level = (cut - found.low) / (found.high - found.low)
    bars = "".join(
        f'<rect x="{i * step + 0.4:.1f}" y="{_HEIGHT - _BASE - max(h, 0.8):.1f}" width="{step - 0.8:.1f}" '
        f'height="{max(h, 0.8):.1f}" fill="{_rgb(colors[i]) if c > level else _FAINT}"/>'
        for i, (h, c) in enumerate(zip(heights, centers.tolist(), strict=True))
        if h > 0
    )
    ticks = "".join(
        f'<text x="{_WIDTH * i / 4:.0f}" y="{_HEIGHT - 2}" text-anchor="{anchor}">'
        f"{found.low + (found.high - found.low) * i / 4:.2f}</text>"
        for i, anchor in enumerate(("start", "middle", "middle", "middle", "end"))
    )
    x, auto = (min(max(_WIDTH * (v - found.low) / (found.high - found.low), 1), _WIDTH - 1) for v in (cut, found.cut))
    bottom = _HEIGHT - _BASE
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" style="width:100%;display:block;font-size:9px" fill="#a1a7b3">{bars}'
        f'<line x1="0" y1="{bottom + 0.5}" x2="{_WIDTH}" y2="{bottom + 0.5}" stroke="#ffffff22"/>'
        f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{bottom}" stroke="#fff" stroke-width="1.5"/>'
        f'<path d="M{auto:.1f} 7l-4-7h8z" fill="#fff"/>{ticks}</svg>'
    )
