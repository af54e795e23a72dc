"""Dense networks over images that are larger than what they were trained on, or hold small objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Tokens = Callable[[Tensor], Tensor]
"""[B, 3, H, W] → [B, H/patch, W/patch, D]."""


def starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin so that they cover ``length``, the last one flush with the end (all in the same unit)."""
    if window >= length:
        return [0]
    return [*range(0, length - window, stride), length - window]


def sliding(network: Tokens, images: Tensor, patch: int, window: int, stride: int, batch: int) -> Tensor:
    """Tokens of images seen through overlapping windows; where windows overlap, the mean of what they say.

    Windows begin at multiples of the patch, so that every window's tokens fall on the image's.

    Args:
        network: see `Tokens`.
        images: [C, 3, H, W], H and W multiples of ``patch``.
        window, stride: pixels, rounded to whole patches (at least one). A window of 0 is the whole image.
        batch: windows (of all images together) per call of the network.

    Returns:
        [C, H/patch, W/patch, D] float32 on the device of the network's output.
    """
    c, _, height, width = images.shape
    h, w = height // patch, width // patch
    size = max(1, round(window / patch)) if window else max(h, w)
    step = min(size, max(1, round(stride / patch))) if stride else max(1, size // 2)
    ph, pw = min(size, h), min(size, w)
    places = [(i, y, x) for i in range(c) for y in starts(h, size, step) for x in starts(w, size, step)]
    total: Tensor | None = None
    count = torch.zeros(c, h, w, 1)
    for k in range(0, len(places), batch):
        some = places[k : k + batch]
        crops = [images[i, :, y * patch : (y + ph) * patch, x * patch : (x + pw) * patch] for i, y, x in some]
        tokens = network(torch.stack(crops)).float()
        if total is None:
            total, count = tokens.new_zeros(c, h, w, tokens.shape[-1]), count.to(tokens.device)
        for (i, y, x), values in zip(some, tokens, strict=True):
            total[i, y : y + ph, x : x + pw] += values
            count[i, y : y + ph, x : x + pw] += 1
    assert total is not None, "no image"
    return total / count


def multi_scale(tokens: Tokens, images: Tensor, patch: int, scales: Sequence[float]) -> Tensor:
    """The mean of the tokens at several sizes of the image, on the token grid of the first size.

    Args:
        tokens: whole images to tokens (`sliding` with its settings filled in).
        images: [C, 3, H, W], H and W multiples of ``patch``.
        scales: of the image; 1.0 is as given. Rounded to whole patches. The grid stays that of scale 1, whose tokens
            are then means over finer ones (scales above 1) or interpolated from coarser ones (below).

    Returns:
        [C, H/patch, W/patch, D].
    """
    h, w = images.shape[2] // patch, images.shape[3] // patch
    mean: Tensor | None = None
    for scale in scales:
        sh, sw = max(1, round(h * scale)), max(1, round(w * scale))
        values = tokens(resized(images, sh * patch, sw * patch))
        if (sh, sw) != (h, w):
            values = resized(values.permute(0, 3, 1, 2), h, w).permute(0, 2, 3, 1)
        mean = values / len(scales) if mean is None else mean + values / len(scales)
    assert mean is not None, "no scale"
    return mean


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """[C, K, H, W] bilinearly resampled to ``height`` × ``width``, low-pass filtered where it shrinks."""
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)
