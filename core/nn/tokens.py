"""Convolutional network from an image to a grid of features, for 2D teachers trained from scratch.

It uses plain 3×3 convolutions: on CPUs they are several times as fast as depthwise convolutions or attention on a grid
of this size, and they need far fewer images than attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError

STRIDE = 8
"""Pixels per token along either side."""
CELL = 16
"""Divisor of both image sides, pixels; also the edge of the cells that `TokenNet` can hide."""

MEAN, STD = 0.5, 0.25
"""Colours in [0, 1] become (colour − MEAN) / STD."""


@dataclass(frozen=True)
class TokenNetConfig:
    """Widths and depths of a `TokenNet`."""

    stem: int = 32
    """Channels at half the image's resolution."""
    channels: tuple[int, int, int] = (48, 96, 128)
    """Channels at strides 4, 8 and 16."""
    blocks: tuple[int, int, int] = (1, 2, 2)
    """Residual blocks at strides 4, 8 and 16; the last at stride 16 has dilation 2."""
    dim: int = 64
    """D, width of the features."""


class TokenNet(nn.Module):
    """Images [B, 3, H, W] in [0, 1] → features [B, D, H/8, W/8].

    Residual blocks at strides 4, 8 and 16 (He et al. 2016); the output at stride 16 is added to that at stride 8
    (feature pyramids, Lin et al. 2017), where one more block and a linear map give the features.
    """

    def __init__(self, config: TokenNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TokenNetConfig()
        fine, middle, coarse = config.channels
        self.stem = nn.Sequential(*_conv(3, config.stem, 2), *_conv(config.stem, fine, 2))
        self.hidden = nn.Parameter(torch.zeros(fine))
        """[C] replaces the stem's output in hidden cells."""
        self.fine = nn.Sequential(*(_Block(fine) for _ in range(config.blocks[0])))
        self.middle = nn.Sequential(*_conv(fine, middle, 2), *(_Block(middle) for _ in range(config.blocks[1])))
        last = config.blocks[2] - 1
        reach = (2 if i == last else 1 for i in range(config.blocks[2]))
        self.coarse = nn.Sequential(*_conv(middle, coarse, 2), *(_Block(coarse, r) for r in reach))
        self.across = nn.Conv2d(coarse, middle, 1)
        self.joint = _Block(middle)
        self.out = nn.Conv2d(middle, config.dim, 1)

    def forward(self, images: Tensor, hide: Tensor | None = None) -> Tensor:
        """Compute features [B, D, H/8, W/8].

        Args:
            images: [B, 3, H, W] RGB in [0, 1]; H and W multiples of 16.
            hide: [B, H/16, W/16] bool, cells to hide from the network; None hides nothing.

        Raises:
            InputError: sides that are not multiples of 16.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % CELL or images.shape[3] % CELL:
            raise InputError("images", f"[B, 3, H, W] with H and W multiples of {CELL}", f"{tuple(images.shape)}")
        x = self.stem((images - MEAN) / STD)  # [B, fine, H/4, W/4]
        if hide is not None:
            covered = hide.repeat_interleave(CELL // 4, 1).repeat_interleave(CELL // 4, 2)[:, None]  # [B, 1, H/4, W/4]
            x = torch.where(covered, self.hidden[None, :, None, None].to(x.dtype), x)
        x = self.middle(self.fine(x))  # [B, middle, H/8, W/8]
        context = self.across(self.coarse(x))  # [B, middle, H/16, W/16]
        x = x + F.interpolate(context, scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(self.joint(x))  # [B, D, H/8, W/8]


class _Block(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x))))))."""

    def __init__(self, channels: int, reach: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(channels, channels, 1, reach), *_conv(channels, channels, 1, reach)[:2])
        norm = self.body[-1]
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.constant_(norm.weight, 0.5)  # a block starts close to the identity, which stabilises training

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


def _conv(inputs: int, outputs: int, stride: int = 1, reach: int = 1) -> tuple[nn.Module, nn.Module, nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, reach, dilation=reach, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv, nn.BatchNorm2d(outputs), nn.ReLU()
