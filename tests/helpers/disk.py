"""Disks that are full, and writes that are cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def full_disk(room: int = 2000) -> Iterator[None]:
    """No file of this process may become larger than ``room`` bytes."""
    resource = pytest.importorskip("resource", reason="the system cannot limit the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def intercept_writes(patch: pytest.MonkeyPatch, hook: Callable[[Path, Any, Callable], Any]) -> None:
    """Call ``hook(path, data, write)`` instead of ``write(data)`` of every file that `Path.open` opens for writing."""
    path_open = Path.open

    class Intercepted:
        def __init__(self, path: Path, file: Any) -> None:
            self.path, self.file = path, file

        def write(self, data: Any) -> Any:
            return hook(self.path, data, self.file.write)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Intercepted:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

    def opened(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        file = path_open(self, mode, *args, **options)
        return file if mode in ("r", "rb") else Intercepted(self, file)

    patch.setattr(Path, "open", opened)
