"""`gaussiancross embed`: per-point features of a scene as a NumPy file."""

from __future__ import annotations

import math
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
from ...core.nn.block_files import write_features
from ...core.nn.blocks import block_voxels, encode_in_blocks, plan_blocks
from ...core.nn.encode import voxels_of
from ...core.nn.spunet import SpUNet
from ...core.report import Report
from ...trainers.pretraining.runs import find_checkpoint
from ..reporting import ConsoleReport
from ..scenes.files import prepared
from ..scenes.open import SceneSpec, open_scene


@dataclass(frozen=True)
class Embed:
    """Write the features [N, C] of a scene's points, in their order in the file.

    Large scenes are computed in overlapping blocks. Finished blocks are stored beside the file: the same
    command goes on with them after an interruption.
    """

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
    block_voxels: int | None = None
    """Voxels computed at once, at most; by default what takes about 2 GB with this model."""
    overlap: float | None = None
    """Margin of a block (m); by default all that the model sees, so that blocks leave no trace in the features."""
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
    if options.block_voxels is not None and options.block_voxels < 1:
        raise InputError("--block-voxels", "a number above 0", str(options.block_voxels))
    if options.overlap is not None and not 0 <= options.overlap < math.inf:
        raise InputError("--overlap", "metres, 0 or more", str(options.overlap))
    own_model = find_checkpoint(Path(options.scene).expanduser())
    model = load_pretrained(options.model or own_model or BUILTIN).to(pick_device(options.device))
    backbone = model if isinstance(model, SpUNet) else model.backbone
    with ConsoleReport(f"reading {options.scene}") as report:
        scene = read_scene(options, report)
    with ConsoleReport(f"{len(scene):,} points") as report:
        rows, width = len(scene), write_scene(options, backbone, scene, report)
    if options.points is not None:
        write_points(options.points, scene)
    console.print(f"{options.out}: {rows:,} points × {width} features of {scene.name}", highlight=False, markup=False)
    return 0


def write_scene(options: Embed, backbone: SpUNet, scene: PointScene, report: Report) -> int:
    """Write the features, in blocks if there are too many voxels for one; return their number per point."""
    found = voxels_of(scene.coord, scene.color, scene.normal, backbone.voxel_size)
    budget = options.block_voxels or block_voxels(backbone)
    overlap = None if options.overlap is None else math.ceil(options.overlap / backbone.voxel_size)
    plan = plan_blocks(found.points.grid_coord.numpy(), budget, backbone.reach, overlap)
    if len(plan.blocks) == 1:
        features = encode_in_blocks(backbone, found.points, budget, options.hypercolumn)[found.inverse]
        np.save(options.out, features.numpy())
        return features.shape[1]
    if plan.overlap < backbone.reach:
        shown = (plan.overlap * backbone.voxel_size, backbone.reach * backbone.voxel_size)
        report.notice(f"blocks overlap by {shown[0]:.1f} m, the model sees {shown[1]:.1f} m: features at seams differ")
    return write_features(backbone.eval(), found, plan, budget, options.out, options.hypercolumn, report)


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
