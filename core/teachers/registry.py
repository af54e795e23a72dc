"""Make a frozen 2D teacher from its name on the command line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import InputError
from .base import Teacher
from .families import FAMILIES


def make_teacher(spec: str | Path) -> Teacher | None:
    """Make the teacher that ``spec`` names; None for "none".

    Args:
        spec: "none" (no feature loss); "builtin", "builtin-dino:<DINOv2 checkpoint>" or "builtin-ssl";
            "<family>:<checkpoint>" with one of `FAMILIES` and, after commas, options of `TeacherConfig`;
            "precomputed:<folder>"; "cached:<folder>", written by `gaussiancross features`; or the path of either
            folder.

    Raises:
        InputError: an unknown teacher; lists the kinds.
    """
    text = str(spec)
    kind, _, argument = text.partition(":")
    if kind in KINDS:
        return KINDS[kind](argument)
    if text and (folder := Path(text).expanduser()).is_dir():
        return (_cached if (folder / "cache.json").is_file() else _precomputed)(text)
    raise InputError(f"teacher {text!r}", f"one of {', '.join(KINDS)}, or a folder of features", "neither")


def _none(argument: str) -> None:
    if argument:
        raise InputError(f"teacher 'none:{argument}'", "none, without an argument", repr(argument))


def _precomputed(argument: str) -> Teacher:
    from .precomputed import PrecomputedTeacher

    return PrecomputedTeacher(Path(argument).expanduser())


def _builtin(argument: str) -> Teacher:
    from .builtin import BuiltinTeacher

    return BuiltinTeacher(Path(argument).expanduser() if argument else None)


def _builtin_ssl(argument: str) -> Teacher:
    from .builtin_ssl import BuiltinSslTeacher

    return BuiltinSslTeacher(Path(argument).expanduser() if argument else None)


def _builtin_dino(argument: str) -> Teacher:
    from .builtin_dino import load_builtin_dino

    return load_builtin_dino(argument)


def _cached(argument: str) -> Teacher:
    from .cache import CachedTeacher

    return CachedTeacher(Path(argument).expanduser(), make_teacher)


def _transformer(kind: str, argument: str) -> Teacher:
    from .transformer import load_transformer

    return load_transformer(kind, argument, make_teacher)


KINDS: dict[str, Callable[[str], Teacher | None]] = {
    "none": _none,
    "builtin": _builtin,
    "builtin-dino": _builtin_dino,
    "builtin-ssl": _builtin_ssl,
    "precomputed": _precomputed,
    "cached": _cached,
    **{kind: partial(_transformer, kind) for kind in FAMILIES},
}
"""Kind → function that makes a teacher from the text after the colon; it imports the module that it needs."""
