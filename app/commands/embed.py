"""`gaussiancross embed`: per-point features of a scene as a NumPy file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from rich.console import Console

from ...core.data.scene import PointScene
from ...core.datasets.scenes.capture import Up
from ...core.device import pick_device
from ...core.errors import InputError
from ...core.io import write_points
from ...core.io.formats import points_of_gaussians
from ...core.io.pretrained import BUILTIN
from ...core.models import load_pretrained
from ...core.report import Report
from ...trainers.pretraining.runs import find_checkpoint
from ..reporting import ConsoleReport
from ..scenes.files import prepared
from ..scenes.open import SceneSpec, open_scene


@dataclass(frozen=True)
class Embed:
    """Write the features [N, C] of a scene's points, in their order in the file."""

    scene: tyro.conf.Positional[str]
    """Anything that `gaussiancross view` opens; a run or saved model stands for the scenes of its own data set."""
    out: Path
    """The .npy file to write, float32."""
    model: str | None = None
    """Saved model, run, checkpoint or Hugging Face name; by default the run named as SCENE, else the bundled one."""
    index: int = 0
    """Scene index, counted from 0."""
    split: Literal["train", "val", "test"] = "val"
    """Scenes of a data set with splits."""
    up: Up = "auto"
    """Axis that points up in a file of points or splats; "auto" guesses it and says so."""
    hypercolumn: bool = False
    """Concatenate the features of all stages instead of the last stage's alone."""
    points: Path | None = None
    """Also write the points as a PLY, in the same order."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Device of the model; "auto" takes CUDA if available."""


def main(args: Sequence[str]) -> int:
    return run(tyro.cli(Embed, args=args, prog="gaussiancross embed"))


def run(options: Embed, console: Console | None = None) -> int:
    """Read, encode, write."""
    console = console or Console()
    for path, ending in ((options.out, ".npy"), (options.points, ".ply")):
        if path is not None and (path.suffix.lower() != ending or not path.absolute().parent.is_dir()):
            raise InputError(path, f"a {ending} file in a folder that exists", "another name or no such folder")
    own_model = find_checkpoint(Path(options.scene).expanduser())
    model = load_pretrained(options.model or own_model or BUILTIN).to(pick_device(options.device))
    with ConsoleReport(f"reading {options.scene}") as report:
        scene = read_scene(options, report)
    with console.status(f"{len(scene):,} points …"):
        features = model.encode(scene.coord, scene.color, scene.normal, hypercolumn=options.hypercolumn).numpy()
    np.save(options.out, features)
    if options.points is not None:
        write_points(options.points, scene)
    rows, width = features.shape
    console.print(f"{options.out}: {rows:,} points × {width} features of {scene.name}", highlight=False, markup=False)
    return 0


def read_scene(options: Embed, report: Report) -> PointScene:
    """The points of the scene, z up; normals are estimated if it has none at all."""
    spec = SceneSpec(options.scene, options.index, features_from="none", split=options.split)
    state = open_scene(spec, report).source.load(options.index)
    if state.points is not None:
        scene = state.points.validated()
    else:
        assert state.gaussians is not None
        scene = points_of_gaussians(state.gaussians, state.name).validated()
    return prepared(scene, Path(options.scene).expanduser(), options.up, report)
