"""The section "switches" of `bench gpu`: seconds per step with one option of the code changed at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from ..core.sparse.modules import SubMConv3d
from ..core.sparse.spconv_backend import allow_tf32
from ..core.splat import cuda as cuda_splat
from ..trainers.pretraining.presets import FULL
from ..trainers.pretraining.trainer import Pretrainer
from ._gpu_speed import batches_of, measured, trainer_of


@dataclass(frozen=True)
class Switch:
    """One change of a training.

    Attributes:
        options: fields of the model's config, and ``micro_batch``.
        change: applied to the trainer before its first step.
        copied: whether batches are pinned and copied ahead, as in a training.
        dense_bytes: `core.splat.cuda.DENSE_BYTES` of this run; None leaves it as it is.
    """

    options: dict[str, Any]
    change: Callable[[Pretrainer], object] = lambda trainer: None
    copied: bool = True
    dense_bytes: int | None = None


def switches(options: SimpleNamespace) -> dict[str, Any]:
    """Median seconds per step of every switch."""
    found: dict[str, Any] = {}
    for name, switch in SWITCHES.items():
        with kept_flags(switch), trainer_of(options, **switch.options) as trainer:
            switch.change(trainer)
            batches = batches_of(trainer, 1) if switch.copied else [trainer.batch(0)]
            found[name] = measured(options, trainer, batches)["step s"]
    return found


@contextmanager
def kept_flags(switch: Switch) -> Iterator[None]:
    """Context that applies ``dense_bytes`` and restores what a switch may set for the whole process."""
    flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark
    with ExitStack() as stack:
        if switch.dense_bytes is not None:
            stack.enter_context(mock.patch.object(cuda_splat, "DENSE_BYTES", switch.dense_bytes))
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark = flags


def _float32(trainer: Pretrainer) -> None:
    trainer._amp = False


def _tf32_products(trainer: Pretrainer) -> None:
    torch.backends.cuda.matmul.allow_tf32 = True


def _cudnn_default(trainer: Pretrainer) -> None:
    torch.backends.cudnn.benchmark = False


def _channels_first(trainer: Pretrainer) -> None:
    trainer.model.lattice_net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _torch_convolutions(trainer: Pretrainer) -> None:
    trainer.model.backbone.backend = "torch"


def _fast_large_kernels(trainer: Pretrainer) -> None:
    """Let spconv use implicit GEMM for kernels of more than 32 cells, such as the 5³ one of the first layer."""
    for module in trainer.model.backbone.modules():
        if isinstance(module, SubMConv3d) and module.kernel_size > 3:
            module._spconv.options["large_kernel_fast_algo"] = True


def _foreach_adam(trainer: Pretrainer) -> None:
    for group in trainer.optimizer.param_groups:
        group["fused"] = False


SWITCHES = {
    "as it is": Switch({}),
    "float32": Switch({}, _float32),
    "float32 convolutions without TF32": Switch({}, lambda trainer: allow_tf32(False)),
    "TF32 products": Switch({}, _tf32_products),
    "cuDNN's default algorithms": Switch({}, _cudnn_default),
    "volumes with channels first": Switch({}, _channels_first),
    "torch sparse backend": Switch({}, _torch_convolutions),
    "implicit GEMM for the 5³ kernel": Switch({}, _fast_large_kernels),
    "gsplat in one dense call": Switch({}, dense_bytes=1 << 62),
    "gsplat packed, scene by scene": Switch({}, dense_bytes=0),
    "embeddings at full resolution": Switch({"feature_stride": 1}),
    "28 channels": Switch({"head": replace(FULL.model.head, feature_dim=28)}),
    "no point loss": Switch({"point_weight": 0.0}),
    "AdamW not fused": Switch({}, _foreach_adam),
    "pageable copies, not ahead": Switch({}, copied=False),
    "micro-batches of 1": Switch({"micro_batch": 1}),
}
"""Name → what it changes; on the CPU, those of CUDA change nothing."""
