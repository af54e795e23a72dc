"""Camera poses and the paths that videos follow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.geometry.cameras import Cameras
from ..scenes.geometry import UP, Up
from ..scenes.house import overview
from ..scenes.source import SceneState


@dataclass(frozen=True)
class Pose:
    """A camera without a picture size.

    Attributes:
        position: [3] in the world, metres.
        rotation: [3, 3] camera → world, OpenCV (x right, y down, z forward).
        fov: vertical, radians.
    """

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    fov: float

    def cameras(self, width: int, height: int) -> Cameras:
        """One camera of that picture size."""
        focal = 0.5 * height / math.tan(0.5 * self.fov)
        k = torch.tensor([[focal, 0, 0.5 * width], [0, focal, 0.5 * height], [0, 0, 1.0]], dtype=torch.float32)
        viewmat = np.eye(4)
        viewmat[:3, :3], viewmat[:3, 3] = self.rotation.T, -self.rotation.T @ self.position
        return Cameras(torch.from_numpy(viewmat).float()[None], k[None], width, height)


def spline(keys: Sequence[Pose], count: int, loop: bool = False) -> list[Pose]:
    """``count`` poses on a smooth path through the key frames, at an even pace (a metre counts like a radian).

    Positions follow monotone cubics (they never overshoot a key frame; on a closed path, periodic cubic splines) and
    rotations a spline with continuous angular velocity.

    Args:
        loop: go back to the first key frame; the last pose is then not repeated.
    """
    # Half a second that only a path is worth, here and below.
    from scipy.interpolate import CubicSpline, PchipInterpolator
    from scipy.spatial.transform import Rotation, RotationSpline

    keys = [k for i, k in enumerate(keys) if i == 0 or _apart(keys[i - 1], k) > 1e-6]
    if not keys:
        raise InputError("the camera path", "at least one key frame", "none", "add some")
    if len(keys) == 1 or count < 2:
        return [keys[0]] * max(count, 1)
    if loop and _apart(keys[-1], keys[0]) > 1e-6:
        keys = [*keys, keys[0]]
    times = np.concatenate([[0.0], np.cumsum([_apart(a, b) for a, b in itertools.pairwise(keys)])])
    at = np.linspace(0, times[-1], count, endpoint=not loop)
    places = np.stack([k.position for k in keys])
    closed = loop and len(keys) > 3
    position = CubicSpline(times, places, bc_type="periodic")(at) if closed else PchipInterpolator(times, places)(at)
    rotation = RotationSpline(times, Rotation.from_matrix(np.stack([k.rotation for k in keys])))(at).as_matrix()
    fov = np.interp(at, times, [k.fov for k in keys])
    return [Pose(p, r, float(f)) for p, r, f in zip(position, rotation, fov, strict=True)]


def orbit(start: Pose, target: NDArray, up: NDArray, count: int) -> list[Pose]:
    """``count`` poses on a full turn from ``start``, around the axis through ``target`` [3] along ``up`` [3]."""
    from scipy.spatial.transform import Rotation

    axis = np.asarray(up, np.float64) / np.linalg.norm(up)
    turns = Rotation.from_rotvec(axis * np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None]).as_matrix()
    return [Pose(target + turn @ (start.position - target), turn @ start.rotation, start.fov) for turn in turns]


def overview_pose(state: SceneState, up: Up, aspect: float) -> tuple[Pose, NDArray[np.float64]]:
    """Pose and target [3] (m) of a camera that shows all of a scene, see `scenes.house.overview`."""
    eye, target, fov = overview(state, up, aspect)
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, UP[up])
    right /= np.linalg.norm(right)
    return Pose(eye, np.stack([right, np.cross(forward, right), forward], 1), fov), target


def dataset_path(cameras: Cameras, count: int, keys: int = 40) -> list[Pose]:
    """``count`` poses along a dataset's cameras, in their order; a long capture is thinned to ``keys`` of them."""
    picks = np.unique(np.linspace(0, len(cameras) - 1, min(keys, len(cameras))).astype(int))
    fov = 2 * math.atan(0.5 * cameras.height / float(cameras.Ks[0, 1, 1]))
    poses = cameras.camera_to_worlds[torch.from_numpy(picks)].double().numpy()
    return spline([Pose(p[:3, 3], p[:3, :3], fov) for p in poses], count)


def _apart(a: Pose, b: Pose) -> float:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(a.rotation.T @ b.rotation).magnitude()
    return float(np.linalg.norm(a.position - b.position) + turn)
