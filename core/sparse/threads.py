"""Worker threads for compiled kernels that release the GIL.

Not numba's ``parallel=True``: where no OpenMP runtime is installed its fallback layer aborts the process when two
threads (a trainer and a viewer) enter it, and where one is installed it is a second pool that spins beside torch's.
These workers sleep while there is nothing to do, any thread may ask for them, and the speed is the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_pools: dict[int, ThreadPoolExecutor] = {}


def share(kernel: Callable[..., None], work: float, *arguments: Any) -> None:
    """Run ``kernel(worker, workers, *arguments)`` for every worker, in as many threads as torch may use.

    Args:
        work: operations to expect; below a few hundred thousand one thread is quicker than waking another.
    """
    workers = torch.get_num_threads() if work > 5e5 else 1
    futures = [_pool().submit(kernel, worker, workers, *arguments) for worker in range(1, workers)]
    kernel(0, workers, *arguments)
    for future in futures:
        future.result()


def _pool() -> ThreadPoolExecutor:
    """This process's pool; a forked child makes its own, since threads do not survive a fork."""
    pid = os.getpid()
    if pid not in _pools:
        _pools.clear()
        _pools[pid] = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="sparse")
    return _pools[pid]
