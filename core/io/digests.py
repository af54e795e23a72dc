"""Checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .plain_files import open_plain


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with open_plain(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
