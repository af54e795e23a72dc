"""Choose the backend of sparse convolutions."""

from __future__ import annotations

from typing import Any, Literal

import torch

from ..cuda import cuda_ready
from ..errors import InputError

Backend = Literal["auto", "torch", "spconv"]


def resolve_backend(backend: str, device: torch.device) -> Literal["torch", "spconv"]:
    """The backend that "auto" stands for on a device: spconv on CUDA where it works (`cuda_ready`), else torch.

    Raises:
        InputError: an unknown name, or "spconv" without spconv.
    """
    if backend not in ("auto", "torch", "spconv"):
        raise InputError("sparse backend", "auto, torch or spconv", repr(backend))
    if backend == "auto":
        return "spconv" if device.type == "cuda" and cuda_ready().spconv is None else "torch"
    if backend == "spconv":
        require_spconv()
    return "spconv" if backend == "spconv" else "torch"


def require_spconv() -> Any:
    """The module ``spconv.pytorch``.

    Raises:
        InputError: it is not installed, or is the PyPI package plain ``spconv``, whose results are wrong.
    """
    install = "install it with: pip install gaussiancross[cuda]"
    try:
        import spconv.pytorch as spconv
        from spconv.constants import ALL_WEIGHT_IS_KRSC
    except (ImportError, OSError) as error:  # OSError: a library of CUDA is missing
        raise InputError("sparse backend", "spconv 2.3 for CUDA", f"none ({error})", install) from error
    from spconv.cppconstants import CPU_ONLY_BUILD

    if CPU_ONLY_BUILD or not ALL_WEIGHT_IS_KRSC:
        found = "a CPU-only or pre-2.2 spconv"
        raise InputError("sparse backend", "spconv 2.3 for CUDA", found, f"pip uninstall spconv, then {install}")
    return spconv
