"""Pairs of overlapping crops of colour frames, and their correspondences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ....core.datasets.rooms import Rooms
from ....core.errors import InputError
from ....core.io.frames import FrameReader
from ....core.nn.tokens import CELL, STRIDE

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

ColorFrames = Sequence[Callable[[], NDArray[np.float32]]]
"""Functions that read an image [H, W, 3] in [0, 1]."""


@dataclass(frozen=True)
class CropConfig:
    """Options of sampling and augmenting crops."""

    size: int = 128
    """Side of a crop after resizing, pixels; a multiple of 16."""
    smallest: int = 96
    """Smallest side of a crop in the frame, pixels."""
    largest: int = 224
    """Largest side of a crop in the frame, pixels."""
    brightness: float = 0.35
    """Largest relative change of brightness and contrast."""
    saturation: float = 0.5
    """Largest relative change of saturation."""
    cast: float = 0.12
    """Largest relative change of each colour channel."""
    grey: float = 0.1
    """Share of crops converted to grey."""
    noise: float = 0.02
    """Largest standard deviation of the noise (colours in [0, 1])."""
    hidden: tuple[float, float] = (0.2, 0.6)
    """Smallest and largest share of a crop that is hidden from the student."""

    def __post_init__(self) -> None:
        if self.size % CELL or self.size < 2 * CELL or not 8 <= self.smallest <= self.largest:
            found = f"size {self.size}, {self.smallest} to {self.largest}"
            raise InputError("crops", f"a size that is a multiple of {CELL} and 8 ≤ smallest ≤ largest", found)


@dataclass(frozen=True)
class CropPairs:
    """2B crops of B frames: crops 2b and 2b + 1 overlap.

    Attributes:
        images: [2B, 3, S, S] in [0, 1].
        hide: [2B, S/16, S/16] bool, cells hidden from the student.
        place: [2B, t, t, 2] position of each token's centre in the other crop of the pair: (x, y) in [−1, 1] from left
            and top to right and bottom edge, values beyond lie outside; t = S/8.
    """

    images: Tensor
    hide: Tensor
    place: Tensor


def room_frames(rooms: Rooms) -> ColorFrames:
    """Return readers of the colour images of all frames of the rooms, without depth, poses or labels."""
    per_room = rooms.config.frames
    return _RoomFrames(rooms, range(len(rooms) * per_room))


@dataclass(frozen=True)
class _RoomFrames(Sequence):
    rooms: Rooms
    index: range

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i):  # type: ignore[override]
        room, frame = divmod(self.index[i], self.rooms.config.frames)
        read = self.rooms.frames(room).read
        if isinstance(read, FrameReader):
            read = FrameReader((replace(read.files[frame], depth=None),))
            return lambda: read(0, self.rooms.config.width, self.rooms.config.height).color
        return lambda: read(frame, self.rooms.config.width, self.rooms.config.height).color


def crop_pairs(frames: ColorFrames, count: int, rng: Generator, config: CropConfig) -> CropPairs:
    """Draw two overlapping crops of each of ``count`` frames, sampled with replacement.

    Args:
        frames: at least ``config.largest`` pixels along either side.
        rng: source of all randomness.
    """
    crops, boxes = [], []
    for number in rng.integers(len(frames), size=count):
        image = frames[int(number)]()
        for box in _pair_of_boxes(rng, image.shape[1], image.shape[0], config):
            crops.append(_cut(image, box, config.size))
            boxes.append(box)
    images = _recolor(torch.stack(crops), rng, config)
    cells = config.size // CELL
    hide = torch.from_numpy(np.stack([_hidden(rng, cells, config.hidden) for _ in boxes]))
    return CropPairs(images, hide, _places(boxes, config.size // STRIDE))


@dataclass(frozen=True)
class _Box:
    """A square of a frame: left, top and side in pixels; mirrored if ``flip``."""

    left: int
    top: int
    side: int
    flip: bool


def _pair_of_boxes(rng: Generator, width: int, height: int, config: CropConfig) -> tuple[_Box, _Box]:
    """Draw two boxes; the centre of the second lies in the central part of the first, if the frame's edges allow."""
    low, high = np.log(config.smallest), np.log(min(config.largest, width, height) + 0.5)
    one, two = (int(np.exp(rng.uniform(min(low, high), high))) for _ in range(2))
    left, top = int(rng.integers(width - one + 1)), int(rng.integers(height - one + 1))
    x, y = (start + one * rng.uniform(0.2, 0.8) - two / 2 for start in (left, top))
    x, y = int(np.clip(x, 0, width - two)), int(np.clip(y, 0, height - two))
    flips = rng.integers(2, size=2)
    return _Box(left, top, one, bool(flips[0])), _Box(x, y, two, bool(flips[1]))


def _cut(image: NDArray[np.float32], box: _Box, size: int) -> Tensor:
    """Crop, resize and flip: [3, size, size]."""
    part = torch.from_numpy(image[box.top : box.top + box.side, box.left : box.left + box.side])
    part = part.permute(2, 0, 1)[None]
    part = F.interpolate(part, (size, size), mode="bilinear", align_corners=False, antialias=True)[0]
    return part.flip(-1) if box.flip else part


def _places(boxes: list[_Box], tokens: int) -> Tensor:
    """Compute `CropPairs.place`."""
    at = (np.arange(tokens) + 0.5) / tokens
    out = np.empty((len(boxes), tokens, tokens, 2), np.float32)
    for i, box in enumerate(boxes):
        other = boxes[i ^ 1]
        u = box.left + box.side * (at[::-1] if box.flip else at)
        v = box.top + box.side * at
        x, y = 2 * (u - other.left) / other.side - 1, 2 * (v - other.top) / other.side - 1
        out[i, ..., 0] = (-x if other.flip else x)[None, :]
        out[i, ..., 1] = y[:, None]
    return torch.from_numpy(out)


def _recolor(images: Tensor, rng: Generator, config: CropConfig) -> Tensor:
    """Vary brightness, colour cast, contrast, saturation and noise of each crop [3, S, S] independently."""
    n = len(images)

    def factor(spread: float, channels: int = 1) -> Tensor:
        return torch.from_numpy(rng.uniform(1 - spread, 1 + spread, (n, channels, 1, 1)).astype(np.float32))

    images = images * (factor(config.brightness) * factor(config.cast, 3))
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * factor(config.brightness) + mean
    colorful = factor(config.saturation) * torch.from_numpy(
        (rng.random((n, 1, 1, 1)) >= config.grey).astype(np.float32)
    )
    grey = (images * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    images = torch.lerp(grey, images, colorful)
    sigma = torch.from_numpy(rng.uniform(0, config.noise, (n, 1, 1, 1)).astype(np.float32))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return (images + sigma * torch.randn(images.shape, generator=generator)).clamp_(0, 1)


def _hidden(rng: Generator, cells: int, share: tuple[float, float]) -> NDArray[np.bool_]:
    """Return a mask [cells, cells] of random rectangles that cover a random share (as BEiT's blocks)."""
    hide = np.zeros((cells, cells), bool)
    wanted = rng.uniform(*share) * cells * cells
    while hide.sum() < wanted:
        h, w = rng.integers(2, max(3, cells // 2 + 1), size=2)
        top, left = rng.integers(max(1, cells - h + 1)), rng.integers(max(1, cells - w + 1))
        hide[top : top + h, left : left + w] = True
    return hide
