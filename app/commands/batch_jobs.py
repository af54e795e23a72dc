"""Long batch jobs at the command line: estimate, progress bar, and a list of failures."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ...core.datasets.prepare.tasks import Task, existing_parent, run_tasks
from ...core.errors import InputError
from ...core.io.atomic import atomic_dir
from ...core.io.json_files import read_json

OPTIONS = "prepare.json"
"""File with the options that a folder was prepared with."""

Options = Mapping[str, str | int | bool]
"""Values of options by name; "data" is the name of the subcommand."""


def check_options(out: Path, options: Options) -> None:
    """Refuse to continue a folder that was prepared with other options.

    Raises:
        InputError: options differ; the message names them.
    """
    before = _options(out)
    differ = [name for name in options if before.get(name, options[name]) != options[name]]
    if differ:
        stored, requested = (" ".join(_flag(name, values[name]) for name in differ) for values in (before, options))
        raise InputError(out, f"{stored}, as it was prepared", requested, "give another --out")


def keep_options(out: Path, options: Options) -> None:
    """Store the options in the folder, together with those of earlier commands."""
    with atomic_dir(out) as staging:
        (staging / OPTIONS).write_text(json.dumps({**_options(out), **options}, indent=1), encoding="utf-8")


def _options(out: Path) -> Options:
    try:
        kept = read_json(out / OPTIONS)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(out / OPTIONS, "the options of `gaussiancross prepare`", f"{error}") from error
    if not isinstance(kept, dict):
        raise InputError(out / OPTIONS, "the options of `gaussiancross prepare`", "other JSON")
    return kept


def _flag(name: str, value: str | int | bool) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"{value}" if name == "data" else f"--{flag} {value}"


def announce(console: Console, out: Path, work: dict[str, list[Task]], stop: bool) -> bool:
    """Print the amount of work and the free space; return whether to continue."""
    free = shutil.disk_usage(existing_parent(out)).free
    table = Table("what", "all", "done already", "to write", title=str(out), title_justify="left")
    for name, tasks in work.items():
        table.add_row(name, str(len(tasks)), str(sum(t.done for t in tasks)), f"about {size_text(_needed(tasks))}")
    console.print(table, f"free there: {size_text(free)}", highlight=False)
    needed = sum(_needed(tasks) for tasks in work.values())
    if stop:
        return False
    if needed > free:
        raise InputError(out, f"about {size_text(needed)} of space", size_text(free), "choose another folder or less")
    return True


def run(console: Console, tasks: list[Task], workers: int) -> dict[str, str]:
    """Run the tasks under a progress bar; returns the reasons of failures."""
    failed: dict[str, str] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(tasks), completed=sum(t.done for t in tasks))
        for outcome in run_tasks(tasks, workers or os.cpu_count() or 1):
            if outcome.error is not None:
                failed[outcome.task.name] = outcome.error
            progress.update(bar, advance=1, description=outcome.task.name)
        progress.update(bar, description="")
    return failed


def size_text(count: float) -> str:
    """Number of bytes with a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _needed(tasks: list[Task]) -> int:
    return sum(t.size for t in tasks if not t.done)
