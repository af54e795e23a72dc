"""The painters' request, and what several of them share: splatting, empty and darkened pictures, scalars as colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ....core.geometry.cameras import Cameras
from ....core.geometry.gaussians import Gaussians
from ....core.splat import Splats, rasterize
from ...scenes.house import drawn
from ...scenes.source import SceneState
from ..catalog import Layer
from ..colors import BACKGROUND, colormap, over_background
from ..draw import Legend
from ..layer_data import LayerData
from ..options import FAR, LayerImage, RenderOptions

SHADE = 0.6
"""Brightness of false colours where the render is black; where it is white they equal the legend's."""


@dataclass(frozen=True)
class PaintRequest:
    """One layer of one scene from one camera.

    Attributes:
        data: scenes and the data of their layers.
        index: scene index.
        layer: which layer to draw (``options.layer`` or ``options.second``).
        options: size, blend, scores and the like.
        cameras: one world camera of the picture's size.
    """

    data: LayerData
    index: int
    layer: Layer
    options: RenderOptions
    cameras: Cameras

    @property
    def state(self) -> SceneState:
        """The loaded scene."""
        return self.data.state(self.index)  # type: ignore[return-value]  # `paint` has checked it

    @property
    def all_gaussians(self) -> Gaussians:
        """The scene's Gaussians as they are."""
        assert self.state.gaussians is not None
        return self.state.gaussians

    @property
    def gaussians(self) -> Gaussians:
        """The scene's Gaussians with hidden ones transparent and scales multiplied by ``options.size``."""
        gaussians = self.all_gaussians
        keep = drawn(self.state, self.options.keep, self.options.cut, self.cameras)
        if keep is not None and len(keep) == len(gaussians):
            gaussians = replace(gaussians, opacities=gaussians.opacities * keep.to(gaussians.opacities))
        if self.options.size != 1.0:
            gaussians = replace(gaussians, scales=gaussians.scales * self.options.size)
        return gaussians

    def splat(self, gaussians: Gaussians) -> Splats:
        """``gaussians`` in the frame of the scene's Gaussians, splatted from the world camera."""
        cameras = self.state.cameras(self.cameras)
        return rasterize(gaussians, cameras.viewmats, cameras.Ks, cameras.width, cameras.height)


Painter = Callable[[PaintRequest], LayerImage]


def blank(cameras: Cameras) -> Tensor:
    """[H, W, 3] of background."""
    return torch.tensor(BACKGROUND).expand(cameras.height, cameras.width, 3)


def surface(splats: Splats) -> Tensor:
    """[H, W] depth (m) of occluding pixels: `FAR` where the render is mostly transparent."""
    return splats.depth[0, ..., 0].masked_fill(splats.alpha[0, ..., 0] <= 0.5, FAR)


def splatted_colors(splats: Splats) -> LayerImage:
    """The rendered colours over the background."""
    return LayerImage(over_background(splats.color[0], splats.alpha[0]).cpu(), surface(splats))


def darkened(request: PaintRequest, gaussians: Gaussians, message: str) -> LayerImage:
    """The render at 40 % brightness, with a message in its middle."""
    dim = replace(gaussians, colors=gaussians.colors * 0.4)
    return replace(splatted_colors(request.splat(dim)), message=message)


def splatted_values(
    request: PaintRequest, gaussians: Gaussians, values: Tensor, legend: Legend | None, faded: bool = False
) -> LayerImage:
    """One value per Gaussian as colours. Values are splatted before they are coloured, so the legend also holds for
    pixels that several Gaussians share. The render's brightness keeps shapes visible.

    Args:
        values: [N] in [0, 1].
        faded: fade the lower half of the values into the darkened render, so that the upper half stands out.
    """
    splats = request.splat(replace(gaussians, features=values[:, None]))
    assert splats.features is not None
    alpha = splats.alpha[0]  # [H, W, 1]
    value = splats.features[0, ..., 0] / alpha[..., 0].clamp_min(1e-6)
    color = (splats.color[0] / alpha.clamp_min(1e-6)).clamp(0, 1)
    light = color.mean(-1, keepdim=True)
    colors = colormap(value, request.options.colors) * (SHADE + (1 - SHADE) * light)
    if faded:
        dark = 0.3 * torch.lerp(light.expand_as(color), color, 0.5)
        colors = torch.lerp(dark, colors, (2 * value[..., None] - 0.2).clamp(0.1, 1))
    if legend is not None:
        legend = replace(legend, colors=request.options.colors)
    return LayerImage(over_background(colors * alpha, alpha).cpu(), surface(splats), legend=legend)


def world_scale(state: SceneState) -> float:
    """Lengths in the Gaussians' frame / lengths in the scene's world."""
    if state.transform is None:
        return 1.0
    return float(torch.linalg.det(state.transform[:3, :3].double()).abs() ** (1 / 3))
