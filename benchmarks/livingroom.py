"""Pre-train on one real capture for a given time: quality on held-out frames, with pictures."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Tensor
from torch.nn.functional import normalize

from ..app.render.plots import view_sheet
from ..core.data.batch import Batch
from ..core.errors import InputError
from ..core.io.images import write_color
from ..core.models import Prediction
from ..core.nn.heads import HeadConfig
from ..trainers.pretraining.config import PretrainConfig
from ..trainers.pretraining.data import PretrainData
from ..trainers.pretraining.presets import TINY
from ..trainers.pretraining.trainer import Pretrainer
from ._machine import environment, markdown, write_report

CALIBRATION = 8
"""Steps that are timed to fit the learning-rate schedule to the time there is."""

VOXEL = 0.025
"""Voxels and fine anchors, metres: a capture of 40,000 points affords finer ones than the preset's rooms."""


@dataclass(frozen=True)
class Livingroom:
    """Train the tiny preset on the capture's training frames, then render its held-out frames."""

    data: tyro.conf.Positional[Path]
    """An RGB-D capture."""
    seconds: float = 600.0
    """Training time. The schedule is fitted to it from a few timed steps."""
    steps: int | None = None
    """Length of the schedule; None fits it to the time."""
    teacher: str | None = None
    """Precomputed features; the capture's folder teacher_ade20k by default, "none" for none."""
    anchors: Literal["two_level", "lattice"] = "two_level"
    """Anchors of the Gaussians: the paper's lattice, or lattice and observed voxels."""
    cells: int = TINY.model.lattice_cells
    """About how many cells the lattice has."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to train."""
    out: Path = Path("bench")
    """Folder for the run, livingroom_<anchors>.json, .md and .png."""


def main() -> int:
    given = tyro.cli(Livingroom)
    name = f"livingroom_{given.anchors}"
    run_dir = given.out / name
    if (run_dir / "checkpoints").exists():
        raise InputError(run_dir, "a new folder for the run", "one with checkpoints", "remove it or give --out")
    config = make_config(given)
    data = PretrainData(config.data, config.model.input, config.seed)
    if given.steps is None:
        per_step = calibrate(config, run_dir, data, given.device)
        config = replace(config, steps=max(CALIBRATION, int(given.seconds / per_step)))
        print(f"{per_step:.2f} s per step: a schedule of {config.steps} steps")
    trainer = Pretrainer(config, run_dir, data, given.device)
    started = time.perf_counter()
    trainer.fit(given.seconds)
    trained = time.perf_counter() - started

    constant: list[float] = []

    def keep_pictures(scene: str, batch: Batch, prediction: Prediction) -> None:
        views = batch.views[0]
        write_color(given.out / f"{name}.png", view_sheet(views, prediction))
        if views.teacher is not None:
            constant.append(constant_cosine(data, views.teacher))

    given.out.mkdir(parents=True, exist_ok=True)
    metrics = trainer.evaluate(keep_pictures)
    report = {
        "environment": environment(trainer.device),
        "anchors": given.anchors,
        "steps": trainer.step,
        "schedule": config.steps,
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
    write_report(given.out, name, report, markdown(("livingroom", given.anchors), rows))
    return 0


def make_config(given: Livingroom) -> PretrainConfig:
    """The tiny preset on this capture: all held-out views are rendered once, at the end."""
    own = given.data / "teacher_ade20k"
    teacher = given.teacher or (str(own) if own.is_dir() else "none")
    return replace(
        TINY,
        model=replace(
            TINY.model,
            input=replace(TINY.model.input, voxel_size=VOXEL, max_points=None),
            anchors=given.anchors,
            fine_voxel=VOXEL,
            lattice_cells=given.cells,
            head=replace(TINY.model.head, prune_floor=HeadConfig().prune_floor)
            if given.anchors == "lattice"
            else TINY.model.head,
        ),
        data=replace(TINY.data, data=str(given.data), teacher=teacher),
        eval_every=0,
        save_every=10**9,
    )


def calibrate(config: PretrainConfig, run_dir: Path, data: PretrainData, device: str) -> float:
    """Median seconds per step, batch included, on a model that is thrown away."""
    trainer = Pretrainer(config, run_dir, data, device)
    times = []
    batches = data.batches(0)
    try:
        for _ in range(CALIBRATION):
            started = time.perf_counter()
            trainer.train_step(next(batches))
            times.append(time.perf_counter() - started)
    finally:
        batches.close()
    return statistics.median(times[2:])


def constant_cosine(data: PretrainData, teacher: Tensor) -> float:
    """Mean cosine of held-out teacher features [M, h, w, D] to the mean direction of training ones: the trivial
    prediction. Where features share a large common part it is high, and a cosine means little without it."""
    batches = [data.batch(step) for step in range(4)]
    seen = [normalize(v.teacher, dim=-1).flatten(0, 2) for b in batches for v in b.views if v.teacher is not None]
    mean = normalize(torch.cat(seen).mean(0), dim=0)
    return float((normalize(teacher.cpu(), dim=-1) @ mean).mean())


def _frames(scenes) -> int:
    frames = scenes.frames(0)
    return 0 if frames is None else len(frames)
