"""Zip archives of unknown origin."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..errors import InputError

MOST_TIMES, SPARE = 20, 16 << 20
"""An archive may unpack to this many times its size, plus this many bytes."""


def check_unpacked_size(path: Path) -> None:
    """Refuse a zip archive that unpacks to far more than its size, before memory is allocated.

    Files that are no zip archives pass: what reads them reports them.

    Raises:
        InputError: too large when unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return
    most = MOST_TIMES * path.stat().st_size + SPARE
    if size > most:
        expected = f"an archive that unpacks to at most {most / 1e6:.0f} MB, {MOST_TIMES} times its size"
        raise InputError(path, expected, f"{size / 1e6:.0f} MB", "if it is yours, store it without compression")
