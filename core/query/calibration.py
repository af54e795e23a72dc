"""Read and write files of calibrated cuts (`decide.Calibration`), stored beside the weights of a model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.atomic import atomic_file
from ..io.json_files import read_json
from .decide import Calibration
from .domain import Domain

FORMAT = "gaussiancross-calibration"
_NUMBERS = ("cut", "auc", "floor", "share")
NAME = "calibration.json"
"""File name in a run folder. Beside other weights: ``<weights>.calibration.json``."""


def save_calibration(path: Path | str, field: str, calibration: Calibration, about: Mapping[str, Any]) -> None:
    """Write or replace the entry of one source of features; other entries stay.

    Args:
        field: source of the features: "lifted" (teacher features, without training) or "model".
        about: description of the fit for the file: scenes, phrases, counts, command.

    Raises:
        InputError: an existing file is damaged.
    """
    path = Path(path)
    entries = _entries(path) if path.is_file() else {}
    entry: dict[str, Any] = {k: round(v, 6) for k, v in calibration.numbers().items()}
    if calibration.data:
        entry["data"] = calibration.data
    if calibration.domain is not None:
        entry["domain"] = calibration.domain.to_json()
    entries[field] = {**entry, **about}
    _write(path, entries)


def update_domain(path: Path | str, field: str, domain: Domain, data: str) -> bool:
    """Replace the domain of one entry, fitted on the scenes ``data``; False without such an entry.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(path)
    entries = _entries(path) if path.is_file() else {}
    if field not in entries:
        return False
    entries[field] |= {"domain": domain.to_json(), "domain_data": data}
    _write(path, entries)
    return True


def load_calibration(path: Path | str, field: str) -> Calibration | None:
    """Read the entry of one source of features; None if there is no file or no such entry.

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
        cut, auc, floor, share = (float(entry[k]) for k in _NUMBERS)
        calibration = Calibration(cut, auc, floor, share, float(entry.get("lowest", 0.0)))
        domain = None if entry.get("domain") is None else Domain.from_json(entry["domain"])
        calibration = calibration._replace(data=str(entry.get("data", entry.get("rooms", ""))), domain=domain)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, AttributeError) as error:
        raise _damaged(path, f"the entry {field!r} without {', '.join(_NUMBERS)}") from error
    if not (all(map(math.isfinite, calibration.numbers().values())) and 0 <= calibration.auc <= 1):
        raise _damaged(path, str(calibration.numbers()))
    return calibration


def _write(path: Path, entries: Mapping[str, Any]) -> None:
    content = {"format": FORMAT, "version": 1, "fields": entries}
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _entries(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
        fields = content["fields"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, repr(error)) from error
    if content.get("format") != FORMAT or not isinstance(fields, dict):
        raise _damaged(path, "another kind of file")
    return fields


def _damaged(path: Path, found: str) -> InputError:
    return InputError(path, "a calibration", found, "fit it again: gaussiancross bench open_vocabulary --calibrate")
