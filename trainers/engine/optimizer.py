"""AdamW with the kernels that are fastest on the parameters' device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def adamw(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], lr: float, weight_decay: float = 0.0
) -> torch.optim.AdamW:
    """Create AdamW of parameters or of parameter groups; on CUDA one kernel updates many parameters."""
    groups: Any = list(parameters)
    first = groups[0]["params"][0] if isinstance(groups[0], dict) else groups[0]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True if first.is_cuda else None)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore a state dict, perhaps of another device: the choice of kernels stays the optimiser's own.

    Moments get the strides of their parameters, which checkpoints do not hold: fused kernels go through the memory of
    both in its order.
    """
    own = [{k: v for k, v in group.items() if k in ("fused", "foreach")} for group in optimizer.param_groups]
    groups = [saved | kernels for saved, kernels in zip(state["param_groups"], own, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
