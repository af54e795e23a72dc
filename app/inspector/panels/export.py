"""Export panel: images, videos along a camera path, Gaussians, features, the selection, an offline page."""

from __future__ import annotations

import time

import numpy as np
import viser
from numpy.typing import NDArray

from ....core.errors import InputError
from ....core.io.formats import SPLAT_ENDINGS
from ...export.camera_path import Pose, dataset_path, orbit, spline
from ...export.files import checked_selection, features_work, file_name, selection_work, splats_work
from ...export.offline import MAX_GAUSSIANS, page_work
from ...export.pictures import MAX_SIDE, picture_work
from ...export.video import MAX_VIDEO_SIDE, path_work
from ...export.video_files import MAX_FRAMES, Format, even, find_ffmpeg
from ...scenes.geometry import UP
from ...scenes.house import drawn
from ...scenes.source import SceneState
from ..context import PanelContext
from .base import Panel, register
from .controls import assign

FORMATS: tuple[Format, ...] = ("GIF", "MP4") if find_ffmpeg() is None else ("MP4", "GIF")
"""Video formats; MP4 comes first where ffmpeg is installed."""

MAX_KEYS = 200
"""Largest number of key frames of one path."""

_PATHS = ("Key frames", "Orbit", "Dataset cameras")
_WIDTHS = ("320", "480", "640", "960", "1280", "1920")
_WHOLE, _SELECTED = "Whole scene", "Selection"


class JobBar:
    """Progress of the running export, and a button that stops it. Hidden otherwise."""

    def __init__(self, context: PanelContext) -> None:
        self.context = context
        gui = context.gui
        self._text = gui.add_markdown("", visible=False)
        self._bar = gui.add_progress_bar(0.0, visible=False, animated=True)
        self._stop = gui.add_button("Stop", icon=viser.Icon.X, color="gray", visible=False)
        self._stop.on_click(context.guarded(lambda _: self.context.exports.stop()))

    def pulse(self) -> None:
        job = self.context.exports.job
        running = job is not None and not job.done
        for handle in (self._text, self._bar, self._stop):
            assign(handle, "visible", running)
        if job is not None and running:
            assign(self._text, "content", f"Making the {job.title}: {job.share:.0%}")
            assign(self._bar, "value", round(100 * job.share))


