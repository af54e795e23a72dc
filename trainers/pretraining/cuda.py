"""What pre-training sets on a CUDA device before the first step. It changes speed and rounding, not results."""

from __future__ import annotations

import torch

from ...core.models import GaussianCross
from ...core.sparse.spconv_backend import allow_tf32


def prepare(model: GaussianCross, amp: bool) -> None:
    """Choose the formats and kernels of a network on CUDA.

    The dense U-Net gets its weights with the channels last, cuDNN's own format. cuDNN tries its algorithms once where
    all lattices have one shape; it would try them again for every new shape. Weights keep their names and values.

    Args:
        amp: mixed precision; then sparse convolutions may use TF32, which has tensor cores, where spconv has no
            bfloat16.
    """
    torch.backends.cudnn.benchmark = model.config.lattice == "ponder"
    model.lattice_net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    allow_tf32(amp)
