"""Location of cached files."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Folder of cached files: ``$GAUSSIANCROSS_CACHE``, or ``~/.cache/gaussiancross``."""
    return Path(os.environ.get("GAUSSIANCROSS_CACHE") or Path.home() / ".cache" / "gaussiancross")
