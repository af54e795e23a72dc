"""Geometry of loaded scenes: centres, extent, typical spacing, depth range and up direction, in the scene's world."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import InputError
from ...core.geometry.gaussians import Gaussians, quat_to_rotmat
from .nearest import tree
from .source import SceneState

Up = Literal["+z", "-z", "+y", "-y", "+x", "-x"]

UP: dict[Up, tuple[float, float, float]] = {
    "+z": (0.0, 0.0, 1.0),
    "-z": (0.0, 0.0, -1.0),
    "+y": (0.0, 1.0, 0.0),
    "-y": (0.0, -1.0, 0.0),
    "+x": (1.0, 0.0, 0.0),
    "-x": (-1.0, 0.0, 0.0),
}
"""The direction that each choice calls up, in the scene's world."""


def subset(n: int, limit: int) -> NDArray[np.int64]:
    """At most ``limit`` of ``n`` indices, the same ones every time."""
    if n <= limit:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, limit, replace=False))


def centers_in_world(state: SceneState) -> NDArray[np.floating]:
    """[N, 3] centres of the Gaussians in the scene's world, metres."""
    assert state.gaussians is not None
    means = state.gaussians.means.cpu().numpy()
    if state.transform is None:
        return means
    inverse = np.linalg.inv(state.transform.double().numpy())
    return means @ inverse[:3, :3].T + inverse[:3, 3]


