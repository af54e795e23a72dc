"""Tells a user's camera motion from late reports of where the camera was before the server moved it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ..export.camera_path import Pose

TIMEOUT = 2.0
"""Timeout (s) after which the client's reported camera pose is accepted."""


class PendingCameraMove:
    """A move of the camera by the server that the client has not confirmed yet.

    A client reports its camera pose all the time, also on opening, and reports sent before the move arrive after it.
    Drawn, they would flash another view. So the goal counts until a report is closer to it than to the start.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since = clock, 0.0
        self._goal: Pose | None = None
        self._start: Pose | None = None

    def begin(self, start: Pose, goal: Pose) -> None:
        """Record that the server moves the camera from ``start`` to ``goal``."""
        self._start, self._goal, self._since = start, goal, self._clock()

    @property
    def goal(self) -> Pose | None:
        """Pose that the camera is moving to; None when the client's report is current."""
        if self._clock() - self._since > TIMEOUT:
            self._goal = None
        return self._goal

    def is_user_motion(self, reported: Pose) -> bool:
        """Whether a reported pose is neither from before the pending move nor its result."""
        goal, start = self.goal, self._start
        if goal is None or start is None:
            return True
        if _relative_distance(reported, goal, goal, start) < _relative_distance(reported, start, goal, start):
            self._goal = None
        return False


def _relative_distance(a: Pose, b: Pose, goal: Pose, start: Pose) -> float:
    """Distance plus rotation between two poses, each relative to that between ``start`` and ``goal``."""
    distance = float(np.linalg.norm(goal.position - start.position)) + 1e-3
    angle = float(np.linalg.norm(goal.rotation - start.rotation)) + 1e-3
    return float(np.linalg.norm(a.position - b.position) / distance + np.linalg.norm(a.rotation - b.rotation) / angle)
