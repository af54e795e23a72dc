"""Evaluation of a teacher with a text tower: text queries in held-out captioned images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...core.datasets.captioned_rooms import CaptionedRoom
from ...core.query import CANONICAL, encode, relevancy, roc_auc
from ...core.synthetic.rooms.captions import SYNONYMS, Fact, Phrase
from ...core.teachers import ImageTeacher
from .captions import truth

LEAST = 0.004
"""Minimum share of an image that a queried thing covers."""


def caption_scores(teacher: ImageTeacher, rooms: Sequence[CaptionedRoom], seed: int = 0) -> dict[str, float]:
    """Score queries by the class names in each image, and by as many names that are not in it.

    Returns:
        "hit": share of queries whose best token lies on a right thing. "iou": mean IoU of relevancy > 0.5 with the
        right things' pixels. "absent_auc": ROC AUC of the best relevancy, present against absent names. "color_hit":
        as "hit", for queries such as "red chair" in images with chairs of other colours. "queries", "color_queries":
        their numbers.

    Raises:
        ValueError: a teacher without a text tower.
    """
    if teacher.text is None:
        raise ValueError(f"{teacher.info.name} has no text tower")
    rng = np.random.default_rng(seed)
    hits, ious, there, absent, colored = [], [], [], [], []
    canon = encode(teacher.text, CANONICAL).vectors
    for room in rooms:
        maps = teacher.maps(torch.from_numpy(room.color).float() / 255)
        for picture, ids in zip(maps, room.ids, strict=True):
            names, colors, missing = _questions(room, ids, rng)
            phrases = [*names, *colors, *missing]
            if not names:
                continue
            vectors, known = encode(teacher.text, [p.text for p in phrases])
            scores = relevancy(picture.flatten(0, 1), vectors, canon).T.unflatten(1, picture.shape[:2])
            pixels = F.interpolate(scores[None], ids.shape, mode="bilinear", align_corners=False)[0]
            right = [_pixels(room, ids, phrase) for phrase in phrases]
            best = scores.flatten(1).amax(1)
            for k, phrase in enumerate(phrases):
                if not bool(known[k]):
                    continue
                if k >= len(names) + len(colors):
                    absent.append(float(best[k]))
                    continue
                hit = right[k][_argmax(scores[k], ids.shape)]
                if len(phrase.claims) > 1:
                    colored.append(hit)
                    continue
                selected = (pixels[k] > 0.5).numpy()
                hits.append(hit)
                ious.append((selected & right[k]).sum() / max((selected | right[k]).sum(), 1))
                there.append(float(best[k]))
    return {
        "hit": float(np.mean(hits)),
        "iou": float(np.mean(ious)),
        "absent_auc": roc_auc(torch.tensor(there), torch.tensor(absent)),
        "color_hit": float(np.mean(colored)) if colored else float("nan"),
        "queries": float(len(hits)),
        "color_queries": float(len(colored)),
    }


def _questions(room: CaptionedRoom, ids: NDArray, rng: Generator) -> tuple[list[Phrase], list[Phrase], list[Phrase]]:
    """Select names in the image, names with a distinguishing colour, and as many names that are not in it."""
    seen, counts = np.unique(ids, return_counts=True)
    shown = [i for i in seen.tolist() if i in room.things]
    large = [i for i, c in zip(seen.tolist(), counts.tolist(), strict=True) if i in shown and c >= LEAST * ids.size]
    facts: set[Fact] = {f for i in shown for f in room.things[i].facts()}
    names = [Phrase(n, (("word", n),)) for n in dict.fromkeys(room.things[i].name for i in large)]
    colors = []
    for i in large:
        thing = room.things[i]
        others = [room.things[j] for j in large if j != i and room.things[j].name == thing.name]
        for color in thing.colors[:1]:
            if others and not any(color in other.colors for other in others):
                colors.append(Phrase(f"{color} {thing.name}", (("color", color), ("word", thing.name))))
    absent = [n for n in SYNONYMS if ("word", n) not in facts]
    picked = rng.permutation(len(absent))[: len(names)]
    return names, colors, [Phrase(absent[k], (("word", absent[k]),)) for k in picked]


def _pixels(room: CaptionedRoom, ids: NDArray, phrase: Phrase) -> NDArray[np.bool_]:
    things = list(room.things)
    right = truth([room.things[i] for i in things], [phrase])[:, 0].numpy()
    return np.isin(ids, [i for i, r in zip(things, right, strict=True) if r])


def _argmax(scores: Tensor, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the central pixel (row, column) of the token with the highest score."""
    row, column = divmod(int(scores.argmax()), scores.shape[1])
    return int((row + 0.5) * shape[0] / scores.shape[0]), int((column + 0.5) * shape[1] / scores.shape[1])
