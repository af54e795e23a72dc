"""Classification by a point's height or colour alone.

A data set on which such shortcuts work teaches nothing. Both classifiers here are the best possible ones for their
single feature: Bayes' rule on histograms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from gaussiancross.core.data.scene import PointScene
from numpy.typing import NDArray

_HEIGHT_BIN = 0.05
_COLOR_BINS = 16


def features(scene: PointScene, kind: str) -> NDArray[np.int64]:
    """[N] histogram bin of each point's "height" (5 cm steps, up to 3.2 m) or "color" (16³ cells)."""
    if kind == "height":
        return np.clip(scene.coord[:, 2] / _HEIGHT_BIN, 0, 63).astype(np.int64)
    r, g, b = (scene.color[:, c].astype(np.int64) * _COLOR_BINS // 256 for c in range(3))
    return (r * _COLOR_BINS + g) * _COLOR_BINS + b


def shortcut_miou(train: Iterable[PointScene], val: Iterable[PointScene], kind: str, classes: int = 20) -> float:
    """Mean IoU over ``val`` of the histogram classifier fitted to ``train``; classes absent from ``val`` do not count.

    Args:
        train, val: labelled scenes.
        kind: "height" or "color".
    """
    bins = 64 if kind == "height" else _COLOR_BINS**3
    joint = _counts(train, kind, bins, classes)
    # one vote per class instead of one per point, so that walls and floors do not take every bin: better mIoU
    likelihood = (joint + 0.1) / (joint.sum(0, keepdims=True) + 0.1 * bins)
    best = 0.0
    seen = _counts(val, kind, bins, classes)
    prior = np.maximum(joint.sum(0), 1) / joint.sum()
    for balance in np.linspace(0, 1, 6):
        predicted = (likelihood * prior**balance).argmax(1)
        best = max(best, _miou(seen, predicted, classes))
    return best


def _counts(scenes: Iterable[PointScene], kind: str, bins: int, classes: int) -> NDArray[np.float64]:
    """[bins, classes] points."""
    out = np.zeros((bins, classes))
    for scene in scenes:
        assert scene.segment is not None
        known = scene.segment >= 0
        np.add.at(out, (features(scene, kind)[known], scene.segment[known]), 1)
    return out


def _miou(seen: NDArray, predicted: NDArray, classes: int) -> float:
    ious: Sequence[float] = []
    for c in range(classes):
        if seen[:, c].sum() == 0:
            continue
        hit = seen[predicted == c, c].sum()
        union = seen[:, c].sum() + seen[predicted == c].sum() - hit
        ious = [*ious, float(hit / union)]
    return float(np.mean(ious))
