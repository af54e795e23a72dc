"""`--shard I/N`: one of N processes that share the scenes of a job over a shared file system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from ...core.errors import InputError

T = TypeVar("T")


def parse_shard(text: str) -> tuple[int, int]:
    """``(I, N)`` of "I/N" with 0 ≤ I < N; (0, 1) of an empty text.

    Raises:
        InputError: anything else.
    """
    if not text:
        return 0, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 <= index < count:
        raise InputError("--shard", "I/N with I from 0 to N - 1, for example 0/4", repr(text))
    return index, count


def of_shard(items: Sequence[T], text: str) -> list[T]:
    """Every N-th item, from the I-th on."""
    index, count = parse_shard(text)
    return list(items[index::count])
