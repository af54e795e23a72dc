"""Peak memory of a run."""

from __future__ import annotations

import sys

import torch


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
