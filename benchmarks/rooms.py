"""Effect of pre-training on the built-in rooms: linear probes, few labels, instances and ablations.

The command can be interrupted and continued. `--variant full` reproduces the table (under six hours on two cores),
`--variant quick` checks in under ten minutes that everything runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from ..core.config import to_dict
from ..core.device import default_device
from ..core.errors import InputError
from ._charts import Bar, Curve, bars, curves
from ._machine import command_line, environment, markdown, write_report
from .rooms_bench import ROWS, SETTINGS, BenchConfig, Job, Row, Size, Variant, choose_rows, make_jobs, run_jobs
from .rooms_bench.export import export_model
from .rooms_bench.jobs import check_setting
from .rooms_bench.report import Mean, Table, ablation_table, goals, main_table, sentences
from .rooms_bench.tasks import read_results

NOTE = "* with a teacher that has seen class names"


@dataclass(frozen=True)
class RoomsBench:
    """Pre-train, probe, fine-tune and segment on the built-in rooms, row by row."""

    variant: Variant = "quick"
    """Size: "full" (all rows, 3 seeds, < 6 h on 2 cores), "quick" (some rows, 1 seed, < 10 min) or "micro" (tests)."""
    rows: tuple[str, ...] = field(default_factory=tuple)
    """Names of the rows to run; none: all of the variant. An unknown name lists them."""
    seeds: int = 0
    """Number of seeds per row; 0: the variant's. It may be raised later."""
    teacher: str = "builtin-ssl"
    """Teacher of the rows with a label-free one, such as dinov2:FOLDER,short=448; see `gaussiancross pretrain`."""
    split: Literal["val", "test"] = "test"
    """Split of the scored rooms: "test" for reports, "val" for choosing recipes."""
    workers: int = 0
    """Number of processes, one thread each; 0: one per core, at most 4."""
    out: Path = Path("bench")
    """Folder for the jobs (rooms-<variant>/), rooms-<variant>.md, .json and charts."""
    only_report: bool = False
    """Run nothing; report the finished tasks."""
    export: Path | None = None
    """Folder for one pre-trained model with a card; None exports nothing."""
    export_row: str = ""
    """Row of the exported model; by default the image/text teacher's, the longer one if it is done."""


def main() -> int:
    args = tyro.cli(RoomsBench)
    if args.seeds < 0 or args.workers < 0:
        raise InputError("--seeds and --workers", "0 or more", f"{args.seeds} and {args.workers}")
    setting = SETTINGS[args.variant]
    size = replace(setting.size, seeds=args.seeds or setting.size.seeds)
    setting = replace(setting, size=size, split=args.split, label_free_teacher=args.teacher)
    rows = choose_rows(args.rows, quick=args.variant != "full")
    name = f"rooms-{args.variant}"
    jobs = make_jobs(rows, size, args.out / name)
    workers = args.workers or min(4, os.cpu_count() or 1)
    all_jobs = make_jobs(ROWS, size, args.out / name)  # including those of earlier commands
    for job in all_jobs:
        check_setting(job, setting)
    finished = args.only_report or run_jobs(jobs, setting, workers, console=Console())
    jobs = [job for job in all_jobs if job in jobs or read_results(job)]
    if not any(read_results(job) for job in jobs):
        print("No task is done yet; the same command continues.")
        return 1
    report(args.out, name, jobs, setting)
    if args.export is not None and finished:
        about = {"command": command_line("rooms"), "environment": environment(default_device())}
        job = export_model(args.export, jobs, setting, args.export_row, about)
        print(f"{job.row.name}, seed {job.seed}: written to {args.export}")
    if not finished:
        print("Interrupted; the same command continues.")
    return 0 if finished else 1


def report(out: Path, name: str, jobs: Sequence[Job], setting: BenchConfig) -> None:
    """Write tables, sentences and charts of the finished tasks."""
    table, size = Table.of(jobs), setting.size
    parts = [_heading(jobs, setting), markdown(*main_table(table, size))]
    changes = ablation_table(table)
    if len(changes[1]) > 1:
        text = f"Each ablation changes one option of the reference, both after {size.ablation_steps} steps"
        parts += [f"{text}; differences are paired by seed.", markdown(*changes)]
    if verdicts := sentences(table):
        parts.append("\n".join(f"- {sentence}" for sentence in verdicts))
    reached = goals(table, size)
    if reached:
        titles = {row.name: row.title for row in table.rows}
        answer = {True: "yes", False: "no", None: ""}
        cells = [(titles[g.row], g.what, g.found, g.wanted, answer[g.met]) for g in reached]
        parts.append(markdown(("", "", "found", "wanted", "reached"), cells))
    values = {row.name: {} for row in table.rows}
    for (row, column), seeds in table.values.items():
        values[row][column] = {"seeds": seeds, **_numbers(Mean.of(list(seeds.values())))}
    content: dict[str, Any] = {
        "environment": environment(default_device()),
        "setting": to_dict(setting),
        "rows": {row.name: {"title": row.title, "group": row.group, "teacher": row.teacher} for row in table.rows},
        "values": values,
        "curves": {f"{row}/{curve}": table.curve(row, curve) for row, curve in table.curves},
        "sentences": verdicts,
        "goals": [asdict(goal) for goal in reached],
        "core_seconds": sum(s["seconds"] for job in jobs for s in read_results(job).values()),
    }
    for kind, picture in pictures(table, size).items():
        path = out / f"{name}-{kind}.png"
        out.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    write_report(out, name, content, "\n\n".join(parts))


