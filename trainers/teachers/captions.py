"""Batches of captioned regions: what the built-in image/text model learns from. A batch is a pure function of
(seed, step)."""

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
"""Regions per crop, at most."""
_LEAST = 30
"""Pixels that make a region."""
_WHOLE = 30_000
"""Id of the region that is the whole picture."""


@dataclass(frozen=True)
class RegionBatch:
    """B crops with R regions and P phrases.

    Attributes:
        images: [B, 3, SIDE, SIDE] in [0, 1].
        coverage: [R, T] share of each of the T tokens that belongs to the region.
        image: [R] crop of each region.
        phrases: P texts, all different.
        own: [R] the phrase said of the region.
        true: [R, P] whether the phrase is true of the region.
    """

    images: Tensor
    coverage: Tensor
    image: Tensor
    phrases: list[str]
    own: Tensor
    true: Tensor


@dataclass(frozen=True)
class Crop:
    """One picture with ids of what each pixel shows and what can be said of them."""

    image: Tensor
    ids: NDArray[np.int16]
    things: dict[int, Description]


def room_crop(room: CaptionedRoom, rng: Generator) -> Crop:
    """A random square of a random frame, from the frame's height (two thirds as large as it was) down to 64 pixels (two
    and a half times as large): enlarged pictures are what multi-scale features are made of."""
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
    """V pictures of one procedural object.

    Attributes:
        color: [V, SIDE, SIDE, 3] uint8 sRGB. covered: [V, SIDE, SIDE] bool, where the object is.
        description: what can be said of it.
    """

    color: NDArray[np.uint8]
    covered: NDArray[np.bool_]
    description: Description


def captioned_object(category: str, seed: int, views: int = 4) -> CaptionedObject:
    """The object ``(category, seed)`` from random sides, before one background per picture."""
    obj = build_object(category, seed)
    rng = obj.rng(3)
    cameras = object_cameras(obj, views, SIDE, SIDE, rng)
    backgrounds = [_background(rng) for _ in range(views)]
    color, alpha = render_object(light_object(obj), cameras, backgrounds=backgrounds)
    return CaptionedObject(color, alpha > 0.5, describe(obj))


def _background(rng: Generator) -> RGB:
    """Any colour half of the time, a grey otherwise."""
    red, green, blue = rng.uniform(size=3) if rng.uniform() < 0.5 else [rng.uniform()] * 3
    return red, green, blue


def object_crop(objects: Sequence[CaptionedObject], rng: Generator) -> Crop:
    """A picture of one object, of which the whole picture speaks, or a board of four."""
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
    """Resized to SIDE, mirrored half the time, brightness and contrast a little off; hues stay, they have names."""
    image = torch.from_numpy(np.ascontiguousarray(color)).permute(2, 0, 1)[None].float() / 255
    image = F.interpolate(image, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)[0]
    if rng.uniform() < 0.5:
        image, ids = image.flip(-1), ids[:, ::-1]
    gain, contrast = rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.15)
    mean = image.mean()
    image = (gain * (mean + contrast * (image - mean)) + 0.02 * torch.from_numpy(rng.normal(size=(3, 1, 1)))).float()
    return Crop(image.clamp(0, 1), np.ascontiguousarray(ids), things)


def region_batch(crops: Sequence[Crop], rng: Generator) -> RegionBatch:
    """Regions of the crops, a phrase for each, and as many wrong ones: its own phrase in another colour."""
    coverage, image, said, things = [], [], [], []
    for b, crop in enumerate(crops):
        ids, counts = np.unique(crop.ids, return_counts=True)
        known = [(i, c) for i, c in zip(ids.tolist(), counts.tolist(), strict=True) if i in crop.things and c >= _LEAST]
        if _WHOLE in crop.things and (len(known) < 2 or rng.uniform() < 0.3):
            known.append((_WHOLE, SIDE * SIDE))
        if not known:
            continue
        order = rng.permutation(len(known))[:REGIONS]
        for i, _ in (known[k] for k in order):
            mask = torch.from_numpy(
                np.ones_like(crop.ids, np.float32) if i == _WHOLE else (crop.ids == i).astype(np.float32)
            )
            share = F.avg_pool2d(mask[None], STRIDE).flatten()
            if i != _WHOLE:
                share = _some_tokens(share, rng)
            coverage.append(share)
            image.append(b)
            things.append(crop.things[i])
            said.append(crop.things[i].phrase(rng))
    wrong = [w for phrase in said for w in _recolored(phrase, rng)]
    phrases = {phrase.text: phrase for phrase in [*said, *wrong]}
    numbers = {text: n for n, text in enumerate(phrases)}
    return RegionBatch(
        images=torch.stack([crop.image for crop in crops]),
        coverage=torch.stack(coverage),
        image=torch.tensor(image),
        phrases=list(phrases),
        own=torch.tensor([numbers[phrase.text] for phrase in said]),
        true=truth(things, list(phrases.values())),
    )


def _some_tokens(share: Tensor, rng: Generator) -> Tensor:
    """Half the time only a few of the region's tokens, down to one: what is pooled must be true of every token."""
    inside = torch.nonzero(share > 0.5)[:, 0].numpy()
    if len(inside) == 0 or rng.uniform() < 0.5:
        return share
    kept = rng.permutation(inside)[: max(1, int(len(inside) * rng.uniform() ** 3))]
    out = torch.zeros_like(share)
    out[kept] = share[kept]
    return out


def _recolored(phrase: Phrase, rng: Generator) -> list[Phrase]:
    """The phrase with another colour word, if it has one: the hardest thing to be wrong about."""
    for k, (kind, word) in enumerate(phrase.claims):
        if kind == "color":
            other = list(COLORS)[int(rng.integers(len(COLORS)))]
            if other != word:
                claims = (*phrase.claims[:k], (kind, other), *phrase.claims[k + 1 :])
                return [replace(phrase, text=re.sub(rf"\b{word}\b", other, phrase.text, count=1), claims=claims)]
    return []


def truth(things: Sequence[Description], phrases: Sequence[Phrase]) -> Tensor:
    """[R, P] whether each phrase is true of each thing: the thing has every fact that the phrase claims."""
    columns: dict[Fact, int] = {}
    for phrase in phrases:
        for claim in phrase.claims:
            columns.setdefault(claim, len(columns))
    has = np.zeros((len(things), len(columns) + 1), bool)
    has[:, -1] = True  # what a phrase with fewer claims than others claims besides
    for row, thing in zip(has, things, strict=True):
        for fact in thing.facts():
            if fact in columns:
                row[columns[fact]] = True
    most = max((len(p.claims) for p in phrases), default=1)
    claims = np.full((len(phrases), most), len(columns))
    for row, phrase in zip(claims, phrases, strict=True):
        row[: len(phrase.claims)] = [columns[claim] for claim in phrase.claims]
    return torch.from_numpy(has[:, claims].all(-1))
