"""The dataset's cameras in the scene; a click on one goes there."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import viser
from viser import transforms as tf

if TYPE_CHECKING:
    from .session import Session

MAX_FRUSTA = 60
"""Cameras that are drawn, evenly spaced in their order."""

SAME_CLICK = (0.02, 1.0)
"""Share of the picture, and seconds, up to which two reports are of one click."""


class Frusta:
    """Of one browser."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._handles: list[viser.CameraFrustumHandle] = []
        self._taken: tuple[tuple[float, float], float] = ((-1.0, -1.0), -math.inf)

    def show(self) -> None:
        """Draw those of the scene that is shown, or none."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        session = self._session
        state = session.renderer.state(session.view.scene)
        if not session.view.frusta or state is None or state.frames is None:
            return
        cameras = state.frames.cameras
        poses = cameras.camera_to_worlds.double().numpy()
        for i in np.unique(np.linspace(0, len(poses) - 1, MAX_FRUSTA).astype(int)):
            handle = session.client.scene.add_camera_frustum(
                f"/cameras/{i}",
                fov=2 * math.atan(0.5 * cameras.height / float(cameras.Ks[i, 1, 1])),
                aspect=cameras.width / cameras.height,
                scale=0.12,
                thickness=1.5,
                thickness_units="screen",
                color=(120, 170, 255),
                wxyz=tf.SO3.from_matrix(poses[i, :3, :3]).wxyz,
                position=poses[i, :3, 3],
            )
            handle.on_click(self._take)
            handle.on_click(session.guarded(lambda _, frame=int(i): session.select_frame(frame)))
            self._handles.append(handle)

    def took(self, event: viser.SceneClickEvent) -> bool:
        """Whether this click met a camera. viser reports it to the camera first, then to the scene behind it."""
        (u, v), at = self._taken
        apart = max(abs(event.screen_pos[0] - u), abs(event.screen_pos[1] - v))
        return apart < SAME_CLICK[0] and time.monotonic() - at < SAME_CLICK[1]

    async def _take(self, event: viser.SceneNodePointerEvent) -> None:
        """A coroutine: viser awaits it before it looks at the next message, so that `took` never comes too early."""
        self._taken = (event.screen_pos, time.monotonic())
