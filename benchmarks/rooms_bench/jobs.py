"""Run jobs in one or several processes; finished tasks are read from disk.

A job's ``results.json`` is replaced atomically after each task. On Ctrl-C or SIGTERM the current task writes a
checkpoint, from which the same command continues.
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
from ...core.errors import InputError, RunError
from ...core.io.atomic import atomic_file
from ...trainers.engine.interrupt import InterruptFlag
from .config import BenchConfig, Size
from .rows import Row
from .tasks import Interrupted, Job, Scores, TaskRunner, open_tasks, read_results

POLL_INTERVAL = 0.5
"""Seconds between two updates of the progress bar."""


def make_jobs(rows: Sequence[Row], size: Size, out: Path) -> list[Job]:
    """Create the jobs of all rows and seeds: main rows before ablations, and each seed for all rows before the next."""
    parts = ([r for r in rows if r.group != "ablation"], [r for r in rows if r.group == "ablation"])
    return [Job(row, seed, out / row.name / f"seed{seed}") for p in parts for seed in range(size.seeds) for row in p]


def run_jobs(
    jobs: Sequence[Job],
    setting: BenchConfig,
    workers: int = 1,
    root: Path | None = None,
    console: Console | None = None,
) -> bool:
    """Run the open tasks of all jobs.

    Args:
        workers: processes, one thread each; 1 runs in this process, with its threads.
        root: see `TaskRunner`.

    Returns:
        whether everything is done; False when interrupted.

    Raises:
        InputError: a job's folder holds results of another setting.
        RunError: a job failed (says which, and how), or a worker process died.
    """
    console = console or Console()
    for job in jobs:
        check_setting(job, setting)
    todo = [job for job in jobs if open_tasks(job, setting)]
    with InterruptFlag() as interrupted, _bar(console) as bar:
        monitor = _ProgressMonitor(jobs, setting, workers, bar)
        if workers == 1 or len(todo) <= 1:
            _run_sequentially(todo, setting, root, interrupted, monitor)
        else:
            _run_in_processes(todo, setting, root, workers, interrupted, monitor)
    return not any(open_tasks(job, setting) for job in jobs)


def do_job(runner: TaskRunner, job: Job, interrupted: Any, monitor: Any = None) -> None:
    """Run all open tasks of a job.

    Raises:
        Interrupted: before or in one of them.
    """
    for task in open_tasks(job, runner.setting):
        if interrupted() is not None:
            raise Interrupted
        if monitor is not None:
            monitor.show(f"{job.row.name}, seed {job.seed}: {task}")
        _store(job, runner.setting, task, runner.run(job, task))
        shutil.rmtree(runner.work(job, task), ignore_errors=True)
        if monitor is not None:
            monitor.update()


# --- one process --------------------------------------------------------------------------------------------------


def _run_sequentially(
    jobs: Sequence[Job], setting: BenchConfig, root: Path | None, interrupted: Any, monitor: _ProgressMonitor
) -> None:
    runner = TaskRunner(setting, root)
    for job in jobs:
        try:
            do_job(runner, job, interrupted, monitor)
        except Interrupted:
            return


# --- several processes --------------------------------------------------------------------------------------------


def _run_in_processes(
    jobs: Sequence[Job],
    setting: BenchConfig,
    root: Path | None,
    workers: int,
    interrupted: Any,
    monitor: _ProgressMonitor,
) -> None:
    try:
        prepare(jobs, setting, root, interrupted, monitor)
    except Interrupted:
        return
    context = multiprocessing.get_context("spawn")  # threads of torch and numba do not survive a fork
    numbers, failures = context.SimpleQueue(), context.SimpleQueue()
    for i in (*range(len(jobs)), *[None] * workers):
        numbers.put(i)
    names = [(job.row.name, job.seed, job.folder) for job in jobs]
    processes = [
        context.Process(target=_run_worker, args=(numbers, failures, names, setting, root), daemon=True)
        for _ in range(min(workers, len(jobs)))
    ]
    # A process reads these when it starts; one thread each, since they share the cores.
    before = {name: os.environ.get(name) for name in _WORKER_ENVIRONMENT}
    os.environ.update(_WORKER_ENVIRONMENT)
    try:
        for process in processes:
            process.start()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    signalled = False
    while any(process.is_alive() for process in processes):
        time.sleep(POLL_INTERVAL)
        monitor.update()
        if interrupted() is not None and not signalled:
            signalled = True
            _forward_signal(processes)
    if not failures.empty():
        name, error = failures.get()
        raise RunError(f"{name} failed ({error})", "the other jobs are done; the same command tries it again")
    if not signalled and any(process.exitcode for process in processes):
        codes = ", ".join(str(process.exitcode) for process in processes)
        hint = "memory may have run out; the same command continues, with fewer --workers"
        raise RunError(f"a worker process ended early (exit codes {codes})", hint)


_MALLOC_THRESHOLD = str(1 << 30)
_WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    # By default glibc returns freed tensors to the system and faults them in again in the next step, which is slower.
    "MALLOC_TRIM_THRESHOLD_": _MALLOC_THRESHOLD,
    "MALLOC_MMAP_THRESHOLD_": _MALLOC_THRESHOLD,
    "MALLOC_TOP_PAD_": str(1 << 28),
}


def prepare(
    jobs: Sequence[Job], setting: BenchConfig, root: Path | None, interrupted: Any, monitor: _ProgressMonitor
) -> None:
    """Make the rooms and teacher tokens that the jobs share.

    Raises:
        Interrupted: between two rooms; finished ones stay.
    """
    runner = TaskRunner(setting, root)
    steps: list[tuple[str, Callable[[], None]]] = []
    for rooms in (runner.train, runner.held_out):
        steps += [(f"room {name}", partial(rooms.make, i)) for i, name in enumerate(rooms.names)]
    for spec in sorted({runner.teacher_spec(job.row) for job in jobs if job.row.start == "gaussiancross"}):
        if (teacher := runner.teacher(spec)) is not None:
            steps += [(f"tokens of {spec}, {name}", partial(teacher.make, name)) for name in teacher.names]
    for i, (what, step) in enumerate(steps, 1):
        if interrupted() is not None:
            raise Interrupted
        monitor.show(f"{what} ({i} of {len(steps)})")
        step()


def _forward_signal(processes: Sequence[SpawnProcess]) -> None:
    """Send SIGTERM to all workers. A terminal's Ctrl-C has already reached them; `InterruptFlag` counts both once."""
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGTERM)


