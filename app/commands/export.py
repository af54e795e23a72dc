"""`gaussiancross export`: write pictures, videos, splats, features or an offline page of a scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console

from ...core.errors import InputError
from ...core.io.formats import SPLAT_ENDINGS, splat_format_of
from ..export.camera_path import Pose, dataset_path, orbit, overview_pose
from ..export.files import features_work, splats_work
from ..export.offline import page_work
from ..export.pictures import picture_work
from ..export.video import path_work, steps_work
from ..export.video_files import Format, even
from ..export.work import Work, finish
from ..render.catalog import Layer
from ..render.options import RenderOptions
from ..render.renderer import Renderer
from ..scenes.geometry import UP, bounds, guess_up, point_size
from ..scenes.house import house_of
from ..scenes.open import SceneSpec, open_scene
from ..scenes.source import SceneState
from ..scenes.timeline import TimelineSource

FORMATS = (".png", ".gif", ".mp4", ".npy", ".html", *SPLAT_ENDINGS)


@dataclass(frozen=True)
class Export:
    """Write a picture, a video, splats, features or an offline page of something that `gaussiancross view` opens."""

    what: tyro.conf.Positional[str]
    """Anything that `gaussiancross view` opens."""
    to: tyro.conf.Positional[Path]
    """File to write: .png, .gif, .mp4, .ply, .compressed.ply, .splat, .spz, .sog, .glb, .npy (features) or .html."""
    index: Annotated[int, tyro.conf.arg(aliases=("--scene",))] = 0
    """Scene index, counted from 0."""
    layer: Layer = "RGB"
    """Layer that pictures and videos show."""
    path: Literal["cameras", "orbit", "timeline"] = "cameras"
    """Camera path of a video: the dataset's cameras, a full orbit, or the steps of a run from one camera."""
    frame: int = 0
    """Index of the dataset camera of a picture, and of the start of an orbit or timeline."""
    features: bool = False
    """Also write the features of the Gaussians to a .ply (feat_0, …) or .glb, for `gaussiancross query`."""
    width: int = 960
    """Width of pictures and videos, pixels; the aspect ratio is that of the dataset's cameras, else 4:3."""
    seconds: float = 6.0
    """Duration of a video along a path, seconds."""
    fps: float = 15.0
    """Frames per second of a video along a path."""
    data: str | None = None
    """Other scenes for a run or a saved model."""
    split: Literal["train", "val", "test"] = "val"
    """Scenes of a data set with splits."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device of the model; "auto" takes CUDA if available."""


def main(args: Sequence[str]) -> int:
    options = tyro.cli(Export, args=args, prog="gaussiancross export")
    if options.to.suffix.lower() not in FORMATS:
        raise InputError(options.to, "a file name with one of " + ", ".join(FORMATS), options.to.suffix or "none")
    if not options.to.absolute().parent.is_dir():
        raise InputError(options.to.parent, "a folder to write to", "none")
    spec = SceneSpec(options.what, options.index, data=options.data, split=options.split, device=options.device)
    renderer = Renderer(open_scene(spec).source)
    console = Console()
    with console.status("reading …") as status:
        state = renderer.load(options.index)
        download = finish(export_work(options, renderer, state), lambda share: status.update(f"{share:.0%}"))
        options.to.write_bytes(download.content)
    console.print(f"{options.to}: {len(download.content) / 1e6:.1f} MB", highlight=False, markup=False)
    return 0


def export_work(options: Export, renderer: Renderer, state: SceneState) -> Work:
    """The work that writes the requested file."""
    kind, name = options.to.suffix.lower().lstrip("."), options.to.stem
    if options.to.suffix.lower() in SPLAT_ENDINGS:
        kind = splat_format_of(options.to).endings[0].lstrip(".")
        return splats_work(state, kind, None, name, options.features)
    if kind == "npy":
        return features_work(state, None, name)
    up = guess_up(state)
    start, target, aspect = first_view(state, options.frame)
    if kind == "html":
        return page_work(renderer, options.index, start, target, None, name)
    layer: Layer = "Points" if state.gaussians is None and options.layer == "RGB" else options.layer
    look = RenderOptions(layer=layer, frame=options.frame, point_size=point_size(state), cut=up)
    width, height = options.width, max(1, round(options.width / aspect))
    if kind == "png":
        return picture_work(renderer, options.index, look, start, width, height, name)
    size, form, count = (even(width), even(height)), _format(kind), max(2, round(options.seconds * options.fps))
    if options.path == "timeline":
        if not isinstance(renderer.source, TimelineSource):
            raise InputError("--path timeline", "a run", f"{options.what}, which has no steps")
        return steps_work(renderer, renderer.source, options.index, look, start, size, form, name)
    frames = state.frames
    if options.path == "cameras" and frames is not None and len(frames):
        poses = dataset_path(frames.cameras, count)
    else:
        if house_of(state, up) is not None:  # from inside, it would cross the walls
            start, target = overview_pose(state, up, aspect)
        poses = orbit(start, target, np.array(UP[up]), count)
    return path_work(renderer, options.index, look, poses, size, options.fps, form, name)


def first_view(state: SceneState, frame: int) -> tuple[Pose, np.ndarray, float]:
    """Pose, orbit centre [3] (m) and width / height: of a dataset camera, or of all of the scene from above."""
    if state.frames is not None and len(state.frames):
        low, high = bounds(state)
        middle = (low + high) / 2
        if not 0 <= frame < len(state.frames):
            raise InputError("--frame", f"0 to {len(state.frames) - 1}", str(frame))
        cameras = state.frames.cameras
        pose = cameras.camera_to_worlds[frame].double().numpy()
        fov = 2 * math.atan(0.5 * cameras.height / float(cameras.Ks[frame, 1, 1]))
        reach = max(0.5, float((middle - pose[:3, 3]) @ pose[:3, 2]))
        return Pose(pose[:3, 3], pose[:3, :3], fov), pose[:3, 3] + reach * pose[:3, 2], cameras.width / cameras.height
    return *overview_pose(state, guess_up(state), 4 / 3), 4 / 3


def _format(kind: str) -> Format:
    return "GIF" if kind == "gif" else "MP4"
