"""Videos of a scene: along a camera path, or over the steps of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...core.errors import InputError
from ...trainers.pretraining.timeline import thinned
from ..render.compare import PartnerRenderer
from ..render.draw import caption
from ..render.layers import Image
from ..render.renderer import Renderer, RenderOptions
from ..scenes.timeline import TimelineSource
from .camera_path import Pose
from .video_files import MAX_FRAMES, Format, open_writer
from .work import Download, Progress, Work

MAX_VIDEO_SIDE = {"GIF": 960, "MP4": 1920}
"""Longest side of a moving picture, pixels."""

_VIDEO_STEPS = 90
"""Steps of a time line that go into a video."""


def video_work(
    draw: Callable[[int], Image], count: int, width: int, height: int, fps: float, kind: Format, name: str
) -> Work:
    """A GIF or an MP4 of ``draw(0) … draw(count - 1)``, each [height, width, 3]."""
    limit = MAX_VIDEO_SIDE[kind]
    if not 1 <= count <= MAX_FRAMES:
        raise InputError("a video", f"1 to {MAX_FRAMES} frames", str(count), "make it shorter or lower its frame rate")
    if min(width, height) < 16 or max(width, height) > limit:
        raise InputError(f"a {kind}", f"16 to {limit} pixels on either side", f"{width} × {height}")
    writer = open_writer(kind, width, height, fps)
    try:
        for i in range(count):
            writer.add(draw(i))
            yield Progress(0.98 * (i + 1) / count)
        for _ in writer.finish():
            yield Progress(0.99, waiting=True)
        return Download(f"{name}.{kind.lower()}", writer.content)
    finally:
        writer.close()


def path_work(
    renderer: Renderer,
    scene: int,
    look: RenderOptions,
    path: Sequence[Pose],
    size: tuple[int, int],
    fps: float,
    kind: Format,
    name: str,
) -> Work:
    """A video along a path of poses."""

    def draw(i: int) -> Image:
        return renderer.draw(scene, look, path[i].cameras(*size)).image

    return video_work(draw, len(path), *size, fps, kind, name)


def steps_work(
    main: Renderer,
    source: TimelineSource,
    scene: int,
    look: RenderOptions,
    pose: Pose,
    size: tuple[int, int],
    kind: Format,
    name: str,
    fps: float = 5.0,
) -> Work:
    """A video of one view over the steps of a run; the last step stays for a second and a half.

    Args:
        look: what is drawn; layers that need more than the weights (a dataset camera, scores) do what they do in the
            page.
    """
    twin = source.twin(None)
    steps = [frame.step for frame in thinned(twin.frames(), _VIDEO_STEPS)]
    if not steps:
        raise InputError("the time line", "steps that the run has kept", "none yet")
    partner = PartnerRenderer(twin, main)

    def draw_step(step: int) -> Image:
        if twin.position != step:
            twin.seek(step)
            partner.load(scene)
        image = partner.draw(scene, look, pose.cameras(*size)).image
        return caption(image, f"step {step:,}") if not look.mixed else image

    order = [*steps, *[steps[-1]] * round(1.5 * fps)]
    # The newest step first: feature colours are then fitted to what the network has learned, and stay.
    draw_step(steps[-1])
    yield Progress(0.01)
    return (yield from video_work(lambda i: draw_step(order[i]), len(order), *size, fps, kind, name))
