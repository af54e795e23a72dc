"""Captioned renders of rooms and objects, and batches of their regions for the built-in image/text teacher."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...core.datasets.captioned_rooms import NO_THING, CaptionedRoom
from ...core.nn.two_tower import STRIDE
from ...core.synthetic.materials.materials import RGB
from ...core.synthetic.objects import build_object, describe, light_object, object_cameras, render_object
from ...core.synthetic.rooms.captions import COLORS, Description, Fact, Phrase

SIDE = 160
"""Side of a training crop, pixels."""
REGIONS = 9
"""Maximum number of regions per crop."""
_MIN_PIXELS = 30
"""Minimum size of a region, pixels."""
_WHOLE = 30_000
"""Id of the region that is the whole image."""


@dataclass(frozen=True)
class RegionBatch:
    """B crops with R regions and P phrases.

    Attributes:
        images: [B, 3, SIDE, SIDE] in [0, 1].
        coverage: [R, T] share of each of the T tokens that belongs to the region.
        image: [R] index of each region's crop.
        phrases: P distinct texts.
        own: [R] index of each region's own phrase.
        true: [R, P] whether each phrase is true of each region.
    """

    images: Tensor
    coverage: Tensor
    image: Tensor
    phrases: list[str]
    own: Tensor
    true: Tensor


@dataclass(frozen=True)
class Crop:
    """An image, the id of the thing in each pixel, and the things' descriptions."""

    image: Tensor
    ids: NDArray[np.int16]
    things: dict[int, Description]


def room_crop(room: CaptionedRoom, rng: Generator) -> Crop:
    """Crop a random square of a random frame and resize it to `SIDE`.

    Its side ranges from 64 pixels to the frame's height: multi-scale features are computed on enlarged images, too.
    """
    frame = int(rng.integers(len(room.color)))
    height, width = room.color.shape[1:3]
    side = round(64 * (height / 64) ** rng.uniform())
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    color = room.color[frame, top : top + side, left : left + side]
    shrink = height // room.ids.shape[1]
    at = (np.arange(SIDE) + 0.5) * side / SIDE
    rows, columns = ((top + at) / shrink).astype(int), ((left + at) / shrink).astype(int)
    ids = room.ids[frame][rows[:, None], columns[None]]
    things = room.things | {_WHOLE: Description(room.kind, (room.kind, "room"))}
    return _augmented(color, ids, things, rng)


@dataclass(frozen=True)
class CaptionedObject:
    """V renders of one procedural object.

    Attributes:
        color: [V, SIDE, SIDE, 3] uint8 sRGB.
        covered: [V, SIDE, SIDE] bool, the object's pixels.
        description: names and properties of the object.
    """

    color: NDArray[np.uint8]
    covered: NDArray[np.bool_]
    description: Description


def captioned_object(category: str, seed: int, views: int = 4, sizes: bool = True) -> CaptionedObject:
    """Render the object ``(category, seed)`` from random views, each with its own background; see `describe`."""
    obj = build_object(category, seed)
    rng = obj.rng(3)
    cameras = object_cameras(obj, views, SIDE, SIDE, rng)
    backgrounds = [_background(rng) for _ in range(views)]
    color, alpha = render_object(light_object(obj), cameras, backgrounds=backgrounds)
    return CaptionedObject(color, alpha > 0.5, describe(obj, sizes))


def _background(rng: Generator) -> RGB:
    """Draw a random colour with probability 0.5, else a grey."""
    red, green, blue = rng.uniform(size=3) if rng.uniform() < 0.5 else [rng.uniform()] * 3
    return red, green, blue


def object_crop(objects: Sequence[CaptionedObject], rng: Generator) -> Crop:
    """Compose an image of one object, whose description holds for the whole image, or of four objects."""
    across = 1 if rng.uniform() < 0.5 else 2
    tile = SIDE // across
    color = np.empty((SIDE, SIDE, 3), np.uint8)
    ids = np.full((SIDE, SIDE), NO_THING, np.int16)
    things = {}
    for k in range(across * across):
        one = objects[int(rng.integers(len(objects)))]
        view = int(rng.integers(len(one.color)))
        at = np.s_[k // across * tile : (k // across + 1) * tile, k % across * tile : (k % across + 1) * tile]
        picture = one.color[view].reshape(tile, across, tile, across, 3)
        color[at] = picture.mean((1, 3)).round()
        ids[at][one.covered[view, ::across, ::across]] = k + 1
        things[k + 1] = one.description
    if across == 1:
        things[_WHOLE] = things[1]
    return _augmented(color, ids, things, rng)


def _augmented(
    color: NDArray[np.uint8], ids: NDArray[np.int16], things: dict[int, Description], rng: Generator
) -> Crop:
    """Resize to `SIDE`, mirror with probability 0.5, vary brightness and contrast; hues stay, since they have names."""
    image = torch.from_numpy(np.ascontiguousarray(color)).permute(2, 0, 1)[None].float() / 255
    image = F.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)[0]
    if rng.uniform() < 0.5:
        image, ids = image.flip(-1), ids[:, ::-1]
    gain, contrast = rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.15)
    mean = image.mean()
    image = (gain * (mean + contrast * (image - mean)) + 0.02 * torch.from_numpy(rng.normal(size=(3, 1, 1)))).float()
    return Crop(image.clamp(0, 1), np.ascontiguousarray(ids), things)


