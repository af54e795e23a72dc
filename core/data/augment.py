"""Geometric and colour augmentation, masking and voxelisation of scenes and objects.

Randomness comes from a `numpy.random.Generator` that the caller seeds, so a batch is a pure function of its seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry.gaussians import Gaussians, quat_multiply, transform_gaussians
from .scene import IGNORE, PointScene


@dataclass(frozen=True)
class AugmentConfig:
    """Geometric augmentation (PonderV2), applied to points and camera extrinsics alike.

    Colours are not augmented, because rendered colours are compared with unaugmented images.
    """

    center: bool = True
    """Centre x and y of the bounding box and move its lowest z to 0."""
    rotate_z: float = 1.0
    """Largest rotation about z, in units of π."""
    rotate_xy: float = 1 / 64
    """Largest rotation about x and about y, in units of π."""
    rotate_probability: float = 0.5
    """Chance of each of the three rotations."""
    scale: tuple[float, float] = (0.9, 1.1)
    """Range of the isotropic scale."""
    flip_probability: float = 0.5
    """Chance of mirroring x, and of mirroring y; one mirror makes the extrinsics' determinant negative."""


NO_AUGMENT = AugmentConfig(rotate_probability=0.0, scale=(1.0, 1.0), flip_probability=0.0)
"""Centring only, for evaluation and the viewer."""


