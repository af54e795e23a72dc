"""Two views of one scene's points, and which of their voxels stand for the same points.

PointContrast (Xie et al. 2020) with MSC's way of making the views (Wu et al. 2023): two geometrically and
photometrically augmented, masked copies of a scene instead of two frames.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .augment import AugmentConfig, SceneAugmentConfig, augment_scene
from .batch import PointBatch, ViewPair, make_points
from .scene import PointScene

VIEW_AUGMENT = SceneAugmentConfig(
    AugmentConfig(rotate_probability=1.0),
    drop_probability=0.0,
    elastic=(),
    contrast_probability=0.5,
    color_shift=0.1,
    color_noise=0.05,
)
"""Views differ in geometry and in colour: otherwise colour alone tells which voxels match."""


def make_view_pair(
    scene: PointScene,
    voxel_size: float,
    mask_ratio: float,
    most: int,
    rng: np.random.Generator,
    augment: SceneAugmentConfig = VIEW_AUGMENT,
) -> ViewPair:
    """Two masked, augmented copies of a scene, and which of their voxels hold the same point.

    Args:
        voxel_size: edge of the voxels, metres.
        mask_ratio: share of the points that each view lacks, drawn apart.
        most: pairs that the scene contributes, at most.
    """
    n = len(scene)
    # The points' own numbers travel as instance ids through everything that drops or reorders points.
    numbered = replace(scene, segment=None, instance=np.arange(n))
    parts, voxel_of = [], []
    for _ in range(2):
        kept = rng.random(n) >= mask_ratio
        kept[rng.integers(n, size=2)] = True
        view = augment_scene(numbered[kept], augment, rng)
        points, inverse = make_points(view, voxel_size, rng)
        of_point = np.full(n, -1)
        assert view.instance is not None
        of_point[view.instance] = inverse.numpy()
        parts.append(replace(points, instance=None))
        voxel_of.append(of_point)
    matches = match(voxel_of[0], voxel_of[1], most, rng)
    matches[:, 1] += len(parts[0].coord)
    return ViewPair(PointBatch.cat(parts), torch.from_numpy(matches))


def match(first: np.ndarray, second: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most ``most`` pairs [P, 2] of voxels that share a point, drawn at random; every voxel is in one pair at most.

    Args:
        first, second: [N] voxel of every point of the scene in either view, −1 where the view lacks the point.
    """
    both = rng.permutation(np.flatnonzero((first >= 0) & (second >= 0)))
    both = both[np.unique(first[both], return_index=True)[1]]
    both = both[np.unique(second[both], return_index=True)[1]]
    both = rng.permutation(both)[:most]
    return np.stack([first[both], second[both]], 1)
