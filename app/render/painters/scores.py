"""Painters of scores per Gaussian: a heat map, labels, predicted classes."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..colors import class_colors, over_background
from ..draw import Legend
from ..options import LayerImage
from .base import PaintRequest, darkened, splatted_values, surface

CLASS_SHADE = 0.85
"""Brightness of class colours where the render is black: little shading, so that they match their swatches."""


def paint_heat(request: PaintRequest) -> LayerImage:
    """Scores of the last pick or query."""
    gaussians, heat = request.gaussians, request.options.heat
    if heat is None:
        return darkened(request, gaussians, "Pick something first")
    if not heat.fits(request.index, request.state):
        return darkened(request, gaussians, "These scores are of other weights or of another scene")
    values = (heat.scores.to(gaussians.means) - heat.low) / max(heat.high - heat.low, 1e-9)
    digits = 2 if heat.high - heat.low < 10 else 0
    legend = Legend.numbers(heat.low, heat.high, title=heat.label, digits=digits) if heat.label else None
    return splatted_values(request, gaussians, torch.nan_to_num(values, 0.0).clamp(0, 1), legend, faded=True)


def paint_classes(request: PaintRequest) -> LayerImage:
    """The class with the largest splatted score in each pixel, for the layers "Labels" and "Classes"."""
    gaussians, options = request.gaussians, request.options
    scores = request.data.class_scores(request.index, request.layer, options.classes, options.style)
    if scores is None or len(scores.scores) != len(gaussians):
        return darkened(request, gaussians, f"No {request.layer.lower()} for this scene")
    votes = torch.nan_to_num(scores.scores.to(gaussians.means))  # [N, K]
    splats = request.splat(replace(gaussians, features=votes))
    assert splats.features is not None
    best, winner = splats.features[0].max(-1)  # [H, W]
    palette = torch.cat([scores.palette().to(votes), class_colors(torch.tensor([-1])).to(votes)])
    flat = palette[torch.where(best > 0, winner, len(palette) - 1)]
    # One flat colour per class would hide shapes: keep some of the render's brightness.
    light = (splats.color[0] / splats.alpha[0].clamp_min(1e-6)).mean(-1, keepdim=True).clamp(0, 1)
    alpha = splats.alpha[0]
    shaded = flat * (CLASS_SHADE + (1 - CLASS_SHADE) * light)
    return LayerImage(over_background(shaded * alpha, alpha).cpu(), surface(splats))