def random_transform(coord: NDArray, config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the [4, 4] transform world → augmented world for points [N, 3] (metres, z up).

    Apply it to points by `apply_transform` and to cameras by `Cameras.transformed`, which multiplies the extrinsics by
    its inverse, scale included: ``E' @ x'`` is the original *metric* camera frame, so rendered depth needs no scaling.
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
    """Transform points and unit normals [N, 3] by a similarity [4, 4]; zero normals stay zero."""
    linear = transform[:3, :3]
    size = np.cbrt(abs(np.linalg.det(linear)))
    coord = coord @ linear.T + transform[:3, 3]
    return coord.astype(np.float32), (normal @ (linear / size).T).astype(np.float32)


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    """[4, 4] rotation about a coordinate axis; ``angle`` in radians."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(4)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


@dataclass(frozen=True)
class ObjectAugmentConfig:
    """Augmentation of normalised objects (Uni3D); rotations and sizes of their Gaussians follow."""

    scale: tuple[float, float] = (0.8, 1.25)
    """Range of the isotropic scale."""
    shift: float = 0.1
    """Largest shift along each axis, in radii of the object."""
    tilt: float = 0.06
    """Standard deviation of small rotations about each axis, radians; cut at three times this value."""
    yaw: float = 1.0
    """Largest rotation about y (up), in units of π."""
    color_drop: float = 0.5
    """Chance of replacing all colours by `NO_COLOR`."""


NO_COLOR = 0.4
"""Grey level of a missing colour, in [0, 1] (OpenShape, Uni3D)."""


def augment_object(gaussians: Gaussians, config: ObjectAugmentConfig, rng: np.random.Generator) -> Gaussians:
    """Randomly tilt, turn, scale, shift and possibly decolour an object (Y up, unit ball)."""
    tilts = np.clip(rng.normal(0, config.tilt, 3), -3 * config.tilt, 3 * config.tilt)
    yaw = np.pi * rng.uniform(-config.yaw, config.yaw)
    quat = torch.tensor([1.0, 0.0, 0.0, 0.0])
    for axis, angle in ((0, tilts[0]), (1, tilts[1] + yaw), (2, tilts[2])):
        rotation = torch.zeros(4)
        rotation[0], rotation[1 + axis] = float(np.cos(angle / 2)), float(np.sin(angle / 2))
        quat = quat_multiply(rotation, quat)
    size = float(rng.uniform(*config.scale))
    shift = torch.from_numpy(rng.uniform(-config.shift, config.shift, 3)).float()
    drop = rng.random() < config.color_drop
    out = transform_gaussians(gaussians, quat, size, shift)
    return replace(out, colors=torch.full_like(out.colors, NO_COLOR)) if drop else out


@dataclass(frozen=True)
class SceneAugmentConfig:
    """Augmentation of labelled scenes for supervised training: Pointcept's published recipe for ScanNet."""

    geometry: AugmentConfig = field(default_factory=AugmentConfig)
    """Rotations, scale and mirrors."""
    drop_ratio: float = 0.2
    """Share of the points removed by point dropout."""
    drop_probability: float = 0.2
    """Chance of point dropout."""
    jitter: float = 0.005
    """Standard deviation of each coordinate's noise, metres."""
    jitter_limit: float = 0.02
    """Largest noise of a coordinate, metres."""
    elastic: tuple[tuple[float, float], ...] = ((0.2, 0.4), (0.8, 1.6))
    """Granularity and magnitude of successive elastic distortions, metres; empty = none."""
    elastic_probability: float = 0.95
    """Chance of elastic distortion."""
    contrast_probability: float = 0.2
    """Chance of stretching colours towards their full range."""
    color_shift: float = 0.05
    """Largest shift of each colour channel, as a share of 255."""
    color_shift_probability: float = 0.95
    """Chance of a colour shift."""
    color_noise: float = 0.05
    """Standard deviation of each point's colour noise, as a share of 255."""
    color_noise_probability: float = 0.95
    """Chance of colour noise."""


NO_SCENE_AUGMENT = SceneAugmentConfig(
    NO_AUGMENT,
    drop_probability=0.0,
    jitter=0.0,
    elastic=(),
    contrast_probability=0.0,
    color_shift_probability=0.0,
    color_noise_probability=0.0,
)
"""Centring only."""


def augment_scene(
    scene: PointScene, config: SceneAugmentConfig, rng: np.random.Generator, keep: NDArray[np.bool_] | None = None
) -> PointScene:
    """Randomly thin, transform, distort and recolour a scene; labels stay with their points.

    Args:
        keep: [N] True for points that dropout must not remove.
    """
    if rng.random() < config.drop_probability:
        dropped = random_mask(len(scene), config.drop_ratio, rng)
        scene = scene[~dropped if keep is None else ~dropped | keep]
    transform = random_transform(scene.coord, config.geometry, rng)
    coord, normal = apply_transform(transform, scene.coord, scene.normal)
    if config.jitter:
        coord = jitter(coord, config.jitter, config.jitter_limit, rng)
    if config.elastic and rng.random() < config.elastic_probability:
        for granularity, magnitude in config.elastic:
            coord = elastic_distortion(coord, granularity, magnitude, rng)
    color = scene.color.astype(np.float32)
    if rng.random() < config.contrast_probability:
        color = auto_contrast(color, rng.random())
    if rng.random() < config.color_shift_probability:
        color = shift_color(color, config.color_shift, rng)
    if rng.random() < config.color_noise_probability:
        color = jitter_color(color, config.color_noise, rng)
    return replace(scene, coord=coord, normal=normal, color=np.rint(color).astype(np.uint8))


def jitter(coord: NDArray, sigma: float, limit: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add normal noise of standard deviation ``sigma``, clipped at ``limit``, to points [N, 3]; all in metres."""
    noise = rng.standard_normal(coord.shape, np.float32) * np.float32(sigma)
    return (coord + noise.clip(-limit, limit)).astype(np.float32)


def elastic_distortion(
    coord: NDArray, granularity: float, magnitude: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Displace points [N, 3] by a smooth random field (Choy et al. 2019, as in Pointcept).

    Normal noise on a lattice of pitch ``granularity`` (metres) around the points is box-filtered twice along each axis,
    with zeros beyond the lattice, interpolated linearly, and multiplied by ``magnitude`` (metres).
    """
    from scipy.ndimage import map_coordinates, uniform_filter1d  # slow to import

    low = coord.min(0)
    shape = ((coord.max(0) - low) // granularity).astype(int) + 3
    noise = rng.standard_normal((3, *shape), np.float32)
    for axis in (1, 2, 3, 1, 2, 3):
        noise = uniform_filter1d(noise, 3, axis=axis, mode="constant")
    at = ((coord - low) / granularity + 1).T  # the lattice begins one cell before the points
    shift = np.stack([map_coordinates(part, at, order=1) for part in noise], 1)
    return (coord + magnitude * shift).astype(np.float32)


def auto_contrast(color: NDArray, blend: float) -> NDArray[np.float32]:
    """Blend colours [N, 3] in 0–255 with copies stretched to the whole range per channel; ``blend`` 0 keeps them."""
    low, high = color.min(0), color.max(0)
    stretched = (color - low) * (255 / np.maximum(high - low, 1e-6))
    return np.where(high > low, (1 - blend) * color + blend * stretched, color).astype(np.float32)


def shift_color(color: NDArray, ratio: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Shift each channel of colours [N, 3] in 0–255 by a random value of at most ``ratio`` · 255."""
    return (color + 255 * rng.uniform(-ratio, ratio, 3)).clip(0, 255).astype(np.float32)


def jitter_color(color: NDArray, std: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add normal noise of standard deviation ``std`` · 255 to colours [N, 3] in 0–255."""
    noise = rng.standard_normal(color.shape, np.float32) * np.float32(255 * std)
    return (color + noise).clip(0, 255).astype(np.float32)


def sphere_crop(coord: NDArray, max_points: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ascending indices of the ``max_points`` points nearest to a random one of [N, 3]; all if there are no more."""
    if len(coord) <= max_points:
        return np.arange(len(coord))
    distance = ((coord - coord[rng.integers(len(coord))]) ** 2).sum(1)  # [N]
    return np.sort(np.argpartition(distance, max_points - 1)[:max_points])


def mix3d(scenes: Sequence[PointScene], probability: float, rng: np.random.Generator) -> list[PointScene]:
    """Mix3D: overlay pairs of scenes with a probability (Nekrasov et al. 2021; batch-wise, as in Pointcept).

    With ``probability`` the first and second, third and fourth, … scene are joined (an odd last one is kept);
    otherwise all scenes are returned unchanged. Scenes should be centred.
    """
    if rng.random() >= probability:
        return list(scenes)
    pairs = [scenes[i : i + 2] for i in range(0, len(scenes), 2)]
    return [join_scenes(*pair) if len(pair) == 2 else pair[0] for pair in pairs]


def join_scenes(first: PointScene, second: PointScene) -> PointScene:
    """Join the points of two scenes; instance ids of the second follow those of the first.

    Where only one scene has labels, the other's points are unlabelled.
    """
    a, b = first.arrays(), second.arrays()
    if a["instance"] is not None and b["instance"] is not None and len(first):
        b["instance"] = np.where(b["instance"] < 0, IGNORE, b["instance"] + max(0, int(a["instance"].max()) + 1))
    joined = {}
    for name in a:
        parts = [a[name], b[name]]
        if all(p is None for p in parts):
            joined[name] = None
            continue
        unlabelled = [np.full(len(s), IGNORE, np.int64) for s in (first, second)]
        joined[name] = np.concatenate([u if p is None else p for p, u in zip(parts, unlabelled, strict=True)])
    return PointScene(f"{first.name}+{second.name}", **joined)


def random_mask(n: int, ratio: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[N] mask, True for exactly ``round(ratio · n)`` random points; at least one point stays False."""
    masked = np.zeros(n, bool)
    masked[rng.permutation(n)[: min(round(ratio * n), n - 1)]] = True
    return masked


def block_mask(coord: NDArray, ratio: float, size: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[N] mask, True for the points in about ``ratio`` of the occupied blocks of edge ``size`` (metres).

    At least one block stays False.
    """
    _, _, block = voxelize(coord, size)
    return random_mask(int(block.max()) + 1, ratio, rng)[block]


def voxelize(
    coord: NDArray, size: float, rng: np.random.Generator | None = None
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Subsample points to one per occupied voxel (Pointcept's GridSample).

    Args:
        coord: [N, 3] metres.
        size: voxel edge, metres.
        rng: picks a random point of each voxel; None takes the first in input order.

    Returns:
        grid_coord [V, 3] int32 voxel indices from 0, in lexicographic order; index [V] of each voxel's point;
        inverse [N], the voxel of every point.
    """
    grid = np.floor(coord / size).astype(np.int64)  # [N, 3]
    grid -= grid.min(0)
    dims = grid.max(0) + 1
    key = (grid[:, 0] * dims[1] + grid[:, 1]) * dims[2] + grid[:, 2]  # [N]
    order = np.argsort(key, kind="stable")  # [N]
    first = np.ones(len(key), bool)  # [N] whether a point, in order, is the first of its voxel
    first[1:] = key[order[1:]] != key[order[:-1]]
    inverse = np.empty(len(key), np.int64)
    inverse[order] = np.cumsum(first) - 1
    start = np.flatnonzero(first)  # [V]
    if rng is None:
        pick = start
    else:
        count = np.diff(np.append(start, len(key)))  # [V]
        pick = start + (rng.random(len(start)) * count).astype(np.int64)
    index = order[pick]
    return grid[index].astype(np.int32), index, inverse
