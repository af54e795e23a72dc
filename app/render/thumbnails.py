"""Thumbnails of scenes."""

from __future__ import annotations

import math

import numpy as np

from ...core.data.scene import PointScene, PosedFrames
from ..scenes.geometry import UP, Up, centers_in_world, subset
from ..scenes.house import house_of, overview
from ..scenes.source import SceneSource, SceneState
from .colors import BACKGROUND, Image, to_image
from .contact_sheet import THUMBNAIL

# --- small pictures ------------------------------------------------------------------------------------------------


_BACKGROUND = tuple(round(255 * c) for c in BACKGROUND)


def thumbnail(points: PointScene | None, frames: PosedFrames | None, up: Up = "+z") -> Image:
    """A small picture of a scene: its middle frame, else its points."""
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
    return oblique_view(SceneState(points.name, points=points), up)


def oblique_view(state: SceneState, up: Up = "+z") -> Image:
    """The points of a scene, or else the centres of its Gaussians, as the viewer opens it: obliquely from above,
    without what hides the inside of a room."""
    width, height = THUMBNAIL
    image = np.full((height, width, 3), _BACKGROUND, np.uint8)
    if state.points is not None:
        coord, color = state.points.coord, state.points.color
    elif state.gaussians is not None:
        coord, color = centers_in_world(state), to_image(state.gaussians.colors)
    else:
        return image
    pick = subset(len(coord), 60_000)
    coord, color = coord[pick], color[pick]
    eye, target, fov = overview(state, up, width / height)
    house = house_of(state, up)
    if house is not None:
        shown = ~house.hidden(eye)[house.parts(coord)]
        coord, color = coord[shown], color[shown]
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, UP[up])
    right /= np.linalg.norm(right)
    x, y, z = ((coord - eye) @ axis for axis in (right, np.cross(forward, right), forward))
    focal = 0.5 * height / math.tan(0.5 * fov)
    order = np.argsort(-z)  # near points last: they stay
    u, v, z = x[order], y[order], z[order]
    u, v = (np.floor(focal * a / np.maximum(z, 1e-6) + 0.5 * b).astype(int) for a, b in ((u, width), (v, height)))
    for du, dv in ((0, 0), (1, 0), (0, 1), (1, 1)):
        inside = (u + du >= 0) & (u + du < width) & (v + dv >= 0) & (v + dv < height) & (z > 0)
        image[(v + dv)[inside], (u + du)[inside]] = color[order][inside]
    return image


def picture_of(state: SceneState, up: Up) -> Image:
    """The small picture of a scene that is loaded."""
    return oblique_view(state, up)


def preview(source: SceneSource, index: int) -> Image | None:
    """The small picture of a scene that is not loaded; None where that would be slow (see ``source.preview``)."""
    look = getattr(source, "preview", None)
    found = None if look is None else look(index)
    return None if found is None else thumbnail(*found)
