"""Whether the features of a scene resemble those that a cut was fitted on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .scoring import unit

SAMPLE = 4096
"""Number of features of a scene that are looked at."""
USUAL = 0.95
"""Share of the fitted features within `Domain.limit`."""
MARGIN = 2.0
"""A scene is foreign with more than this multiple of the largest share of unusual features in any fitted scene."""
SHRINK = 0.05
"""Share of the mean variance that is added to every direction's."""


@dataclass(frozen=True)
class Domain:
    """Distribution of the unit features of fitted scenes.

    Attributes:
        mean: [D].
        axes: [K, D] rows that whiten a difference from the mean: distances are Mahalanobis distances over √D.
        limit: distance of an unusual feature.
        share: largest share of unusual features of a scene like the fitted ones.
    """

    mean: Tensor
    axes: Tensor
    limit: float
    share: float

    def unusual(self, features: Tensor) -> float:
        """Share of the usable features [N, D] farther than ``limit`` from the mean, from a sample; 0 without any."""
        rows = sample(features)
        return float((self._distance(rows) > self.limit).float().mean()) if len(rows) else 0.0

    def is_foreign(self, features: Tensor) -> bool:
        """Whether a scene with the features [N, D] is unlike the fitted ones; True for features of another width."""
        return features.shape[1] != len(self.mean) or self.unusual(features) > self.share

    def _distance(self, rows: Tensor) -> Tensor:
        return ((rows - self.mean) @ self.axes.T).norm(dim=-1) / math.sqrt(len(self.mean))

    @staticmethod
    def fit(scenes: Sequence[Tensor]) -> Domain:
        """Fit the distribution to the features [N, D] of each scene.

        Raises:
            InputError: no usable feature.
        """
        samples = [rows for rows in map(sample, scenes) if len(rows)]
        if not samples:
            raise InputError("features of the fitted scenes", "at least one usable row", "none")
        rows = torch.cat(samples)
        mean = rows.mean(0)
        covariance = (rows - mean).T @ (rows - mean) / len(rows)
        values, vectors = torch.linalg.eigh(covariance)
        values = values.clamp_min(0) + SHRINK * values.clamp_min(0).mean() + 1e-8
        whole = Domain(mean, (vectors / values.sqrt()).T.contiguous(), 0.0, 1.0)
        limit = float(torch.quantile(whole._distance(rows[:: max(1, len(rows) // 100_000)]), USUAL))
        shares = [float((whole._distance(r) > limit).float().mean()) for r in samples]
        return Domain(whole.mean, whole.axes, limit, min(1.0, MARGIN * max(shares)))

    def to_json(self) -> dict[str, Any]:
        """Numbers for a calibration file, rounded to four significant digits."""
        return {
            "mean": [_short(v) for v in self.mean.tolist()],
            "axes": [[_short(v) for v in row] for row in self.axes.tolist()],
            "limit": _short(self.limit),
            "share": _short(self.share),
        }

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Domain:
        """Read the output of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: another content.
        """
        mean, axes = torch.tensor(entry["mean"]).float(), torch.tensor(entry["axes"]).float()
        limit, share = float(entry["limit"]), float(entry["share"])
        if mean.ndim != 1 or axes.ndim != 2 or axes.shape[1] != len(mean):
            raise ValueError(f"mean {tuple(mean.shape)}, axes {tuple(axes.shape)}")
        if not all(bool(v.isfinite().all()) for v in (mean, axes, torch.tensor([limit, share]))):
            raise ValueError("numbers that are not finite")
        return Domain(mean, axes, limit, share)


def sample(features: Tensor) -> Tensor:
    """Unit vectors [M, D] of at most `SAMPLE` usable features."""
    rows, usable = unit(features[:: max(1, len(features) // SAMPLE)].detach().float().cpu())
    return rows[usable]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
