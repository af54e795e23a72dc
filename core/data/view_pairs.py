"""Pairs of augmented views of one scene's points with matching voxels, for the contrastive loss.

PointContrast (Xie et al. 2020) with the views of MSC (Wu et al. 2023): two geometrically and photometrically
augmented, masked copies of a scene instead of two frames.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .augment import AugmentConfig, SceneAugmentConfig, augment_scene, voxelize
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
"""Augmentation of each view in geometry and colour; with equal colours, colour alone would identify matches."""


def make_view_pair(
    scene: PointScene,
    voxel_size: float,
    mask_ratio: float,
    max_pairs: int,
    rng: np.random.Generator,
    augment: SceneAugmentConfig = VIEW_AUGMENT,
    mask_block: float = 0.0,
) -> ViewPair:
    """Make two masked, augmented copies of a scene and match voxels that hold the same point.

    Args:
        voxel_size: edge of the voxels, metres.
        mask_ratio: share of the points removed from each view.
        max_pairs: largest number of matches.
        mask_block: edge of masked blocks, metres: no block is removed from both views (MSC), so that ``mask_ratio``
            counts up to 0.5. 0 removes single points, drawn independently.
    """
    n = len(scene)
    # Point numbers pass as instance ids through all steps that drop or reorder points.
    numbered = replace(scene, segment=None, instance=np.arange(n))
    parts, voxel_of_point = [], []
    block_draw = None if not mask_block else _draw_per_block(scene.coord, mask_block, rng)  # [N]
    share = min(mask_ratio, 0.5) if mask_block else mask_ratio
    for k in range(2):
        if block_draw is None:
            visible = rng.random(n) >= share  # [N]
        else:
            visible = block_draw >= share if k == 0 else block_draw < 1 - share
        visible[rng.integers(n, size=2)] = True
        view = augment_scene(numbered[visible], augment, rng)
        points, inverse = make_points(view, voxel_size, rng)
        voxels = np.full(n, -1)  # [N]
        assert view.instance is not None
        voxels[view.instance] = inverse.numpy()
        parts.append(replace(points, instance=None))
        voxel_of_point.append(voxels)
    matches = match_voxels(voxel_of_point[0], voxel_of_point[1], max_pairs, rng)  # [P, 2]
    matches[:, 1] += len(parts[0].coord)
    return ViewPair(PointBatch.cat(parts), torch.from_numpy(matches))


def _draw_per_block(coord: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """[N] one uniform number in 0 … 1 per occupied block of edge ``size`` (metres), at each of its points."""
    block = voxelize(coord, size)[2]  # [N]
    return rng.random(int(block.max()) + 1)[block]


def match_voxels(first: np.ndarray, second: np.ndarray, max_pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Draw at most ``max_pairs`` pairs [P, 2] of voxels that share a point; every voxel is in one pair at most.

    Args:
        first, second: [N] voxel of every point of the scene in each view, −1 where the view lacks the point.
    """
    both = rng.permutation(np.flatnonzero((first >= 0) & (second >= 0)))
    both = both[np.unique(first[both], return_index=True)[1]]
    both = both[np.unique(second[both], return_index=True)[1]]
    both = rng.permutation(both)[:max_pairs]
    return np.stack([first[both], second[both]], 1)
