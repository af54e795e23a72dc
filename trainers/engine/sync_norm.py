"""Batch normalisation with the statistics of all ranks.

Not `torch.nn.SyncBatchNorm`: that has no CPU version, and converting to it would replace the subclass of the sparse
backbone. Here the modules stay what they are; only their forward pass in training changes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...core.nn.standardize import Standardize
from .ranks import Ranks


def start_together(ranks: Ranks, model: nn.Module, step: int, device: torch.device) -> None:
    """Give all ranks the weights of rank 0 and batch norms over all of them; all must be at the same step."""
    if ranks.world > 1:
        ranks.require_same("the step", step, device)
        ranks.copy_from_first([*model.parameters(), *model.buffers()])
        synchronise_norms(model)


def synchronise_norms(model: nn.Module) -> None:
    """Let all batch norms and `Standardize` of a model take the statistics of all ranks while they train.

    All ranks must then run the same norms equally often.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_forward, module)  # type: ignore[method-assign]
        if isinstance(module, (_BatchNorm, Standardize)):
            module.sum_over_ranks = _Sum.apply  # type: ignore[assignment]


def _forward(module: _BatchNorm, x: Tensor) -> Tensor:
    if not module.training:
        return type(module).forward(module, x)
    dims = [d for d in range(x.ndim) if d != 1]
    shape = [1, -1] + [1] * (x.ndim - 2)
    values = x.float()
    mean = module.running_mean
    # Sums of squares about a value that all ranks share and that is near the mean lose no digits.
    origin = torch.zeros(x.shape[1], device=x.device) if mean is None else mean.detach().float()
    centred = values - origin.view(shape)  # [N, C, …]
    count = centred.new_full((1,), x.numel() / max(1, x.shape[1]))
    sums = _Sum.apply(torch.cat([centred.sum(dims), centred.square().sum(dims), count]))  # [2 C + 1]
    assert isinstance(sums, Tensor)
    total = sums[-1].detach()
    mean = sums[: x.shape[1]] / total
    variance = (sums[x.shape[1] : -1] / total - mean.square()).clamp_min(0)
    _update(module, origin + mean.detach(), variance.detach() * total / (total - 1).clamp_min(1))
    out = (centred - mean.view(shape)) * (variance + module.eps).rsqrt().view(shape)
    if module.affine:
        out = out * module.weight.view(shape) + module.bias.view(shape)
    return out.to(x.dtype)


def _update(module: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics towards those of a batch."""
    if module.running_mean is None or module.running_var is None or module.num_batches_tracked is None:
        return
    with torch.no_grad():
        module.num_batches_tracked.add_(1)
        tracked: Any = module.num_batches_tracked
        share = 1 / float(tracked) if module.momentum is None else module.momentum
        module.running_mean.lerp_(mean.to(module.running_mean), share)
        module.running_var.lerp_(variance.to(module.running_var), share)


class _Sum(torch.autograd.Function):
    """The sum over all ranks; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        torch.distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        torch.distributed.all_reduce(gradient)
        return gradient
