"""The three distillation losses of GaussianCross (§3.4), the point losses that may join them, and how they are weighed;
Lovász-softmax for segmentation.

Each returns a mean over what it compares, so that weights mean the same at any resolution and number of views.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError

LOSS_NAMES = ("rgb", "depth", "feature")


def rgb_l1(color: Tensor, target: Tensor) -> Tensor:
    """ℓ1 of colours [M, H, W, 3] in [0, 1]."""
    return (color - target).abs().mean()


def depth_l1(depth: Tensor, alpha: Tensor, target: Tensor, min_alpha: float = 0.1) -> Tensor:
    """ℓ1 in metres of expected depths [M, H, W] where there is a measurement (target > 0) and something to see.

    The expected depth is normalised by alpha, so where hardly anything was splatted it is noise: those pixels
    (alpha ≤ ``min_alpha``) are left out.
    """
    valid = (target > 0) & (alpha.detach() > min_alpha)
    return ((depth - target).abs() * valid).sum() / valid.sum().clamp_min(1)


def feature_cosine(projected: Tensor, target: Tensor) -> Tensor:
    """1 − cosine of projected features and teacher features [M, h, w, D], mean over tokens."""
    return 1 - F.cosine_similarity(projected.float(), target.float(), dim=-1, eps=1e-6).mean()


def point_cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """1 − cosine of predictions [V, D] and lifted teacher features [V, D], mean over points; 0, with gradients of 0,
    without any. OpenScene's 3D distillation (Peng et al. 2023)."""
    cosine = F.cosine_similarity(predicted.float(), target.float(), dim=1, eps=1e-6)
    return (1 - cosine).sum() / max(1, len(cosine))


def point_cosine_of_cells(predicted: Tensor, directions: Tensor, points: int) -> Tensor:
    """`point_cosine` of points that share predictions with the others of their cell, at the cost of the cells alone.

    The sum over a cell's points of their cosines to one prediction is that prediction's cosine to the sum of their unit
    vectors.

    Args:
        predicted: [M, D] of cells.
        directions: [M, D], the sum of the unit vectors of the targets of each cell's points; 0 where it has none.
        points: how many they are, in all cells.
    """
    predicted = predicted.float()
    cosines = (predicted * directions).sum(1) / predicted.norm(dim=1).clamp_min(1e-6)
    return (points - cosines.sum()) / max(1, points)


def to_tokens(features: Tensor, height: int, width: int) -> Tensor:
    """Average rendered features [M, H, W, F] over each teacher token → [M, h, w, F]."""
    return F.adaptive_avg_pool2d(features.permute(0, 3, 1, 2), (height, width)).permute(0, 2, 3, 1)


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Σ weights[k] · terms[k]; every term needs a weight."""
    missing = set(terms) - set(weights)
    if missing:
        raise InputError("loss weights", f"one for each of {sorted(terms)}", f"none for {sorted(missing)}")
    return torch.stack([weights[k] * terms[k] for k in terms]).sum()


def uncertainty_sum(terms: Mapping[str, Tensor], log_variance: Mapping[str, Tensor]) -> Tensor:
    """Σ exp(−s_k) · terms[k] + s_k with learned s_k (Kendall et al. 2018, ℓ1 form): the "adaptive" option."""
    return torch.stack([torch.exp(-log_variance[k]) * terms[k] + log_variance[k] for k in terms]).sum()
