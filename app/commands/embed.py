"""`gaussiancross embed`: per-point features of a scene as a NumPy file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from rich.console import Console

from ...core.data.scene import PointScene
from ...core.datasets import open_dataset
from ...core.device import pick_device
from ...core.errors import InputError
from ...core.geometry.normals import estimate_normals
from ...core.io import write_points
from ...core.io.point_files import points_of_gaussians
from ...core.io.pretrained import BUILTIN
from ...core.models import load_pretrained
from ...core.report import Report
from ...trainers.pretraining.runs import find_checkpoint, load_run
from ..reporting import ConsoleReport
from .view import View, open_source


@dataclass(frozen=True)
class Embed:
    """Write the features [N, C] of a scene's points, in their order in the file."""

    scene: tyro.conf.Positional[str]
    """Anything that `gaussiancross view` opens: a .ply or .splat, a Pointcept scene or folder, a capture,
    "rooms:COUNT" or "rooms:val:3", or a run or saved model (a scene of its data, by default a held-out one, by its own
    model)."""
    out: Path
    """The .npy file to write, float32."""
    model: str | None = None
    """What computes them: a folder of `save_pretrained` or `gaussiancross convert`, a run, a checkpoint, or a name on
    the Hugging Face hub. By default a run given as SCENE its own model, anything else "bundled-rooms"."""
    index: int = 0
    """Which scene, where there are several, counted from 0."""
    split: Literal["train", "val", "test"] = "val"
    """Which scenes, where there is a choice."""
    hypercolumn: bool = False
    """Every stage's features side by side instead of the last stage's."""
    points: Path | None = None
    """Also write the points as a PLY, in the same order: for captures, whose points are made here."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to compute; "auto" takes CUDA when there is one."""


def main(args: Sequence[str]) -> int:
    return run(tyro.cli(Embed, args=args, prog="gaussiancross embed"))


def run(given: Embed, console: Console | None = None) -> int:
    """Read, encode, write."""
    console = console or Console()
    for path, ending in ((given.out, ".npy"), (given.points, ".ply")):
        if path is not None and (path.suffix.lower() != ending or not path.absolute().parent.is_dir()):
            raise InputError(path, f"a {ending} file in a folder that exists", "another name or no such folder")
    own = find_checkpoint(Path(given.scene).expanduser())
    model = load_pretrained(given.model or own or BUILTIN).to(pick_device(given.device))
    with ConsoleReport(f"reading {given.scene}") as report:
        scene = read_scene(given, own, report)
    with console.status(f"{len(scene):,} points …"):
        features = model.encode(scene.coord, scene.color, scene.normal, hypercolumn=given.hypercolumn).numpy()
    np.save(given.out, features)
    if given.points is not None:
        write_points(given.points, scene)
    rows, width = features.shape
    console.print(f"{given.out}: {rows:,} points × {width} features of {scene.name}", highlight=False, markup=False)
    return 0


def read_scene(given: Embed, run: Path | None, report: Report) -> PointScene:
    """The points that ``given`` names; normals are estimated where there is none at all."""
    if run is not None:
        data = open_dataset(load_run(run)[1].data.data, given.split, report=report)
        names, load = data.names, data.scene
    else:
        source = open_source(View(given.scene, split=given.split, teacher="none"), report)  # points alone
        names = source.scene_names

        def load(index: int) -> PointScene:
            state = source.load(index)
            if state.points is not None:
                return state.points
            assert state.gaussians is not None
            return points_of_gaussians(state.gaussians, state.name)

    if not 0 <= given.index < len(names):
        raise InputError("--index", f"0 to {len(names) - 1}", str(given.index))
    scene = load(given.index).validated()
    if scene.normal.any():
        return scene
    report.notice(f"{scene.name}: no normals; those of {len(scene):,} points are estimated from their neighbours")
    return replace(scene, normal=estimate_normals(scene.coord))
