"""Decide from scores which points a phrase selects and whether its object is in the scene."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .domain import Domain

TWO_GROUPS = 4.0
"""Lowest separability (Ashman's D) of two groups. Cutting one group in two gives 2.6 (normal, exponential) to 3.5
(uniform)."""

FEWEST = 100
"""Lowest number of scores to cut into groups. 3 % of samples of 100 from a single group look like two, 15 % of 50."""

BINS = 256
"""Number of histogram bins."""

TOP = 20
"""Number of highest scores that `peak` averages, so that a single outlier does not decide."""


@dataclass(frozen=True)
class Threshold:
    """A selection threshold.

    Attributes:
        value: points with a higher score are selected.
        method: "otsu": all scores fall into two groups and are cut between them. "otsu above floor": the scores above
            the floor do. "floor": neither; the threshold is the floor.
        separability: Ashman's D of the two groups, |μ₁ − μ₂| / √((σ₁² + σ₂²) / 2); with "floor", D of the best cut of
            the scores above the floor (0 without any). See `TWO_GROUPS`.
    """

    value: float
    method: Literal["otsu", "otsu above floor", "floor"]
    separability: float


@dataclass(frozen=True)
class Presence:
    """Whether a scene contains the object of a query: ``present`` = ``score`` > ``cut``.

    ``doubt`` says why the cut cannot decide in this scene; "" if it can.
    """

    present: bool
    score: float
    cut: float
    doubt: str = ""

    @property
    def verdict(self) -> str:
        """ "found", "not in this scene" or, below a cut that cannot decide, "no confident match"."""
        return "found" if self.present else "no confident match" if self.doubt else "not in this scene"


class Calibration(NamedTuple):
    """Cuts fitted on labelled scenes.

    ``cut`` is the threshold of `present`; ``auc`` the area under the ROC curve of the scores that it was fitted on.
    Selection thresholds of present objects are at least max(``floor``, ``share`` · `peak`): the relevancy of averaged
    features stays below 0.5 at the edges of objects. ``lowest`` is the lowest score that the cut was fitted on;
    ``data`` names the scenes, and ``domain`` describes their features. ``elsewhere`` is True where it is used for
    scenes of another kind.
    """

    cut: float
    auc: float
    floor: float = 0.5
    share: float = 0.0
    lowest: float = 0.0
    data: str = ""
    domain: Domain | None = None
    elsewhere: bool = False

    def numbers(self) -> dict[str, float]:
        """The numeric fields by name."""
        return {name: value for name, value in self._asdict().items() if name not in ("data", "domain", "elsewhere")}

    def doubt(self, features: Tensor) -> str:
        """Why the cut cannot decide in a scene with the features [N, D]; "" if it can."""
        if not self.elsewhere and (self.domain is None or not self.domain.is_foreign(features)):
            return ""
        return f"the scene is unlike those that the cut was fitted on ({self.data or 'unknown'})"

    def judge(self, scores: Tensor | NDArray, doubt: str = "") -> Presence:
        """`present`, with a doubt for scores below all fitted ones or with the scene's own ``doubt``."""
        found = present(scores, self.cut)
        if not doubt and found.score < self.lowest:
            doubt = f"the score is below all that the cut was fitted on ({self.data or 'unknown'})"
        return replace(found, doubt=doubt)

    def min_threshold(self, scores: Tensor | NDArray) -> float:
        """Lower bound of the selection threshold for the scores [N] of a phrase, see `selection.choose_cut`."""
        return max(self.floor, self.share * peak(scores))


def auto_threshold(scores: Tensor | NDArray, floor: float | None = 0.5) -> Threshold:
    """Choose a selection threshold from the scores alone.

    Otsu's cut of the histogram, if it separates two groups and lies above the floor; otherwise Otsu's cut of the
    scores above the floor, if that separates two groups (a small object in a large scene: Otsu's criterion sees only
    the large group); otherwise the floor. Otsu's own criterion cannot tell two groups from one, Ashman's D can, given
    enough scores (`FEWEST`).

    Args:
        scores: [N]. Scores that are not finite, or exactly 0 (points without a feature), are ignored.
        floor: lower bound of the threshold. 0.5 for relevancy (as similar to the nearest negative as to the phrase).
            None, for scores without a natural zero such as cosines: the median plus three robust standard deviations
            (1.4826 · median absolute deviation).
    """
    values = torch.as_tensor(scores).detach().float().flatten()
    values = values[values.isfinite() & (values != 0)]
    if floor is None:
        floor = _standout(values)
    cut, separability = otsu(values)
    if len(values) >= FEWEST and separability >= TWO_GROUPS and cut >= floor:
        return Threshold(cut, "otsu", separability)
    above = values[values > floor]
    cut, separability = otsu(above)
    if len(above) >= FEWEST and separability >= TWO_GROUPS:
        return Threshold(cut, "otsu above floor", separability)
    return Threshold(floor, "floor", separability)


def otsu(scores: Tensor, bins: int = BINS) -> tuple[float, float]:
    """Otsu's cut of the histogram of finite scores [N] and Ashman's D of its two sides; (0, 0) without scores.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979; K. Ashman et al., 1994, for D.
    """
    if len(scores) == 0:
        return 0.0, 0.0
    low, high = float(scores.min()), float(scores.max())
    width = (high - low) / bins
    if not low + width > low:
        return low, 0.0
    counts = torch.histc(scores.cpu(), bins, low, high).double().numpy()
    centers = low + width * (np.arange(bins) + 0.5)
    below, above = (_moments(c, x) for c, x in ((counts, centers), (counts[::-1], centers[::-1])))
    count_a, mean_a, var_a = (m[:-1] for m in below)
    count_b, mean_b, var_b = (m[-2::-1] for m in above)
    between = count_a * count_b * (mean_a - mean_b) ** 2
    # Every cut between two groups of bins is equally good; take the middle one.
    ties = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    k = int(ties[len(ties) // 2])
    # Add the variance within a bin: the histogram cannot resolve narrower groups.
    spread = (var_a[k] + var_b[k]) / 2 + width**2 / 12
    return low + width * (k + 1), float(abs(mean_a[k] - mean_b[k]) / np.sqrt(spread))


def peak(scores: Tensor | NDArray, top: int = TOP) -> float:
    """Mean of the ``top`` highest finite scores [N] of a scene; 0 without any."""
    values = torch.as_tensor(scores).detach().float().flatten()
    values = values[values.isfinite()]
    return float(values.topk(min(top, len(values))).values.mean()) if len(values) else 0.0


def present(scores: Tensor | NDArray, cut: float, top: int = TOP) -> Presence:
    """Decide whether an object is in the scene: compare `peak` of the scores [N] with a cut from `calibrate`."""
    score = peak(scores, top)
    return Presence(score > cut, score, cut)


def calibrate(positive_scores: Tensor | NDArray, negative_scores: Tensor | NDArray) -> Calibration:
    """Fit the cut of `present` on labelled scenes.

    Args:
        positive_scores: [A] `peak` of scenes that contain the object.
        negative_scores: [B] `peak` of scenes that do not.

    Returns:
        ``cut`` with the best balanced accuracy (Youden's index), half-way between its two neighbouring scores, in the
        widest of several equally good intervals; ``auc`` from `roc_auc`; ``lowest`` score.

    Raises:
        InputError: no scores, or scores that are not finite.
    """
    positive = _finite_scores("positive_scores", positive_scores)
    negative = _finite_scores("negative_scores", negative_scores)
    values = np.unique(np.concatenate([positive, negative]))
    edges = np.concatenate([[values[0] - 1e-6], (values[:-1] + values[1:]) / 2, [values[-1] + 1e-6]])
    gaps = np.concatenate([[0.0], np.diff(values), [0.0]])
    hits = 1 - np.searchsorted(np.sort(positive), edges, side="right") / len(positive)
    rejections = np.searchsorted(np.sort(negative), edges, side="right") / len(negative)
    youden = hits + rejections - 1
    best = np.flatnonzero(youden >= youden.max() - 1e-12)
    cut, lowest = float(edges[best[gaps[best].argmax()]]), float(values[0])
    return Calibration(cut, roc_auc(positive, negative), lowest=lowest)


def roc_auc(positive_scores: Tensor | NDArray, negative_scores: Tensor | NDArray) -> float:
    """Area under the ROC curve: probability that a positive scores above a negative; ties count one half."""
    positive = _finite_scores("positive_scores", positive_scores)
    negative = _finite_scores("negative_scores", negative_scores)
    negative = np.sort(negative)
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).mean() / (2 * len(negative)))


def _moments(counts: NDArray, x: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Count, mean and variance of the first 1, 2, … bins [B] with counts [B] and centres x [B]."""
    count = np.cumsum(counts)
    safe = np.maximum(count, 1)
    mean = np.cumsum(counts * x) / safe
    # Relative to the overall mean, so that the difference of squares does not cancel.
    shift = (counts * x).sum() / max(counts.sum(), 1)
    square = np.cumsum(counts * (x - shift) ** 2) / safe
    return count, mean, np.maximum(square - (mean - shift) ** 2, 0)


def _standout(values: Tensor) -> float:
    if len(values) == 0:
        return 0.0
    median = values.median()
    return float(median + 3 * 1.4826 * (values - median).abs().median())


def _finite_scores(name: str, scores: Tensor | NDArray) -> NDArray[np.float64]:
    values = torch.as_tensor(scores).detach().cpu().double().flatten().numpy()
    if len(values) == 0 or not np.isfinite(values).all():
        raise InputError(name, "at least one score, all finite", f"{np.isfinite(values).sum()} of {len(values)} finite")
    return values
