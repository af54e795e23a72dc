"""The shell of a room: walls and ceiling that hide its inside from a camera, and a camera that shows all of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.geometry.cameras import Cameras
from .geometry import Up, bounds, centers_in_world, overview_frame, subset, z_up_to
from .source import SceneState

SLAB = 0.07
"""Thickness of walls and ceiling, as a share of the room's height: 18 cm of 2.5 m."""

COVERED = 0.4
"""Share of a side's cells with something in them from which the side counts as a wall."""

PARTS = 6
"""Inside, ceiling, and the walls at either end of the two horizontal axes."""

_CELLS = 12
"""Cells along a side."""

_SAMPLE = 60_000
"""Points that the shell is found from."""

ELEVATION = math.radians(38)
"""Angle of `overview` above the horizontal."""

FOV = math.radians(45)
"""Vertical field of view of `overview`."""


@dataclass(frozen=True)
class House:
    """A room as a box.

    Attributes:
        axes: [3, 3] rows are the box's axes in the world, the last one up.
        low, high: [3] corners along the axes (m).
        solid: [PARTS] whether a part is a surface that may hide the inside; False for the inside.
    """

    axes: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    solid: tuple[bool, ...]

    @property
    def slab(self) -> float:
        """Thickness of the sides (m)."""
        return SLAB * float(self.high[2] - self.low[2])

    def parts(self, coord: NDArray[np.floating]) -> NDArray[np.int64]:
        """[N] part of each point [N, 3] of the world: 0 inside, 1 ceiling, 2 to 5 walls."""
        local, slab = coord @ self.axes.T, self.slab
        parts = np.zeros(len(coord), np.int64)
        for part, (axis, end) in _SIDES.items():
            if self.solid[part]:
                beyond = local[:, axis] < self.low[axis] + slab if end == 0 else local[:, axis] > self.high[axis] - slab
                parts[beyond & (parts == 0)] = part
        return parts

    def hidden(self, eye: NDArray[np.floating]) -> NDArray[np.bool_]:
        """[PARTS] True for sides between a camera at ``eye`` [3] and the room: those that it is outside of."""
        local = self.axes @ eye
        hidden = np.zeros(PARTS, bool)
        for part, (axis, end) in _SIDES.items():
            outside = local[axis] < self.low[axis] if end == 0 else local[axis] > self.high[axis]
            hidden[part] = self.solid[part] and outside
        return hidden


_SIDES = {1: (2, 1), 2: (0, 0), 3: (0, 1), 4: (1, 0), 5: (1, 1)}
"""Part → (axis, end: 0 low, 1 high)."""


def house_of(state: SceneState, up: Up) -> House | None:
    """The shell of a scene; None for one that is no room. Found once per state. Render thread."""
    return state.memo(("house", up), lambda: _find(state, up))


def drawn(state: SceneState, keep: torch.Tensor | None, cut: Up | None, cameras: Cameras) -> torch.Tensor | None:
    """[N] bool: the Gaussians (points, without Gaussians) that a camera draws; None for all.

    Args:
        keep: [N] bool, False = left out in any case; None = none.
        cut: the up direction, to leave out what hides the inside of a room; None leaves out nothing.
        cameras: one world camera.
    """
    house = None if cut is None else house_of(state, cut)
    if house is None or cut is None:
        return keep
    hidden = house.hidden(cameras.centers[0].cpu().numpy())
    if not hidden.any():
        return keep
    shown = torch.from_numpy(~hidden[_parts(state, cut, house)])
    return shown if keep is None or len(keep) != len(shown) else shown & keep.to(shown.device)


def _parts(state: SceneState, up: Up, house: House) -> NDArray[np.int64]:
    def find() -> NDArray[np.int64]:
        coord = _coord(state)
        return np.zeros(0, np.int64) if coord is None else house.parts(np.nan_to_num(coord))

    return state.memo(("parts", up), find)


def _coord(state: SceneState) -> NDArray[np.floating] | None:
    if state.gaussians is not None:
        return centers_in_world(state)
    return None if state.points is None else state.points.coord


