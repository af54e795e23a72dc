"""Targets of distillation, brought to mean 0 and variance 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """(x − mean) / standard deviation of each channel over all that was seen in training.

    Features of a frozen network share most of their direction. Of the cosine to them as they are, little is left for
    what tells one thing from another; of the cosine to standardised ones, all of it (the "global standardisation" of
    PHI-S, Ranzinger et al. 2024). Statistics are plain means at first and then follow slowly; they take no gradient.

    Args:
        channels: D.
        momentum: share of the newest batch in the statistics, at least.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, channels: int, momentum: float = 0.01) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("batches", torch.tensor(0))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """[N, D] → [N, D]; in training, statistics take in these rows first. Rows of no batch at all change nothing."""
        if self.training and len(x):
            self.batches += 1
            share = max(self.momentum, 1 / int(self.batches))
            self.mean.lerp_(x.mean(0), share)
            # Around the running mean: what a scene has of its own is part of what is to be told apart.
            self.variance.lerp_((x - self.mean).square().mean(0), share)
        return (x - self.mean) / self.variance.clamp_min(1e-12).sqrt()
