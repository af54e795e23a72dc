"""The free camera of one browser: reads its pose and moves it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
import viser
from numpy.typing import NDArray
from viser import transforms as tf

from ...core.errors import InputError
from ...core.geometry.cameras import Cameras
from ..export.camera_path import Pose, overview_pose
from ..render.catalog import INFO
from ..render.views import SAME_PLACE
from ..scenes.geometry import UP, Up, bounds
from ..scenes.house import house_of, overview
from .browser import Browser
from .pending_move import TIMEOUT, PendingCameraMove

RESEND_AFTER = 0.4
"""Seconds after which a move that a turn of the scene spoilt is sent again, fewer than `RESENDS` times."""

RESENDS = 6


class CameraControl:
    """Moves the free camera; all poses are camera → world, OpenCV axes.

    Attributes:
        moved: called after the user or the server moved the camera; set by the session.
        pending: the server's move that the client has not confirmed.
        target: centre [3] (m, world) and extent (m) of what `focus` flies to, or None.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser, self._model = browser, browser.model
        self._client, self._renderer = browser.client, browser.renderer
        self.moved: Callable[[], None] = lambda: None
        self.pending = PendingCameraMove()
        self.target: tuple[NDArray[np.float64], float] | None = None
        self._up: Up = "+z"
        self._wanted: tuple[NDArray[np.float64], NDArray[np.float64], float] | None = None
        self._tries, self._sent, self._heard = 0, 0.0, 0.0

    def reported(self, _: viser.CameraHandle) -> None:
        """The client reported its camera."""
        self._heard = time.monotonic()
        if self.pending.is_user_motion(self._client_pose()):
            self.moved()

    def pulse(self) -> None:
        """Called ten times a second: send a move again that the browser turned with the scene.

        A browser turns its scene to a new up direction after it has handled the other messages of a packet, and its
        camera with it. So after such a turn the camera has to be placed again, until it is where it belongs.
        """
        since = time.monotonic() - self._sent
        if self._wanted is None or since < RESEND_AFTER or (self._heard < self._sent and since < TIMEOUT):
            return
        position, look_at, _ = self._wanted
        apart = float(np.linalg.norm(np.asarray(self._client.camera.position) - position))
        if apart < 0.02 * float(np.linalg.norm(look_at - position)):
            self._tries = 0
        self._tries = max(0, self._tries - 1)
        if self._tries:
            self.place(*self._wanted)
        else:
            self._wanted = None

    # --- pose -------------------------------------------------------------------------------------------------

    def pose(self) -> Pose:
        """Current pose, or the goal of a pending move."""
        return self.pending.goal or self._client_pose()

    def _client_pose(self) -> Pose:
        """Pose that the client reported last."""
        camera = self._client.camera
        return Pose(
            np.asarray(camera.position, np.float64),
            tf.SO3(camera.wxyz).as_matrix().astype(np.float64),
            float(camera.fov),
        )

    def cameras(self, width: int, height: int) -> Cameras:
        """One world camera of ``width`` × ``height`` pixels at `pose`."""
        camera, pose = self.pose(), np.eye(4)
        pose[:3, :3], pose[:3, 3] = camera.rotation, camera.position
        focal = 0.5 * height / math.tan(0.5 * camera.fov)  # viser's field of view is the vertical one
        k = torch.tensor([[focal, 0, 0.5 * width], [0, focal, 0.5 * height], [0, 0, 1.0]], dtype=torch.float32)
        viewmat = torch.from_numpy(np.linalg.inv(pose)).float()
        return Cameras(viewmat[None], k[None], width, height)

    def image_size(self, width: int, longest: int) -> tuple[int, int]:
        """Width and height of an image with the canvas's aspect ratio.

        Args:
            width: wanted width, pixels.
            longest: limit of the longer side, pixels.
        """
        camera = self._client.camera
        aspect = max(1, camera.image_width) / max(1, camera.image_height)
        width = min(width, longest, int(longest * aspect))
        return max(16, width), max(16, round(width / aspect))

    # --- moves ------------------------------------------------------------------------------------------------

    def place(self, position: np.ndarray, look_at: np.ndarray, fov: float) -> None:
        """Move the camera to ``position``, looking at ``look_at``; both [3], metres, world. ``fov`` in radians."""
        camera, start = self._client.camera, self.pose()
        if self._tries:
            self._wanted, self._sent = (position, look_at, fov), time.monotonic()
        with self._client.atomic():
            camera.fov = fov
            camera.position = position
            camera.look_at = look_at
        self.pending.begin(start, self._client_pose())
        self.moved()

    def set_pose(self, pose: Pose) -> None:
        """Move the camera to a pose; its distance to the orbit centre stays."""
        camera = self._client.camera
        distance = float(np.linalg.norm(np.asarray(camera.look_at) - np.asarray(camera.position)))
        self.place(pose.position, pose.position + max(distance, 0.1) * pose.rotation[:, 2], pose.fov)

    def fly_to(self, center: NDArray[np.float64], extent: float) -> None:
        """Look at an object of this extent (metres) from the current direction, no farther away than needed."""
        camera = self._client.camera
        ray = np.asarray(camera.position) - center
        far = max(float(np.linalg.norm(ray)), 1e-6)
        near = max(0.75 * extent / math.tan(0.5 * camera.fov), 0.4)
        self.place(center + ray / far * min(far, near), center, camera.fov)

    def go_to_frame(self) -> None:
        """Move to the chosen dataset camera, kept upright; does nothing without one."""
        scene, frame = self._model.view.scene, self._model.view.frame
        state = self._renderer.state(scene)
        if state is None or state.frames is None or not len(state.frames):
            return
        cameras = state.frames.cameras
        pose = cameras.camera_to_worlds[frame].double().numpy()
        fov = 2 * math.atan(0.5 * cameras.height / float(cameras.Ks[frame, 1, 1]))
        near, far = self._renderer.depth_range(scene)
        self.place(pose[:3, 3], pose[:3, 3] + pose[:3, 2] * 0.5 * (near + far), fov)

    def go_to_camera_layer(self) -> None:
        """Move to the chosen dataset camera if a visible layer belongs to it and the camera is elsewhere."""
        if any(INFO[layer].kind == "camera" for layer in self._model.layers_shown()) and not self._at_frame():
            self.go_to_frame()

    def select_frame(self, frame: int) -> None:
        """Choose a dataset camera and move to it."""
        self._model.change(frame=frame)
        self.go_to_frame()

    def place_first(self) -> None:
        """Show all of the scene obliquely from above, in the direction of the dataset camera that sees the most."""
        self._overview(None)

    def dolls_house(self) -> None:
        """Show all of the scene obliquely from above, in the direction of the present view."""
        self._overview(self.pose().rotation[:, 2])

    def walk(self) -> None:
        """Stand at the chosen dataset camera, or in the middle of a scene without any."""
        view = self._model.view
        state = self._renderer.state(view.scene)
        if state is None or (state.frames is not None and len(state.frames)):
            self.go_to_frame()
            return
        low, high = bounds(state)
        up, center = np.array(UP[view.up]), (low + high) / 2
        ahead = self.pose().rotation[:, 2]
        ahead = ahead - (ahead @ up) * up
        ahead /= max(float(np.linalg.norm(ahead)), 1e-6)
        eye = center + 0.15 * abs(float((high - low) @ up)) * up
        self.place(eye, eye + 0.3 * float(np.linalg.norm(high - low)) * ahead, math.radians(65))

    def focus(self) -> None:
        """Fly to `target`; `InputError` without one."""
        if self.target is None:
            raise InputError("Focus", "a pick or a match to fly to", "none yet", "click something, or search for it")
        self.fly_to(*self.target)

    def set_up(self, up: Up) -> None:
        """Set the up direction and start again from `place_first`."""
        self._model.change(up=up)
        self.turn_scene()
        self.place_first()

    def turn_scene(self) -> None:
        """Turn the browser's scene to the view's up direction. The caller then places the camera."""
        up = self._model.view.up
        if up != self._up:
            self._up, self._tries = up, RESENDS
            self._client.scene.set_up_direction(UP[up])

    def orbit_start(self) -> tuple[Pose, NDArray[np.float64]]:
        """First pose and centre [3] of an orbit: the present ones, or outside of a room whose walls it would cross."""
        camera, up = self._client.camera, self._model.view.up
        state = self._renderer.state(self._model.view.scene)
        house = None if state is None else house_of(state, up)
        if state is None or house is None or house.hidden(self.pose().position).any():
            return self.pose(), np.asarray(camera.look_at, np.float64)
        aspect = max(1, camera.image_width) / max(1, camera.image_height)
        return overview_pose(state, up, aspect)

    def _overview(self, ahead: NDArray[np.float64] | None) -> None:
        state, camera = self._renderer.state(self._model.view.scene), self._client.camera
        if state is None:
            return
        aspect = max(1, camera.image_width) / max(1, camera.image_height)
        self.place(*overview(state, self._model.view.up, aspect, ahead))

    def _at_frame(self) -> bool:
        """Whether the free camera is at the chosen dataset camera."""
        state = self._renderer.state(self._model.view.scene)
        frame = self._model.view.frame
        if state is None or state.frames is None or frame >= len(state.frames):
            return False
        center = state.frames.cameras[frame].centers[0].numpy()
        return float(np.linalg.norm(self.pose().position - center)) < SAME_PLACE
