"""Small image and text towers with a shared embedding space: the network of the bundled two-tower teacher.

The image tower is a convolutional pyramid that ends in attention pooling with one learned query (the pooling of SigLIP,
arXiv 2303.15343, and of CLIP's ResNets, arXiv 2103.00020). Dense features are the value path of that last attention
layer (MaskCLIP, arXiv 2112.01071 §3.2), so a pooled feature is a weighted mean of dense ones.
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
    """D, width of the shared space."""
    widths: tuple[int, int, int, int] = (40, 80, 144, 192)
    """Channels at strides 4, 8, 16 and 32."""
    blocks: tuple[int, int, int, int] = (1, 2, 2, 1)
    """Residual blocks at these strides."""
    tokens: int = 128
    """D', channels of the tokens at stride 8."""
    heads: int = 4
    """Attention heads of the pooling."""
    words: int = 512
    """Rows of the word table; word 0 is padding."""
    text_width: int = 96
    """Channels of the text tower."""
    text_layers: int = 2
    """Transformer layers of the text tower."""
    length: int = 16
    """Largest number of words in a phrase."""


class Pooled(NamedTuple):
    """Output of the image tower before pooling.

    Attributes:
        values: [B, h·w, D'] values of the last attention layer, all heads concatenated.
        logits: [B, heads, h·w] attention logits of the learned query.
        grid: (h, w) of the tokens.
    """

    values: Tensor
    logits: Tensor
    grid: tuple[int, int]


class _Block(nn.Module):
    """Residual block: relu(x + bn(conv(relu(bn(conv(x)))))); the identity (then ReLU) at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def _down(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class ImageTower(nn.Module):
    """Convolutional pyramid: images [B, 3, H, W] in [0, 1], H and W multiples of 32 → tokens at stride 8."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        widths, tokens = config.widths, config.tokens
        self.heads = config.heads
        self.stem = _down(3, widths[0] // 2)
        inputs = (widths[0] // 2, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(_down(before, width), *(_Block(width) for _ in range(count)))
            for before, width, count in zip(inputs, widths, config.blocks, strict=True)
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
        x = self.stem((images - 0.5) / 0.25)  # [B, C, H/2, W/2]
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        c8, c16, c32 = levels[1:]  # strides 8, 16 and 32
        # Merge the levels from coarse to fine.
        c32 = c32 + self.context(c32.mean((2, 3)))[:, :, None, None]
        top = self.lateral[2](c32)
        middle = self.lateral[1](c16) + F.interpolate(top, scale_factor=2.0, mode="bilinear", align_corners=False)
        fine = self.lateral[0](c8) + F.interpolate(middle, scale_factor=2.0, mode="bilinear", align_corners=False)
        fine = fine + self.smooth(fine)  # [B, D', h, w]
        height, width = fine.shape[-2:]
        # Attend with the learned query.
        tokens = fine.flatten(2).transpose(1, 2)  # [B, h·w, D']
        query = self.query.reshape(self.heads, -1)  # [heads, D' / heads]
        keys = self.key(tokens).unflatten(-1, (self.heads, -1))  # [B, h·w, heads, D' / heads]
        logits = torch.einsum("hd,bthd->bht", query, keys) * query.shape[1] ** -0.5  # [B, heads, h·w]
        return Pooled(self.value(tokens), logits, (height, width))

    def dense(self, pooled: Pooled) -> Tensor:
        """Dense features [B, h, w, D]: the value path, as if each token were pooled alone."""
        return self.out(pooled.values).unflatten(1, pooled.grid)

    def pool(self, pooled: Pooled, coverage: Tensor, image: Tensor) -> Tensor:
        """Pool features [R, D] of R regions.

        Args:
            coverage: [R, h·w] in [0, 1], share of each token that belongs to the region.
            image: [R] index of each region's image.
        """
        logits = pooled.logits[image] + coverage.log()[:, None]  # [R, heads, h·w], −inf outside the region
        weights = logits.softmax(-1)
        values = pooled.values[image].unflatten(-1, (self.heads, -1))  # [R, h·w, heads, D' / heads]
        return self.out(torch.einsum("rht,rthd->rhd", weights, values).flatten(1))


class TextTower(nn.Module):
    """Transformer: word numbers [P, L], 0 = padding → embeddings [P, D] of phrases."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        width = config.text_width
        self.words = nn.Embedding(config.words, width, padding_idx=0)
        self.positions = nn.Parameter(0.02 * torch.randn(config.length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, config.text_layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, config.dim)

    def forward(self, words: Tensor) -> Tensor:
        valid = words > 0  # [P, L]
        x = self.words(words) + self.positions[: words.shape[1]]  # [P, L, text_width]
        x = self.layers(x, src_key_padding_mask=~valid)
        return self.out((x * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp_min(1))


class TwoTower(nn.Module):
    """An image and a text tower with one embedding space."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageTower(config)
        self.text = TextTower(config)
