"""Location of the sample data."""

from __future__ import annotations

import os
from pathlib import Path

SHARED_DATA = Path(os.environ.get("GAUSSIANCROSS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
"""Captures, splats, objects and golden vectors: GAUSSIANCROSS_TEST_DATA, or a folder beside the repository."""
