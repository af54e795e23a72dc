"""Augmented views of captioned rooms and objects, for training on the features of a frozen image network.

Renders are cleaner than photographs. Views therefore vary crop, tilt, exposure, white balance, light, blur, noise and
compression; objects are pasted into rooms, so that they appear in front of other things.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ...core.datasets.captioned_rooms import NO_THING, CaptionedRoom
from ...core.synthetic.rooms.captions import Description
from .captions import CaptionedObject

PASTED = 10_000
"""First id of pasted objects."""


@dataclass(frozen=True)
class View:
    """An augmented view.

    Attributes:
        image: [3, H, W] RGB in [0, 1].
        ids: [h, w] int16 id of the thing that each cell shows, `NO_THING` without one.
        things: descriptions of pasted objects by id; those of the room's things are the room's.
    """

    image: Tensor
    ids: NDArray[np.int16]
    things: dict[int, Description]


def room_view(
    room: CaptionedRoom, objects: Sequence[CaptionedObject], rng: Generator, size: tuple[int, int], cell: int
) -> View:
    """Crop a random part of a random frame, tilted and mirrored at random, with objects pasted into one of three.

    Args:
        size: (height, width) of the view in pixels.
        cell: side of a cell of ``ids`` in pixels.
    """
    image, ids = _crop(room, rng, size, 0.4 + 0.6 * rng.uniform())
    things: dict[int, Description] = {}
    if objects and rng.uniform() < 0.35:
        image, ids, things = paste(image, ids, objects, rng, int(rng.integers(1, 3)), (0.25, 0.6))
    return _finished(image, ids, things, rng, cell)


def object_view(
    room: CaptionedRoom, objects: Sequence[CaptionedObject], rng: Generator, size: tuple[int, int], cell: int
) -> View:
    """Paste one to three large objects onto a plain colour or a blurred part of a room."""
    height, width = size
    if rng.uniform() < 0.5:
        color = rng.uniform(size=3) if rng.uniform() < 0.5 else np.full(3, rng.uniform())
        image = torch.from_numpy(color).float()[:, None, None].expand(3, height, width).clone()
    else:
        image = _blur(_crop(room, rng, size, 0.3)[0], rng.uniform(1.0, 5.0))
    ids = np.full(size, NO_THING, np.int16)
    image, ids, things = paste(image, ids, objects, rng, int(rng.integers(1, 4)), (0.6, 1.0))
    return _finished(image, ids, things, rng, cell)


def _finished(image: Tensor, ids: NDArray[np.int16], things: dict[int, Description], rng: Generator, cell: int) -> View:
    return View(photographed(image, rng), np.ascontiguousarray(ids[cell // 2 :: cell, cell // 2 :: cell]), things)


def _crop(room: CaptionedRoom, rng: Generator, size: tuple[int, int], share: float) -> tuple[Tensor, NDArray[np.int16]]:
    """A tilted, perhaps mirrored rectangle of a frame, ``share`` of the largest one: image [3, H, W], ids [H, W]."""
    frame = int(rng.integers(len(room.color)))
    image = torch.from_numpy(room.color[frame]).permute(2, 0, 1)[None].float() / 255
    high, wide = image.shape[-2:]
    height, width = size
    scale = share * min(high / height, wide / width)  # source pixels per target pixel
    angle = math.radians(rng.uniform(-12, 12)) if rng.uniform() < 0.5 else 0.0
    half = 0.5 * scale * np.array([width, height])
    reach = np.abs([[math.cos(angle), math.sin(angle)], [math.sin(angle), math.cos(angle)]]) @ half
    room_left = np.maximum(np.array([wide, high]) / 2 - reach, 0)
    center = np.array([wide, high]) / 2 + rng.uniform(-1, 1, 2) * room_left
    flip = -1.0 if rng.uniform() < 0.5 else 1.0
    x = flip * scale * (np.arange(width) + 0.5 - width / 2)[None]
    y = scale * (np.arange(height) + 0.5 - height / 2)[:, None]
    u = center[0] + math.cos(angle) * x - math.sin(angle) * y
    v = center[1] + math.sin(angle) * x + math.cos(angle) * y
    if scale > 1.2:
        image = _blur(image[0], 0.4 * scale)[None]
    grid = torch.from_numpy(np.stack([2 * u / wide - 1, 2 * v / high - 1], -1)).float()[None]
    out = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)[0]
    shrink = high // room.ids.shape[1]
    rows, columns = ((a / shrink).astype(int) for a in (v, u))
    inside = (u >= 0) & (u < wide) & (v >= 0) & (v < high)
    rows, columns = rows.clip(0, room.ids.shape[1] - 1), columns.clip(0, room.ids.shape[2] - 1)
    return out, np.where(inside, room.ids[frame][rows, columns], NO_THING).astype(np.int16)


def paste(
    image: Tensor,
    ids: NDArray[np.int16],
    objects: Sequence[CaptionedObject],
    rng: Generator,
    count: int,
    shares: tuple[float, float],
) -> tuple[Tensor, NDArray[np.int16], dict[int, Description]]:
    """Paste objects, each with a side of ``shares`` of the view's height."""
    image, ids, things = image.clone(), ids.copy(), {}
    height, width = image.shape[-2:]
    for k in range(count):
        one = objects[int(rng.integers(len(objects)))]
        view = int(rng.integers(len(one.color)))
        side = round(rng.uniform(*shares) * height)
        color = torch.from_numpy(one.color[view]).permute(2, 0, 1)[None].float() / 255
        mask = torch.from_numpy(one.covered[view])[None, None].float()
        if rng.uniform() < 0.5:
            color, mask = color.flip(-1), mask.flip(-1)
        color, mask = (
            F.interpolate(t, (side, side), mode="bilinear", align_corners=False, antialias=True)[0]
            for t in (color, mask)
        )
        top = int(rng.integers(0, height - side + 1))
        left = int(rng.integers(-side // 4, width - side + side // 4 + 1))
        a, b = max(left, 0), min(left + side, width)
        part, alpha = color[:, :, a - left : b - left], mask[:, :, a - left : b - left]
        where = np.s_[:, top : top + side, a:b]
        image[where] = alpha * part + (1 - alpha) * image[where]
        ids[where[1:]][alpha[0].numpy() > 0.5] = PASTED + k
        things[PASTED + k] = one.description
    return image, ids, things


def photographed(image: Tensor, rng: Generator) -> Tensor:
    """Vary a clean image [3, H, W] like a photograph; hues stay, since they have names."""
    height, width = image.shape[-2:]
    image = image * torch.from_numpy(np.exp(rng.normal(0, 0.05, (3, 1, 1)))).float()  # white balance
    if rng.uniform() < 0.6:  # uneven light
        light = torch.from_numpy(rng.normal(0, rng.uniform(0.1, 0.4), (1, 1, 3, 4))).float()
        image = image * F.interpolate(light, (height, width), mode="bicubic", align_corners=False)[0].exp()
    image = (image.clamp_min(1e-4) ** rng.uniform(0.75, 1.4)) * math.exp(rng.uniform(-0.9, 0.15))
    grey = image.mean(0, keepdim=True)
    image = grey + rng.uniform(0.5, 1.25) * (image - grey)
    mean = image.mean()
    image = mean + rng.uniform(0.75, 1.3) * (image - mean)
    if rng.uniform() < 0.4:
        image = _blur(image, rng.uniform(0.4, 1.8))
    if rng.uniform() < 0.5:
        image = image + rng.uniform(0.005, 0.04) * torch.from_numpy(rng.normal(size=(3, height, width))).float()
    image = image.clamp(0, 1)
    return _compressed(image, int(rng.integers(35, 90))) if rng.uniform() < 0.5 else image


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [3, H, W]."""
    reach = max(1, math.ceil(2.5 * sigma))
    x = torch.arange(-reach, reach + 1).float()
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(image[None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[:, :, None], groups=3), kernel[..., None], groups=3)[0]


def _compressed(image: Tensor, quality: int) -> Tensor:
    """JPEG artefacts."""
    buffer = io.BytesIO()
    Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(
        buffer, "JPEG", quality=quality
    )
    return torch.from_numpy(np.asarray(Image.open(buffer)).copy()).permute(2, 0, 1).float() / 255
