"""`gaussiancross eval`: evaluate a run on held-out views; writes numbers and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ...core.data.batch import Batch
from ...core.device import pick_device
from ...core.errors import InputError
from ...core.io.images import write_color
from ...core.models import Prediction
from ...trainers.pretraining.data import PretrainData
from ...trainers.pretraining.evaluation import constant_feature, evaluate
from ...trainers.pretraining.runs import find_checkpoint, load_run, run_folder, run_name
from ..render.evaluation_sheet import view_sheet

UNITS = {
    "eval/psnr": ("PSNR", "dB"),
    "eval/psnr_gain": ("… above the mean colour", "dB"),
    "eval/depth_error": ("median relative depth error", ""),
    "eval/teacher_cosine": ("cosine to the teacher", ""),
    "eval/constant_cosine": ("… of one constant feature", ""),
    "eval/effective_rank": ("effective rank of the features", ""),
    "eval/feature_spread": ("spread of the features", ""),
}


@dataclass(frozen=True)
class Eval:
    """Evaluate a pre-trained run on held-out views. Writes metrics.json and one sheet of pictures per scene."""

    run: tyro.conf.Positional[Path]
    """A run folder (latest checkpoint), a checkpoint, or a saved model ("bundled-rooms")."""
    data: str | None = None
    """Other data than the run's: "rooms:COUNT" or a path."""
    teacher: str | None = None
    """Another source of the run's teacher features; "none" leaves them out."""
    scenes: int | None = None
    """Number of held-out scenes; the run's own by default."""
    views: int | None = None
    """Held-out views per scene; the run's own by default."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to compute; "auto" takes CUDA when there is one."""
    out: Path | None = None
    """Folder to write to; RUN/eval by default, eval/NAME for a saved model."""


def main(args: Sequence[str]) -> int:
    return run(tyro.cli(Eval, args=args, prog="gaussiancross eval"))


def run(options: Eval, console: Console | None = None) -> int:
    """Evaluate, print a table, write ``metrics.json`` and ``<scene>.png``."""
    console = console or Console()
    checkpoint = find_checkpoint(options.run)
    if checkpoint is None:
        raise InputError(options.run, "a run folder with checkpoints/, one checkpoint, or a saved model", "neither")
    model, config, step = load_run(checkpoint)
    overrides = {
        "data": options.data,
        "teacher": options.teacher,
        "eval_scenes": options.scenes,
        "eval_views": options.views,
    }
    config = replace(config, data=replace(config.data, **{k: v for k, v in overrides.items() if v is not None}))
    data = PretrainData(config.data, config.model.input, config.seed)
    if data.teacher is not None and data.teacher_dim != config.model.teacher_dim:
        found = f"{data.teacher_dim}"
        raise InputError(config.data.teacher, f"features of width {config.model.teacher_dim}", found, "--teacher none")
    run = options.run if (options.run / "checkpoints").is_dir() else run_folder(checkpoint)
    out = options.out or (Path("eval") / run_name(checkpoint) if step is None else run / "eval")
    out.mkdir(parents=True, exist_ok=True)
    device = pick_device(options.device)

    def keep_pictures(name: str, batch: Batch, prediction: Prediction) -> None:
        write_color(out / f"{name}.png", view_sheet(batch.views[0], prediction))

    rows = evaluate(model.to(device), data, keep_pictures, constant_feature(data))
    if not rows:
        raise InputError(config.data.data, "held-out views", "none")
    summary = {
        "run": str(options.run),
        "step": step,
        "data": config.data.data,
        "teacher": config.data.teacher,
        "device": str(device),
        "metrics": {k: measured(v) for k, v in rows.items()},
    }
    (out / "metrics.json").write_text(json.dumps(summary, indent=1))
    when = "" if step is None else f", step {step}"
    console.print(metrics_table(rows, f"{options.run}{when}, {config.data.data}"))
    console.print(f"Pictures and metrics.json: {out}", soft_wrap=True, markup=False)
    return 0


def metrics_table(rows: dict[str, Tensor], title: str) -> Table:
    """Mean and range of every measure."""
    table = Table("measure", "mean", "lowest", "highest", "of", title=title)
    for name, values in rows.items():
        label, unit = UNITS.get(name, (name, ""))
        finite = values[values.isfinite()]
        if len(finite):
            numbers = [f"{float(v):.4g} {unit}".strip() for v in (finite.mean(), finite.min(), finite.max())]
            table.add_row(label, *numbers, str(len(finite)))
    return table


def measured(values: Tensor) -> dict[str, float | list[float | None] | None]:
    """ "mean" of the finite values and all "values" of a measure, with None for NaN and inf, which JSON lacks."""
    finite = values[values.isfinite()]
    return {
        "mean": float(finite.mean()) if len(finite) else None,
        "values": [float(v) if bool(v.isfinite()) else None for v in values],
    }
