"""Cuts for "not in this scene", kept beside the model that they were fitted for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.atomic import atomic_file
from .decide import Calibration

FORMAT = "gaussiancross-calibration"
NAME = "calibration.json"
"""In a run folder; beside other weights ``<weights>.calibration.json``."""


def save_calibration(path: Path | str, field: str, calibration: Calibration, about: Mapping[str, Any]) -> None:
    """Write, or replace, the entry of one field in a file; other entries stay.

    Args:
        field: what the scores were computed from: "lifted" (features lifted without training) or "model".
        about: what it was fitted on: scenes, phrases, counts, command.
    """
    path = Path(path)
    entries = _entries(path) if path.is_file() else {}
    entries[field] = {**{k: round(v, 6) for k, v in calibration._asdict().items()}, **about}
    written = {"format": FORMAT, "version": 1, "fields": entries}
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


def load_calibration(path: Path | str, field: str) -> Calibration | None:
    """The entry of one field; None where there is no file or no such entry.

    Raises:
        InputError: a damaged file.
    """
    path = Path(path)
    if not path.is_file():
        return None
    entry = _entries(path).get(field)
    if entry is None:
        return None
    try:
        found = Calibration(*(float(entry[k]) for k in Calibration._fields))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the entry {field!r} without {', '.join(Calibration._fields)}") from error
    if not (all(map(math.isfinite, found)) and 0 <= found.auc <= 1):
        raise _damaged(path, str(found._asdict()))
    return found


def _entries(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        fields = content["fields"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, repr(error)) from error
    if content.get("format") != FORMAT or not isinstance(fields, dict):
        raise _damaged(path, "another kind of file")
    return fields


def _damaged(path: Path, found: str) -> InputError:
    return InputError(path, "a calibration", found, "fit it again: gaussiancross bench open_vocabulary --calibrate")
