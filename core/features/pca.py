"""Colours for features by PCA, with a basis that is stable over the steps of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PcaBasis:
    """Affine map from features to RGB.

    Attributes:
        mean: [D].
        directions: [D, 3] orthonormal principal directions.
        low, high: [3] range of each direction that is mapped to [0, 1].
    """

    mean: Tensor
    directions: Tensor
    low: Tensor
    high: Tensor

    @staticmethod
    def fit(features: Tensor, previous: PcaBasis | None = None, quantile: float = 0.02) -> PcaBasis:
        """Fit to features [N, D]; rows that are not finite are left out.

        Signs are fixed by making the largest entry of each direction positive, whatever the solver returns. With
        ``previous`` the new directions are rotated onto the old ones instead (orthogonal Procrustes), so colours change
        as little as the features.

        Args:
            features: [N, D].
            previous: an earlier basis of this run.
            quantile: share cut off at both ends of the range, so that outliers do not turn the rest grey.
        """
        x = features.detach().float()
        x = x[torch.isfinite(x).all(1)]  # [N, D]
        d = features.shape[1]
        if len(x) < 2:
            directions = torch.eye(d, 3, device=features.device)
            zero = torch.zeros(3, device=features.device)
            return PcaBasis(torch.zeros(d, device=features.device), directions, zero, zero + 1)
        mean = x.mean(0)
        centred = (x - mean).double()
        _, vectors = torch.linalg.eigh(centred.T @ centred)  # [D, D], ascending
        directions = vectors[:, -3:].flip(1)  # [D, 3]
        if directions.shape[1] < 3:
            directions = torch.nn.functional.pad(directions, (0, 3 - directions.shape[1]))
        if previous is not None and previous.directions.shape == directions.shape:
            u, _, vh = torch.linalg.svd(directions.T @ previous.directions.double())
            directions = directions @ (u @ vh)
        else:
            largest = directions.abs().argmax(0)
            directions = directions * torch.sign(directions[largest, torch.arange(3)] + 1e-30)
        directions = directions.float()
        values = (x - mean) @ directions  # [N, 3]
        bounds = torch.quantile(
            values[:: max(1, len(values) // 100_000)], torch.tensor([quantile, 1 - quantile], device=x.device), dim=0
        )
        return PcaBasis(mean, directions, bounds[0], torch.maximum(bounds[1], bounds[0] + 1e-6))

    def rgb_of_linear(self, codes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """`rgb` of unit features of D channels that are linear in codes, without making them.

        (W f + b) B = f (Wᵀ B) + b B for the directions B, and |W f + b|² = fᵀ(WᵀW) f + 2 f · Wᵀb + |b|².

        Args:
            codes: [..., F]. weight: [D, F]. bias: [D].
        """
        weight, bias, mean, directions = (t.to(codes) for t in (weight, bias, self.mean, self.directions))
        squares = ((codes @ (weight.T @ weight)) * codes).sum(-1) + codes @ (2 * weight.T @ bias) + bias @ bias
        length = squares.clamp_min(1e-24).sqrt()[..., None]
        values = (codes @ (weight.T @ directions) + bias @ directions) / length - mean @ directions
        return ((values - self.low.to(codes)) / (self.high - self.low).to(codes)).clamp(0, 1)

    def rgb(self, features: Tensor) -> Tensor:
        """Map features [..., D] to colours [..., 3] in [0, 1]."""
        return ((features - self.mean) @ self.directions - self.low).div(self.high - self.low).clamp(0, 1)
