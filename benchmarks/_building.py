"""A building of procedural rooms, and what the viewer does first with a file of points."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from ..core.data.scene import PointScene
from ..core.datasets.rooms import Rooms, RoomsConfig
from ..core.report import SILENT, Report

DIFFERENT = 12
"""Different rooms in a building; they recur, turned by quarters."""


def building(points: int, report: Report = SILENT, different: int = DIFFERENT) -> PointScene:
    """Rooms side by side on one floor, ``points`` points in all, at the density of one room with 100,000.

    Args:
        different: rooms that are generated (some seconds each) or read from the cache.
    """
    per_room = min(points, RoomsConfig().points)
    count = -(-points // per_room)
    rooms = Rooms("test", min(count, different))
    scenes = [rooms.scene(i) for i in report.steps("rooms of the building", range(len(rooms)))]
    pitch = 0.3 + max(float(np.ptp(scene.coord[:, :2], 0).max()) for scene in scenes)
    across = max(1, round((count / 2) ** 0.5))  # twice as long as wide
    coord, color, normal = [], [], []
    for k in range(count):
        scene, (row, column) = scenes[k % len(scenes)], divmod(k, across)
        c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[k // len(scenes) % 4]
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)
        turned = scene.coord @ turn.T
        coord.append(turned - turned.min(0) + np.float32([row * pitch, column * pitch, 0]))
        color.append(scene.color)
        normal.append(scene.normal @ turn.T)
    joined = (np.concatenate(part) for part in (coord, color, normal))
    picked = np.sort(np.random.default_rng(0).permutation(sum(map(len, coord)))[:points])
    return PointScene("building", *(values[picked] for values in joined))


def view(path: Path) -> None:
    """Open a file as `gaussiancross view` does; draw one picture of its points, and take those that a browser gets."""
    from ..app.export.camera_path import overview_pose
    from ..app.render.renderer import Renderer
    from ..app.scenes.geometry import point_size
    from ..app.scenes.open import SceneSpec, open_scene

    start = time.perf_counter()
    renderer = Renderer(open_scene(SceneSpec(str(path))).source)
    state = renderer.load(0)
    point_size(state)
    pose, _ = overview_pose(state, "+z", 4 / 3)
    renderer.canvas(0, "Points", pose.cameras(480, 360))
    sent = renderer.points(0, "Colour", 400_000)
    assert sent is not None
    print(f"{time.perf_counter() - start:.2f} s, {len(sent[0]):,} points to the browser")


if __name__ == "__main__":
    view(Path(sys.argv[1]))
