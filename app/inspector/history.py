"""Changes of one browser that can be taken back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ...core.errors import InputError

MAX_ITEMS = 50
"""Largest number of changes that are kept."""

MERGE = 1.0
"""Seconds within which changes of one kind, as of a slider that is dragged, are one change."""


class History:
    """The last changes, each as a function that takes it back. Any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock, self._clock = threading.Lock(), clock
        self._items: list[Callable[[], None]] = []
        self._last = "", -MERGE

    def __len__(self) -> int:
        return len(self._items)

    def record(self, kind: str, undo: Callable[[], None], merge: bool = False) -> None:
        """Add a change.

        Args:
            kind: what was changed.
            undo: takes the change back.
            merge: it belongs to the change before, if that has the same kind and is at most `MERGE` seconds old.
        """
        with self._lock:
            now = self._clock()
            kept = merge and self._items and self._last[0] == kind and now - self._last[1] <= MERGE
            self._last = kind, now
            if not kept:
                self._items = [*self._items, undo][-MAX_ITEMS:]

    def undo(self) -> None:
        """Take the last change back; `InputError` without one."""
        with self._lock:
            if not self._items:
                raise InputError("Undo", "a pick, a query, a threshold, a hidden part or a colour", "no change yet")
            last = self._items.pop()
            self._last = "", -MERGE
        last()

    def clear(self) -> None:
        """Forget all changes."""
        with self._lock:
            self._items.clear()
