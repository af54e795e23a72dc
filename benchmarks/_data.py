"""Synthetic data and teachers for benchmarks, with realistic shapes and cost, without network or renderer."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.data.scene import Frame, PointScene, PosedFrames
from ..core.geometry.cameras import Cameras, intrinsics, look_at
from ..core.teachers import TeacherInfo

PATTERNS = 8
"""Number of different feature maps of a `RandomTeacher`."""


class RandomTeacher:
    """Teacher whose features are noise that depends on the frame's number, as cheap as precomputed features.

    Args:
        dim: D, number of channels.
        resolution: (h, w) tokens.
    """

    def __init__(self, dim: int, resolution: tuple[int, int]) -> None:
        self.info = TeacherInfo("random", dim, "none", resolution, True)
        rng = torch.Generator().manual_seed(0)
        self._patterns = torch.randn(PATTERNS, *resolution, dim, generator=rng)

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        """Return [C, h, w, D], equal for equal frames."""
        return self._patterns[[i % PATTERNS for i in index]]


class BoxRooms:
    """Empty rooms of 6 × 5 × 2.8 m with coloured walls, computed analytically: a `SceneDataset` without a renderer.

    Args:
        count: number of rooms; they differ in their colours.
        points: points per room.
        frames: frames per room.
    """

    class_names: tuple[str, ...] = ()

    def __init__(self, count: int, points: int = 100_000, frames: int = 24) -> None:
        self.names = tuple(f"box_{i}" for i in range(count))
        self._points, self._frames = points, frames

    def __len__(self) -> int:
        return len(self.names)

    def scene(self, index: int) -> PointScene:
        rng = np.random.default_rng(index)
        directions = rng.normal(size=(self._points, 3))
        coord = MIDDLE + directions * _exit(MIDDLE, directions)[:, None]
        normal = -np.sign(coord - MIDDLE) * (np.abs(coord - MIDDLE) > ROOM / 2 - 1e-6)
        color = (255 * _paint(coord, index)).astype(np.uint8)
        return PointScene(self.names[index], coord.astype(np.float32), color, normal.astype(np.float32))

    def frames(self, index: int) -> PosedFrames:
        angles = torch.arange(self._frames) * (2 * math.pi / self._frames)
        eye = torch.tensor(MIDDLE).float()
        viewmats = torch.stack([look_at(eye, eye + torch.tensor([a.cos(), a.sin(), -0.2])) for a in angles])
        K = intrinsics(math.radians(65), 640, 480)
        cameras = Cameras(viewmats, K.expand(self._frames, 3, 3).clone(), 640, 480)

        def read(i: int, width: int, height: int) -> Frame:
            camera = cameras[i].resized(width, height)
            points = camera.unproject(torch.ones(1, height, width))[0].double().numpy()  # at depth z = 1
            depth = _exit(MIDDLE, points - MIDDLE)
            hit = MIDDLE + (points - MIDDLE) * depth[..., None]
            return Frame(_paint(hit, index).astype(np.float32), depth.astype(np.float32))

        return PosedFrames(tuple(str(i) for i in range(self._frames)), cameras, read)


ROOM = np.array([6.0, 5.0, 2.8])
MIDDLE = ROOM / 2


def _exit(origin: NDArray, directions: NDArray) -> NDArray:
    """Return the distances, in multiples of ``directions`` [..., 3], from ``origin`` inside the box to its walls."""
    with np.errstate(divide="ignore"):
        return np.where(directions > 0, (ROOM - origin) / directions, -origin / directions).min(-1)


def _paint(points: NDArray, index: int) -> NDArray:
    """Return colours in [0, 1] of points [..., 3]: a gradient and a checkerboard of 0.5 m."""
    # Offset by half a centimetre, so that rounding does not decide the colour of walls that lie on the grid.
    checks = np.floor((points + 0.005) / 0.5).sum(-1, keepdims=True) % 2
    return 0.2 + 0.5 * np.roll(points / ROOM, index, -1) + 0.2 * checks
