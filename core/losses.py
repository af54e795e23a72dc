"""The three distillation losses of GaussianCross (§3.4), the point losses that may join them, and how they are weighed;
Lovász-softmax for segmentation.

Each returns a mean over what it compares, so that weights mean the same at any resolution and number of views.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .errors import InputError

LOSS_NAMES = ("rgb", "depth", "feature")

LOVASZ_CHUNK = 1 << 24
"""Errors of points × classes that `lovasz_softmax` sorts at once: its memory beyond the probabilities and their
gradient, some 40 bytes each."""


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


def lovasz_softmax(logits: Tensor, labels: Tensor, ignore: int = -1) -> Tensor:
    """Lovász-softmax (Berman et al. 2018): the convex extension of 1 − IoU, mean over the classes that are present.

    For a class with errors |1[y = c] − p_c| sorted in descending order, Σ error_i · (J_i − J_{i−1}), where J_i is the
    Jaccard loss of the class when the i largest errors are wrong. The differences are constants to the gradient, which
    is computed along with the value, a few classes at a time: what is sorted is never there for all of them. There is
    no second derivative.

    Args:
        logits: [N, K].
        labels: [N] integers; rows of ``ignore`` are left out.

    Returns:
        A scalar, in float32 or wider; 0, with gradients of 0, when every row is left out.
    """
    kept = labels != ignore
    probability = logits[kept].to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
    labels = labels[kept]
    present = labels.unique()
    if not len(present):
        return probability.sum()
    return _LovaszExtension.apply(probability, labels, present)


class _LovaszExtension(torch.autograd.Function):
    """Of probabilities [N, K], labels [N] and the classes [C] that are among them. Keeps one gradient [N, K] instead of
    what each class was sorted by."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor, labels: Tensor, present: Tensor) -> Tensor:
        count = len(labels)
        rank = torch.arange(1, count + 1, dtype=torch.int32, device=labels.device)
        gradient = torch.zeros_like(probability) if ctx.needs_input_grad[0] else None
        losses = []
        for classes in present.split(max(1, LOVASZ_CHUNK // count)):
            inside = labels == classes[:, None]
            signed = probability.T[classes].sub_(inside.to(probability.dtype))
            error, order = signed.abs().sort(1, descending=True)
            # Points of the class not yet counted wrong, over those and every other point counted wrong: 1 − J_i.
            found = inside.gather(1, order).cumsum(1, dtype=torch.int32)
            size = found[:, -1:]
            overlap = (size - found).to(probability.dtype) / (size + (rank - found))
            weight = torch.diff(1 - overlap, dim=1, prepend=overlap.new_zeros(len(overlap), 1))
            losses.append((error * weight).sum(1))
            if gradient is not None:
                slope = torch.empty_like(weight).scatter_(1, order, weight).mul_(signed.sign_())
                gradient[:, classes] = slope.div_(len(present)).T
        ctx.save_for_backward(gradient)
        return torch.cat(losses).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_output, None, None


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """PointInfoNCE (PointContrast, Xie et al. 2020), −mean_i log softmax_j(cos(a_i, b_j) / τ)_i, both ways; [P, C]
    each, row i of one matches row i of the other. In float32 or wider. 0, with gradients of 0, without a pair."""
    if not len(first):
        return first.sum() + second.sum()
    wide = torch.promote_types(first.dtype, torch.float32)
    with torch.autocast(first.device.type, enabled=False):  # cosines in bfloat16, over τ, would be off by tenths
        logits = F.normalize(first.to(wide), dim=1) @ F.normalize(second.to(wide), dim=1).T / temperature
    here = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, here) + F.cross_entropy(logits.T, here)) / 2
