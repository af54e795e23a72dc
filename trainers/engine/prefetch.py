"""Prepare batches in threads, ahead of the training step."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

T = TypeVar("T")


def default_workers() -> int:
    """Number of threads that prepare batches: half the cores, at most 8."""
    return max(1, min(8, (os.cpu_count() or 2) // 2))


def prefetched(make: Callable[[int], T], start: int, workers: int = 1) -> Generator[T, None, None]:
    """Yield ``make(start)``, ``make(start + 1)``, … in order; threads compute the next ones meanwhile.

    Close the generator to end the threads. Exceptions of ``make`` are raised here.

    Args:
        workers: number of threads. One item more than that is prepared ahead, so that no thread waits for a slow step.
    """
    with ThreadPoolExecutor(workers, "batches") as pool:
        ahead = deque(pool.submit(make, start + i) for i in range(workers + 1))
        try:
            for step in count(start + workers + 1):
                item = ahead.popleft().result()
                ahead.append(pool.submit(make, step))
                yield item
        finally:
            for future in ahead:
                future.cancel()
