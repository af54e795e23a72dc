"""Many scenes, one after the other or several at once: each is written whole or not at all, and never twice."""

from __future__ import annotations

import errno
import multiprocessing
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

PARTIAL = ".partial"
"""Folder for what is being written, beside the targets' parents: whoever reads those meets whole scenes only."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ROOM = 1 << 20


@dataclass(frozen=True)
class Task:
    """One folder to write.

    Attributes:
        name: what progress and errors call it.
        target: the folder; it exists when the work is done, and only then.
        work: fills the folder that it is given. Must be picklable: a module's function, or a partial of one.
        size: about how many bytes it will write.
    """

    name: str
    target: Path
    work: Callable[[Path], object]
    size: int = 0

    @property
    def done(self) -> bool:
        return self.target.is_dir()

    @property
    def partial(self) -> Path:
        """The folder that is filled, and then becomes the target."""
        return self.target.parent.parent / PARTIAL / f"{self.target.parent.name}-{self.target.name}"


@dataclass(frozen=True)
class Outcome:
    """What became of a task: ``error`` is None, or why the scene cannot be used; ``full`` when the disk is."""

    task: Task
    error: str | None = None
    full: bool = False


def run_tasks(tasks: Sequence[Task], workers: int = 1) -> Iterator[Outcome]:
    """Do every task that is not done yet, and say so as they finish.

    Scenes that cannot be used, whatever their readers raise, are outcomes with an error, and leave nothing behind.
    Closing the iterator, Ctrl-C or a killed process lose no more than the scenes at work; the same tasks again go on
    from there.

    Args:
        workers: processes; 1 works in this one.

    Raises:
        InputError: the disk is full, or one of several processes was killed.
    """
    todo = [task for task in tasks if not task.done]
    try:
        for outcome in map(do, todo) if workers <= 1 or len(todo) <= 1 else _in_processes(todo, workers):
            if outcome.full:
                hint = "free some space: the same command goes on"
                raise InputError(outcome.task.target, "room for a scene", "a full disk", hint)
            yield outcome
    except BrokenProcessPool as error:
        for task in todo:  # what was at work when the other processes were ended with it
            shutil.rmtree(task.partial, ignore_errors=True)
        found = "one that was killed, most often for want of memory"
        hint = "use fewer --workers; the same command goes on"
        raise InputError(f"{workers} workers", "processes that live to the end", found, hint) from error
    finally:
        for folder in {task.partial.parent for task in todo}:
            with suppress(OSError):  # something else is at work there
                folder.rmdir()


def _in_processes(todo: Sequence[Task], workers: int) -> Iterator[Outcome]:
    # Not forked: torch's threads do not survive that. Ctrl-C is the parent's business.
    context, ignore = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(min(workers, len(todo)), context, signal.signal, ignore)
    try:
        pending: set[Future[Outcome]] = set()
        waiting = iter(todo)
        while True:
            # A few ahead of the workers, so that an interruption has little to wait for.
            while len(pending) < 2 * workers and (task := next(waiting, None)) is not None:
                pending.add(pool.submit(do, task))
            if not pending:
                return
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def do(task: Task) -> Outcome:
    """One task, here and now."""
    partial = task.partial
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    try:
        partial.mkdir(parents=True)
        task.target.parent.mkdir(parents=True, exist_ok=True)
        task.work(partial)
        partial.rename(task.target)
    except Exception as error:  # a file that no reader foresaw costs its scene, not the night
        return Outcome(task, reason(error), full=_is_full(error, partial))
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Outcome(task)


def reason(error: Exception) -> str:
    """Why a scene is left out, in one line; of what is no sentence for people, also what was raised where."""
    if isinstance(error, (InputError, OSError)):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
    return f"{said} ({Path(where.filename).name}, line {where.lineno})"


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether there was no room for it. NumPy and Pillow raise what does not say so."""
    if getattr(error, "errno", None) in _FULL:
        return True
    return not isinstance(error, InputError) and shutil.disk_usage(existing_parent(folder)).free < _NO_ROOM


def write_arrays(arrays: dict[str, NDArray], folder: Path) -> None:
    """``<folder>/<name>.npy`` for each."""
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)


def existing_parent(path: Path) -> Path:
    """The nearest folder above that exists: where ``path`` would take its space from."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path
