"""From the scores of one scene to what is selected: their range, the automatic cut, and the objects above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .decide import auto_threshold
from .objects import QueryObject, components

MAX_OBJECTS = 2_000_000
"""Selected points beyond which no objects are formed: everything was selected."""


@dataclass(frozen=True)
class Cut:
    """The range of scores and where they are cut.

    Attributes:
        value: what scores higher is selected.
        method: how it was found, see `decide.Threshold`; "best": the best hundredth.
        low, high: range that colours and histograms cover; ``value`` lies in it.
    """

    value: float
    method: str
    low: float
    high: float


def choose_cut(scores: Tensor, floor: float | None = None) -> Cut:
    """The automatic cut of scores [N].

    Args:
        floor: the natural middle of scores in [0, 1], and their least threshold; None = their range is what they
            cover, and the best hundredth is selected where nothing stands out.
    """
    scores = scores.detach().float().cpu()
    known = scores[scores.isfinite() & (scores != 0)]
    sample = known[:: max(1, len(known) // 100_000)]
    low, high = _range(sample, known) if floor is None else (0.0, 1.0)
    threshold = auto_threshold(scores, floor)
    cut, method = threshold.value, threshold.method
    if floor is None and len(known) and cut >= float(known.max()):
        return Cut(min(max(float(torch.quantile(sample, 0.99)), low), high), "best", low, high)
    return Cut(min(max(cut, low), high), method, low, high)


def _range(sample: Tensor, known: Tensor) -> tuple[float, float]:
    """From the lowest 2 % to the best score, in steps of a twentieth."""
    if len(sample) == 0:
        return 0.0, 1.0
    low = float(np.floor(20 * float(torch.quantile(sample, 0.02))) / 20)
    return low, max(float(np.ceil(20 * float(known.max()) - 1e-4) / 20), low + 0.05)


def spacing(coord: NDArray[np.floating], most: int = 2000) -> float:
    """The usual distance between neighbours among points [N, 3], metres, from up to ``most`` of them; 0.025 for fewer
    than two points."""
    if len(coord) < 2:
        return 0.025
    chosen = np.random.default_rng(0).choice(len(coord), min(most, len(coord)), replace=False)
    finite = np.nan_to_num(coord, nan=1e6, posinf=1e6, neginf=1e6)
    from scipy.spatial import KDTree  # half a second to import, which a page that nobody has asked need not wait for

    distance = KDTree(finite).query(finite[chosen], k=2)[0][:, 1]
    return float(np.clip(np.median(distance), 0.001, 0.2))


def group(
    coord: NDArray[np.floating], selected: NDArray[np.bool_], scores: Tensor | None = None, step: float | None = None
) -> list[QueryObject]:
    """Connected groups of the selected points, the largest of the good ones first.

    Neighbours are joined across three times the usual distance between neighbours; groups of fewer than five points
    or of a fiftieth of the selection are left out.

    Args:
        coord: [N, 3] metres. selected: [N]. scores: [N] or None.
        step: the usual distance between neighbours, where it is known (`spacing`).
    """
    if not selected.any() or selected.sum() > MAX_OBJECTS:
        return []
    step = spacing(coord) if step is None else step
    found = components(coord, selected, max(3 * step, 0.02), scores, max(5, int(selected.sum()) // 50))
    return sorted(found, key=lambda o: -o.size * (1.0 if np.isnan(o.score_mean) else o.score_mean))
