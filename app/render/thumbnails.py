"""Thumbnails of scenes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.data.scene import PointScene, PosedFrames
from ..scenes.geometry import Up, centers_in_world, subset, z_up_to
from ..scenes.source import SceneSource, SceneState
from .colors import BACKGROUND, Image, to_image
from .contact_sheet import THUMBNAIL

# --- small pictures ------------------------------------------------------------------------------------------------


_BACKGROUND = tuple(round(255 * c) for c in BACKGROUND)


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
        return np.full((height, width, 3), _BACKGROUND, np.uint8)
    return top_view(points.coord, points.color, up)


def top_view(coord: NDArray[np.floating], color: NDArray[np.uint8], up: Up = "+z") -> Image:
    """Points [N, 3] seen from above, without the topmost fifth (a ceiling would hide the rest)."""
    width, height = THUMBNAIL
    image = np.full((height, width, 3), _BACKGROUND, np.uint8)
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
