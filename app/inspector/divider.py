"""Lets the user drag the line between two layers or two runs in the canvas.

The line is part of the rendered image; what is dragged is an invisible strip of the scene on top of it, right before
the camera. viser passes a drag that begins on a draggable node to that node alone, so the camera stays where it is; a
click on the strip is no drag and picks what is behind it.
"""

from __future__ import annotations

import math

import numpy as np
import viser
import viser.transforms

from ..render.catalog import INFO
from .browser import Browser

WIDTH = 26
"""Width (px) of the strip, enough for a finger."""

ENDS = (0.02, 0.98)
"""Limits of a drag, as shares of the canvas width; a line at the very edge could not be dragged back."""


class Divider:
    """The dividing line of one browser.

    Attributes:
        dragging: whether a drag is in progress.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser, self._model = browser, browser.model
        self._strip: viser.MeshHandle | None = None
        self._shape: tuple[float, ...] = ()
        self._place: tuple[float, ...] = ()
        self._position = 0.5
        self.dragging = False

    @property
    def shown(self) -> bool:
        """Whether the canvas has a dividing line."""
        view = self._model.view
        return (view.compare and INFO[view.layer].kind != "sheet") or (
            view.mix == "Split" and self._model.options().mixed
        )

    @property
    def draggable(self) -> bool:
        """Whether the strip that is dragged lies in the scene."""
        return self._strip is not None

    def update(self) -> None:
        """Called ten times a second while the camera rests: move the strip onto the line."""
        if not self.shown:
            if self._strip is not None:
                self._strip.remove()
                self._strip, self._shape = None, ()
            return
        camera, at = self._browser.client.camera, self._model.view.at
        height, width = max(1, camera.image_height), max(1, camera.image_width)
        distance = 2.5 * camera.near
        pixel = 2 * distance * math.tan(0.5 * camera.fov) / height  # metres
        if self._strip is None or (self._shape != (pixel, height) and not self.dragging):
            self._shape, self._place = (pixel, height), ()
            x, y = 0.5 * WIDTH * pixel, 0.5 * height * pixel
            self._strip = self._browser.client.scene.add_mesh_simple(
                "/divider",
                np.array([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]]),
                np.array([[0, 1, 2], [0, 2, 3]]),
                opacity=0.0,
                side="double",
                cast_shadow=False,
                receive_shadow=False,
            )
            self._strip.on_drag(self._follow)
            self._strip.on_drag(self._browser.guarded(lambda _: self._move()))
        place = (*camera.wxyz, *camera.position, at, pixel, width)
        if place != self._place:
            self._place = place
            offset = np.array([(at - 0.5) * width * pixel, 0.0, distance])
            self._strip.wxyz = camera.wxyz
            self._strip.position = camera.position + viser.transforms.SO3(camera.wxyz) @ offset

    async def _follow(self, event: viser.SceneNodeDragEvent) -> None:
        """A coroutine, since viser awaits those in order: the last one has the pointer's position."""
        self._position = min(max(event.end_screen_pos[0], ENDS[0]), ENDS[1])
        self.dragging = event.phase != "end"

    def _move(self) -> None:
        with self._model.lock:  # reads the latest position, whichever callback runs last
            self._model.change(at=self._position)
        self.update()