def bounds(state: SceneState) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner [3] of the scene, from the 1 % and 99 % percentiles: a few stray points do not zoom
    the camera out."""
    if state.points is not None:
        coord = state.points.coord
    elif state.gaussians is not None:
        coord = centers_in_world(state)
    else:
        return np.full(3, -1.0), np.full(3, 1.0)
    low, high = np.percentile(coord[subset(len(coord), 200_000)], [1, 99], axis=0)
    return low, high


def point_size(state: SceneState) -> float:
    """A radius in metres at which points form a surface: the median distance to the nearest one. Found once per
    state."""
    return state.memo("point size", lambda: _point_size(state))


def _point_size(state: SceneState) -> float:
    coord = None if state.points is None else state.points.coord
    if coord is None and state.gaussians is not None:
        coord = state.gaussians.means.cpu().numpy()
    if coord is None or len(coord) < 2:
        return 0.015
    slabs = _slabs(coord) if len(coord) > _SLABS * _SLAB else [coord]
    distance = [tree(slab).query(slab[subset(len(slab), 2000 // len(slabs))], k=2)[0][:, 1] for slab in slabs]
    return float(np.clip(np.median(np.concatenate(distance)), 0.001, 0.1))


_SLABS, _SLAB = 10, 50_000
"""Slabs of a large scene that distances are taken from, and their points."""


def _slabs(coord: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    """Thin slabs across the longest side of a scene: a search tree over all of its points takes seconds per million."""
    order = np.argsort(coord[:, np.ptp(coord, 0).argmax()])
    starts = np.linspace(0, len(coord) - _SLAB, _SLABS).astype(int)
    return [coord[order[start : start + _SLAB]] for start in starts]


def depth_range(state: SceneState) -> tuple[float, float]:
    """Near and far for the depth colours of a scene, metres: 2–98 % of the measured depths (up to 8 frames, at
    a low resolution), else 0 to the diagonal of its points."""
    if state.frames is not None and len(state.frames):
        picks = np.unique(np.linspace(0, len(state.frames) - 1, 8).astype(int))
        values = np.concatenate([state.frames.read(int(i), 64, 48).depth.ravel() for i in picks])
        values = values[values > 0]
        if len(values):
            near, far = np.percentile(values, [2, 98])
            near = max(0.0, float(np.floor(near * 2) / 2))
            return near, max(near + 0.5, float(np.ceil(far * 2) / 2))
    low, high = bounds(state)
    return 0.0, float(np.ceil(np.linalg.norm(high - low)))


def overview_frame(state: SceneState) -> int:
    """The dataset camera with most of the scene before it: the one that projects the most points into its picture, of
    those not nearer than half a metre to the camera. 0 without frames or points."""
    if state.frames is None or state.points is None or not len(state.frames):
        return 0
    cameras = state.frames.cameras
    coord = torch.from_numpy(state.points.coord[subset(len(state.points), 5_000)])
    uv, z = cameras.project(coord)
    size = torch.tensor([cameras.width, cameras.height])
    return int((((uv > 0) & (uv < size)).all(-1) & (z > 0.5)).sum(1).argmax())


def world_gaussians(state: SceneState) -> Gaussians:
    """The state's Gaussians in the scene's world, on the CPU (networks see an augmented world: a similarity of it)."""
    if state.gaussians is None:
        raise InputError(state.name, "Gaussians", "points only", "open a run or splats")
    g = state.gaussians.detach().to("cpu")
    if state.transform is None:
        return g
    inverse = torch.linalg.inv(state.transform.double())
    linear = inverse[:3, :3]
    size = torch.linalg.det(linear).abs() ** (1 / 3)
    axes = (linear / size) @ quat_to_rotmat(g.quats.double())
    axes[:, :, 2] *= torch.linalg.det(axes).sign()[:, None]  # a mirrored ellipsoid, its axes right-handed again
    return replace(
        g,
        means=(g.means.double() @ linear.T + inverse[:3, 3]).float(),
        quats=rotmat_to_quat(axes).float(),
        scales=(g.scales.double() * size).float(),
    )


def rotmat_to_quat(rotations: Tensor) -> Tensor:
    """Rotations [N, 3, 3] → unit quaternions [N, 4] wxyz with w ≥ 0."""
    from scipy.spatial.transform import Rotation

    xyzw = torch.from_numpy(Rotation.from_matrix(rotations.numpy()).as_quat())
    quats = xyzw[:, [3, 0, 1, 2]]
    return torch.where(quats[:, :1] < 0, -quats, quats)


def guess_up(state: SceneState) -> Up:
    """Upward direction: z for scenes with frames or from a network (their world is z up), else `up_of` its points."""
    if state.frames is not None or state.transform is not None:
        return "+z"
    if state.points is not None:
        return up_of(state.points.coord)
    return "+z" if state.gaussians is None else up_of(centers_in_world(state))


def up_of(coord: NDArray[np.floating]) -> Up:
    """Estimate the upward direction from points [N, 3].

    Rooms and captures extend least along the vertical and have many points in one horizontal plane, the floor, at the
    denser end. z and the positive direction win near ties.
    """
    coord = np.asarray(coord, np.float64)[subset(len(coord), 50_000)]
    coord = coord[np.isfinite(coord).all(1)]
    if len(coord) < 10:
        return "+z"
    low, high = np.percentile(coord, [1, 99], axis=0)
    extent = np.maximum(high - low, 1e-9)
    shares = np.stack([np.histogram(coord[:, a], 50, (low[a], high[a]))[0] for a in range(3)]) / len(coord)
    planes = shares.max(1)  # share of the points in the fullest slab of 2 % of the extent
    score = planes / planes.max() + 1.2 * extent.min() / extent + np.array([0.0, 0.0, 0.15])
    axis = int(score.argmax())
    slabs = shares[axis]
    upside_down = slabs[25:].max() > 1.25 * slabs[:25].max() and np.median(coord[:, axis]) > (low + high)[axis] / 2
    return ("-" if upside_down else "+") + "xyz"[axis]  # type: ignore[return-value]


def z_up_to(vector: NDArray[np.float64], up: Up) -> NDArray[np.float64]:
    """Rotate a vector [3] of a z-up world into a world where ``up`` is up (a proper rotation)."""
    z = np.array(UP[up])
    x = np.array([0.0, 1.0, 0.0]) if up[1] == "x" else np.array([1.0, 0.0, 0.0])
    return np.stack([x, np.cross(z, x), z], 1) @ vector
