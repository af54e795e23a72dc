"""Run tasks that write one folder each, atomically, resumably, and in several processes."""

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
from ...io.atomic import staged_dir

PARTIAL = ".partial"
"""Name of the folder of unfinished folders, beside the targets' parents."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ROOM = 1 << 20


@dataclass(frozen=True)
class Task:
    """One folder to write.

    Attributes:
        name: name in progress and errors.
        target: the folder; exists if and only if the task is done.
        work: fills the folder passed to it. Must be picklable: a function of a module, or a partial of one.
        size: approximate number of bytes to write.
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
        """Temporary folder that is filled and then renamed to the target."""
        return self.target.parent.parent / PARTIAL / f"{self.target.parent.name}-{self.target.name}"


@dataclass(frozen=True)
class Outcome:
    """Result of a task: ``error`` is None or the reason of the failure; ``full`` is True for a full disk."""

    task: Task
    error: str | None = None
    full: bool = False


def run_tasks(tasks: Sequence[Task], workers: int = 1) -> Iterator[Outcome]:
    """Run all tasks that are not done yet; yields their outcomes as they finish.

    Any exception of a task becomes an outcome with an error and leaves no files. Closing the iterator, Ctrl-C or a
    killed process lose only unfinished tasks; another call with the same tasks continues.

    Args:
        tasks: tasks with different targets.
        workers: number of processes; 1 runs in the calling process.

    Raises:
        InputError: the disk is full, or a worker process was killed.
    """
    todo = [task for task in tasks if not task.done]
    try:
        for outcome in map(do, todo) if workers <= 1 or len(todo) <= 1 else _in_processes(todo, workers):
            if outcome.full:
                hint = "free some space: the same command continues"
                raise InputError(outcome.task.target, "room for a scene", "a full disk", hint)
            yield outcome
    except BrokenProcessPool as error:
        for task in todo:  # unfinished tasks of the other processes
            shutil.rmtree(task.partial, ignore_errors=True)
        found = "one that was killed, usually for lack of memory"
        hint = "use fewer --workers; the same command continues"
        raise InputError(f"{workers} workers", "processes that finish", found, hint) from error
    finally:
        for folder in {task.partial.parent for task in todo}:
            with suppress(OSError):  # another process uses it
                folder.rmdir()


def _in_processes(todo: Sequence[Task], workers: int) -> Iterator[Outcome]:
    # Spawned, because torch's threads do not survive a fork. Only the parent handles Ctrl-C.
    context, ignore = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(min(workers, len(todo)), context, signal.signal, ignore)
    try:
        pending: set[Future[Outcome]] = set()
        waiting = iter(todo)
        while True:
            # Submit few tasks in advance, so that an interruption does not wait for many.
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
    """Run one task in this process."""
    partial = task.partial
    try:
        with staged_dir(task.target, partial):
            task.work(partial)
    except Exception as error:  # an unexpected error skips one scene, not all
        return Outcome(task, reason(error), full=_is_full(error, partial))
    return Outcome(task)


def reason(error: Exception) -> str:
    """Describe an error in one line; for unexpected exceptions with type and position."""
    if isinstance(error, (InputError, OSError)):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    message = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
    return f"{message} ({Path(where.filename).name}, line {where.lineno})"


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether the disk is full. NumPy and Pillow raise errors without errno for it."""
    if getattr(error, "errno", None) in _FULL:
        return True
    return not isinstance(error, InputError) and shutil.disk_usage(existing_parent(folder)).free < _NO_ROOM


def write_arrays(arrays: dict[str, NDArray], folder: Path) -> None:
    """Write each array to ``<folder>/<name>.npy``."""
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)


def existing_parent(path: Path) -> Path:
    """The nearest existing folder at or above ``path``."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path
