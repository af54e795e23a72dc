"""Read JSON of unknown origin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import InputError


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON text, as `json.loads` does.

    Raises:
        ValueError: not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path | str, expected: str = "a JSON file", kind: type = dict, hint: str = "") -> Any:
    """Read a JSON file.

    Args:
        expected: what the file should be, for error messages.
        kind: type of its outermost value; `object` allows any.
        hint: the remedy, for error messages.

    Raises:
        InputError: missing, unreadable, damaged, nested too deeply, or of another type.
    """
    path = Path(path)
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(path, expected, "no such file", hint) from None
    except (ValueError, OSError) as error:
        raise InputError(path, expected, f"a damaged file ({str(error)[:200]})", hint) from error
    if not isinstance(content, kind):
        raise InputError(path, expected, f"a JSON {type(content).__name__}", hint)
    return content
