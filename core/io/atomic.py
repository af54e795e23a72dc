"""Write files and folders atomically: a reader, even after a killed process, never finds half of one.

atomic_file    one file
atomic_dir     several files of one folder
staged_dir     a whole folder that replaces another
move_away      hide a folder before it is deleted
flush_path, flush_folder_tree, flush_file    write to the disk what a file or a folder holds
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from uuid import uuid4

from safetensors import SafetensorError

from ..errors import InputError


@contextmanager
def atomic_file(path: Path | str, temporary_folder: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; the file replaces ``path`` when the block ends and is deleted if it fails.

    Args:
        path: the file to write; its folder must exist. Several processes and threads may write it.
        temporary_folder: folder of the temporary file, on the same file system; that of ``path`` by default.

    Raises:
        OSError: the file cannot be written. Errors of the block pass unchanged.
    """
    path = Path(path)
    partial = (temporary_folder or path.parent) / f".{path.name}.{uuid4().hex[:8]}.part"
    try:
        yield partial
        flush_path(partial)
        os.replace(partial, path)
        _flush_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_dir(folder: Path | str) -> Iterator[Path]:
    """Yield a temporary folder; its files move to ``folder`` when the block ends and are deleted if it fails.

    Args:
        folder: made when absent; files of the same names are replaced. Several processes may write there.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=folder) as name:
            yield (staging := Path(name))
            parts = sorted(staging.iterdir(), reverse=True)  # weights before the config that describes them
            for part in parts:
                flush_path(part)
            for part in parts:
                os.replace(part, folder / part.name)
            _flush_folder(folder)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk by a class of its own
        raise InputError(folder, "a folder to write to", f"{error}", "check it and the space left") from error


@contextmanager
def staged_dir(folder: Path, staging: Path) -> Iterator[Path]:
    """Yield the empty folder ``staging``; it becomes ``folder`` when the block ends and is deleted if it fails.

    Args:
        folder: the folder to make or to replace as a whole. Its parent is made when absent.
        staging: path on the same file system, for one process at a time; remains of a killed process are deleted.

    Raises:
        OSError: the disk is full or a folder cannot be written. Errors of the block pass unchanged.
    """
    shutil.rmtree(staging, ignore_errors=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir(parents=True)
        yield staging
        flush_folder_tree(staging)
        former = move_away(folder)
        try:
            os.rename(staging, folder)
        except OSError:
            if former:
                os.rename(former, folder)
            raise
        _flush_folder(folder.parent)
        if former:
            shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def move_away(folder: Path) -> Path | None:
    """Rename a folder to a hidden one beside its parent, so that readers of the parent never list a half-deleted one.

    Returns:
        the new path, for the caller to delete; None if there was no such folder.
    """
    if not folder.exists():
        return None
    trash = folder.parent.parent / f".{folder.parent.name}.removed-{folder.name}"
    shutil.rmtree(trash, ignore_errors=True)
    os.rename(folder, trash)
    return trash


def flush_folder_tree(folder: Path) -> None:
    """Write all files and folders under ``folder`` to the disk.

    A rename may reach the disk before the content of what it moves: without this, a power cut leaves empty files under
    the new name.
    """
    for path in (folder, *folder.rglob("*")):
        flush_path(path)


def flush_file(file: IO[Any]) -> None:
    """Write what an open file holds to the disk."""
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Write a folder's entries to the disk: without it a rename may not survive a power cut."""
    if os.name != "nt":  # folders cannot be opened there
        _fsync(folder, os.O_RDONLY)


def flush_path(path: Path) -> None:
    """Write a closed file, or a folder's entries, to the disk."""
    if path.is_dir():
        _flush_folder(path)
    else:
        _fsync(path, os.O_RDWR)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
