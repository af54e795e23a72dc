"""Conversion of frozen dataclass configs to and from dicts of JSON types."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any, TypeVar

from .errors import InputError

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a dataclass to a dict of JSON types (tuples become lists, paths strings)."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    return plain(config)


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested dict: ``{"optim": {"lr": 1}}`` becomes ``{"optim.lr": 1}``."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def from_dict(kind: type[T], values: dict[str, Any], where: str = "config") -> T:
    """Build the dataclass ``kind`` from the result of `to_dict`; missing keys keep their defaults, so older files load.

    Raises:
        InputError: no dict, or an unknown key (ignoring it could change the model).
    """
    if not isinstance(values, dict):
        raise InputError(where, f"values of {kind.__name__}", type(values).__name__)
    hints = typing.get_type_hints(kind)
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - names)
    if unknown:
        raise InputError(where, f"keys of {kind.__name__}", f"unknown {unknown}", "it was written by a newer version")
    fields: dict[str, Any] = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(value, dict):
            value = from_dict(hint, value, f"{where}.{name}")  # type: ignore[arg-type]
        elif isinstance(value, list):
            value = tuple(value)
        elif isinstance(value, str) and (hint is Path or Path in typing.get_args(hint)):
            value = Path(value)
        fields[name] = value
    return kind(**fields)
