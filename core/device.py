"""Selection of the torch device."""

from __future__ import annotations

from typing import Literal

import torch

from .errors import InputError


def default_device(device: torch.device | str | None = None) -> torch.device:
    """Return ``device``, or for None the CUDA device if this torch can use one, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def pick_device(name: Literal["auto", "cuda", "cpu"]) -> torch.device:
    """Return the device that an option names.

    Raises:
        InputError: "cuda" without a usable CUDA device.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("--device cuda", "a CUDA device", "none", "`gaussiancross doctor` says why")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
