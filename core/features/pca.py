"""One colour basis for features: fixed for a run, and with a sign that does not flip between frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PcaBasis:
    """An affine map from features to RGB.

    Attributes:
        mean: [D]; directions: [D, 3] orthonormal; low, high: [3] the range that is stretched to [0, 1].
    """

    mean: Tensor
    directions: Tensor
    low: Tensor
    high: Tensor

    @staticmethod
    def fit(features: Tensor, previous: PcaBasis | None = None, quantile: float = 0.02) -> PcaBasis:
        """Fit to features [N, D] (rows that are not finite are left out).

        Signs are fixed by making the largest entry of each direction positive, which does not depend on the solver;
        with ``previous`` the new directions are rotated onto the old ones instead (orthogonal Procrustes), so colours
        change as little as the features did.

        Args:
            quantile: share cut at either end when the range is chosen; a few outliers must not make the rest grey.
        """
        x = features.detach().float()
        x = x[torch.isfinite(x).all(1)]
        d = features.shape[1]
        if len(x) < 2:
            directions = torch.eye(d, 3, device=features.device)
            zero = torch.zeros(3, device=features.device)
            return PcaBasis(torch.zeros(d, device=features.device), directions, zero, zero + 1)
        mean = x.mean(0)
        centred = (x - mean).double()
        _, vectors = torch.linalg.eigh(centred.T @ centred)
        directions = vectors[:, -3:].flip(1)
        if directions.shape[1] < 3:
            directions = torch.nn.functional.pad(directions, (0, 3 - directions.shape[1]))
        if previous is not None and previous.directions.shape == directions.shape:
            u, _, vh = torch.linalg.svd(directions.T @ previous.directions.double())
            directions = directions @ (u @ vh)
        else:
            largest = directions.abs().argmax(0)
            directions = directions * torch.sign(directions[largest, torch.arange(3)] + 1e-30)
        directions = directions.float()
        values = (x - mean) @ directions
        bounds = torch.quantile(
            values[:: max(1, len(values) // 100_000)], torch.tensor([quantile, 1 - quantile], device=x.device), dim=0
        )
        return PcaBasis(mean, directions, bounds[0], torch.maximum(bounds[1], bounds[0] + 1e-6))

    def rgb(self, features: Tensor) -> Tensor:
        """Features [..., D] → colours [..., 3] in [0, 1]; the same features always get the same colour."""
        return ((features - self.mean) @ self.directions - self.low).div(self.high - self.low).clamp(0, 1)
