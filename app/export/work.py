"""Exports as generators: work in small steps that reports progress and ends with a file."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """A finished file."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        share: in [0, 1].
        waiting: nothing to do here until something outside (an encoder) is ready: come back at the next pulse.
    """

    share: float
    waiting: bool = False


Work = Generator[Progress, None, Download]
"""Yields often; its ``finally`` cleans up, whether it ends, fails or is stopped."""


def finish(work: Work, progress: Callable[[float], object] = lambda share: None) -> Download:
    """Run a piece of work to its end, here and now."""
    while True:
        try:
            progress(next(work).share)
        except StopIteration as end:
            return end.value
