"""One row of the table of readers, and writers of files to damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reader:
    """One reader and a good file.

    Attributes:
        name: for people, and the seed of its mutations.
        write: writes what the reader needs into a folder; returns the file to damage.
        read: reads that file; what it returns must be finite.
    """

    name: str
    write: Callable[[Path], Path]
    read: Callable[[Path], Any]


def in_folder(build: Callable[[Path], Any], name: str) -> Callable[[Path], Path]:
    """Writer of a folder of files, of which ``name`` is damaged."""

    def write(folder: Path) -> Path:
        build(folder)
        return folder / name

    return write


def text(name: str, content: str | dict | list) -> Callable[[Path], Path]:
    """Writer of one text or JSON file."""

    def write(folder: Path) -> Path:
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return folder / name

    return write
