"""`gaussiancross finetune` and `gaussiancross probe`: the published downstream protocol, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...core.errors import InputError
from ...core.io.pretrained import TRAINED
from ...trainers.downstream.config import SemanticTraining
from ...trainers.downstream.presets import PRESETS, Task
from ...trainers.downstream.published import (
    NOT_MEASURED,
    Compared,
    MeasuredRow,
    compare,
    find_results,
    results_beside,
    rows_of,
)
from ...trainers.downstream.results import RESULTS, SemanticResult
from ...trainers.downstream.run import SemanticRun, run_semantic
from ...trainers.engine.ranks import Ranks, joined_ranks


@dataclass(frozen=True)
class Downstream:
    """One row of the published protocol. The same command continues an interrupted run exactly."""

    data: str = ""
    """Short for --labels.data: "rooms:COUNT", or a folder that `gaussiancross prepare` or Pointcept wrote."""
    config: Annotated[SemanticTraining, tyro.conf.arg(name="")] = field(default_factory=SemanticTraining)
    """The run; differences from the published row are written into the results."""
    run_dir: Path = Path("runs/downstream")
    """Folder of checkpoints, metrics, TensorBoard logs and results."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to train; "auto" takes CUDA when there is one."""
    seconds: float | None = None
    """Training time (s) after which a checkpoint is written and training stops; the same command continues."""
    beside: tuple[Path, ...] = ()
    """Folders with other runs' results, for the table; by default those beside RUN_DIR."""


def main(args: Sequence[str]) -> int:
    return main_of("finetune", args)


def main_of(task: Task, args: Sequence[str]) -> int:
    """`probe` or `finetune`."""
    if list(args) == ["table"] or list(args[:1]) == ["table"]:
        return print_table(task, args[1:])
    presets = {
        name: (preset.description, Downstream(config=preset.config, run_dir=Path(f"runs/{task}-{name}")))
        for name, preset in PRESETS[task].items()
    }
    first = next(iter(args), "")
    if first and not first.startswith("-") and first not in presets:
        raise InputError(f"gaussiancross {task} {first}", "one of " + ", ".join([*presets, "table"]), "another word")
    name = first
    options = tyro.extras.overridable_config_cli(
        presets,
        args=args,
        prog=f"gaussiancross {task}",
        description=f"{DESCRIPTION[task]} `gaussiancross {task} table RUNS` prints the published figures beside ours.",
    )
    return run(task, name, options)


DESCRIPTION: dict[Task, str] = {
    "probe": "Train a linear head on a frozen backbone, or on features computed once.",
    "finetune": "Fine-tune a pre-trained backbone, or train one from scratch, for semantic segmentation.",
}


def run(task: Task, preset: str, options: Downstream, console: Console | None = None) -> int:
    """Train, test, write and print; 130 when interrupted."""
    labels = replace(options.config.labels, data=options.data or options.config.labels.data)
    plan = SemanticRun(
        task, preset, replace(options.config, labels=labels), options.run_dir, PRESETS[task][preset].folds
    )
    with joined_ranks(options.device) as device:
        ranks = Ranks.current()
        console = console or ranks.console()
        result = run_semantic(plan, device, options.seconds, console)
    if result is None and not ranks.is_first:
        return 0
    if result is None:
        console.print("Not at the last step yet; the same command continues.", markup=False)
        return 130
    console.print(class_table(result))
    print_published(console, task, preset, [options.run_dir, *options.beside], result.about["changed"])
    written = f"{RESULTS}, classes.csv, confusion.csv, confusion.png"
    trained = f", {TRAINED}/ (--init or --model {options.run_dir})" if (options.run_dir / TRAINED).is_dir() else ""
    console.print(f"{options.run_dir}: {written}{trained}", soft_wrap=True, markup=False)
    return 0


@dataclass(frozen=True)
class TableOf:
    """The published figures of the protocol beside what was measured here."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = (Path("runs"),)
    """Folders with results, searched through."""


def print_table(task: Task, args: Sequence[str], console: Console | None = None) -> int:
    """All rows."""
    options = tyro.cli(TableOf, args=list(args), prog=f"gaussiancross {task} table")
    for folder in options.runs if options.runs != TableOf.runs else ():  # without runs, the published figures
        if not folder.exists():
            raise InputError(folder, "a folder of runs", "no such folder")
    (console or Console()).print(published_table(compare(find_results(options.runs))))
    return 0


def class_table(result: SemanticResult) -> Table:
    """IoU and accuracy of every class that is labelled, then their means over all classes."""
    scores = result.scores
    count = result.about["scenes"]
    title = f"{result.preset}, {count} scene{'s' * (count != 1)}, {int(result.confusion.sum()):,} points"
    table = Table("class", "IoU", "accuracy", "points", title=title)
    labelled = result.confusion.sum(1)
    for k, name in enumerate(result.class_names):
        if int(labelled[k]):
            table.add_row(
                name, f"{100 * float(scores.iou[k]):.1f}", f"{100 * float(scores.acc[k]):.1f}", f"{labelled[k]:,}"
            )
    table.add_section()
    of = f"mean of {len(result.class_names)}"
    table.add_row(of, f"{100 * scores.miou:.1f}", f"{100 * scores.macc:.1f}", f"{100 * scores.allacc:.1f} % right")
    present = int(scores.present.sum())
    if present < len(result.class_names):
        table.add_row(f"mean of {present} labelled or predicted", f"{100 * scores.miou_present:.1f}", "", "")
    return table


def print_published(console: Console, task: str, preset: str, runs: Sequence[Path], changed: Sequence[str]) -> None:
    """The published figures of a row beside ours, and where our run left the published recipe.

    Args:
        runs: this run's folder, then those of others, searched through; without, those that lie beside it.
    """
    if rows := rows_of(task, preset):
        results = find_results(runs) if len(runs) > 1 else results_beside(runs[0])
        console.print(published_table(compare(results, rows)))
    if changed:
        console.print(f"Differs from the preset in: {', '.join(changed)}.", soft_wrap=True)


def published_table(rows: Sequence[Compared]) -> Table:
    """Theirs and ours, per cent: one line for each pre-trained model."""
    title = "Published figures (theirs) and what was measured here, %; * = not the published recipe"
    table = Table("", "published", "ours, pre-trained", "ours, without", title=title, title_justify="left")
    for compared in rows:
        published = "\n".join(f"{method} {value}" for method, value in compared.row.published.items())
        table.add_row(compared.row.title, published, _cell(*compared.pretrained), _cell(compared.scratch))
    return table


def _cell(*measured: MeasuredRow | None) -> str:
    return "\n".join(_line(m) for m in measured if m is not None) or NOT_MEASURED


def _line(measured: MeasuredRow) -> str:
    """Model, score, and what else there is."""
    notes = [f"mean of {measured.runs}"] * (measured.runs > 1)
    notes += [f"{measured.others} other recipe{'s' * (measured.others > 1)}"] * (measured.others > 0)
    star, more = "*" if measured.changed else "", f" ({', '.join(notes)})" if notes else ""
    return escape(f"{measured.model} {measured.percent:.1f}{star}{more}".lstrip())
