"""Choose the backend of sparse convolutions."""

from __future__ import annotations

from typing import Any, Literal

import torch

from ..errors import InputError

Backend = Literal["auto", "torch", "spconv"]


def resolve_backend(backend: str, device: torch.device) -> Literal["torch", "spconv"]:
    """The backend that "auto" stands for on a device: spconv on CUDA, torch elsewhere.

    Raises:
        InputError: an unknown name, or spconv is wanted and not installed.
    """
    if backend not in ("auto", "torch", "spconv"):
        raise InputError("sparse backend", "auto, torch or spconv", repr(backend))
    if backend == "torch" or (backend == "auto" and device.type != "cuda"):
        return "torch"
    require_spconv()
    return "spconv"


def require_spconv() -> Any:
    """The module ``spconv.pytorch``.

    Raises:
        InputError: it is not installed, or is the PyPI package plain ``spconv``, whose results are wrong.
    """
    install = "install it with: pip install gaussiancross[cuda]"
    try:
        import spconv.pytorch as spconv
        from spconv.constants import ALL_WEIGHT_IS_KRSC
    except ImportError as error:
        raise InputError("sparse backend", "spconv 2.3 for CUDA", f"none ({error})", install) from error
    from spconv.cppconstants import CPU_ONLY_BUILD

    if CPU_ONLY_BUILD or not ALL_WEIGHT_IS_KRSC:
        found = "a CPU-only or pre-2.2 spconv"
        raise InputError("sparse backend", "spconv 2.3 for CUDA", found, f"pip uninstall spconv, then {install}")
    return spconv
