"""A labelled room for tests of the commands."""

from __future__ import annotations

import numpy as np
from gaussiancross.core.data.scene import PointScene


def room(points: int = 3000) -> PointScene:
    """Points on the floor and walls of 4 × 3 × 2.5 m."""
    rng = np.random.default_rng(0)
    coord = rng.random((points, 3)) * [4, 3, 2.5]
    axis = rng.integers(0, 3, points)
    coord[np.arange(points), axis] = 0
    color = rng.integers(0, 256, (points, 3)).astype(np.uint8)
    return PointScene("room", coord.astype(np.float32), color, np.eye(3, dtype=np.float32)[axis])
