"""The dense 3D U-Net that refines the cuboid lattice (GaussianCross §3.2, PonderV2's layer order).

Inputs keep their memory format, because channels_last_3d is no faster on the CPU; bfloat16 autocast is the caller's
choice and halves the time on processors that compute in it. With a cuDNN whose bfloat16 3D convolutions are wrong or
slow (`bfloat16_conv3d_works`), the network runs in float32 all the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..device import bfloat16_conv3d_works
from ..errors import InputError

Norm = Literal["batch", "group"]


class UNet3d(nn.Module):
    """Dense U-Net: (norm → 3³ convolution → ReLU) twice per level, max-pooling, transposed convolutions, summed skips.

    Args:
        in_channels, out_channels: channels of input and output.
        widths: channels per level, finest first.
        norm: "batch", or "group" (gcd(8, width) groups), which does not depend on the other scenes of the batch: for
            batches of one.
    """

    def __init__(
        self,
        in_channels: int = 96,
        out_channels: int = 128,
        widths: Sequence[int] = (32, 64, 128, 256),
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if norm not in ("batch", "group") or not widths:
            raise InputError("UNet3d", "norm batch or group and at least one width", f"{norm!r} and {tuple(widths)}")
        self.widths, self.norm = tuple(widths), norm
        self.multiple = 2 ** (len(widths) - 1)
        """Divisor of every axis of an input."""
        self.encoder = nn.ModuleList(_double(a, b, norm) for a, b in zip([in_channels, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(_double(a, a, norm) for a in widths[:-1])
        self.head = nn.Conv3d(widths[0], out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map volumes [B, in_channels, X, Y, Z] to [B, out_channels, X, Y, Z].

        Raises:
            InputError: X, Y or Z is not a multiple of 2^(levels − 1).
        """
        if x.ndim != 5 or any(s % self.multiple for s in x.shape[2:]):
            raise InputError("UNet3d input", f"[B, C, X, Y, Z] in multiples of {self.multiple}", str(list(x.shape)))
        if torch.is_autocast_enabled(x.device.type) and not bfloat16_conv3d_works(x.device):
            with torch.autocast(x.device.type, enabled=False):
                return self(x.float())
        if self._is_slow_alone(x):
            return self(torch.cat([x, torch.zeros_like(x)]))[:1]
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool3d(x, 2) if level else x)  # [B, widths[level], X / 2^level, …]
            skips.append(x)
        skips.pop()
        for up, block in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = block(up(x) + skips.pop())
        return self.head(x)

    def _is_slow_alone(self, x: Tensor) -> bool:
        """Whether a batch of one small volume is faster together with an empty one.

        On the CPU, torch computes a batch of one with C · X · Y up to 20,480 by its own float32 convolution: 12 ms
        forward and backward (one thread, 16 → 16 channels, 28 × 28 × 8 cells), where oneDNN takes 3 ms for two volumes.
        """
        small = len(x) == 1 and self.widths[0] * x.shape[2] * x.shape[3] <= 20_480
        return small and self.norm == "group" and x.device.type == "cpu" and x.dtype == torch.float32


def _double(in_channels: int, channels: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(*_layer(in_channels, channels, norm), *_layer(channels, channels, norm))


def _layer(in_channels: int, channels: int, norm: Norm) -> list[nn.Module]:
    normalise = nn.BatchNorm3d(in_channels) if norm == "batch" else nn.GroupNorm(math.gcd(8, in_channels), in_channels)
    return [normalise, nn.Conv3d(in_channels, channels, 3, padding=1, bias=False), nn.ReLU(inplace=True)]