def _run_worker(numbers: Any, failures: Any, names: Sequence[Any], setting: BenchConfig, root: Path | None) -> None:
    """Run jobs by number, in a worker process, until the queue yields None."""
    from .rows import choose_rows  # rows hold functions, which cannot be sent to processes

    torch.set_num_threads(1)
    runner = TaskRunner(setting, root)
    with InterruptFlag() as interrupted:
        for i in iter(numbers.get, None):
            name, seed, folder = names[i]
            try:
                do_job(runner, Job(choose_rows([name])[0], seed, folder), interrupted)
            except Interrupted:
                return
            except Exception as error:  # the other jobs continue
                failures.put((f"{name}, seed {seed}", f"{type(error).__name__}: {error}"))


# --- results on disk ----------------------------------------------------------------------------------------------


def check_setting(job: Job, setting: BenchConfig) -> None:
    """Check that results in a job's folder belong to ``setting``; options that they lack count as defaults.

    Raises:
        InputError: results of another setting.
    """
    path = job.folder / "results.json"
    if not path.is_file():
        return
    stored = json.loads(path.read_text(encoding="utf-8"))["setting"]
    try:
        same = _plain(from_dict(BenchConfig, stored, str(path))) == _plain(setting)
    except InputError:  # options that no longer exist
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
    """Return what has to be equal, in JSON types: all but the number of seeds, which may grow."""
    plain = json.loads(json.dumps(to_dict(setting)))
    del plain["size"]["seeds"]
    return plain


# --- progress -------------------------------------------------------------------------------------------------------


class _ProgressMonitor:
    """Updates the progress bar: tasks done, and the remaining time, estimated from similar tasks."""

    def __init__(self, jobs: Sequence[Job], setting: BenchConfig, workers: int, bar: Progress) -> None:
        self._jobs, self._setting, self._workers, self._bar = jobs, setting, workers, bar
        total = sum(len(job.row.tasks(setting.size)) for job in jobs)
        self._task = bar.add_task("tasks", total=total, note="", left="")
        self._begun = {job.folder: len(read_results(job)) for job in jobs}
        self.update()

    def show(self, activity: str) -> None:
        """Show the current activity."""
        self._bar.update(self._task, note=activity)

    def update(self) -> None:
        """Read the finished tasks from disk and update the bar."""
        done = [(job, read_results(job)) for job in self._jobs]
        taken: dict[str, list[float]] = {}
        for _, results in done:
            for task, scores in results.items():
                taken.setdefault(_task_kind(task), []).append(scores["seconds"])
        left, unknown = 0.0, 0
        for job, results in done:
            for task in job.row.tasks(self._setting.size):
                if task not in results:
                    similar = taken.get(_task_kind(task))
                    left += sum(similar) / len(similar) if similar else 0.0
                    unknown += not similar
        estimate = f"{clock(left / self._workers)} left" if taken else ""
        note = estimate + (f" + {unknown} unknown" if estimate and unknown else "")
        count = sum(len(results) for _, results in done)
        self._bar.update(self._task, completed=count, left=note)
        newest = [job for job, results in done if len(results) > self._begun[job.folder]]
        if self._workers > 1 and newest:
            job = max(newest, key=lambda job: (job.folder / "results.json").stat().st_mtime)
            self.show(f"{job.row.name}, seed {job.seed}: {list(read_results(job))[-1]} done")


def _task_kind(task: str) -> str:
    """Return the kind of a task; tasks of one kind take equally long, such as fine-tuning on any share."""
    return "finetune" if task.startswith("finetune-") and task != "finetune-100" else task


def clock(seconds: float) -> str:
    """Format a duration in hours and minutes."""
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
