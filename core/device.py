"""Selection of the torch device and of what it computes in."""

from __future__ import annotations

import logging
from functools import cache
from typing import Literal

import torch

from .cuda import cuda_ready
from .errors import InputError

log = logging.getLogger(__name__)


def default_device(device: torch.device | str | None = None) -> torch.device:
    """Return ``device``, or for None the current CUDA device if splatting works there (`cuda_ready`), else the CPU.

    Where a CUDA device is passed over, the first call logs why.
    """
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() and _splats_on_cuda() else "cpu")


@cache
def _splats_on_cuda() -> bool:
    problem = cuda_ready().gsplat
    if problem is not None:
        log.warning("Using the CPU, because %s; to use the GPU: %s.", problem.reason, problem.remedy)
    return problem is None


def pick_device(name: Literal["auto", "cuda", "cpu"]) -> torch.device:
    """Return the device that an option names; "auto" is `default_device`.

    Raises:
        InputError: "cuda" without a CUDA device, or without splatting on it.
    """
    if name == "cuda":
        if not torch.cuda.is_available():
            raise InputError("--device cuda", "a CUDA device", "none", "`gaussiancross doctor` says why")
        problem = cuda_ready().gsplat
        if problem is not None:
            raise InputError("--device cuda", "a GPU that can splat", f"none, because {problem.reason}", problem.remedy)
    return default_device(None if name == "auto" else name)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has fast bfloat16 matrix products. Older GPUs emulate them, slowly."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def bfloat16_conv3d_works(device: torch.device) -> bool:
    """Whether dense 3D convolutions in bfloat16 are right and fast on a device.

    cuDNN 9.8 to 9.14 (torch 2.7 to 2.9) return wrong results or take several times as long
    (pytorch issues 163539, 166122 and 166643).
    """
    version = torch.backends.cudnn.version() if device.type == "cuda" else None
    return version is None or not 90_800 <= version < 91_500
