"""Standardisation of distillation targets to mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """Computes (x − mean) / standard deviation per channel, with statistics accumulated in training.

    Features of a frozen network share most of their direction, so a cosine to them depends little on what
    distinguishes one object from another; a cosine to standardised features does ("global standardisation" of PHI-S,
    Ranzinger et al. 2024). Statistics are plain means at first, then running means; they take no gradient.

    Args:
        channels: D.
        momentum: smallest share of the newest batch in the statistics.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    sum_over_ranks: Callable[[Tensor], Tensor] | None = None
    """Sums a tensor over the processes that train one model, which then must call this module equally often."""

    def __init__(self, channels: int, momentum: float = 0.01) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("batches", torch.tensor(0))

    @torch.no_grad()
    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Standardise rows [N, D]; in training, update the statistics with them first (no rows change nothing).

        Args:
            seen: [N] bool, rows that enter the statistics; None = all.
        """
        if self.training and (len(x) or self.sum_over_ranks is not None):
            self._learn(x, seen)
        return (x - self.mean) / self.variance.clamp_min(1e-12).sqrt()

    def _learn(self, x: Tensor, seen: Tensor | None) -> None:
        """Update the statistics. Nothing is read back from the device, which would wait for it."""
        total = self.sum_over_ranks or (lambda value: value)
        row_weight = x.new_ones(len(x)) if seen is None else seen.to(x.dtype)  # [N]
        count = total(row_weight.sum())
        row_weight = row_weight / count.clamp_min(1)
        self.batches += (count > 0).to(self.batches.dtype)
        share = (1 / self.batches.clamp_min(1)).clamp_min(self.momentum).to(x.dtype) * (count > 0)
        self.mean.lerp_(total(row_weight @ x), share)
        # Around the running mean, so that differences between scenes count as variance.
        self.variance.lerp_(total(row_weight @ (x - self.mean).square()), share)
