"""Jobs one after the other or side by side, none of them twice: what was finished is read from the disk.

A job's ``results.json`` gets each task's scores the moment it is done, whole or not at all. Ctrl-C (or SIGTERM) reaches
the task at work, which writes a checkpoint; the same command then goes on from there.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ...core.config import from_dict, to_dict
from ...core.errors import InputError
from ...core.io.atomic import atomic_file
from ...trainers.engine.interrupt import InterruptFlag
from .config import BenchConfig, Size
from .rows import Row
from .tasks import Interrupted, Job, Scores, TaskRunner, open_tasks, read_results

STRIDE = 0.5
"""Seconds between two looks at how far the jobs are."""


def make_jobs(rows: Sequence[Row], size: Size, out: Path) -> list[Job]:
    """Every row with every seed: the main ones before ablations, and all of them once before any twice, so that a table
    is there early."""
    parts = ([r for r in rows if r.group != "ablation"], [r for r in rows if r.group == "ablation"])
    return [Job(row, seed, out / row.name / f"seed{seed}") for p in parts for seed in range(size.seeds) for row in p]


def run_jobs(
    jobs: Sequence[Job],
    setting: BenchConfig,
    workers: int = 1,
    root: Path | None = None,
    console: Console | None = None,
) -> bool:
    """Do what is still to be done.

    Args:
        workers: processes, one thread each; 1 works in this process, with its threads.
        root: see `TaskRunner`.

    Returns:
        whether everything is done; False when interrupted.

    Raises:
        InputError: results of another setting lie in a job's folder, or a job failed (says which, and how).
    """
    console = console or Console()
    for job in jobs:
        check_setting(job, setting)
    todo = [job for job in jobs if open_tasks(job, setting)]
    with InterruptFlag() as interrupted, _bar(console) as bar:
        watch = _ProgressMonitor(jobs, setting, workers, bar)
        if workers == 1 or len(todo) <= 1:
            _in_turn(todo, setting, root, interrupted, watch)
        else:
            _side_by_side(todo, setting, root, workers, interrupted, watch)
    return not any(open_tasks(job, setting) for job in jobs)


def do_job(workplace: TaskRunner, job: Job, interrupted: Any, watch: Any = None) -> None:
    """All open tasks of a job.

    Raises:
        Interrupted: before or in one of them.
    """
    for task in open_tasks(job, workplace.setting):
        if interrupted() is not None:
            raise Interrupted
        if watch is not None:
            watch.at(f"{job.row.name}, seed {job.seed}: {task}")
        _store(job, workplace.setting, task, workplace.run(job, task))
        shutil.rmtree(workplace.work(job, task), ignore_errors=True)
        if watch is not None:
            watch.look()


# --- one process --------------------------------------------------------------------------------------------------


def _in_turn(
    jobs: Sequence[Job], setting: BenchConfig, root: Path | None, interrupted: Any, watch: _ProgressMonitor
) -> None:
    workplace = TaskRunner(setting, root)
    for job in jobs:
        try:
            do_job(workplace, job, interrupted, watch)
        except Interrupted:
            return


# --- several ------------------------------------------------------------------------------------------------------


def _side_by_side(
    jobs: Sequence[Job],
    setting: BenchConfig,
    root: Path | None,
    workers: int,
    interrupted: Any,
    watch: _ProgressMonitor,
) -> None:
    try:
        prepare(jobs, setting, root, interrupted, watch)
    except Interrupted:
        return
    context = multiprocessing.get_context("spawn")  # threads of torch and numba do not survive a fork
    numbers, failures = context.SimpleQueue(), context.SimpleQueue()
    for i in (*range(len(jobs)), *[None] * workers):
        numbers.put(i)
    names = [(job.row.name, job.seed, job.folder) for job in jobs]
    processes = [
        context.Process(target=_work, args=(numbers, failures, names, setting, root), daemon=True)
        for _ in range(min(workers, len(jobs)))
    ]
    # A process reads these when it starts: one thread each, or they get in each other's way.
    before = {name: os.environ.get(name) for name in _SURROUNDINGS}
    os.environ.update(_SURROUNDINGS)
    try:
        for process in processes:
            process.start()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    told = False
    while any(process.is_alive() for process in processes):
        time.sleep(STRIDE)
        watch.look()
        if interrupted() is not None and not told:
            told = True
            _forward_signal(processes)
    if not failures.empty():
        name, found = failures.get()
        raise InputError(name, "a job that ends", found, "the others are done; the same command tries it again")
    if not told and any(process.exitcode for process in processes):
        raise InputError("a worker", "an end of its own", f"exit codes {[p.exitcode for p in processes]}", "memory?")


_KEPT = str(1 << 30)
_SURROUNDINGS = {
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    # glibc hands freed tensors back to the system and faults them in again in the next step: without that a step of
    # pre-training took 0.154 s instead of 0.178 (one thread, 6 cm voxels, fastest of 14).
    "MALLOC_TRIM_THRESHOLD_": _KEPT,
    "MALLOC_MMAP_THRESHOLD_": _KEPT,
    "MALLOC_TOP_PAD_": str(1 << 28),
}


def prepare(
    jobs: Sequence[Job], setting: BenchConfig, root: Path | None, interrupted: Any, watch: _ProgressMonitor
) -> None:
    """Make the rooms and teachers' tokens that the jobs read, which all of them share.

    Raises:
        Interrupted: between two rooms; those that are made stay.
    """
    workplace = TaskRunner(setting, root)
    steps: list[tuple[str, Callable[[], None]]] = []
    for rooms in (workplace.train, workplace.held_out):
        steps += [(f"room {name}", partial(rooms.make, i)) for i, name in enumerate(rooms.names)]
    for spec in sorted({job.row.teacher for job in jobs if job.row.start == "gaussiancross"}):
        if (teacher := workplace.teacher(spec)) is not None:
            steps += [(f"tokens of {spec}, {name}", partial(teacher.make, name)) for name in teacher.names]
    for i, (what, step) in enumerate(steps, 1):
        if interrupted() is not None:
            raise Interrupted
        watch.at(f"{what} ({i} of {len(steps)})")
        step()


def _forward_signal(processes: Sequence[SpawnProcess]) -> None:
    """Pass a signal on: one that was sent to this process alone. A terminal's Ctrl-C has reached them all, and comes
    twice within a second, which counts once."""
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGTERM)


def _work(numbers: Any, failures: Any, names: Sequence[Any], setting: BenchConfig, root: Path | None) -> None:
    """A process's share: jobs by number until there is none left."""
    from .rows import choose_rows  # rows hold functions, which do not travel between processes

    torch.set_num_threads(1)
    workplace = TaskRunner(setting, root)
    with InterruptFlag() as interrupted:
        for i in iter(numbers.get, None):
            name, seed, folder = names[i]
            try:
                do_job(workplace, Job(choose_rows([name])[0], seed, folder), interrupted)
            except Interrupted:
                return
            except Exception as error:  # one row that fails does not cost the others
                failures.put((f"{name}, seed {seed}", f"{type(error).__name__}: {error}"))


