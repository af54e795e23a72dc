"""What happens to a scene before the network sees it: geometric augmentation, masking, voxelisation.

Randomness comes from a `numpy.random.Generator` that the caller seeds, so a batch is a pure function of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from .gaussians import Gaussians, moved, quat_multiply


@dataclass(frozen=True)
class AugmentConfig:
    """Geometric augmentation (PonderV2). Every one is applied to the camera extrinsics too; colours are left alone,
    because the rendered colours are compared with images that have no jitter."""

    center: bool = True
    """Shift x and y so that the scene is centred, and z so that its floor is at 0."""
    rotate_z: float = 1.0
    """Largest rotation about z, in units of π."""
    rotate_xy: float = 1 / 64
    """Largest rotation about x and about y, in units of π."""
    rotate_probability: float = 0.5
    """Chance of each of the three rotations."""
    scale: tuple[float, float] = (0.9, 1.1)
    """Range of the isotropic scale."""
    flip_probability: float = 0.5
    """Chance of a mirror along x, and of one along y. One flip makes the extrinsics' determinant negative."""


NO_AUGMENT = AugmentConfig(rotate_probability=0.0, scale=(1.0, 1.0), flip_probability=0.0)
"""Centre only: what evaluation and the viewer use."""


def random_transform(coord: NDArray, config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the [4, 4] map world → augmented world for points [N, 3] (metres, z up).

    Points go through ``apply_transform``; cameras through ``Cameras.transformed``, which post-multiplies the extrinsics
    by the inverse, scale included. ``E' @ x'`` is then the original *metric* camera frame: rendered depth needs no
    further scaling (the depth trap of the method's code base).
    """
    transform = np.eye(4)
    if config.center:
        low, high = coord.min(0), coord.max(0)
        transform[:3, 3] = -np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], np.float64)
    for axis, limit in ((2, config.rotate_z), (0, config.rotate_xy), (1, config.rotate_xy)):
        if rng.random() < config.rotate_probability:
            transform = _rotation(axis, np.pi * rng.uniform(-limit, limit)) @ transform
    size = rng.uniform(*config.scale)
    flips = [-1.0 if rng.random() < config.flip_probability else 1.0 for _ in range(2)]
    return np.diag([size * flips[0], size * flips[1], size, 1.0]) @ transform


def apply_transform(
    transform: NDArray, coord: NDArray, normal: NDArray
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points and unit normals [N, 3] through a similarity [4, 4] (normals stay unit, zero normals stay zero)."""
    linear = transform[:3, :3]
    size = np.cbrt(abs(np.linalg.det(linear)))
    moved = coord @ linear.T + transform[:3, 3]
    return moved.astype(np.float32), (normal @ (linear / size).T).astype(np.float32)


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(4)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


@dataclass(frozen=True)
class ObjectAugmentConfig:
    """Augmentation of normalised objects (Uni3D's; rotations and sizes of the Gaussians follow the object's)."""

    scale: tuple[float, float] = (0.8, 1.25)
    """Range of the isotropic scale."""
    shift: float = 0.1
    """Largest shift along each axis, in radii of the object."""
    tilt: float = 0.06
    """Standard deviation of small rotations about each axis, radians; three times it at most."""
    yaw: float = 1.0
    """Largest rotation about y (up), in units of π."""
    color_drop: float = 0.5
    """Chance that all colours are replaced by `NO_COLOR`."""


NO_COLOR = 0.4
"""Grey that stands for a missing colour (OpenShape, Uni3D)."""


def augment_object(gaussians: Gaussians, config: ObjectAugmentConfig, rng: np.random.Generator) -> Gaussians:
    """A randomly tilted, turned, scaled, shifted and perhaps colourless copy of an object (Y up, unit ball)."""
    tilts = np.clip(rng.normal(0, config.tilt, 3), -3 * config.tilt, 3 * config.tilt)
    yaw = np.pi * rng.uniform(-config.yaw, config.yaw)
    quat = torch.tensor([1.0, 0.0, 0.0, 0.0])
    for axis, angle in ((0, tilts[0]), (1, tilts[1] + yaw), (2, tilts[2])):
        turn = torch.zeros(4)
        turn[0], turn[1 + axis] = float(np.cos(angle / 2)), float(np.sin(angle / 2))
        quat = quat_multiply(turn, quat)
    size = float(rng.uniform(*config.scale))
    shift = torch.from_numpy(rng.uniform(-config.shift, config.shift, 3)).float()
    drop = rng.random() < config.color_drop
    out = moved(gaussians, quat, size, shift)
    return replace(out, colors=torch.full_like(out.colors, NO_COLOR)) if drop else out


def random_mask(n: int, ratio: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[N] True for exactly ``round(ratio · n)`` points chosen at random; at least one point stays False."""
    masked = np.zeros(n, bool)
    masked[rng.permutation(n)[: min(round(ratio * n), n - 1)]] = True
    return masked


def block_mask(coord: NDArray, ratio: float, size: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[N] True for the points of about ``ratio`` of the occupied ``size``-metre blocks (at least one block stays)."""
    _, _, block = voxelize(coord, size)
    return random_mask(int(block.max()) + 1, ratio, rng)[block]


def voxelize(
    coord: NDArray, size: float, rng: np.random.Generator | None = None
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Grid subsampling (Pointcept's GridSample): one point per occupied voxel.

    Args:
        coord: [N, 3] metres.
        size: voxel edge, metres.
        rng: picks a random point of each voxel; without it the first point in input order.

    Returns:
        grid_coord [V, 3] int32 voxel indices from 0, in lexicographic order; index [V] of the point that stands for
        each voxel; inverse [N], the voxel of every point.
    """
    grid = np.floor(coord / size).astype(np.int64)
    grid -= grid.min(0)
    dims = grid.max(0) + 1
    key = (grid[:, 0] * dims[1] + grid[:, 1]) * dims[2] + grid[:, 2]
    order = np.argsort(key, kind="stable")
    first = np.ones(len(key), bool)
    first[1:] = key[order[1:]] != key[order[:-1]]
    inverse = np.empty(len(key), np.int64)
    inverse[order] = np.cumsum(first) - 1
    start = np.flatnonzero(first)
    if rng is None:
        pick = start
    else:
        count = np.diff(np.append(start, len(key)))
        pick = start + (rng.random(len(start)) * count).astype(np.int64)
    index = order[pick]
    return grid[index].astype(np.int32), index, inverse