def region_batch(crops: Sequence[Crop], rng: Generator) -> RegionBatch:
    """Select regions of the crops, a phrase for each, and false phrases: the same ones with another colour."""
    coverage, image, own_phrases, things = [], [], [], []
    for b, crop in enumerate(crops):
        ids, counts = np.unique(crop.ids, return_counts=True)
        pixels = zip(ids.tolist(), counts.tolist(), strict=True)
        regions = [i for i, count in pixels if i in crop.things and count >= _MIN_PIXELS]
        if _WHOLE in crop.things and (len(regions) < 2 or rng.uniform() < 0.3):
            regions.append(_WHOLE)
        if not regions:
            continue
        order = rng.permutation(len(regions))[:REGIONS]
        for i in (regions[k] for k in order):
            mask = torch.from_numpy(
                np.ones_like(crop.ids, np.float32) if i == _WHOLE else (crop.ids == i).astype(np.float32)
            )
            share = F.avg_pool2d(mask[None], STRIDE).flatten()
            if i != _WHOLE:
                share = _some_tokens(share, rng)
            coverage.append(share)
            image.append(b)
            things.append(crop.things[i])
            own_phrases.append(crop.things[i].phrase(rng))
    false_phrases = [p for phrase in own_phrases for p in _recolored(phrase, rng)]
    phrases = {phrase.text: phrase for phrase in [*own_phrases, *false_phrases]}
    numbers = {text: n for n, text in enumerate(phrases)}
    return RegionBatch(
        images=torch.stack([crop.image for crop in crops]),
        coverage=torch.stack(coverage),
        image=torch.tensor(image),
        phrases=list(phrases),
        own=torch.tensor([numbers[phrase.text] for phrase in own_phrases]),
        true=truth(things, list(phrases.values())),
    )


def _some_tokens(share: Tensor, rng: Generator) -> Tensor:
    """With probability 0.5 restrict a region to some of its tokens, so that each token learns the description."""
    inside = torch.nonzero(share > 0.5)[:, 0].numpy()
    if len(inside) == 0 or rng.uniform() < 0.5:
        return share
    chosen = rng.permutation(inside)[: max(1, int(len(inside) * rng.uniform() ** 3))]
    out = torch.zeros_like(share)
    out[chosen] = share[chosen]
    return out


def _recolored(phrase: Phrase, rng: Generator) -> list[Phrase]:
    """Replace the phrase's colour word by another one (a hard negative); empty without a colour word."""
    for k, (kind, word) in enumerate(phrase.claims):
        if kind == "color":
            other = list(COLORS)[int(rng.integers(len(COLORS)))]
            if other != word:
                claims = (*phrase.claims[:k], (kind, other), *phrase.claims[k + 1 :])
                return [replace(phrase, text=re.sub(rf"\b{word}\b", other, phrase.text, count=1), claims=claims)]
    return []


def truth(things: Sequence[Description], phrases: Sequence[Phrase]) -> Tensor:
    """Return [R, P] whether each phrase is true of each thing, i.e. the thing has every fact that it claims."""
    columns: dict[Fact, int] = {}
    for phrase in phrases:
        for claim in phrase.claims:
            columns.setdefault(claim, len(columns))
    has = np.zeros((len(things), len(columns) + 1), bool)
    has[:, -1] = True  # padding for phrases with fewer claims
    for row, thing in zip(has, things, strict=True):
        for fact in thing.facts():
            if fact in columns:
                row[columns[fact]] = True
    most = max((len(p.claims) for p in phrases), default=1)
    claims = np.full((len(phrases), most), len(columns))
    for row, phrase in zip(claims, phrases, strict=True):
        row[: len(phrase.claims)] = [columns[claim] for claim in phrase.claims]
    return torch.from_numpy(has[:, claims].all(-1))