@register("export", tab="Files", order=1)
class ExportPanel(Panel):
    """Makes files on the server and sends them to the browser; nothing is written to the server's disk."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._keys: list[Pose] = []
        self._line: viser.LineSegmentsHandle | None = None
        self._preview: tuple[list[Pose], float, float] | None = None
        gui, guard = context.gui, context.guarded
        self._bar = JobBar(context)
        with gui.add_folder("Image"):
            self._image_width = gui.add_number("Width (px)", 1920, min=64, max=MAX_SIDE, step=1)
            save = gui.add_button("Save image (.png)", icon=viser.Icon.CAMERA, color="gray")
            save.on_click(guard(lambda _: self._save_image()))
        with gui.add_folder("Data"):
            self._what = gui.add_dropdown("Content", (_WHOLE, _SELECTED), hint="select in the Search tab")
            for label, kind, icon, hint in (
                ("Gaussians (.ply)", "ply", viser.Icon.FILE_EXPORT, "the format of other splat viewers"),
                ("Gaussians (.splat)", "splat", viser.Icon.FILE_EXPORT, "32 bytes each, 8-bit colours"),
                ("Gaussians (.spz)", "spz", viser.Icon.FILE_EXPORT, "compressed, a tenth of the .ply"),
                ("Gaussians (.sog)", "sog", viser.Icon.FILE_EXPORT, "compressed, of 256 scales and colours"),
                ("Gaussians (.glb)", "glb", viser.Icon.FILE_EXPORT, "glTF with KHR_gaussian_splatting"),
                ("Features (.npy)", "npy", viser.Icon.FILE_EXPORT, "one row per Gaussian, in the order of the .ply"),
                ("Indices (.npy + .json)", "zip", viser.Icon.FILE_EXPORT, "of the selection"),
                (
                    "Offline page (.html)",
                    "html",
                    viser.Icon.WORLD,
                    f"one file that opens without a server; up to {MAX_GAUSSIANS:,} Gaussians, 32 bytes each",
                ),
            ):
                button = gui.add_button(label, icon=icon, color="gray", hint=hint)
                button.on_click(guard(lambda _, kind=kind: self._save_data(kind)))
                if kind == "zip":
                    self._indices = button
        with gui.add_folder("Video along a camera path", expand_by_default=False):
            self._path = gui.add_dropdown("Path", _PATHS, hint="Orbit: a full turn, around a room from outside")
            self._path.on_update(guard(lambda _: self._path_changed()))
            self._edit = gui.add_button_group("Key frames", ("Add", "Remove last", "Clear"))
            self._edit.on_click(guard(lambda _: self._edit_keys(self._edit.value)))
            self._about = gui.add_markdown("")
            self._loop = gui.add_checkbox("Closed", False, hint="return from the last key frame to the first")
            self._loop.on_update(guard(lambda _: self._path_changed()))
            self._seconds = gui.add_slider("Length (s)", 1, 40, 1, 6)
            self._fps = gui.add_slider("Frames/s", 5, 30, 5, 15)
            self._video_width = gui.add_dropdown("Width (px)", _WIDTHS, initial_value="640")
            self._format = gui.add_dropdown("Format", FORMATS)
            self._play = gui.add_button("Preview", icon=viser.Icon.PLAYER_PLAY, color="gray")
            self._play.on_click(guard(lambda _: self._toggle_preview()))
            video = gui.add_button("Save video", icon=viser.Icon.VIDEO, color="gray")
            video.on_click(guard(lambda _: self._save_video()))
        self._path_changed()

    def pulse(self) -> None:
        self._bar.pulse()
        assign(self._indices, "disabled", self.context.model.selection is None)
        if self._preview is not None:
            poses, begun, seconds = self._preview
            share = (time.monotonic() - begun) / seconds
            if share >= 1:
                self._toggle_preview()
            else:
                self.context.camera.set_pose(poses[int(share * len(poses))])

    # --- images and videos ------------------------------------------------------------------------------------

    def _save_image(self) -> None:
        context = self.context
        width, height = context.camera.image_size(int(self._image_width.value), MAX_SIDE)
        name = file_name(self._state().name, context.view.layer, f"{width}x{height}")
        work = picture_work(
            context.renderer, context.view.scene, context.model.options(), context.camera.pose(), width, height, name
        )
        context.exports.start("image", work)

    def _save_video(self) -> None:
        context, kind = self.context, self._format.value
        width, height = context.camera.image_size(int(self._video_width.value), MAX_VIDEO_SIDE[kind])
        poses = self._poses(round(self._seconds.value * self._fps.value))
        name = file_name(self._state().name, context.view.layer, self._path.value)
        work = path_work(
            context.renderer,
            context.view.scene,
            context.model.options(),
            poses,
            (even(width), even(height)),
            self._fps.value,
            kind,
            name,
        )
        context.exports.start("video", work)

    def _poses(self, count: int) -> list[Pose]:
        context = self.context
        if not 1 <= count <= MAX_FRAMES:  # the slider ends below; other clients may send more
            raise InputError("a video", f"1 to {MAX_FRAMES} frames", f"{count:,}")
        if self._path.value == "Orbit":
            start, target = context.camera.orbit_start()
            return orbit(start, target, np.array(UP[context.view.up]), count)
        if self._path.value == "Dataset cameras":
            frames = self._state().frames
            if frames is None or not len(frames):
                raise InputError("this path", "dataset cameras", "none in this scene", "add key frames instead")
            return dataset_path(frames.cameras, count)
        return spline(self._keys, count, self._loop.value)

    def _edit_keys(self, action: str) -> None:
        if action == "Add" and len(self._keys) >= MAX_KEYS:
            raise InputError("the camera path", f"at most {MAX_KEYS} key frames", "one more")
        if action == "Add":
            self._keys.append(self.context.camera.pose())
        else:
            del self._keys[-1 if action == "Remove last" else 0 :]
        self._path_changed()

    def _path_changed(self) -> None:
        keys = self._path.value == "Key frames"
        for handle in (self._edit, self._loop, self._about):
            assign(handle, "visible", keys)
        count = len(self._keys)
        text = "*Move the camera, add a key frame, repeat.*" if not count else f"{count} key frame{'s'[: count != 1]}"
        assign(self._about, "content", text)
        if self._line is not None:
            self._line.remove()
            self._line = None
        if keys and count > 1:
            at = np.stack([p.position for p in spline(self._keys, 20 * count, self._loop.value)])
            segments = np.stack([at[:-1], at[1:]], 1)
            self._line = self.context.client.scene.add_line_segments(
                "/camera_path", segments.astype(np.float32), colors=(255, 170, 60), thickness=2.0
            )

    def _toggle_preview(self) -> None:
        if self._preview is None:
            seconds = float(self._seconds.value)
            self._preview = (self._poses(round(10 * seconds)), time.monotonic(), seconds)
        else:
            self._preview = None
        self._play.label = "Preview" if self._preview is None else "Stop preview"
        self._play.icon = viser.Icon.PLAYER_PLAY if self._preview is None else viser.Icon.PLAYER_STOP

    # --- data -------------------------------------------------------------------------------------------------

    def _save_data(self, kind: str) -> None:
        context, state = self.context, self._state()
        chosen: NDArray[np.int64] | None = None
        if self._what.value == _SELECTED or kind == "zip":
            chosen = checked_selection(
                context.model.selection, len(state.gaussians if state.gaussians is not None else ())
            )
        step = None if state.step is None else f"step-{state.step}"
        name = file_name(state.name, step, "selection" if chosen is not None else None)
        if f".{kind}" in SPLAT_ENDINGS:
            context.exports.start(f".{kind}", splats_work(state, kind, chosen, name))
        elif kind == "npy":
            context.exports.start("features", features_work(state, chosen, file_name(name, "features")))
        elif kind == "zip":
            assert chosen is not None
            context.exports.start("indices", selection_work(state, chosen, context.source.title, name))
        else:
            if chosen is None and state.gaussians is not None:  # as shown: no hidden parts, no walls before a room
                options = context.model.options()
                shown = drawn(state, options.keep, options.cut, context.requests.cameras())
                chosen = None if shown is None or len(shown) != len(state.gaussians) else np.flatnonzero(shown.cpu())
            target = np.asarray(context.client.camera.look_at, np.float64)
            up = np.asarray(context.client.camera.up_direction, np.float64)
            page = page_work(context.renderer, context.view.scene, context.camera.pose(), target, chosen, name, up=up)
            context.exports.start("page", page)

    def _state(self) -> SceneState:
        state = self.context.state()
        if state is None:
            raise InputError("this export", "a loaded scene", "one that is still loading", "wait a moment")
        return state
