"""The device that is used where none is named."""

from __future__ import annotations

from typing import Literal

import torch

from .errors import InputError


def default_device(given: torch.device | str | None = None) -> torch.device:
    """``given``, or else the CUDA device, where there is one that works with this torch, or else the CPU."""
    return torch.device(given or ("cuda" if torch.cuda.is_available() else "cpu"))


def pick_device(name: Literal["auto", "cuda", "cpu"]) -> torch.device:
    """The device that was asked for; `InputError` where there is none."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("--device cuda", "a CUDA device", "none", "`gaussiancross doctor` says why")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
