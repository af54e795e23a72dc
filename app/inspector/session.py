"""One browser: its own camera, scene, layer and panels. Asks the worker for pictures and shows what comes back."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import viser
from numpy.typing import NDArray
from viser import transforms as tf

from ...core.errors import InputError
from ...core.geometry.cameras import Cameras
from ..export.camera_path import Pose
from ..render.catalog import INFO, LAYERS, Layer
from ..render.classes import PLAIN, ClassStyle
from ..render.clouds import PointColor
from ..render.renderer import Canvas, Mix, RenderOptions
from ..render.scores import Heat
from ..render.views import SAME_PLACE
from ..scenes.geometry import UP, Up, bounds, guess_up, overview_frame, point_size, z_up_to
from ..scenes.timeline import TimelineSource
from ..scenes.uploads import MAX_UPLOAD, upload_too_large
from .divider import Divider
from .frusta import Frusta
from .jobs import Exports
from .panels import (
    ComparePanel,
    CurvesPanel,
    ExportPanel,
    HelpPanel,
    ObjectsPanel,
    ProbePanel,
    ScenesPanel,
    SearchTab,
    SettingsPanel,
    StatusPanel,
    TimelinePanel,
    ViewPanel,
)
from .placing import Placing
from .viser_internals import limit_uploads
from .worker import Lane

if TYPE_CHECKING:
    from .inspector import Inspector

log = logging.getLogger(__name__)

PHONE = 600
"""Width of the page's canvas, pixels, up to which it is taken for a phone's."""

MAX_RATE = 60
"""Pictures per second beyond which nobody sees a difference."""

STILL_AFTER = 0.2
"""Seconds without camera motion after which a picture is drawn at full size."""


@dataclass(frozen=True)
class ViewState:
    """What one browser looks at. Replaced as a whole, never changed."""

    scene: int = 0
    layer: Layer = "RGB"
    blend: float = 0.0
    frame: int = 0
    point_color: PointColor = "Colour"
    point_size: float = 0.015
    overlay: bool = False
    frusta: bool = False
    errors: bool = False
    follow: bool = True
    second: Layer = "Features"
    mix: Mix = "Off"
    at: float = 0.5
    gaussian_size: float = 1.0
    compare: bool = False
    classes: str = ""
    style: ClassStyle = PLAIN
    up: Up = "+z"


class Session:
    """Created when a browser connects, closed when it leaves; a lost connection in mid-picture is harmless because
    viser drops messages to closed connections and waiting jobs are cancelled."""

    def __init__(self, inspector: Inspector, client: viser.ClientHandle) -> None:
        self.inspector, self.client = inspector, client
        self.source, self.renderer, self.sides = inspector.sides()
        self.lock = threading.RLock()
        """Of `view` and of what else the controls say. Held for moments; the render thread may want it."""
        self.view = ViewState(layer="RGB")
        self.heat: Heat | None = None
        self.keep: torch.Tensor | None = None
        """[N] bool, False = not drawn; see `RenderOptions.keep`."""
        self.selection: NDArray[np.int64] | None = None
        """[K] ascending indices of the selected Gaussians (of points, in a scene without Gaussians), or None."""
        self.note = ""
        self.rate = float(MAX_RATE)
        """Pictures per second at most, while the camera moves."""
        self.exports = Exports(self)
        self.frusta, self.divider = Frusta(self), Divider(self)
        self.closed = False
        self._placing = Placing()
        self._moved_at = 0.0
        self._moving_asked = 0.0
        self._moving_shown = False
        self._placed_scene: int | None = None
        self._sized_scene: int | None = None
        self._shown_step: int | None = None
        self._requested_step: int | None = None
        self._size = (client.camera.image_width, client.camera.image_height)
        self._point_handle: viser.PointCloudHandle | None = None
        self._notified: dict[str, float] = {}
        with client.atomic():
            self.status = StatusPanel(self)
            tabs = client.gui.add_tab_group()
            # One row: five with icons on a laptop; without them on a phone, whose panel is half as wide, and for six.
            wide = self._size[0] > PHONE and inspector.desk is None
            with tabs.add_tab("View", viser.Icon.EYE if wide else None):
                self.panel = ViewPanel(self)
                with client.gui.add_folder("Settings", expand_by_default=False):
                    self.settings = SettingsPanel(self)
                    self.help = HelpPanel(self)
            with tabs.add_tab("Search", viser.Icon.SEARCH if wide else None):
                self.search = SearchTab(self)
            with tabs.add_tab("Classes", viser.Icon.CATEGORY if wide else None):
                self.probe = ProbePanel(self)
            with tabs.add_tab("Run", viser.Icon.CHART_LINE if wide else None):
                self.timeline = TimelinePanel(self)
                self.comparison = ComparePanel(self)
                self.curves = CurvesPanel(self)
            with tabs.add_tab("Files", viser.Icon.PHOTO if wide else None):
                with client.gui.add_folder("Scenes"):
                    self.scenes = ScenesPanel(self)
                self.export = ExportPanel(self)
            if inspector.desk is not None:
                with tabs.add_tab("Objects", viser.Icon.BOX if wide else None):
                    self.objects = ObjectsPanel(self, inspector.desk)
            self._add_shortcuts()
        limit_uploads(client, MAX_UPLOAD, lambda name, size: self.report(upload_too_large(name, size)))
        client.camera.on_update(self.guarded(self._camera_moved))
        self.select_scene(0)

    # --- what people do -------------------------------------------------------------------------------------

    def change(self, **values: Any) -> None:
        """Change what is looked at and draw what that touches."""
        before = self._look_at(**values)
        if self.view == before:
            return
        touched = {k for k in values if getattr(before, k) != getattr(self.view, k)}
        chosen = touched & {"layer", "second", "mix"}
        if chosen or touched & {"point_color", "overlay", "scene"}:
            self._ask_points()
        elif "point_size" in touched and self._point_handle is not None:
            self._point_handle.point_size = self.view.point_size
        drawn = {"compare", "blend", "at", "gaussian_size", "classes", "point_color", "point_size", "overlay", "frusta"}
        if "style" in touched and self.view.point_color in ("Labels", "Probe"):
            self._ask_points()
        if chosen or touched & (drawn | {"style"}) or (self.view.layer == "Views" and touched):
            self._moved_at = time.monotonic()  # a small picture at once, the full one right after
            self._ask_canvas(moving=self._server_draws(), urgent=bool(chosen))
        if chosen and any(INFO[layer].kind == "camera" for layer in self._layers_shown()) and not self._at_frame():
            self.go_to_frame()
        if touched & {"frame", "errors"}:
            self._ask_views()
        if touched & {"frusta", "scene"}:
            self.frusta.show()
        self.panel.update()

    def _look_at(self, **values: Any) -> ViewState:
        """Replace parts of `view`; returns what it was."""
        with self.lock:
            before, self.view = self.view, replace(self.view, **values)
        return before

    def select_scene(self, index: int) -> None:
        """Show another scene; wraps around at either end."""
        index %= len(self.renderer.scene_names)
        self.change(scene=index, frame=0)
        self._ask("load", self._load, "background", urgent=True)

    def turn_scene(self, by: int) -> None:
        """So many scenes on, or back."""
        with self.lock:
            self.select_scene(self.view.scene + by)

    def select_frame(self, frame: int, move: bool = True) -> None:
        """Compare another dataset view, and go there."""
        self.change(frame=frame)
        if move:
            self.go_to_frame()

    def set_heat(self, heat: Heat | None, show: bool = True) -> None:
        """Scores for this browser's "Heat" layer, from any thread.

        Args:
            show: switch to that layer, unless it is visible already.
        """
        self.heat = heat
        if heat is not None and show and "Heat" not in self._layers_shown():
            self.change(layer="Heat")
        elif "Heat" in self._layers_shown():
            self._ask_canvas()
        self.panel.update()

    def set_keep(self, keep: torch.Tensor | None) -> None:
        """Draw only some of the Gaussians, see `RenderOptions.keep`; from any thread."""
        if keep is None and self.keep is None:
            return
        self.keep = keep
        self._ask_canvas()

    def cameras(self) -> Cameras:
        """The free camera at the size of a still picture."""
        return self._cameras(*self._canvas_size(moving=False))

    def work(self, kind: str, run: Callable[[], None], urgent: bool = False) -> None:
        """Have ``run()`` called in the render thread; a later one of the same kind replaces it if it has not begun."""
        self._ask(kind, run, urgent=urgent)

    def fly_to(self, center: NDArray[np.float64], extent: float) -> None:
        """Look at something of this extent (metres) from where the camera is or, if that is far, from nearer."""
        camera = self.client.camera
        ray = np.asarray(camera.position) - center
        far = max(float(np.linalg.norm(ray)), 1e-6)
        near = max(0.75 * extent / math.tan(0.5 * camera.fov), 0.4)
        self._place(center + ray / far * min(far, near), center, camera.fov)

    def look(self) -> RenderOptions:
        """What the canvas of this browser shows: for `Renderer.draw`."""
        view = self.view
        return RenderOptions(
            layer=view.layer,
            second=view.second,
            mix=view.mix,
            at=view.at,
            blend=view.blend,
            frame=view.frame,
            size=view.gaussian_size,
            classes=view.classes,
            style=view.style,
            heat=self.heat,
            point_color=view.point_color,
            point_size=view.point_size,
            errors=view.errors,
            keep=self.keep,
        )

    def _layers_shown(self) -> tuple[Layer, ...]:
        look = self.look()
        return (look.layer, look.second) if look.mixed else (look.layer,)

    def go_to_frame(self) -> None:
        """Put the free camera where the chosen dataset camera is (upright)."""
        state = self.renderer.state(self.view.scene)
        if state is None or state.frames is None or not len(state.frames):
            return
        cameras = state.frames.cameras
        pose = cameras.camera_to_worlds[self.view.frame].double().numpy()
        fov = 2 * math.atan(0.5 * cameras.height / float(cameras.Ks[self.view.frame, 1, 1]))
        near, far = self.renderer.depth_range(self.view.scene)
        self._place(pose[:3, 3], pose[:3, 3] + pose[:3, 2] * 0.5 * (near + far), fov)

    def _at_frame(self) -> bool:
        """Whether the free camera stands where the chosen dataset camera does."""
        state = self.renderer.state(self.view.scene)
        if state is None or state.frames is None or self.view.frame >= len(state.frames):
            return False
        center = state.frames.cameras[self.view.frame].centers[0].numpy()
        return float(np.linalg.norm(self.pose().position - center)) < SAME_PLACE

    def set_up(self, up: Up) -> None:
        """Call another direction up, and start again from a corner."""
        self.change(up=up)
        self.client.scene.set_up_direction(UP[up])
        self._place_first()

    def redraw(self) -> None:
        """Draw everything again."""
        self._ask_canvas()
        self._ask_points()
        self._ask_views()

    def refresh(self) -> None:
        """Take over the newest weights, if there are newer ones."""
        self._ask("load", self._load, lane="background")

    # --- the two clocks: the camera, and ten times a second --------------------------------------------------

    def _camera_moved(self, camera: viser.CameraHandle) -> None:
        if not self._placing.heard(self._said()):
            return  # still on its way to where it was put, and drawn there already
        self._moved_at = time.monotonic()
        if self.view.layer == "Views":
            return
        if self._server_draws():
            self._ask_canvas(moving=True)

    def wants_newer(self) -> bool:
        """Whether newer weights would be shown: what is there has been shown already."""
        return self.view.follow and not self._back_in_time and self._shown_step == self.source.step()

    @property
    def _back_in_time(self) -> bool:
        return isinstance(self.source, TimelineSource) and self.source.position is not None

    def pulse(self) -> None:
        """Called ten times a second by the inspector."""
        still = time.monotonic() - self._moved_at > STILL_AFTER
        if still and self._moving_shown:
            self._ask_canvas()
        if still or self.divider.dragging:
            self.divider.update()
        step = self.source.step()
        if (self.view.follow or self._back_in_time) and step not in (self._shown_step, self._requested_step):
            self._requested_step = step
            self.refresh()
        size = (self.client.camera.image_width, self.client.camera.image_height)
        if size != self._size:  # the window was resized
            self._size = size
            self._ask_canvas()
        self.status.update()
        self.curves.update()
        self.probe.update()
        self.scenes.update()
        self.settings.update()
        self.exports.pulse()
        self.timeline.update()
        self.comparison.update()
        self.export.update()

    # --- asking ---------------------------------------------------------------------------------------------

    def _ask(self, kind: str, run: Callable[[], None], lane: Lane = "interactive", urgent: bool = False) -> None:
        if not self.closed:
            self.inspector.worker.submit((self.client.client_id, kind), run, lane, urgent)

    def _ask_canvas(self, moving: bool = False, lane: Lane = "interactive", urgent: bool = False) -> None:
        self._moving_shown = moving
        if moving and not urgent:
            now = time.monotonic()
            if now - self._moving_asked < 1 / self.rate:
                return  # the next movement asks again, and the camera at rest gets its picture in any case
            self._moving_asked = now
        self._ask("canvas", lambda: self._draw_canvas(moving), lane, urgent)

    def _ask_views(self) -> None:
        self._ask("views", self._draw_views)

    def _ask_points(self) -> None:
        self._ask("points", self._draw_points, urgent=True)

    def _server_draws(self) -> bool:
        return self.look().mixed or INFO[self.view.layer].kind in ("splat", "camera")

    # --- drawing (render thread) -----------------------------------------------------------------------------

    def _load(self) -> None:
        renderer, view = self.renderer, self.view
        if self.closed:
            return
        state = renderer.load(view.scene)
        if self.view.scene != view.scene:
            return  # another one was chosen meanwhile, and asked for
        self._shown_step = self.source.step() if state.step is None else state.step
        fresh = self._placed_scene != view.scene
        if fresh:
            self._look_at(frame=overview_frame(state), up=guess_up(state))
            self.client.scene.set_up_direction(UP[self.view.up])
            if self.view.layer not in renderer.layers(view.scene, self.heat is not None):
                self._look_at(layer="RGB" if state.gaussians is not None else "Points")
            self._place_first()
            self._placed_scene = view.scene
            self.frusta.show()
            self._ask_points()
        elif self.view.layer == "Points" and state.gaussians is not None and not self.panel.layer_chosen:
            self._look_at(layer="RGB")  # the first weights have arrived
            self._ask_points()
        elif self.view.point_color in ("Features", "Probe") and self._points_shown():
            self._ask("points", self._draw_points, "background")
        self.search.loaded(view.scene, state)
        self.panel.update()
        # The first picture is a small one, the full one follows; but for a training, which pays for both.
        small = fresh and self._server_draws() and self.inspector.worker.share >= 1
        self._ask_canvas(moving=small, lane="background", urgent=fresh)
        self._ask("views", self._draw_views, "background", urgent=fresh)
        if fresh:
            self._ask("point size", self._size_points, "background")

    def _draw_canvas(self, moving: bool) -> None:
        if self.closed:
            return
        view, scene = self.view, self.client.scene
        look = self.look()
        if INFO[view.layer].kind == "cloud" and not look.mixed:
            scene.set_background_image(self.inspector.blank)
            return
        width, height = self._canvas_size(moving)
        begun = time.perf_counter()
        with_depth = (view.overlay or view.frusta) and view.layer != "Views"
        drawer = (self.sides if view.compare else None) or self.renderer
        look = replace(look, grip=True)
        canvas = drawer.draw(view.scene, look, self._cameras(width, height), with_depth)
        if moving:
            self.inspector.pace.measured(time.perf_counter() - begun, self.inspector.worker.share)
        else:
            self._show_classes(look)
        self._show(canvas, 75 if moving else 90)

    def _show_classes(self, look: RenderOptions) -> None:
        """Names and colours of the classes in the picture, for the panel."""
        shown: list[Layer] = [layer for layer in self._layers_shown() if INFO[layer].group == "Classes"]
        known = None
        for layer in shown[:1]:
            known = self.renderer.class_scores(self.view.scene, layer, look.classes, look.style)
        self.panel.show_classes(known)

    def _show(self, canvas: Canvas, quality: int) -> None:
        self.note = canvas.note
        self.client.scene.set_background_image(canvas.image, format="jpeg", jpeg_quality=quality, depth=canvas.depth)

    def _draw_views(self) -> None:
        view = self.view
        if self.closed:
            return
        image = self.renderer.views(view.scene, view.frame, 640, view.errors, text=20)
        self.panel.show_views(image)

    def _points_shown(self) -> bool:
        if INFO[self.view.layer].kind == "cloud":
            return not self.look().mixed  # else the server draws them, in their part of the picture
        return self.view.overlay and self.view.layer != "Views"

    def _size_points(self) -> None:
        """Points as large as the scene needs them. Finding that out takes a while, so the first picture goes before,
        unless it shows points."""
        scene = self.view.scene
        state = self.renderer.state(scene)
        if self.closed or state is None or self._sized_scene == scene:
            return
        self._sized_scene = scene
        self._look_at(point_size=point_size(state))
        self.panel.update()

    def _draw_points(self) -> None:
        shown = self._points_shown() and not self.closed
        if shown:
            self._size_points()
        view = self.view
        drawn = (
            self.renderer.points(
                view.scene, view.point_color, self.inspector.max_points, view.layer == "Masked", view.style
            )
            if shown
            else None
        )
        if drawn is None:
            if self._point_handle is not None:
                self._point_handle.visible = False
            return
        coord, colors, note = drawn
        self.note = note
        self._point_handle = self.client.scene.add_point_cloud(
            "/points",
            coord,
            colors,
            point_size=view.point_size,
            point_shape="circle",
            point_shading="flat",
            precision="float32",
        )

    # --- the camera -----------------------------------------------------------------------------------------

    @property
    def shown_step(self) -> int | None:
        """The step that has been loaded last."""
        return self._shown_step

    def redraw_canvas(self) -> None:
        """Draw the canvas again, small first."""
        self._moved_at = time.monotonic()
        self._ask_canvas(moving=self._server_draws())

    def pose(self) -> Pose:
        """Where the free camera is, or will be in a moment."""
        return self._placing.goal or self._said()

    def _said(self) -> Pose:
        """Where the page says that its camera is."""
        camera = self.client.camera
        return Pose(
            np.asarray(camera.position, np.float64),
            tf.SO3(camera.wxyz).as_matrix().astype(np.float64),
            float(camera.fov),
        )

    def set_pose(self, pose: Pose) -> None:
        """Move the free camera there; it keeps its distance from what it orbits."""
        camera = self.client.camera
        distance = float(np.linalg.norm(np.asarray(camera.look_at) - np.asarray(camera.position)))
        self._place(pose.position, pose.position + max(distance, 0.1) * pose.rotation[:, 2], pose.fov)

    def picture_size(self, width: int, longest: int) -> tuple[int, int]:
        """A picture of the page's shape: ``width`` wide, or less where its longer side would exceed ``longest``."""
        camera = self.client.camera
        aspect = max(1, camera.image_width) / max(1, camera.image_height)
        width = min(width, longest, int(longest * aspect))
        return max(16, width), max(16, round(width / aspect))

    def _canvas_size(self, moving: bool) -> tuple[int, int]:
        """Pixels to render: the browser's canvas up to the cap, fewer while moving."""
        camera = self.client.camera
        width, height = max(1, camera.image_width), max(1, camera.image_height)
        cap = min(self.inspector.max_width, self.inspector.pace.width) if moving else self.inspector.max_width
        if self.view.layer == "Views":
            cap = 1920
        scale = min(1.0, cap / max(width, height))
        return max(16, round(width * scale)), max(16, round(height * scale))

    def _cameras(self, width: int, height: int) -> Cameras:
        """The free camera as `Cameras`; viser's is camera → world, OpenCV, with a vertical field of view."""
        camera, pose = self.pose(), np.eye(4)
        pose[:3, :3], pose[:3, 3] = camera.rotation, camera.position
        focal = 0.5 * height / math.tan(0.5 * camera.fov)
        k = torch.tensor([[focal, 0, 0.5 * width], [0, focal, 0.5 * height], [0, 0, 1.0]], dtype=torch.float32)
        viewmat = torch.from_numpy(np.linalg.inv(pose)).float()
        return Cameras(viewmat[None], k[None], width, height)

    def _place_first(self) -> None:
        """Start at the dataset camera that sees most of the scene, else look at the whole scene from a corner above."""
        state = self.renderer.state(self.view.scene)
        assert state is not None
        if state.frames is not None and len(state.frames):
            self.go_to_frame()
            return
        low, high = bounds(state)
        center, size = (low + high) / 2, float(np.linalg.norm(high - low))
        self._place(center + size * z_up_to(np.array([-0.55, -0.65, 0.5]), self.view.up), center, math.radians(60))

    def _place(self, position: np.ndarray, look_at: np.ndarray, fov: float) -> None:
        camera, before = self.client.camera, self.pose()
        with self.client.atomic():
            camera.fov = fov
            camera.position = position
            camera.look_at = look_at
        self._placing.put(before, self._said())
        self._moved_at = time.monotonic()
        if self._server_draws():
            self._ask_canvas(moving=True)

    # --- when something goes wrong ---------------------------------------------------------------------------

    def guarded(self, callback: Callable[[Any], Any], alone: bool = False) -> Callable[[Any], None]:
        """The callback, but an exception in it becomes a notification and a log entry, and its time is charged.

        Args:
            alone: with `lock` held, for what reads before it changes.
        """

        def run(event: Any) -> None:
            begun = time.thread_time()
            try:
                with self.lock if alone else nullcontext():
                    callback(event)
            except Exception as error:
                if not isinstance(error, InputError):
                    log.exception("inspector: a callback failed")
                self.report(error)
            finally:
                self.inspector.worker.charge(time.thread_time() - begun)

        return run

    def report(self, error: Exception) -> None:
        """Show an exception in the page, the same one at most every five seconds."""
        text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        self.notify("Something failed, the viewer goes on", text[:400], "red")

    def notify(self, title: str, body: str, color: Any = "blue", seconds: float = 8.0) -> None:
        now = time.monotonic()
        if self.closed or now - self._notified.get(body, -1e9) < 5:
            return
        self._notified[body] = now
        self.client.add_notification(title, body, auto_close_seconds=seconds, color=color)

    def close(self) -> None:
        self.closed = True
        self.inspector.worker.cancel(lambda key: isinstance(key, tuple) and key[0] == self.client.client_id)

    def _add_shortcuts(self) -> None:
        gui = self.client.gui

        def add(label: str, key: Any, action: Callable[[], None]) -> None:
            gui.add_command(label, hotkey=key).on_trigger(self.guarded(lambda _: action()))

        for layer in LAYERS:
            key, hint = INFO[layer].key, INFO[layer].hint
            add(f"Show {layer}: {hint}", key, lambda layer=layer: self.panel.choose_layer(layer))
        add("Split the picture, or not", "X", lambda: self.panel.toggle("Split"))
        add("Blend two layers, or not", "B", lambda: self.panel.toggle("Blend"))
        add("Compare, or not", "C", self.comparison.toggle)
        add("Go to the dataset camera", "0", self.go_to_frame)
        add("Next scene", "N", lambda: self.turn_scene(1))
        add("Keys and mouse", "H", self.help.show_keys)
        add("Previous scene", "P", lambda: self.turn_scene(-1))
