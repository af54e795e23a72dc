"""Where a browser's camera is while it is on its way to where the server has put it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ..export.camera_path import Pose

PATIENCE = 2.0
"""Seconds after which a browser that has not gone there is believed."""


class Placing:
    """A page keeps saying where its camera is, also on opening, and such words arrive after the server has put the
    camera elsewhere. Drawn, they would be a flash of another view. So until the page says that its camera is closer to
    the goal than to where it was, the goal counts.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since = clock, 0.0
        self._goal: Pose | None = None
        self._before: Pose | None = None

    def put(self, before: Pose, goal: Pose) -> None:
        """The server has moved the camera."""
        self._before, self._goal, self._since = before, goal, self._clock()

    @property
    def goal(self) -> Pose | None:
        """Where the camera will be; None when it is where the page says."""
        if self._clock() - self._since > PATIENCE:
            self._goal = None
        return self._goal

    def heard(self, said: Pose) -> bool:
        """The page has said where its camera is; returns whether that is news: neither the past nor the goal."""
        goal, before = self.goal, self._before
        if goal is None or before is None:
            return True
        if _apart(said, goal, goal, before) < _apart(said, before, goal, before):
            self._goal = None
        return False


def _apart(a: Pose, b: Pose, goal: Pose, before: Pose) -> float:
    """Distance and turn between two poses, each as a share of what lies between the goal and before."""
    way = float(np.linalg.norm(goal.position - before.position)) + 1e-3
    turn = float(np.linalg.norm(goal.rotation - before.rotation)) + 1e-3
    return float(np.linalg.norm(a.position - b.position) / way + np.linalg.norm(a.rotation - b.rotation) / turn)