def overview(
    state: SceneState, up: Up, aspect: float, ahead: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Eye [3] and target [3] (m, world) and vertical field of view of a camera that shows all of a scene, obliquely
    from above.

    Args:
        aspect: width / height of the picture.
        ahead: [3] direction of the view, of which the horizontal part counts; by default near that of the dataset
            camera that sees the most, and oblique to the walls.
    """
    house = house_of(state, up)
    if house is None:
        axes = np.stack([z_up_to(axis, up) for axis in np.eye(3)])
        low, high = (np.asarray(v, np.float64) for v in bounds(state))
        corners = np.stack([axes @ low, axes @ high])
        low, high = corners.min(0), corners.max(0)
    else:
        axes, low, high = house.axes, house.low, house.high
    if ahead is not None:
        azimuth = math.atan2(*(axes @ ahead)[1::-1])
    else:
        azimuth = _main_direction(state, axes) if house is None else _oblique(_main_direction(state, axes))
    forward = np.array(
        [*(math.cos(ELEVATION) * np.array([math.cos(azimuth), math.sin(azimuth)])), -math.sin(ELEVATION)]
    )
    right = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
    down = np.cross(forward, right)
    corners = np.array([[(low, high)[c >> k & 1][k] for k in range(3)] for c in range(8)]) - (low + high) / 2
    x, y, z = (corners @ axis for axis in (right, down, forward))
    tan = 0.94 * math.tan(0.5 * FOV)  # a margin around the room
    # The middle of the picture is the middle of the room's outline, not of its box: with perspective, near corners
    # spread further. Two rounds are enough.
    shift, distance = 0.0, 1.0
    for _ in range(4):
        distance = float(max((np.abs(x) / (tan * aspect) - z).max(), (np.abs(y - shift) / tan - z).max(), 0.1))
        low_y, high_y = ((y - shift) / (z + distance)).min(), ((y - shift) / (z + distance)).max()
        shift += 0.5 * (low_y + high_y) * distance
    target = (low + high) / 2 + shift * down
    return axes.T @ (target - distance * forward), axes.T @ target, FOV


def depth_limits(state: SceneState, cameras: Cameras, near: float, far: float) -> tuple[float, float]:
    """Near and far end (m) of the depth colours for one world camera: those of the whole scene where it is far outside
    of it, else ``near`` and ``far``."""
    low, high = bounds(state)
    corners = torch.tensor([[(low, high)[c >> k & 1][k] for k in range(3)] for c in range(8)]).float()
    _, z = cameras.to("cpu").project(corners)
    closest, farthest = float(z.min()), float(z.max())
    if closest <= 0 or farthest <= 1.3 * far:
        return near, far
    return math.floor(2 * closest) / 2, math.ceil(2 * farthest) / 2


def _main_direction(state: SceneState, axes: NDArray) -> float:
    """Azimuth of the dataset camera that sees the most; that of a view from the corner without any."""
    if state.frames is None or not len(state.frames):
        return math.atan2(0.65, 0.55)
    ahead = axes @ state.frames.cameras.camera_to_worlds[overview_frame(state), :3, 2].double().numpy()
    return math.atan2(ahead[1], ahead[0])


def _oblique(azimuth: float) -> float:
    """The azimuth near this one that is 30° to 60° off both walls: three sides of each thing are seen."""
    quarter = math.pi / 2
    base = math.floor(azimuth / quarter) * quarter
    return base + min(max(azimuth - base, math.radians(33)), math.radians(57))


def _find(state: SceneState, up: Up) -> House | None:
    coord = _coord(state)
    if coord is None or len(coord) < 200:
        return None
    coord = coord[subset(len(coord), _SAMPLE)]
    coord = coord[np.isfinite(coord).all(1)]
    axes = _turned(coord, np.stack([z_up_to(axis, up) for axis in np.eye(3)]))
    local = coord @ axes.T
    low, high = np.percentile(local, [1, 99], axis=0)
    size = high - low
    if size.min() <= 0 or not _seen_from_inside(state, axes, low, high):
        return None
    slab = SLAB * size[2]
    solid = [False] * PARTS
    for part, (axis, end) in {**_SIDES, 0: (2, 0)}.items():
        inside = local[:, axis] < low[axis] + slab if end == 0 else local[:, axis] > high[axis] - slab
        others = [a for a in range(3) if a != axis]
        cells = ((local[inside][:, others] - low[others]) / size[others] * _CELLS).astype(int).clip(0, _CELLS - 1)
        solid[part] = len(np.unique(cells, axis=0)) >= COVERED * _CELLS**2
    floor, walls = solid[0], sum(solid[2:])
    return House(axes, low, high, (False, *solid[1:])) if floor and walls >= 2 else None


def _turned(coord: NDArray, axes: NDArray) -> NDArray[np.float64]:
    """Axes turned about the vertical so that the box around the points is smallest; not turned for a gain under 3 %."""
    flat = (coord @ axes.T)[:: max(1, len(coord) // 5000), :2]
    areas = []
    for degrees in range(0, 90, 2):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        low, high = np.percentile(flat @ np.array([[c, -s], [s, c]]), [1, 99], axis=0)
        areas.append(float(np.prod(high - low)))
    best = int(np.argmin(areas))
    if areas[best] > 0.97 * areas[0]:
        return axes
    c, s = math.cos(math.radians(2 * best)), math.sin(math.radians(2 * best))
    return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) @ axes


def _seen_from_inside(state: SceneState, axes: NDArray, low: NDArray, high: NDArray) -> bool:
    """Whether most dataset cameras stand in the box; without cameras, whether it is as wide and deep as it is high."""
    if state.frames is None or not len(state.frames):
        size = high - low
        return bool(size[:2].min() >= size[2])
    centers = state.frames.cameras.centers.double().numpy() @ axes.T
    return bool(((centers[:, :2] > low[:2]) & (centers[:, :2] < high[:2])).all(1).mean() > 0.5)
