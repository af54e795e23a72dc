"""Thumbnails of scenes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil

from ...core.data.scene import PointScene, PosedFrames
from ..scenes.geometry import Up, centers_in_world, subset, z_up_to
from ..scenes.source import SceneSource, SceneState
from .draw import caption
from .layers import BACKGROUND, Image, to_image

THUMBNAIL = (192, 120)
"""Width and height of a scene's small picture, pixels."""

_BACK, _CELL, _FRAME = tuple(round(255 * c) for c in BACKGROUND), (34, 36, 42), (64, 132, 246)


# --- small pictures ------------------------------------------------------------------------------------------------


def thumbnail(points: PointScene | None, frames: PosedFrames | None, up: Up = "+z") -> Image:
    """A small picture of a scene: its first frame, else its points from above."""
    width, height = THUMBNAIL
    if frames is not None and len(frames):
        full = frames.cameras
        scale = max(width / full.width, height / full.height)
        size = (max(width, round(full.width * scale)), max(height, round(full.height * scale)))
        color = (frames.read(len(frames) // 2, *size).color * 255 + 0.5).astype(np.uint8)
        top, left = (size[1] - height) // 2, (size[0] - width) // 2
        return np.ascontiguousarray(color[top : top + height, left : left + width])
    if points is None:
        return np.full((height, width, 3), _BACK, np.uint8)
    return top_view(points.coord, points.color, up)


def top_view(coord: NDArray[np.floating], color: NDArray[np.uint8], up: Up = "+z") -> Image:
    """Points [N, 3] seen from above, without the topmost fifth (a ceiling would hide the rest)."""
    width, height = THUMBNAIL
    image = np.full((height, width, 3), _BACK, np.uint8)
    pick = subset(len(coord), 60_000)
    turn = np.stack([z_up_to(axis, up) for axis in np.eye(3)])  # rows: the world's axes as seen with z up
    local, color = coord[pick] @ turn.T, color[pick]
    low, high = np.percentile(local, [1, 99], axis=0)
    keep = (local[:, 2] < low[2] + 0.8 * (high[2] - low[2])) | (high[2] - low[2] < 1e-6)
    local, color = local[keep], color[keep]
    pixel = min((width - 8) / max(high[0] - low[0], 1e-6), (height - 8) / max(high[1] - low[1], 1e-6))
    u = np.round((local[:, 0] - (low + high)[0] / 2) * pixel + width / 2).astype(int)
    v = np.round(height / 2 - (local[:, 1] - (low + high)[1] / 2) * pixel).astype(int)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    order = np.argsort(local[inside, 2])  # higher points last: they stay
    image[v[inside][order], u[inside][order]] = color[inside][order]
    return image


def picture_of(state: SceneState, up: Up) -> Image:
    """The small picture of a scene that is loaded."""
    if state.points is None and not state.frames and state.gaussians is not None:
        return top_view(centers_in_world(state), to_image(state.gaussians.colors), up)
    return thumbnail(state.points, state.frames, up)


def preview(source: SceneSource, index: int) -> Image | None:
    """The small picture of a scene that is not loaded; None where that would be slow (see ``source.preview``)."""
    look = getattr(source, "preview", None)
    found = None if look is None else look(index)
    return None if found is None else thumbnail(*found)


def contact_sheet(cells: list[tuple[str, Image | None, bool]]) -> Image:
    """Small pictures in two columns.

    Args:
        cells: (words, picture or None, whether it is framed) each.
    """
    width, height = THUMBNAIL
    rows, gap = -(-len(cells) // 2), 4
    canvas = Pil.new("RGB", (2 * (width + gap) + gap, rows * (height + gap) + gap), _BACK)
    for i, (words, image, framed) in enumerate(cells):
        x, y = gap + (i % 2) * (width + gap), gap + (i // 2) * (height + gap)
        if framed:
            canvas.paste(_FRAME, (x - gap, y - gap, x + width + gap, y + height + gap))
        cell = np.full((height, width, 3), _CELL, np.uint8) if image is None else image
        canvas.paste(Pil.fromarray(caption(cell, words)), (x, y))
    return np.asarray(canvas)
