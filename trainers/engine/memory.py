"""Memory of a run: its peak, and a second try where a device ran out of it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

R = TypeVar("R")


def tried_twice(step: Callable[[], R], may_repeat: Callable[[], bool]) -> R:
    """Return ``step()``; where a CUDA device runs out of memory, free what is not in use and try once more.

    A viewer or an evaluation may have held memory for a moment, and freed memory may be in pieces too small.

    Args:
        may_repeat: whether a second try would start from the same state.
    """
    try:
        return step()
    except torch.cuda.OutOfMemoryError:
        if not may_repeat():
            raise
    # Outside the handler: the error's traceback holds the tensors of the failed step.
    gc.collect()
    torch.cuda.empty_cache()
    return step()


def memory_gb(device: torch.device) -> float:
    """Peak memory so far in GB: of the device on CUDA, else of the process (NaN if the system does not report it)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9
