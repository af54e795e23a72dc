"""Render requests of one browser: the canvas, the dataset view beside its target, and the points that it draws."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import viser

from ...core.geometry.cameras import Cameras
from ..render.catalog import INFO, Layer
from ..render.options import Canvas, Marks, RenderOptions
from ..scenes.geometry import point_size
from ..scenes.house import PARTS, House, house_of
from .browser import Browser
from .camera import CameraControl
from .hooks import BrowserHooks
from .overlay import Overlay
from .worker import Lane

MAX_RATE = 60
"""Largest number of images per second while the camera moves."""

STILL_AFTER = 0.2
"""Seconds without camera motion after which the canvas is rendered at full size."""

VIEWS_WIDTH = 640
"""Width (px) of the dataset view in the panel."""


class RenderRequests:
    """Asks the render thread for images and sends them to the browser.

    Attributes:
        rate: largest number of images per second while the camera moves.
    """

    def __init__(self, browser: Browser, camera: CameraControl, overlay: Overlay, hooks: BrowserHooks) -> None:
        self._browser, self._camera, self._overlay, self._hooks = browser, camera, overlay, hooks
        self._model, self._shared, self._client = browser.model, browser.shared, browser.client
        self.rate = float(MAX_RATE)
        self._moved_at = 0.0
        self._moving_requested = 0.0
        self._moving_shown = False
        self._sized_scene: int | None = None
        self._size = (browser.client.camera.image_width, browser.client.camera.image_height)
        self._clouds: dict[int, viser.PointCloudHandle] = {}  # by part of the house
        self._house: House | None = None

    # --- requests (any thread) --------------------------------------------------------------------------------

    def canvas(self, moving: bool = False, lane: Lane = "interactive", urgent: bool = False) -> None:
        """Render the canvas.

        Args:
            moving: at the reduced size of a moving camera, and at most `rate` times per second.
        """
        self._moving_shown = moving
        if moving and not urgent:
            now = time.monotonic()
            if now - self._moving_requested < 1 / self.rate:
                return  # the next motion asks again, and a camera at rest gets its image in any case
            self._moving_requested = now
        self._browser.ask("canvas", lambda: self.draw_canvas(moving), lane, urgent)

    def small_canvas(self, urgent: bool = False) -> None:
        """Render the canvas at reduced size now and at full size right after."""
        self._moved_at = time.monotonic()
        self.canvas(moving=self._model.server_draws(), urgent=urgent)

    def camera_moved(self) -> None:
        """Render the canvas for a moved camera, where the server renders it."""
        self._moved_at = time.monotonic()
        self._shared.worker.hurry()
        self._cut_points()
        if self._model.server_draws():
            self.canvas(moving=True)

    def heat_canvas(self) -> None:
        """Render the canvas if it shows the "Heat" layer."""
        if "Heat" in self._model.layers_shown():
            self.canvas()

    def views(self, lane: Lane = "interactive", urgent: bool = False) -> None:
        """Render the chosen dataset view beside its target."""
        self._browser.ask("views", self._draw_views, lane, urgent)

    def points(self, lane: Lane = "interactive", urgent: bool = True) -> None:
        """Send the points again, or hide them."""
        self._browser.ask("points", self._draw_points, lane, urgent)

    def resize_points(self) -> None:
        """Change the size of the points that the browser has."""
        for cloud in tuple(self._clouds.values()):
            cloud.point_size = self._model.view.point_size

    def loading(self) -> None:
        """Replace the picture of the scene before while the chosen one loads."""
        scene = self._model.view.scene
        if self._browser.renderer.state(scene) is None:
            self._client.scene.set_background_image(self._shared.blank)
            self._overlay.show(Marks(messages=(f"Loading {self._browser.renderer.scene_names[scene]} …",)))

    def load_failed(self, scene: int, error: Exception) -> None:
        """Say in place of the picture why the chosen scene cannot be shown."""
        renderer = self._browser.renderer
        if self._model.view.scene == scene and renderer.state(scene) is None:
            name, reason = renderer.scene_names[scene], (str(error) or type(error).__name__)[:400]
            self._model.failed = scene
            lead = "Could not be loaded" if name in reason else f"{name} could not be loaded"
            self._overlay.show(Marks(messages=(f"{lead}: {reason}",)))

    def default_point_size(self) -> None:
        """Choose the point size that fits the scene, in the background."""
        self._browser.ask("point size", self._size_points, "background")

    def everything(self) -> None:
        """Render all again."""
        self.canvas()
        self.points()
        self.views()

    # --- pulse --------------------------------------------------------------------------------------------------

    @property
    def still(self) -> bool:
        """Whether the camera rests."""
        return time.monotonic() - self._moved_at > STILL_AFTER

    def pulse(self) -> None:
        """Render at full size once the camera rests, and again after the browser's window was resized."""
        if self.still and self._moving_shown:
            self.canvas()
        size = (self._client.camera.image_width, self._client.camera.image_height)
        if size != self._size:
            self._size = size
            self.canvas()

    # --- sizes --------------------------------------------------------------------------------------------------

    def cameras(self) -> Cameras:
        """The free camera at the size of the full canvas."""
        return self._camera.cameras(*self._canvas_size(moving=False))

    def _canvas_size(self, moving: bool) -> tuple[int, int]:
        """Pixels to render: the browser's canvas up to a cap, which is smaller while the camera moves."""
        camera, shared = self._client.camera, self._shared
        width, height = max(1, camera.image_width), max(1, camera.image_height)
        cap = min(shared.max_width, shared.resolution.width) if moving else shared.max_width
        if self._model.view.layer == "Views":
            cap = 1920
        scale = min(1.0, cap / max(width, height))
        return max(16, round(width * scale)), max(16, round(height * scale))

    # --- drawing (render thread) --------------------------------------------------------------------------------

    def draw_canvas(self, moving: bool) -> None:
        browser, shared = self._browser, self._shared
        view, options = self._model.view, self._model.options()
        if browser.closed or browser.renderer.state(view.scene) is None:
            return
        if INFO[view.layer].kind == "cloud" and not options.mixed:
            self._client.scene.set_background_image(shared.blank)
            self._overlay.show(Marks())
            return
        cameras = self._camera.cameras(*self._canvas_size(moving))
        begun = time.perf_counter()
        with_depth = (view.overlay or view.frusta) and view.layer != "Views"
        renderer = (browser.comparison if view.compare else None) or browser.renderer
        options = replace(options, grip=True, text=False)
        canvas = renderer.draw(view.scene, options, cameras, with_depth)
        if moving:
            shared.resolution.measured(time.perf_counter() - begun)
        else:
            self._report_classes(options)
        if self._model.view.scene == view.scene:
            self._send(canvas, 75 if moving else 90)

    def _report_classes(self, options: RenderOptions) -> None:
        """Tell the panels names and colours of the classes on the canvas."""
        shown: list[Layer] = [layer for layer in self._model.layers_shown() if INFO[layer].group == "Classes"]
        scores = None
        for layer in shown[:1]:
            scene = self._model.view.scene
            scores = self._browser.renderer.class_scores(scene, layer, options.classes, options.style)
        self._hooks.on_classes(scores)

    def _send(self, canvas: Canvas, quality: int) -> None:
        self._model.note = canvas.note
        self._overlay.show(canvas.marks)
        self._client.scene.set_background_image(canvas.image, format="jpeg", jpeg_quality=quality, depth=canvas.depth)

    def _draw_views(self) -> None:
        if self._browser.closed:
            return
        view = self._model.view
        if self._browser.renderer.state(view.scene) is None:
            return
        image = self._browser.renderer.views(view.scene, view.frame, VIEWS_WIDTH, view.errors, 20, view.colors)
        if self._model.view.scene == view.scene:
            self._hooks.on_views(image)

    def _size_points(self) -> None:
        """Set the point size that fits the scene, once per scene. It takes a while, so the first image goes before,
        unless it shows points."""
        scene = self._model.view.scene
        state = self._browser.renderer.state(scene)
        if self._browser.closed or state is None or self._sized_scene == scene:
            return
        self._sized_scene = scene
        self._model.replace(point_size=point_size(state))
        self._hooks.on_change(frozenset())

    def _draw_points(self) -> None:
        shown = self._model.browser_draws_points() and not self._browser.closed
        if shown:
            self._size_points()
        view = self._model.view
        points = None
        if shown:
            points = self._browser.renderer.points(
                view.scene, view.point_color, self._shared.max_points, view.layer == "Masked", view.style
            )
        if points is None:
            for cloud in self._clouds.values():
                cloud.visible = False
            self._house = None
            return
        coord, colors, note = points
        self._model.note = note
        state = self._browser.renderer.state(view.scene)
        house = house_of(state, view.up) if view.cut and state is not None else None
        hidden = np.zeros(PARTS, bool) if house is None else house.hidden(self._camera.pose().position)
        parts = np.zeros(len(coord), np.int64) if house is None else house.parts(coord)
        for part in range(PARTS):
            inside = parts == part
            if inside.any():
                self._clouds[part] = self._client.scene.add_point_cloud(
                    f"/points/{part}",
                    coord[inside],
                    colors[inside],
                    point_size=view.point_size,
                    point_shape="circle",
                    point_shading="flat",
                    precision="float32",
                    visible=not hidden[part],
                )
            elif part in self._clouds:
                self._clouds.pop(part).remove()
        self._house = house

    def _cut_points(self) -> None:
        """Hide the walls between the camera and the room in the points that the browser draws."""
        house = self._house
        if house is not None:
            hidden = house.hidden(self._camera.pose().position)
            for part, cloud in tuple(self._clouds.items()):
                if cloud.visible == bool(hidden[part]):
                    cloud.visible = not hidden[part]
