"""The line between two layers or two runs can be dragged in the picture.

The line is part of the picture; what is grabbed is an invisible strip of the scene that stands on it, right before the
camera. viser gives a drag that begins on something draggable to that alone, so the camera stays where it is; a click
on the strip is no drag, and picks what is behind it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import viser
import viser.transforms

from ..render.catalog import INFO

if TYPE_CHECKING:
    from .session import Session

WIDTH = 26
"""Pixels of the strip: a finger's, rather than a mouse's."""

ENDS = (0.02, 0.98)
"""Where a drag stops, as a share of the picture's width: a line at the very edge could not be grabbed again."""


class Divider:
    """Of one browser."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._strip: viser.MeshHandle | None = None
        self._shape: tuple[float, ...] = ()
        self._place: tuple[float, ...] = ()
        self._wanted = 0.5
        self.dragging = False

    @property
    def shown(self) -> bool:
        """Whether there is a line in the picture."""
        view = self._session.view
        return (view.compare and INFO[view.layer].kind != "sheet") or (
            view.mix == "Split" and self._session.look().mixed
        )

    def update(self) -> None:
        """Called ten times a second: the strip stands where the line is once the camera rests."""
        if not self.shown:
            if self._strip is not None:
                self._strip.remove()
                self._strip, self._shape = None, ()
            return
        camera, at = self._session.client.camera, self._session.view.at
        height, width = max(1, camera.image_height), max(1, camera.image_width)
        distance = 2.5 * camera.near
        pixel = 2 * distance * math.tan(0.5 * camera.fov) / height  # metres
        if self._strip is None or (self._shape != (pixel, height) and not self.dragging):
            self._shape, self._place = (pixel, height), ()
            x, y = 0.5 * WIDTH * pixel, 0.5 * height * pixel
            self._strip = self._session.client.scene.add_mesh_simple(
                "/divider",
                np.array([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]]),
                np.array([[0, 1, 2], [0, 2, 3]]),
                opacity=0.0,
                side="double",
                cast_shadow=False,
                receive_shadow=False,
            )
            self._strip.on_drag(self._follow)
            self._strip.on_drag(self._session.guarded(lambda _: self._move()))
        place = (*camera.wxyz, *camera.position, at, pixel, width)
        if place != self._place:
            self._place = place
            offset = np.array([(at - 0.5) * width * pixel, 0.0, distance])
            self._strip.wxyz = camera.wxyz
            self._strip.position = camera.position + viser.transforms.SO3(camera.wxyz) @ offset

    async def _follow(self, event: viser.SceneNodeDragEvent) -> None:
        """A coroutine: viser awaits these in order, so that the last one is where the pointer is."""
        self._wanted = min(max(event.end_screen_pos[0], ENDS[0]), ENDS[1])
        self.dragging = event.phase != "end"

    def _move(self) -> None:
        with self._session.lock:  # the last one to come is where the pointer is
            self._session.change(at=self._wanted)
        self.update()
