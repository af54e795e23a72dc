"""Caches that drop the least recently used entries, bounded by number or by bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Arrays = tuple[NDArray[Any], ...]


class LruCache(Generic[K, V]):
    """The most recently used values. Thread-safe.

    Args:
        max_items: number of values to hold; unlimited by default.
        max_bytes: total size of the values; unlimited by default. A larger value is returned, but not stored.
        nbytes: size of one value in bytes; needed for ``max_bytes``.
    """

    def __init__(
        self, max_items: int | None = None, max_bytes: int | None = None, nbytes: Callable[[V], int] | None = None
    ) -> None:
        self.max_items, self.max_bytes = max_items, max_bytes
        self._size_of = nbytes or (lambda value: 0)
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.RLock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of ``key``; ``make()`` makes and stores it on the first call."""
        with self._lock:
            if key in self._entries:
                return self._touch(key)
        value = make()  # outside the lock: a slow value does not delay the others
        with self._lock:
            if key in self._entries:  # another thread was faster: all callers share its value
                return self._touch(key)
            self.put(key, value)
        return value

    def find(self, key: K) -> V | None:
        """The stored value of ``key``, which then counts as used, or None."""
        with self._lock:
            return self._touch(key) if key in self._entries else None

    def put(self, key: K, value: V) -> None:
        """Store a value in place of any earlier one of ``key``."""
        size = self._size_of(value)
        with self._lock:
            if key in self._entries:
                self._bytes -= self._entries.pop(key)[1]
            if self.max_bytes is not None and size > self.max_bytes:
                return
            self._entries[key] = value, size
            self._bytes += size
            while self._over():
                self._bytes -= self._entries.popitem(last=False)[1][1]

    @property
    def nbytes(self) -> int:
        """Total size of the stored values in bytes."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def _touch(self, key: K) -> V:
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def _over(self) -> bool:
        too_many = self.max_items is not None and len(self._entries) > self.max_items
        return too_many or (self.max_bytes is not None and self._bytes > self.max_bytes)


class ArrayCache(LruCache[Hashable, Arrays]):
    """Tuples of read-only arrays, bounded by bytes. Pickles empty: every data-loading worker fills its own.

    Args:
        max_bytes: total size of the arrays. A larger entry is returned, but not stored.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        super().__init__(max_bytes=max_bytes, nbytes=_nbytes)

    def get(self, key: Hashable, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of ``key``, made on the first call, shared by all callers and read-only."""
        return super().get(key, lambda: _make_read_only(make()))

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["max_bytes"])


def _make_read_only(arrays: Arrays) -> Arrays:
    for array in arrays:
        array.flags.writeable = False
    return arrays


def _nbytes(arrays: Arrays) -> int:
    return sum(a.nbytes for a in arrays)
