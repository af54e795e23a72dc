"""`gaussiancross refine`: optimise the Gaussians of a scene against its posed frames, and write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from rich.console import Console

from ...core.device import default_device
from ...core.errors import InputError
from ...core.geometry.gaussians import Gaussians
from ...core.io.atomic import atomic_file
from ...core.io.formats import SPLAT_ENDINGS, splat_format_of
from ...core.io.frames import evenly_spaced
from ...core.io.images import write_color
from ...core.metrics.image import psnr
from ...trainers.gaussian_fitting import RefineConfig, TargetViews, read_views, refine_gaussians
from ...trainers.gaussian_fitting.scene import render, view_psnr
from ..export.files import splats_work
from ..export.refining import split_views, start_gaussians
from ..export.work import finish
from ..render.colors import Image, to_image
from ..render.draw import Cell, sheet
from ..reporting import ConsoleReport
from ..scenes.geometry import world_gaussians
from ..scenes.open import SceneSpec, open_scene
from ..scenes.source import SceneState

SHOWN = 4
"""Held-out frames in the picture."""


@dataclass(frozen=True)
class Refine:
    """Optimise the Gaussians of a scene against its posed frames; writes splats and a picture of held-out frames.

    The Gaussians start on the scene's points, or are those of a file of splats. Ctrl-C ends early and writes what is
    there.
    """

    what: tyro.conf.Positional[str]
    """A capture, "rooms:val:1", or a run on either: anything with posed frames that `gaussiancross view` opens."""
    to: tyro.conf.Positional[Path]
    """File to write: .ply, .compressed.ply, .splat, .spz, .sog or .glb. The picture is FILE.png beside it."""
    index: int = 0
    """Scene index, counted from 0."""
    refine: tyro.conf.OmitArgPrefixes[RefineConfig] = field(default_factory=RefineConfig)
    """Time and learning rates."""
    gaussians: int = 100_000
    """Largest number of points on which Gaussians start; of more, as many are drawn at random. More take more time."""
    width: int = 320
    """Width of the frames that the Gaussians are compared with, pixels; at most their own."""
    features: bool = False
    """Also write the features of the scene's Gaussians (of a run, a room or a capture) to a .ply or .glb."""
    data: str | None = None
    """Other scenes for a run or a saved model."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device; "auto" takes CUDA if available."""


def main(args: Sequence[str]) -> int:
    options = tyro.cli(Refine, args=args, prog="gaussiancross refine")
    if not options.to.name.lower().endswith(SPLAT_ENDINGS):
        raise InputError(options.to, "a file name with one of " + ", ".join(SPLAT_ENDINGS), options.to.suffix or "none")
    if not options.to.absolute().parent.is_dir():
        raise InputError(options.to.parent, "a folder to write to", "none")
    if options.width < 16 or options.gaussians < 1:
        found = f"{options.width} and {options.gaussians}"
        raise InputError("--width and --gaussians", "at least 16 pixels and at least 1", found)
    device, console = default_device(None if options.device == "auto" else options.device), Console()
    with ConsoleReport() as report:
        spec = SceneSpec(options.what, options.index, data=options.data, device=options.device)
        opened = open_scene(spec, report)
        state = opened.source.load(opened.index)
        fitted, held_out = target_views(spec, state, options.width)
        start = start_gaussians(state, options.features, options.gaussians)
        before = start if state.gaussians is None else world_gaussians(state)
    fitted, held_out = fitted.to(device), held_out.to(device)
    size = f"{fitted.cameras.width} × {fitted.cameras.height}"
    quality = float(view_psnr(before.to(device), held_out).mean())
    found = f"{len(start):,} Gaussians; {len(fitted)} frames of {size}, and {len(held_out)} held out: {quality:.2f} dB"
    console.print(f"{state.name}: {found}", highlight=False, markup=False, soft_wrap=True)
    with console.status("refining …") as status:
        result = refine_gaussians(
            start.to(device),
            fitted,
            options.refine,
            lambda share, steps: status.update(f"refining: {share:.0%}, step {steps:,}"),
        )
    after = result.gaussians
    plain = replace(after, features=None)  # in the scene's world, so that no transform is left
    refined = SceneState(
        state.name, points=state.points, frames=state.frames, gaussians=plain, embeddings=after.features
    )
    ending = splat_format_of(options.to).endings[0].lstrip(".")
    download = finish(splats_work(refined, ending, None, options.to.stem, options.features))
    with atomic_file(options.to) as part:
        part.write_bytes(download.content)
    picture = options.to.with_name(options.to.name + ".png")
    write_color(picture, comparison(before.to(device), after, held_out))
    quality = float(view_psnr(after, held_out).mean())
    size = f"{len(download.content) / 1e6:.1f} MB"
    said = f"{options.to}: {quality:.2f} dB on held-out frames after {result.steps:,} steps, {size}; {picture}"
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    return 130 if result.interrupted else 0


def target_views(spec: SceneSpec, state: SceneState, width: int) -> tuple[TargetViews, TargetViews]:
    """Views to fit and held-out views of a scene that was opened at ``spec.split``.

    Where the training split has other frames of the same scene (captures), these are fitted and the scene's own ones
    held out; elsewhere every eighth of its own.

    Raises:
        InputError: fewer than two posed frames.
    """
    if state.frames is None or len(state.frames) == 0:
        raise InputError(state.name, "posed frames to compare with", "none", "refine a capture, a room or a run")
    own = read_views(state.frames, width)
    training = open_scene(replace(spec, split="train", features_from="none")).source
    if state.name == (training.scene_names[spec.index : spec.index + 1] or ("",))[0]:
        other = training.load(spec.index).frames
        if other is not None and len(other) and not set(other.names) & set(state.frames.names):
            return read_views(other, width), own
    if len(own) < 2:
        raise InputError(state.name, "two or more posed frames, to hold one out", "1")
    return split_views(own)


def comparison(before: Gaussians, after: Gaussians, views: TargetViews) -> Image:
    """A sheet of up to `SHOWN` held-out frames: the frame, the rendering before and after."""
    chosen = evenly_spaced(list(range(len(views))), SHOWN)
    rows = []
    for i in chosen:
        view = views[[i]]
        row = [Cell(to_image(view.color[0]))]
        for gaussians in (before, after):
            with torch.no_grad():
                color = render(gaussians, view.cameras).color.clamp(0, 1)
            row.append(Cell(to_image(color[0]), f"{float(psnr(color, view.color)[0]):.1f} dB"))
        rows.append(row)
    aspect = views.cameras.width / views.cameras.height
    return sheet(rows, ["held-out frame", "before", "refined"], [str(i) for i in chosen], 1500, aspect)
