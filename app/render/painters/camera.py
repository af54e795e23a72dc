"""Painters of layers that belong to a dataset camera: recorded pictures, teacher features, errors.

A free camera at the dataset camera's place sees the recorded picture rotated; anywhere else it sees a message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from ..colors import BACKGROUND, DEPTH_ERROR, MIN_ALPHA, RGB_ERROR, colormap, depth_colors, feature_colors
from ..draw import Legend
from ..options import LayerImage
from ..views import CameraRotation
from .base import Painter, PaintRequest, blank, darkened

COMPARES_GAUSSIANS = ("RGB error", "Depth error")
"""Layers that need a render to compare with."""


def _at_dataset_camera(paint: Callable[[PaintRequest, CameraRotation], LayerImage]) -> Painter:
    """Painter that calls ``paint`` where the free camera stands at the dataset camera's place."""

    @wraps(paint)
    def painter(request: PaintRequest) -> LayerImage:
        frames, frame = request.state.frames, request.options.frame
        assert frames is not None
        rotation = CameraRotation.between(request.cameras, frames.cameras[frame])
        if request.state.gaussians is None and request.layer in COMPARES_GAUSSIANS:
            return LayerImage(blank(request.cameras), message=f"{request.layer}: this scene has no Gaussians")
        if rotation is not None:
            return paint(request, rotation)
        message = f"{request.layer}: only where dataset camera {frame} stands"
        if request.state.gaussians is None:
            return LayerImage(blank(request.cameras), message=message)
        return darkened(request, request.all_gaussians, message)

    return painter


def _inside(rotation: CameraRotation, colors: Tensor) -> Tensor:
    """[H, W, 3] colours, and the background where nothing was recorded."""
    return torch.where(rotation.inside[..., None], colors, torch.tensor(BACKGROUND))


def _recorded(request: PaintRequest) -> tuple[Tensor, Tensor]:
    """Colour [h, w, 3] and depth [h, w] (m) of the frame."""
    color, depth, _ = request.data.targets.read(request.state, request.index, request.options.frame)
    return color, depth


@_at_dataset_camera
def paint_target(request: PaintRequest, rotation: CameraRotation) -> LayerImage:
    """The recorded picture."""
    return LayerImage(_inside(rotation, rotation.sample(_recorded(request)[0], smooth=True)))


@_at_dataset_camera
def paint_target_depth(request: PaintRequest, rotation: CameraRotation) -> LayerImage:
    """The recorded depth."""
    near, far = request.data.depth_range(request.index)
    depth = rotation.depth(_recorded(request)[1])
    name = request.options.colors
    legend = Legend.numbers(near, far, "m", "recorded depth", colors=name, open_end=True)
    return LayerImage(depth_colors(depth, near, far, name=name), legend=legend)


@_at_dataset_camera
def paint_rgb_error(request: PaintRequest, rotation: CameraRotation) -> LayerImage:
    """Mean absolute difference of rendered and recorded colours."""
    splats = request.splat(request.all_gaussians)
    error = (splats.color[0].cpu() - rotation.sample(_recorded(request)[0], smooth=True)).abs().mean(-1)
    name = request.options.colors
    title = "mean difference of colours in 0 to 1"
    legend = Legend.numbers(0, RGB_ERROR, title=title, digits=2, colors=name, open_end=True)
    return LayerImage(_inside(rotation, colormap(error / RGB_ERROR, name)), legend=legend)


@_at_dataset_camera
def paint_depth_error(request: PaintRequest, rotation: CameraRotation) -> LayerImage:
    """Absolute difference of rendered and recorded depth."""
    splats, measured = request.splat(request.all_gaussians), rotation.depth(_recorded(request)[1])
    valid = (splats.alpha[0, ..., 0].cpu() > MIN_ALPHA) & (measured > 0)
    error = (splats.depth[0, ..., 0].cpu() - measured).abs()
    name = request.options.colors
    legend = Legend.numbers(0, DEPTH_ERROR, "m", "difference of depths", 2, name, open_end=True)
    return LayerImage(depth_colors(error, 0, DEPTH_ERROR, valid, name), legend=legend)


@_at_dataset_camera
def paint_teacher(request: PaintRequest, rotation: CameraRotation) -> LayerImage:
    """The teacher's features, in the colours of the "Features" layer."""
    tokens = request.data.source.teacher_features(request.index, request.options.frame)
    request.data.embedding_colors(request.index, request.state)  # fits the basis
    basis = request.data.colors.fitted("embedding")
    if tokens is None or basis is None:
        return _no_teacher(rotation)
    return LayerImage(_inside(rotation, rotation.sample(feature_colors(tokens.to(basis.mean.device), basis)[0])))


@_at_dataset_camera
def paint_cosine(request: PaintRequest, rotation: CameraRotation) -> LayerImage:
    """1 − cosine of rendered and teacher features."""
    error = request.data.targets.cosine_error(request.state, request.index, request.options.frame)
    if error is None:
        return _no_teacher(rotation)
    name = request.options.colors
    legend = Legend.numbers(0, 1, title="1 - cosine to the teacher", digits=2, colors=name)
    return LayerImage(_inside(rotation, rotation.sample(colormap(error, name))), legend=legend)


def _no_teacher(rotation: CameraRotation) -> LayerImage:
    empty = torch.tensor(BACKGROUND).expand(*rotation.inside.shape, 3)
    return LayerImage(empty, message="No teacher features for this camera")
