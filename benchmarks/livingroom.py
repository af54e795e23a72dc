"""Quality on held-out frames of a real capture after `gaussiancross pretrain tiny --seconds …`, with images."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from ..app.commands import pretrain
from ..app.render.evaluation_sheet import view_sheet
from ..core.data.batch import Batch
from ..core.errors import InputError
from ..core.io.images import write_color
from ..core.models import Prediction
from ..core.nn.heads import HeadConfig
from ..trainers.pretraining.evaluation import constant_cosine, constant_feature
from ..trainers.pretraining.presets import TINY
from ._machine import environment, markdown, write_report


@dataclass(frozen=True)
class Livingroom:
    """Train the tiny preset on the capture's training frames, then render its held-out frames."""

    data: tyro.conf.Positional[Path]
    """An RGB-D capture."""
    seconds: float = 600.0
    """Training time."""
    steps: int | None = None
    """Steps of the schedule; None fits it to the time, as `gaussiancross pretrain` does."""
    teacher: str | None = None
    """Precomputed features; None: the capture's folder teacher_ade20k if present, "none": no teacher."""
    anchors: Literal["two_level", "lattice"] = "two_level"
    """Anchors of the Gaussians: the paper's lattice, or lattice and observed voxels."""
    cells: int = TINY.model.lattice_cells
    """Approximate number of lattice cells."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the training."""
    out: Path = Path("bench")
    """Folder for the run, livingroom_<anchors>.json, .md and .png."""


def main() -> int:
    args = tyro.cli(Livingroom)
    name = f"livingroom_{args.anchors}"
    run_dir = args.out / name
    if (run_dir / "checkpoints").exists():
        raise InputError(run_dir, "a new folder for the run", "one with checkpoints", "remove it or give --out")
    command = pretrain_options(args, run_dir)
    print(f"gaussiancross pretrain {shlex.join(command)}")
    console = Console()
    options = pretrain.parse(command)
    trainer = pretrain.prepare(options, console)
    data = trainer.data
    started = time.perf_counter()
    pretrain.fit(trainer, options, console)
    trained = time.perf_counter() - started

    direction = constant_feature(data)
    constant: list[float] = []

    def keep_pictures(scene: str, batch: Batch, prediction: Prediction) -> None:
        views = batch.views[0]
        write_color(args.out / f"{name}.png", view_sheet(views, prediction))
        if direction is not None and views.teacher is not None:
            constant.append(float(constant_cosine(direction, views.teacher).mean()))

    args.out.mkdir(parents=True, exist_ok=True)
    metrics = trainer.evaluate(keep_pictures)
    report = {
        "environment": environment(trainer.device),
        "anchors": args.anchors,
        "steps": trainer.step,
        "schedule": trainer.config.steps,
        "seconds": trained,
        "frames": {"train": _frames(data.train), "held out": _frames(data.val)},
        "metrics": metrics,
    }
    rows = [
        ("steps", trainer.step),
        ("time, with the last evaluation", f"{trained:.0f} s"),
        ("held-out PSNR", f"{metrics['eval/psnr']:.2f} dB"),
        ("… above the mean colour", f"{metrics['eval/psnr_gain']:.2f} dB"),
        ("median relative depth error", f"{metrics['eval/depth_error']:.2%}"),
    ]
    if "eval/teacher_cosine" in metrics:
        report["constant_cosine"] = constant[0]
        rows.append(("cosine to the teacher", f"{metrics['eval/teacher_cosine']:.4f}"))
        rows.append(("… of one feature for every pixel", f"{constant[0]:.4f}"))
    write_report(args.out, name, report, markdown(("livingroom", args.anchors), rows))
    return 0


def pretrain_options(args: Livingroom, run_dir: Path) -> list[str]:
    """Return the options of `gaussiancross pretrain` for the measured run."""
    own = args.data / "teacher_ade20k"
    teacher = args.teacher or (str(own) if own.is_dir() else "none")
    options = ["tiny", "--data", str(args.data), "--data.teacher", teacher, "--seconds", f"{args.seconds:g}"]
    options += ["--run-dir", str(run_dir), "--device", args.device, "--no-view"]
    options += ["--model.lattice-cells", str(args.cells), "--model.anchors", args.anchors]
    if args.anchors == "lattice":  # a lattice without fine anchors needs the higher pruning floor
        options += ["--model.head.prune-floor", str(HeadConfig().prune_floor)]
    return options if args.steps is None else [*options, "--steps", str(args.steps)]


def _frames(scenes) -> int:
    frames = scenes.frames(0)
    return 0 if frames is None else len(frames)
