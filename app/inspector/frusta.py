"""Dataset cameras drawn in the scene; a click on one moves the free camera there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import viser
from viser import transforms as tf

from .browser import Browser

MAX_FRUSTA = 60
"""Largest number of cameras drawn, evenly spaced in their order."""

SAME_CLICK = (0.02, 1.0)
"""Distance (share of the canvas) and time (s) within which two click events are the same click."""


class Frusta:
    """Frusta of one browser.

    Args:
        select: called with the frame of a clicked camera.
    """

    def __init__(self, browser: Browser, select: Callable[[int], None]) -> None:
        self._browser, self._select = browser, select
        self._handles: list[viser.CameraFrustumHandle] = []
        self._last_click: tuple[tuple[float, float], float] = ((-1.0, -1.0), -math.inf)

    def show(self) -> None:
        """Draw the cameras of the current scene, or none."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        view = self._browser.model.view
        state = self._browser.renderer.state(view.scene)
        if not view.frusta or state is None or state.frames is None:
            return
        cameras = state.frames.cameras
        poses = cameras.camera_to_worlds.double().numpy()
        for i in np.unique(np.linspace(0, len(poses) - 1, MAX_FRUSTA).astype(int)):
            handle = self._browser.client.scene.add_camera_frustum(
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
            handle.on_click(self._record_click)
            handle.on_click(self._browser.guarded(lambda _, frame=int(i): self._select(frame)))
            self._handles.append(handle)

    def was_clicked(self, event: viser.SceneClickEvent) -> bool:
        """Whether this click hit a camera. viser reports it to the camera first, then to the scene behind it."""
        (u, v), at = self._last_click
        apart = max(abs(event.screen_pos[0] - u), abs(event.screen_pos[1] - v))
        return apart < SAME_CLICK[0] and time.monotonic() - at < SAME_CLICK[1]

    async def _record_click(self, event: viser.SceneNodePointerEvent) -> None:
        """A coroutine, since viser awaits those before it handles the next message, which `was_clicked` judges."""
        self._last_click = (event.screen_pos, time.monotonic())
