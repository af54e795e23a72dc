"""Painters of properties of single Gaussians: centre, scale, opacity."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...scenes.geometry import point_size, subset
from ...scenes.source import SceneState
from ..draw import Legend
from ..options import LayerImage
from .base import PaintRequest, splatted_colors, splatted_values, world_scale


def paint_centres(request: PaintRequest) -> LayerImage:
    """A dot at every Gaussian's centre, in its colour."""
    state, gaussians = request.state, request.gaussians
    radius = state.memo("dots", lambda: 0.18 * point_size(state))
    dots = replace(
        gaussians,
        scales=torch.full_like(gaussians.scales, radius * world_scale(state)),
        opacities=torch.full_like(gaussians.opacities, 0.999),
    )
    return splatted_colors(request.splat(dots))


def paint_opacity(request: PaintRequest) -> LayerImage:
    """Opacity of every Gaussian."""
    legend = Legend.numbers(0, 1, title="opacity", digits=2)
    return splatted_values(request, request.gaussians, request.all_gaussians.opacities, legend)


def paint_scales(request: PaintRequest) -> LayerImage:
    """Longest standard deviation of every Gaussian, on a logarithmic scale."""
    state = request.state
    values, legend = state.memo("Scales", lambda: _log_scales(state))
    return splatted_values(request, request.gaussians, values, legend)


def _log_scales(state: SceneState) -> tuple[Tensor, Legend]:
    """[N] logarithm of the longest axis, mapped to [0, 1] between the 2nd and 98th percentile, and its legend."""
    assert state.gaussians is not None
    longest = torch.log10(state.gaussians.scales.amax(1).clamp_min(1e-9) / world_scale(state))
    sample = longest[torch.from_numpy(subset(len(longest), 100_000)).to(longest.device)]
    sample = sample[sample.isfinite()]
    low, high = (float(v) for v in torch.quantile(sample, sample.new_tensor([0.02, 0.98]))) if len(sample) else (-3, -1)
    high = max(high, low + 0.1)
    ticks = tuple(_length(10 ** (low + i * (high - low) / 4)) for i in range(5))
    values = torch.nan_to_num((longest - low) / (high - low), 0.0).clamp(0, 1)
    return values, Legend(ticks, "longest standard deviation")


def _length(metres: float) -> str:
    if metres < 0.01:
        return f"{metres * 1000:.1f} mm"
    return f"{metres * 100:.1f} cm" if metres < 1 else f"{metres:.1f} m"
