"""Work of `core.datasets.prepare` tasks, importable by worker processes."""

from __future__ import annotations

from pathlib import Path

from gaussiancross.core.errors import InputError


def write_number(number: int, folder: Path) -> None:
    if number == 2:
        raise InputError("two", "another number", "2")
    (folder / "number.txt").write_text(str(number))


def fill_disk(folder: Path) -> None:
    raise OSError(28, "No space left on device")
