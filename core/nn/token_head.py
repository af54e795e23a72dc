"""Light network on the tokens of a frozen image network: a score per name for every token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class TokenHeadConfig:
    """Sizes of the head."""

    inputs: int = 768
    """Channels of the tokens."""
    reduced: int = 128
    """Channels after the linear discriminant projection, which is fitted before the training."""
    width: int = 128
    """Channels of the hidden layers."""
    blocks: int = 2
    """Residual blocks with a depth-wise 5 × 5 convolution; 0: every token alone."""
    dropout: float = 0.1
    """Share of the channels that are dropped in training."""
    names: int = 140
    """Number of names."""


class _Block(nn.Module):
    """Residual block: depth-wise convolution, layer norm, two-layer perceptron; the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.down(F.gelu(self.up(self.norm(y))))


class TokenHead(nn.Module):
    """Tokens [B, h, w, C] → logits [B, h, w, names]."""

    def __init__(self, config: TokenHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("center", torch.zeros(config.inputs))
        self.register_buffer("projection", torch.zeros(config.inputs, config.reduced))
        self.drop = nn.Dropout(config.dropout)
        self.inner = nn.Linear(config.reduced, config.width)
        self.blocks = nn.Sequential(*(_Block(config.width) for _ in range(config.blocks)))
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, config.names)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.classify(self.reduce(tokens))

    def reduce(self, tokens: Tensor) -> Tensor:
        """Project tokens [..., C] to [..., reduced]: unit variance within a name."""
        return (tokens.float() - self.get_buffer("center")) @ self.get_buffer("projection")

    def classify(self, reduced: Tensor) -> Tensor:
        """Logits [B, h, w, names] of projected tokens [B, h, w, reduced]."""
        x = self.inner(self.drop(reduced))
        return self.out(F.gelu(self.norm(self.blocks(x))))


def discriminants(
    tokens: Tensor, label: Tensor, count: int, reduced: int, shrink: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Fit Fisher's linear discriminants.

    Args:
        tokens: [N, C]; label: [N] in 0 … count − 1.
        reduced: number of directions.
        shrink: share of the mean variance in the covariance within names, for few samples.

    Returns:
        center [C] and projection [C, reduced]; projected tokens have unit variance within a name. Names count by the
        square root of their samples.
    """
    number = torch.bincount(label, minlength=count).to(tokens).clamp_min(1)
    means = torch.zeros(count, tokens.shape[1]).index_add(0, label, tokens) / number[:, None]
    weight = number.rsqrt()[label]
    rest = (tokens - means[label]) * weight.sqrt()[:, None]
    within = rest.T @ rest / weight.sum()
    within = (1 - shrink) * within + shrink * within.diagonal().mean() * torch.eye(len(within))
    values, vectors = torch.linalg.eigh(within)
    whiten = vectors / values.sqrt()
    share = number.sqrt() / number.sqrt().sum()
    center = share @ means
    between = ((means - center) @ whiten) * share.sqrt()[:, None]
    _, _, axes = torch.linalg.svd(between, full_matrices=True)
    return center, whiten @ axes[:reduced].T
