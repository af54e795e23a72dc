"""Parse JSON of unknown origin."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .plain_files import read_bytes

_LONG = re.compile(rb"[0-9]{300}")
"""Integers of so many digits exceed the range of floating-point numbers."""


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON text, as `json.loads` does.

    Raises:
        ValueError: not JSON, not UTF-8, nested too deeply, or with integers that no floating-point number holds.
    """
    if _LONG.search(text if isinstance(text, bytes) else text.encode(errors="replace")):
        raise ValueError("it has a number of 300 digits or more")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path | str) -> Any:
    """Parse a JSON file.

    Raises:
        OSError: missing, not a regular file, or unreadable.
        ValueError: see `parse_json`.
    """
    return parse_json(read_bytes(path))
