"""The three distillation losses of GaussianCross (§3.4), optional point losses, and their weighted sums.

Each loss is a mean over the compared elements, so weights do not depend on resolution and number of views.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError

LOSS_NAMES = ("rgb", "depth", "feature")
"""Names of the paper's losses."""


def rgb_l1(color: Tensor, target: Tensor) -> Tensor:
    """Colour loss mean |c − c*| of rendered and target colours [M, H, W, 3] in [0, 1] (GaussianCross §3.4)."""
    return (color - target).abs().mean()


def depth_l1(depth: Tensor, alpha: Tensor, target: Tensor, min_alpha: float = 0.1) -> Tensor:
    """Depth loss mean |d − d*| over valid pixels, metres (GaussianCross §3.4).

    A pixel is valid with a measurement (d* > 0) and alpha above ``min_alpha``: the expected depth is divided by alpha,
    so it is noise where little was splatted.

    Args:
        depth: [..., M, H, W] expected depth d; axes before the views are scenes, which count equally.
        alpha: [..., M, H, W] in [0, 1].
        target: [..., M, H, W] measured depth d*; 0 = not measured.
        min_alpha: threshold of alpha.
    """
    valid = (target > 0) & (alpha.detach() > min_alpha)  # [..., M, H, W]
    views = (-3, -2, -1)
    return (((depth - target).abs() * valid).sum(views) / valid.sum(views).clamp_min(1)).mean()


def feature_cosine(projected: Tensor, target: Tensor) -> Tensor:
    """Feature loss mean(1 − cos(f, f*)) of projected and teacher features [M, h, w, D] (GaussianCross §3.4)."""
    return 1 - F.cosine_similarity(projected.float(), target.float(), dim=-1, eps=1e-6).mean()


def point_cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """Point loss mean(1 − cos(p, t)) of predictions and lifted teacher features [V, D] (OpenScene, Peng et al. 2023).

    0, with gradients of 0, without a point.
    """
    cosine = F.cosine_similarity(predicted.float(), target.float(), dim=1, eps=1e-6)
    return (1 - cosine).sum() / max(1, len(cosine))


def to_tokens(features: Tensor, height: int, width: int) -> Tensor:
    """Average rendered features [M, H, W, F] over the pixels of each teacher token: [M, h, w, F]."""
    return F.adaptive_avg_pool2d(features.permute(0, 3, 1, 2), (height, width)).permute(0, 2, 3, 1)


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Weighted sum Σ_k weights[k] · terms[k] of scalars; every term needs a weight."""
    missing = set(terms) - set(weights)
    if missing:
        raise InputError("loss weights", f"one for each of {sorted(terms)}", f"none for {sorted(missing)}")
    return torch.stack([weights[k] * terms[k] for k in terms]).sum()


def uncertainty_sum(terms: Mapping[str, Tensor], log_variance: Mapping[str, Tensor]) -> Tensor:
    """Uncertainty-weighted sum Σ_k exp(−s_k) · terms[k] + s_k with learned s_k (Kendall et al. 2018, ℓ1 form)."""
    return torch.stack([torch.exp(-log_variance[k]) * terms[k] + log_variance[k] for k in terms]).sum()
