"""One painter per layer: a function from a `PaintRequest` to a `LayerImage`.

base.py       the request, and splatting shared by all painters
splats.py     RGB, Depth, Alpha, Features
gaussians.py  Centres, Scales, Opacity
scores.py     Heat, Labels, Classes
points.py     Points, Masked
camera.py     layers of a dataset camera: Target, Target depth, RGB error, Depth error, Teacher, Cosine
"""

from __future__ import annotations

from ...scenes.source import SceneState
from ..catalog import INFO, Layer
from ..options import LayerImage
from .base import Painter, PaintRequest, blank
from .camera import (
    paint_cosine,
    paint_depth_error,
    paint_rgb_error,
    paint_target,
    paint_target_depth,
    paint_teacher,
)
from .gaussians import paint_centres, paint_opacity, paint_scales
from .points import paint_masked, paint_points
from .scores import paint_classes, paint_heat
from .splats import paint_alpha, paint_depth, paint_features, paint_rgb

PAINTERS: dict[Layer, Painter] = {
    "RGB": paint_rgb,
    "Depth": paint_depth,
    "Alpha": paint_alpha,
    "Features": paint_features,
    "Teacher": paint_teacher,
    "Heat": paint_heat,
    "Points": paint_points,
    "Masked": paint_masked,
    "Labels": paint_classes,
    "Classes": paint_classes,
    "Centres": paint_centres,
    "Scales": paint_scales,
    "Opacity": paint_opacity,
    "Target": paint_target,
    "Target depth": paint_target_depth,
    "RGB error": paint_rgb_error,
    "Depth error": paint_depth_error,
    "Cosine": paint_cosine,
}
"""Painter of each layer except the sheet "Views"."""


def paint(request: PaintRequest) -> LayerImage:
    """Draw the requested layer, or an empty picture while the scene lacks the data for it."""
    if not _can_paint(request.layer, request.state, request.options.frame):
        return LayerImage(blank(request.cameras), note="nothing to render yet")
    return PAINTERS[request.layer](request)


def _can_paint(layer: Layer, state: SceneState | None, frame: int) -> bool:
    if state is None:
        return False
    kind = INFO[layer].kind
    if kind == "camera":
        return state.frames is not None and frame < len(state.frames)
    return kind == "cloud" or state.gaussians is not None


__all__ = ["PAINTERS", "PaintRequest", "Painter", "paint"]
