"""Dense features of large images and small objects: sliding windows and several scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Tokens = Callable[[Tensor], Tensor]
"""Dense network: [B, 3, H, W] → [B, H/patch, W/patch, D]."""


def starts(length: int, window: int, stride: int) -> list[int]:
    """Start positions of windows that cover ``length``; the last window ends at the end. All in the same unit."""
    if window >= length:
        return [0]
    return [*range(0, length - window, stride), length - window]


def sliding(network: Tokens, images: Tensor, patch: int, window: int, stride: int, batch: int) -> Tensor:
    """Tokens of images from overlapping windows, averaged where windows overlap.

    Windows start at multiples of the patch, so that their tokens coincide with those of the image.

    Args:
        network: see `Tokens`.
        images: [C, 3, H, W], H and W multiples of ``patch``.
        window, stride: pixels, rounded to at least one whole patch. A window of 0 is the whole image.
        batch: number of windows per pass of the network.

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
    """Mean of the tokens at several scales of the image, on the token grid of scale 1.

    Args:
        tokens: maps whole images to tokens, such as `sliding` with its settings.
        images: [C, 3, H, W], H and W multiples of ``patch``.
        scales: factors of the image size, rounded to whole patches. Finer tokens (scales above 1) are averaged,
            coarser ones interpolated to the grid of scale 1.

    Returns:
        [C, H/patch, W/patch, D].
    """
    h, w = images.shape[2] // patch, images.shape[3] // patch
    mean: Tensor | None = None
    for scale in scales:
        sh, sw = max(1, round(h * scale)), max(1, round(w * scale))
        values = tokens(resize_images(images, sh * patch, sw * patch))
        if (sh, sw) != (h, w):
            values = resize_images(values.permute(0, 3, 1, 2), h, w).permute(0, 2, 3, 1)
        mean = values / len(scales) if mean is None else mean + values / len(scales)
    assert mean is not None, "no scale"
    return mean


def resize_images(images: Tensor, height: int, width: int) -> Tensor:
    """Resample [C, K, H, W] bilinearly to ``height`` × ``width``, with a low-pass filter when shrinking."""
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)
