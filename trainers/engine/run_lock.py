"""Keep a second training out of a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import InputError

LOCK = ".lock"


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Context manager that locks a run folder, which is made when absent.

    The lock ends with the process, however it ends; the file stays. Systems and file systems without locks go without.

    Raises:
        InputError: another training runs in the folder, or the folder cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        file = (run_dir / LOCK).open("a+")
    except OSError as error:
        raise InputError(run_dir, "a folder that can be written to", str(error)) from error
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            expected = "a run folder in which no other process trains"
            raise InputError(
                run_dir, expected, f"process {file.read().strip()} at it", "wait for its end or take another folder"
            ) from None
        except (ImportError, OSError):  # Windows; some network file systems
            yield
            return
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
