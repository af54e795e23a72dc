"""Painters of what the Gaussians render: colour, depth, alpha, features."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...scenes.house import depth_limits
from ..colors import MIN_ALPHA, depth_colors
from ..draw import Legend
from ..options import LayerImage
from .base import PaintRequest, splatted_colors, surface


def paint_rgb(request: PaintRequest) -> LayerImage:
    """Colours, blended with feature colours by ``options.blend``."""
    return _paint_blended(request, request.options.blend)


def paint_features(request: PaintRequest) -> LayerImage:
    """Feature colours."""
    return _paint_blended(request, 1.0)


def _paint_blended(request: PaintRequest, blend: float) -> LayerImage:
    gaussians, note = request.gaussians, ""
    if blend > 0:
        colors, bad = request.data.embedding_colors(request.index, request.state)
        if colors is None:
            note = "this scene has no features"
        else:
            gaussians = replace(gaussians, colors=torch.lerp(gaussians.colors, colors, blend))
            note = f"{bad:,} Gaussians with features that are not finite (magenta)" if bad else ""
    return replace(splatted_colors(request.splat(gaussians)), note=note)


def paint_depth(request: PaintRequest) -> LayerImage:
    """Depth along the camera's axis."""
    splats = request.splat(request.gaussians)
    near, far = depth_limits(request.state, request.cameras, *request.data.depth_range(request.index))
    alpha, depth = splats.alpha[0, ..., 0], splats.depth[0, ..., 0]  # [H, W]
    name = request.options.colors
    colors = depth_colors(depth, near, far, alpha > MIN_ALPHA, name)
    legend = Legend.numbers(near, far, "m", "depth", colors=name, open_end=True)
    return LayerImage(colors.cpu(), surface(splats), legend=legend)


def paint_alpha(request: PaintRequest) -> LayerImage:
    """Opacity of the render, from black to white."""
    splats = request.splat(request.gaussians)
    legend = Legend.numbers(0, 1, title="coverage: opacity of the render", digits=2, colors="Grey")
    return LayerImage(splats.alpha[0].expand(-1, -1, 3).cpu(), surface(splats), legend=legend)
