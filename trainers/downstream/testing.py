"""Final test: votes of several augmented passes over each scene, scored on its original points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.data.augment import apply_transform, voxelize
from ...core.data.batch import PointBatch, make_points
from ...core.data.scene import PointScene
from ...core.errors import InputError
from ...core.io.arrays import read_array
from ...core.io.atomic import atomic_file
from .config import TestConfig

Predict = Callable[[PointBatch], Tensor]
"""Voxels of one scene → class logits [V, K]."""


@dataclass(frozen=True)
class Pass:
    """One augmentation of a scene: rotation by ``quarters`` · 90° about z, scale, flip.

    The published flip mirrors x *and* y, which is a half turn.
    """

    quarters: int = 0
    scale: float = 1.0
    flip: bool = False

    def transform(self) -> NDArray[np.float64]:
        """Return the transformation matrix [4, 4]."""
        cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[self.quarters % 4]
        sign = -1 if self.flip else 1
        linear = self.scale * sign * np.array([[cos, -sin], [sin, cos]])
        return np.block([[linear, np.zeros((2, 2))], [np.zeros((2, 2)), np.diag([self.scale, 1.0])]])


THIRTEEN = (*(Pass(q, s) for s in (1.0, 0.95, 1.05) for q in range(4)), Pass(flip=True))
"""Passes of the released test code: four rotations at three scales, and a flip."""

PASSES = {"thirteen": THIRTEEN, "one": (Pass(),)}


def fragments(coord: NDArray, voxel_size: float) -> Iterator[NDArray[np.int64]]:
    """Yield sets of indices [V], one point per voxel, that together cover all points [N, 3].

    As Pointcept's GridSample in test mode: the k-th set takes point k mod count of each voxel.
    """
    _, _, inverse = voxelize(coord, voxel_size)
    order = np.argsort(inverse, kind="stable")
    count = np.bincount(inverse)
    start = np.cumsum(count) - count
    for k in range(int(count.max())):
        yield order[start + k % count]


@torch.no_grad()
def vote(scene: PointScene, predict: Predict, classes: int, voxel_size: float, config: TestConfig) -> Tensor:
    """Return the summed class probabilities [N, K] of the scene's points, on the CPU."""
    votes = torch.zeros(len(scene), classes)
    for augmentation in PASSES[config.passes]:
        coord, normal = apply_transform(augmentation.transform(), scene.coord, scene.normal)
        moved = replace(scene, coord=coord, normal=normal, segment=None, instance=None)
        if not config.fragments:
            points, inverse = make_points(moved, voxel_size)
            votes += predict(points).float().softmax(1).cpu()[inverse]
            continue
        for index in fragments(coord, voxel_size):
            part = moved[index]
            # One point per voxel, so nothing is dropped; their order is that of the voxels, as in `fragments`.
            points, inverse = make_points(part, voxel_size)
            votes[index] += predict(points).float().softmax(1).cpu()[inverse]
    return votes


def cached_prediction(path: Path, points: int, predict: Callable[[], Tensor]) -> Tensor:
    """Read the classes [N] from ``path``, or call ``predict`` and write them there atomically.

    Raises:
        InputError: an array of another length, or a file that cannot be written.
    """
    if path.is_file():
        return torch.from_numpy(read_array(path, shape=(points,)).astype(np.int64))
    predicted = predict()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial, partial.open("wb") as file:
            np.save(file, predicted.numpy().astype(np.int16), allow_pickle=False)
    except OSError as error:
        raise InputError(path, "a folder to keep predictions in", f"{error}", "check it and the space left") from error
    return predicted