def pictures(table: Table, size: Size) -> dict[str, Any]:
    """Draw the charts "probe", "labels" and "rank" for which there are results."""
    drawn = {}
    columns = ("probe-last", "probe-hypercolumn")
    probed = [row for row in table.rows if table.mean(row.name, columns[0]) is not None]
    if probed:
        groups = [_bar(table, row, columns) for row in probed]
        drawn["probe"] = bars(groups, ("last layer", "hypercolumn"), "Linear probe on held-out rooms", "% mIoU", NOTE)
    whole = [row for row in table.rows if row.group != "ablation"]
    drawn_rows = [row.name for row in ROWS if row.group != "ablation" and row.start != "lifted"]
    color = {name: k for k, name in enumerate(drawn_rows)}  # one colour per row in all charts
    lines = []
    for row in whole:
        means = [(share, table.mean(row.name, f"finetune-{share}")) for share in size.shares]
        points = tuple((float(share), 100 * m.mean, 100 * m.std) for share, m in means if m is not None)
        if points:
            label = "from scratch" if row.start == "random" else plain(row.title)
            lines.append(Curve(label, points, color[row.name]))
    if lines:
        title = "Fine-tuned with the labels of few rooms"
        drawn["labels"] = curves(
            lines, title, "% of the training rooms", "% mIoU, held-out rooms", even=True, note=NOTE
        )
    ranks = [
        Curve(plain(row.title), tuple((step, rank, 0.0) for step, rank in points), color[row.name])
        for row in whole
        if (points := table.curve(row.name, "rank"))
    ]
    if ranks:
        drawn["rank"] = curves(ranks, "Effective rank of the last layer's features", "step", "rank", note=NOTE)
    return drawn


def _bar(table: Table, row: Row, columns: Sequence[str]) -> Bar:
    means = [table.mean(row.name, column) for column in columns]
    values = tuple(None if m is None else 100 * m.mean for m in means)
    label = "random weights" if row.start == "random" else plain(row.title)
    return Bar(label, values, tuple(0.0 if m is None else 100 * m.std for m in means))


def plain(title: str) -> str:
    """Shorten a row's title for charts."""
    for long, short in (
        (" (has seen class names)", " *"),
        (", two views of a scene (PointContrast, MSC)", ""),
        (" instead of the true cuboid", ""),
    ):
        title = title.replace(long, short)
    return title


def _heading(jobs: Sequence[Job], setting: BenchConfig) -> str:
    size, batch = setting.size, setting.finetune.batch_size
    done = sum(len(read_results(job)) for job in jobs)
    total = sum(len(job.row.tasks(size)) for job in jobs)
    seconds = sum(scores["seconds"] for job in jobs for scores in read_results(job).values())
    seeds = "1 seed" if size.seeds == 1 else f"mean ± standard deviation of {size.seeds} seeds"
    return (
        f"mIoU and AP on {size.held_out_rooms} rooms of the split {setting.split}, in per cent, {seeds}; "
        f"{size.train_rooms} training rooms, {size.pretrain_rooms} of them pre-trained on, linear probes fitted to "
        f"{size.probe_rooms}. "
        f"Fine-tuned for {size.finetune_steps} steps, with all labels for {size.full_steps} "
        f"({size.full_steps * batch / size.train_rooms:.1f} passes), from scratch for longer: {size.scratch_steps}. "
        f"Pre-trained for {size.pretrain_steps} steps, for longer: {size.longer_steps}. "
        f"{done} of {total} tasks, {seconds / 3600:.1f} core hours."
    )


def _numbers(mean: Mean | None) -> dict[str, float | None]:
    if mean is None:
        return {"mean": None, "std": None}
    return {"mean": mean.mean, "std": mean.std if mean.count > 1 else None}
