"""Select points of a scene by their scores: display range, automatic threshold, and the objects above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .decide import auto_threshold
from .objects import QueryObject, components

MAX_OBJECTS = 2_000_000
"""Number of selected points beyond which no objects are formed."""


@dataclass(frozen=True)
class Cut:
    """Selection threshold and display range of scores.

    Attributes:
        value: points with a higher score are selected.
        method: how the threshold was chosen, see `decide.Threshold`; "best" selects the best hundredth.
        low, high: range of colours and histograms; contains ``value``.
    """

    value: float
    method: str
    low: float
    high: float


def choose_cut(scores: Tensor, floor: float | None = None) -> Cut:
    """Choose the threshold and display range of scores [N].

    Args:
        floor: lower bound of the threshold for scores in [0, 1]. None: the range follows the scores, and the best
            hundredth is selected if no threshold separates two groups.
    """
    scores = scores.detach().float().cpu()
    values = scores[scores.isfinite() & (scores != 0)]
    sample = values[:: max(1, len(values) // 100_000)]
    low, high = _range(sample, values) if floor is None else (0.0, 1.0)
    threshold = auto_threshold(scores, floor)
    cut, method = threshold.value, threshold.method
    if floor is None and len(values) and cut >= float(values.max()):
        return Cut(min(max(float(torch.quantile(sample, 0.99)), low), high), "best", low, high)
    return Cut(min(max(cut, low), high), method, low, high)


def _range(sample: Tensor, values: Tensor) -> tuple[float, float]:
    """Display range from the 2nd percentile to the highest score, rounded outwards to multiples of 0.05."""
    if len(sample) == 0:
        return 0.0, 1.0
    low = float(np.floor(20 * float(torch.quantile(sample, 0.02))) / 20)
    return low, max(float(np.ceil(20 * float(values.max()) - 1e-4) / 20), low + 0.05)


def spacing(coord: NDArray[np.floating], most: int = 2000) -> float:
    """Median distance between nearest neighbours of points [N, 3], metres, from a sample of up to ``most`` points;
    0.025 for fewer than two points."""
    if len(coord) < 2:
        return 0.025
    chosen = np.random.default_rng(0).choice(len(coord), min(most, len(coord)), replace=False)
    finite = np.nan_to_num(coord, nan=1e6, posinf=1e6, neginf=1e6)
    from scipy.spatial import KDTree  # takes half a second to import

    distance = KDTree(finite).query(finite[chosen], k=2)[0][:, 1]
    return float(np.clip(np.median(distance), 0.001, 0.2))


def group(
    coord: NDArray[np.floating], selected: NDArray[np.bool_], scores: Tensor | None = None, step: float | None = None
) -> list[QueryObject]:
    """Group the selected points into connected objects, by decreasing product of size and mean score.

    Points within three times `spacing` of each other are connected; groups of fewer than five points or less than a
    fiftieth of the selection are dropped.

    Args:
        coord: [N, 3] metres.
        selected: [N] bool.
        scores: [N], or None.
        step: `spacing` of the points; computed by default.
    """
    if not selected.any() or selected.sum() > MAX_OBJECTS:
        return []
    step = spacing(coord) if step is None else step
    objects = components(coord, selected, max(3 * step, 0.02), scores, max(5, int(selected.sum()) // 50))
    return sorted(objects, key=lambda o: -o.size * (1.0 if np.isnan(o.score_mean) else o.score_mean))
