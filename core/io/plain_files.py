"""Open files that people name: a pipe would be waited for, and a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

NO_FILE = "it is no file with content of its own"


def check_plain(path: Path | str) -> None:
    """Refuse what is not a regular file, without opening it.

    Raises:
        OSError: a pipe, a device, a socket or a folder; or nothing of this name.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, NO_FILE, str(path))


def read_bytes(path: Path | str) -> bytes:
    """Content of a regular file.

    Raises:
        OSError: see `check_plain`, or it cannot be read.
    """
    check_plain(path)
    return Path(path).read_bytes()


def read_text(path: Path | str, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Content of a regular text file.

    Raises:
        OSError: see `check_plain`, or it cannot be read.
        UnicodeDecodeError: other bytes than those of the encoding.
    """
    check_plain(path)
    return Path(path).read_text(encoding=encoding, errors=errors)


def open_plain(path: Path | str) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: see `check_plain`, or it cannot be opened.
    """
    check_plain(path)
    return Path(path).open("rb")
