"""The device that is used where none is named."""

from __future__ import annotations

import torch


def default_device(given: torch.device | str | None = None) -> torch.device:
    """``given``, or else the CUDA device, where there is one that works with this torch, or else the CPU."""
    return torch.device(given or ("cuda" if torch.cuda.is_available() else "cpu"))
