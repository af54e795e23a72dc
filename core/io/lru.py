"""A cache of arrays that is bounded by bytes, not by entries."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from numpy.typing import NDArray

Arrays = tuple[NDArray[Any], ...]


class ArrayCache:
    """Least-recently-used arrays, at most ``max_bytes`` of them. Thread-safe; pickles empty, so that data-loading
    workers each start with their own.

    Args:
        max_bytes: what all entries together may hold. A larger entry is handed out, but not kept.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, Arrays] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of ``key``, made on the first call. They are shared: read-only to the caller."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        arrays = make()  # outside the lock: decoding one frame must not hold up the others
        for array in arrays:
            array.flags.writeable = False
        size = _nbytes(arrays)
        with self._lock:
            if key not in self._entries and size <= self.max_bytes:
                self._entries[key] = arrays
                self._bytes += size
                while self._bytes > self.max_bytes:
                    self._bytes -= _nbytes(self._entries.popitem(last=False)[1])
        return arrays

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["max_bytes"])


def _nbytes(arrays: Arrays) -> int:
    return sum(a.nbytes for a in arrays)
