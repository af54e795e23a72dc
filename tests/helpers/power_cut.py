"""A recording of what a program does to a folder, and what a power cut at any point may leave of it.

The model is that of a journalling file system such as ext4. Names change in order, and all changes so far are on the
disk once any folder was flushed; later ones may be. The content of a file is on the disk once the file was flushed;
else the file may be empty, cut off, or whole.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PATCHED = ("mkdir", "replace", "rename", "unlink", "remove", "rmdir")


@dataclass
class _State:
    """One moment: names, and the content of each file as it is and as it was when it was last flushed."""

    names: dict[str, int]
    now: dict[int, bytes]
    flushed: dict[int, bytes]
    folders: frozenset[str]
    journal: int  # the last moment whose names are on the disk
    marks: dict[str, Any]


@dataclass
class Recording:
    """Moments of a folder.

    Attributes:
        root: the folder.
        marks: what the program claims to be kept at this moment; copied into each.
    """

    root: Path
    marks: dict[str, Any] = field(default_factory=dict)
    _states: list[_State] = field(default_factory=list)
    _flushed: dict[int, bytes] = field(default_factory=dict)
    _journal: int = 0

    def note(self) -> None:
        """Record this moment."""
        names, now, folders = {}, {}, set()
        for folder, below, files in os.walk(self.root):
            folders.update(os.path.relpath(os.path.join(folder, name), self.root) for name in below)
            for name in files:
                path = os.path.join(folder, name)
                inode = os.stat(path).st_ino
                names[os.path.relpath(path, self.root)] = inode
                now[inode] = Path(path).read_bytes()
        self._states.append(
            _State(names, now, dict(self._flushed), frozenset(folders), self._journal, dict(self.marks))
        )

    def flushed(self, descriptor: int) -> None:
        """Record that a file or folder was flushed."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if not Path(path).is_relative_to(self.root):
            return
        if os.path.isdir(path):
            self._journal = len(self._states)
        else:
            self._flushed[os.stat(path).st_ino] = Path(path).read_bytes()
        self.note()

    def after_a_power_cut(self, target: Path, rng: random.Random) -> dict[str, Any]:
        """Write what may be left after a cut at a random moment to ``target``; returns what was claimed by then."""
        cut = rng.randrange(len(self._states))
        claimed = self._states[cut]
        known = self._states[rng.randint(min(claimed.journal, cut), cut)]
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for folder in sorted(known.folders):
            (target / folder).mkdir(parents=True, exist_ok=True)
        for name, inode in known.names.items():
            content = claimed.now.get(inode, known.now[inode])
            safe = claimed.flushed.get(inode)
            if safe != content:
                choices = [content, content[: rng.randint(0, len(content))]]
                content = rng.choice([*choices, b""] if safe is None else [*choices[:1], safe])
            (target / name).write_bytes(content)
        return claimed.marks

    def __len__(self) -> int:
        return len(self._states)


@contextmanager
def recorded(root: Path) -> Iterator[Recording]:
    """Record every change of names and every flush under ``root``."""
    recording = Recording(root)

    def noting(function: Callable) -> Callable:
        def call(*args: Any, **options: Any) -> Any:
            recording.note()  # what was written since
            result = function(*args, **options)
            recording.note()
            return result

        return call

    sync = os.fsync

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        recording.flushed(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        for name in PATCHED:
            patch.setattr(os, name, noting(getattr(os, name)))
        patch.setattr(os, "fsync", fsync)
        recording.note()
        yield recording
        recording.note()
