"""Location of derived files on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where derived files are kept: ``$GAUSSIANCROSS_CACHE``, or ``~/.cache/gaussiancross``."""
    return Path(os.environ.get("GAUSSIANCROSS_CACHE") or Path.home() / ".cache" / "gaussiancross")
