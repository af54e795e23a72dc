"""Instance segmentation metrics of ScanNet's benchmark: AP, AP50 and AP25, with matches pooled over scenes per class.

The rules of the official script and Pointcept's port of it:

- A true instance is all points of one id ≥ 0; its class is that of its first point. Ids of an ignored class are not
  instances. One with fewer than ``min_region`` points need not be found, and predictions that cover it are no errors.
- A prediction with fewer points, or of an ignored class, is dropped.
- A pair of one class matches if IoU > threshold (strictly). True instances are visited by id and take their first
  match in the order of the predictions; each further match that is still free is a duplicate, and the lower score of
  the two is a false positive.
- A prediction without any match is a false positive, unless more than ``threshold`` of it lies on ignored classes and
  small instances.
- Predictions of equal score are one step of the precision–recall curve, whose area is Σ precision · (half the recall
  between the neighbouring steps).
- AP is the mean over IoU 0.50, 0.55, … 0.90 (0.95 is not among them). A class without true instances is left out of
  the means; a class without predictions counts as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError

THRESHOLDS = tuple(float(t) for t in np.append(np.arange(0.5, 0.95, 0.05), 0.25))
"""IoU thresholds of ScanNet: the nine that AP averages, and 0.25 for AP25."""

MIN_REGION = 100
"""Smallest number of points of a true instance that must be found, and of a prediction that counts."""


@dataclass(frozen=True)
class InstanceScores:
    """All in 0–1; NaN for a class without true instances.

    Attributes:
        table: [K, 10] float64 AP of each class at each of `THRESHOLDS`.
        ap, ap50, ap25: [K] float64 per class: mean over 0.50–0.90, at 0.50, at 0.25.
        mean_ap, mean_ap50, mean_ap25: means over the classes that have true instances; NaN without any.
    """

    table: Tensor
    ap: Tensor
    ap50: Tensor
    ap25: Tensor
    mean_ap: float
    mean_ap50: float
    mean_ap25: float


@dataclass(frozen=True)
class _Scene:
    """Input of matching for one scene; pairs are sorted by instance, then by prediction."""

    true_class: NDArray[np.int64]  # [G] true instances that are large enough, by id
    pred_class: NDArray[np.int64]  # [P] predictions that count
    score: NDArray[np.float64]  # [P]
    ignorable: NDArray[np.float64]  # [P] share on ignored classes and on small instances of its own class
    pair_true: NDArray[np.int64]  # [M] row of true_class, −1 for an instance that is too small
    pair_pred: NDArray[np.int64]  # [M]
    pair_iou: NDArray[np.float64]  # [M] above 0, classes equal


class InstanceAP:
    """Accumulator of scenes for average precision.

    Args:
        classes: K.
        ignored: classes that need not be found and cause no errors (ScanNet: wall and floor, 0 and 1); labels outside
            0 … K − 1 are always ignored.
        min_region: smallest number of points of an instance.
    """

    def __init__(self, classes: int, ignored: Sequence[int] = (), min_region: int = MIN_REGION) -> None:
        self.classes, self.min_region = classes, min_region
        self._valid = np.ones(classes, bool)
        self._valid[list(ignored)] = False
        self._scenes: list[_Scene] = []

    def __len__(self) -> int:
        """Number of scenes added."""
        return len(self._scenes)

    def add(
        self,
        segment: Tensor,
        instance: Tensor,
        masks: Tensor | Sequence[Tensor],
        classes: Tensor | Sequence[int],
        scores: Tensor | Sequence[float],
    ) -> None:
        """Add one scene, on its original points.

        Args:
            segment: [N] integer true classes; values outside 0 … K − 1 are unlabelled.
            instance: [N] integer true instance ids; negative values are no instance.
            masks: P predictions: [P, N], nonzero for the points of each; or P vectors of distinct point indices.
                Predictions may overlap.
            classes: [P] predicted classes.
            scores: [P] confidences; higher is more confident.

        Raises:
            InputError: lengths do not match, a class outside 0 … K − 1, a score that is not finite.
        """
        segment_, instance_ = _numpy(segment, np.int64), _numpy(instance, np.int64)
        class_, score = _numpy(classes, np.int64), _numpy(scores, np.float64)
        self._check(segment_, instance_, masks, class_, score)
        labelled = (segment_ >= 0) & (segment_ < self.classes)
        labelled[labelled] = self._valid[segment_[labelled]]

        ids, first, group = np.unique(instance_, return_index=True, return_inverse=True)
        true_class = np.where(labelled[first] & (ids >= 0), segment_[first], -1)
        true_size = np.bincount(group, minlength=len(ids))
        required = (true_class >= 0) & (true_size >= self.min_region)

        # One column per id and one for all points of ignored classes: a point can be in both.
        size, overlap, void = _overlaps(masks, len(segment_), group, len(ids), ~labelled)
        countable = (size >= self.min_region) & self._valid[class_]
        size, overlap, void = size[countable], overlap[countable], void[countable]
        class_, score = class_[countable], score[countable]
        overlap[class_[:, None] != true_class] = 0
        small = overlap[:, (true_class >= 0) & ~required].sum(1)

        column, pred = np.nonzero(overlap.T)
        common = overlap[pred, column]
        row_of_column = np.where(required, np.cumsum(required) - 1, -1)
        self._scenes.append(
            _Scene(
                true_class=true_class[required],
                pred_class=class_,
                score=score,
                ignorable=(void + small) / size,
                pair_true=row_of_column[column],
                pair_pred=pred,
                pair_iou=common / (size[pred] + true_size[column] - common),
            )
        )

    def scores(self) -> InstanceScores:
        """Average precision over all scenes added."""
        table = np.full((self.classes, len(THRESHOLDS)), np.nan)
        present = np.unique(np.concatenate([s.true_class for s in self._scenes] or [np.zeros(0, np.int64)]))
        for column, threshold in enumerate(THRESHOLDS if self._scenes else ()):
            matches = [_match(scene, threshold) for scene in self._scenes]
            kind, score, right, missed = (np.concatenate(x) for x in zip(*matches, strict=True))
            for k in present:
                mine = kind == k
                table[k, column] = average_precision(score[mine], right[mine], int((missed == k).sum()))
        scored = table[present] if len(present) else np.full((1, len(THRESHOLDS)), np.nan)
        at = {round(t, 2): i for i, t in enumerate(THRESHOLDS)}
        high = [i for t, i in at.items() if t >= 0.5]
        return InstanceScores(
            table=torch.from_numpy(table),
            ap=torch.from_numpy(table[:, high].mean(1)),
            ap50=torch.from_numpy(table[:, at[0.5]].copy()),
            ap25=torch.from_numpy(table[:, at[0.25]].copy()),
            mean_ap=float(scored[:, high].mean()),
            mean_ap50=float(scored[:, at[0.5]].mean()),
            mean_ap25=float(scored[:, at[0.25]].mean()),
        )

    def _check(
        self,
        segment: NDArray[np.int64],
        instance: NDArray[np.int64],
        masks: Tensor | Sequence[Tensor],
        classes: NDArray[np.int64],
        score: NDArray[np.float64],
    ) -> None:
        if segment.ndim != 1 or segment.shape != instance.shape:
            raise InputError("segment and instance", "two vectors of one length", f"{segment.shape}, {instance.shape}")
        if isinstance(masks, Tensor) and (masks.ndim != 2 or masks.shape[1] != len(segment)):
            raise InputError("masks", f"[P, {len(segment)}]", f"{list(masks.shape)}")
        if not len(masks) == len(classes) == len(score):
            found = f"{len(masks)}, {len(classes)} and {len(score)}"
            raise InputError("predictions", "as many masks as classes and scores", found)
        if len(classes) and (classes.min() < 0 or classes.max() >= self.classes):
            found = f"values from {classes.min()} to {classes.max()}"
            raise InputError("predicted classes", f"0 to {self.classes - 1}", found)
        if not np.isfinite(score).all():
            raise InputError("scores", "finite numbers", "NaN or infinity")


def average_precision(score: NDArray[np.float64], right: NDArray[np.bool_], missed: int) -> float:
    """Area under the precision–recall curve as ScanNet computes it.

    The curve has one point per distinct score s, for all detections with a score of at least s, and a last one with
    precision 1 and recall 0. The weight of each precision is half the recall between its neighbours (the first recall
    is repeated before the curve; 0 follows it).

    Args:
        score: [D] scores of the detections that count.
        right: [D] whether each is a true positive.
        missed: number of true instances without a match.
    """
    order = np.argsort(score, kind="stable")
    score, right = score[order], right[order]
    _, start = np.unique(score, return_index=True)
    below = np.concatenate([[0], np.cumsum(right)])[start]  # true positives of lower scores
    true = right.sum() - below
    precision = np.append(true / (len(score) - start), 1.0)
    recall = np.append(true / max(1, right.sum() + missed), 0.0)
    padded = np.concatenate([recall[:1], recall, [0.0]])
    return float(precision @ (padded[:-2] - padded[2:]) / 2)


def _match(scene: _Scene, threshold: float) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Class, score and correctness of one scene's detections, and the classes of true instances without a match."""
    above = scene.pair_iou > threshold
    touched = np.zeros(len(scene.score), bool)
    touched[scene.pair_pred[above]] = True
    false = ~touched & (scene.ignorable <= threshold)

    best = np.full(len(scene.true_class), -np.inf)
    visited = np.zeros(len(scene.score), bool)
    duplicates: list[tuple[int, float]] = []
    candidates = above & (scene.pair_true >= 0)
    for t, p in zip(scene.pair_true[candidates].tolist(), scene.pair_pred[candidates].tolist(), strict=True):
        if visited[p]:
            continue
        score = float(scene.score[p])
        if best[t] == -np.inf:
            best[t], visited[p] = score, True
        else:  # as in the official script, a duplicate may still match another instance
            duplicates.append((int(scene.true_class[t]), min(float(best[t]), score)))
            best[t] = max(float(best[t]), score)
    matched = best > -np.inf
    twice = np.array([k for k, _ in duplicates], np.int64), np.array([s for _, s in duplicates])
    return (
        np.concatenate([scene.true_class[matched], scene.pred_class[false], twice[0]]),
        np.concatenate([best[matched], scene.score[false], twice[1]]),
        np.repeat([True, False], [matched.sum(), false.sum() + len(duplicates)]),
        scene.true_class[~matched],
    )


def _overlaps(
    masks: Tensor | Sequence[Tensor], points: int, group: NDArray, groups: int, void: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number of points of each prediction [P], of these in each group [P, G], and of these in ``void`` [P]."""
    code = (group * 2 + void).astype(np.int32)
    counts = np.zeros((len(masks), groups, 2), np.int64)
    for i, mask in enumerate(masks):
        inside = _numpy(mask)
        if isinstance(masks, Tensor):
            index = np.flatnonzero(inside)
        else:
            index = inside.astype(np.int64)
            if index.ndim != 1 or (len(index) and (index.min() < 0 or index.max() >= points)):
                raise InputError(f"masks[{i}]", f"point indices from 0 to {points - 1}", "others")
        counts[i] = np.bincount(code[index], minlength=2 * groups).reshape(groups, 2)
    return counts.sum((1, 2)), counts.sum(2), counts[:, :, 1].sum(1)


def _numpy(values: Tensor | Sequence[float], dtype: type | None = None) -> NDArray:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return array if dtype is None else array.astype(dtype)
