"""Semantic segmentation metrics as in Pointcept: counts are summed over scenes before they are divided."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError

_EPS = 1e-10


def confusion_matrix(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    """Count labelled points in a matrix [K, K] int64: rows are true classes, columns predicted ones.

    Add the matrices of scenes to sum over scenes.

    Args:
        prediction: [N] integers in 0 … K − 1 wherever ``target`` is a class.
        target: [N] integers; points with a value outside 0 … K − 1 (−1 = ignore) are left out.
        classes: K.

    Raises:
        InputError: unequal lengths, or a labelled point with a prediction outside 0 … K − 1.
    """
    if prediction.shape != target.shape or prediction.ndim != 1:
        raise InputError("prediction and target", "two vectors of one length", f"{prediction.shape}, {target.shape}")
    prediction, target = prediction.long(), target.long()
    labelled = (target >= 0) & (target < classes)
    cell = torch.where(labelled, target * classes + prediction, classes * classes)
    if bool((labelled & ((prediction < 0) | (prediction >= classes))).any()):
        low, high = int(prediction[labelled].min()), int(prediction[labelled].max())
        raise InputError("prediction", f"classes from 0 to {classes - 1}", f"values from {low} to {high}")
    return torch.bincount(cell, minlength=classes * classes + 1)[:-1].view(classes, classes)


@dataclass(frozen=True)
class SemanticScores:
    """Scores of a confusion matrix, all in 0–1.

    Attributes:
        iou: [K] float64 intersection over union per class; 0 for an absent class.
        acc: [K] float64 recall per class; 0 for a class without labelled points.
        present: [K] bool, classes that are labelled or predicted somewhere.
        miou, macc: means over all K classes, absent ones counting as 0 (the benchmark's figures).
        miou_present: mean IoU over ``present`` classes, for few scenes; NaN without any.
        allacc: share of labelled points with the right prediction.
    """

    iou: Tensor
    acc: Tensor
    present: Tensor
    miou: float
    macc: float
    miou_present: float
    allacc: float


def semantic_scores(confusion: Tensor) -> SemanticScores:
    """Compute `SemanticScores` of a confusion matrix [K, K], in float64 on the CPU."""
    counts = confusion.to("cpu", torch.float64)
    right, labelled, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    union = labelled + predicted - right
    iou, acc, present = right / (union + _EPS), right / (labelled + _EPS), union > 0
    return SemanticScores(
        iou=iou,
        acc=acc,
        present=present,
        miou=float(iou.mean()),
        macc=float(acc.mean()),
        miou_present=float(iou[present].mean()),
        allacc=float(right.sum() / (labelled.sum() + _EPS)),
    )
