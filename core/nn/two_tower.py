"""A small image tower and a small text tower into one space: the network of the built-in teacher.

The image tower is a convolutional pyramid that ends in attention pooling with one learned query (the pooling of SigLIP,
arXiv 2303.15343, and of CLIP's ResNets, arXiv 2103.00020). Dense features take the value path of that last attention
layer, without the attention (MaskCLIP, arXiv 2112.01071 §3.2), so a pooled feature is a weighted mean of dense ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8
"""Pixels per token of the image tower."""


@dataclass(frozen=True)
class TwoTowerConfig:
    """Sizes of the two towers."""

    dim: int = 64
    """D, of the shared space."""
    widths: tuple[int, int, int, int] = (40, 80, 144, 192)
    """Channels at strides 4, 8, 16 and 32."""
    blocks: tuple[int, int, int, int] = (1, 2, 2, 1)
    """Residual blocks at each."""
    tokens: int = 128
    """Channels of the tokens, at stride 8."""
    heads: int = 4
    """Of the pooling."""
    words: int = 512
    """Rows of the word table; 0 is padding."""
    text_width: int = 96
    """Channels of the text tower."""
    text_layers: int = 2
    """Transformer layers of the text tower."""
    length: int = 16
    """Words that a phrase may have."""


class Pooled(NamedTuple):
    """What the image tower says before pooling.

    Attributes:
        values: [B, h·w, D'] of the last attention layer, all heads side by side.
        logits: [B, heads, h·w] attention of the learned query.
        grid: (h, w).
    """

    values: Tensor
    logits: Tensor
    grid: tuple[int, int]


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def _down(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


class ImageTower(nn.Module):
    """[B, 3, H, W] in [0, 1], H and W multiples of 32 → tokens at stride 8."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        widths, tokens = config.widths, config.tokens
        self.heads = config.heads
        self.stem = _down(3, widths[0] // 2)
        befores = (widths[0] // 2, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(_down(before, width), *(_Block(width) for _ in range(count)))
            for before, width, count in zip(befores, widths, config.blocks, strict=True)
        )
        self.context = nn.Linear(widths[3], widths[3])
        self.lateral = nn.ModuleList(nn.Conv2d(width, tokens, 1) for width in widths[1:])
        self.smooth = nn.Sequential(
            nn.Conv2d(tokens, tokens, 3, padding=1, bias=False), nn.BatchNorm2d(tokens), nn.ReLU()
        )
        self.query = nn.Parameter(torch.randn(tokens) / tokens**0.5)
        self.key = nn.Linear(tokens, tokens)
        self.value = nn.Linear(tokens, tokens)
        self.out = nn.Linear(tokens, config.dim)

    def forward(self, images: Tensor) -> Pooled:
        x = self.stem((images - 0.5) / 0.25)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        c8, c16, c32 = levels[1:]
        c32 = c32 + self.context(c32.mean((2, 3)))[:, :, None, None]
        top = self.lateral[2](c32)
        middle = self.lateral[1](c16) + F.interpolate(top, scale_factor=2.0, mode="bilinear", align_corners=False)
        fine = self.lateral[0](c8) + F.interpolate(middle, scale_factor=2.0, mode="bilinear", align_corners=False)
        fine = fine + self.smooth(fine)
        height, width = fine.shape[-2:]
        tokens = fine.flatten(2).transpose(1, 2)
        query = self.query.reshape(self.heads, -1)
        keys = self.key(tokens).unflatten(-1, (self.heads, -1))
        logits = torch.einsum("hd,bthd->bht", query, keys) * query.shape[1] ** -0.5
        return Pooled(self.value(tokens), logits, (height, width))

    def dense(self, pooled: Pooled) -> Tensor:
        """[B, h, w, D] the value path: every token as if it were all that is pooled."""
        return self.out(pooled.values).unflatten(1, pooled.grid)

    def pool(self, pooled: Pooled, coverage: Tensor, image: Tensor) -> Tensor:
        """[R, D] features of regions.

        Args:
            coverage: [R, h·w] in [0, 1], how much of each token belongs to the region.
            image: [R] which image each region lies in.
        """
        logits = pooled.logits[image] + coverage.log()[:, None]  # −inf where the region is not
        weights = logits.softmax(-1)
        values = pooled.values[image].unflatten(-1, (self.heads, -1))
        return self.out(torch.einsum("rht,rthd->rhd", weights, values).flatten(1))


class TextTower(nn.Module):
    """Word numbers [P, L], 0 = padding → [P, D]."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        width = config.text_width
        self.words = nn.Embedding(config.words, width, padding_idx=0)
        self.positions = nn.Parameter(0.02 * torch.randn(config.length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, config.text_layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, config.dim)

    def forward(self, words: Tensor) -> Tensor:
        there = words > 0
        x = self.words(words) + self.positions[: words.shape[1]]
        x = self.layers(x, src_key_padding_mask=~there)
        return self.out((x * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp_min(1))


class TwoTower(nn.Module):
    """Both towers."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageTower(config)
        self.text = TextTower(config)