# --- what lies on the disk ----------------------------------------------------------------------------------------


def check_setting(job: Job, setting: BenchConfig) -> None:
    """Raises `InputError` where a job's folder holds results of another setting. An option that they do not know was at
    its default."""
    path = job.folder / "results.json"
    if not path.is_file():
        return
    stored = json.loads(path.read_text(encoding="utf-8"))["setting"]
    try:
        same = _plain(from_dict(BenchConfig, stored, str(path))) == _plain(setting)
    except InputError:  # options that there are no more
        same = False
    if not same:
        hint = "give another --out, or delete that folder"
        raise InputError(job.folder, "results of the setting that is asked for", "those of another", hint)


def _store(job: Job, setting: BenchConfig, task: str, scores: Scores) -> None:
    tasks = {**read_results(job), task: scores}
    report = {"row": job.row.name, "seed": job.seed, "setting": _plain(setting), "tasks": tasks}
    path = job.folder / "results.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as part:
            part.write_text(json.dumps(report, indent=1), encoding="utf-8")
    except OSError as error:
        raise InputError(job.folder, "a folder that can be written", str(error)) from error


def _plain(setting: BenchConfig) -> Any:
    """What has to be equal, in JSON types: further seeds may join those that are done."""
    plain = json.loads(json.dumps(to_dict(setting)))
    del plain["size"]["seeds"]
    return plain


# --- how far --------------------------------------------------------------------------------------------------------


class _ProgressMonitor:
    """The bar: tasks done, and about how long the rest will take, from what like tasks took so far."""

    def __init__(self, jobs: Sequence[Job], setting: BenchConfig, workers: int, bar: Progress) -> None:
        self._jobs, self._setting, self._workers, self._bar = jobs, setting, workers, bar
        total = sum(len(job.row.tasks(setting.size)) for job in jobs)
        self._task = bar.add_task("tasks", total=total, note="", left="")
        self._begun = {job.folder: len(read_results(job)) for job in jobs}
        self.look()

    def at(self, what: str) -> None:
        """What is being done."""
        self._bar.update(self._task, note=what)

    def look(self) -> None:
        """Read what is done."""
        done = [(job, read_results(job)) for job in self._jobs]
        taken: dict[str, list[float]] = {}
        for _, results in done:
            for task, scores in results.items():
                taken.setdefault(_like(task), []).append(scores["seconds"])
        left, unknown = 0.0, 0
        for job, results in done:
            for task in job.row.tasks(self._setting.size):
                if task not in results:
                    like = taken.get(_like(task))
                    left += sum(like) / len(like) if like else 0.0
                    unknown += not like
        known = f"{clock(left / self._workers)} left" if taken else ""
        note = known + (f" + {unknown} unknown" if known and unknown else "")
        count = sum(len(results) for _, results in done)
        self._bar.update(self._task, completed=count, left=note)
        newest = [job for job, results in done if len(results) > self._begun[job.folder]]
        if self._workers > 1 and newest:
            job = max(newest, key=lambda job: (job.folder / "results.json").stat().st_mtime)
            self.at(f"{job.row.name}, seed {job.seed}: {list(read_results(job))[-1]} done")


def _like(task: str) -> str:
    """Tasks of one length: fine-tunings on shares are alike, whatever the share."""
    return "finetune" if task.startswith("finetune-") and task != "finetune-100" else task


def clock(seconds: float) -> str:
    """A duration in words of hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _bar(console: Console) -> Progress:
    columns = (
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("[dim]{task.fields[note]}"),
    )
    return Progress(*columns, console=console)
