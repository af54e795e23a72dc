"""Backward passes over a batch in parts, and undoing what a bad batch did to buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Losses = Callable[[], dict[str, Tensor] | tuple[Tensor, dict[str, Tensor]]]
"""Computes the weighted loss terms by name, or their sum and the terms as they are logged."""


def backward(parts: Sequence[Losses]) -> tuple[Tensor, dict[str, Tensor]]:
    """Accumulate the gradients of the mean loss of ``parts``, one part in memory at a time.

    Returns:
        the means of the parts' losses and of their terms, detached.
    """
    sums: list[Tensor] = []
    logged: list[dict[str, Tensor]] = []
    for part in parts:
        result = part()
        loss, terms = result if isinstance(result, tuple) else (torch.stack(list(result.values())).sum(), result)
        (loss / len(parts) if len(parts) > 1 else loss).backward()
        sums.append(loss.detach())
        logged.append({name: term.detach() for name, term in terms.items()})
    names = dict.fromkeys(name for terms in logged for name in terms)
    means = {name: torch.stack([terms[name] for terms in logged if name in terms]).mean() for name in names}
    return torch.stack(sums).mean(), means


def restore_buffers(saved: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Copy back the values of (buffer, earlier value) pairs."""
    for buffer, value in saved:
        buffer.copy_(value)
