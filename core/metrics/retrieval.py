"""Cross-modal retrieval: ranks of the right answers and recall."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError

KS = (1, 5, 10)
EQUAL = 1e-6
"""Difference below which cosines count as equal: the rounding of float32."""
ROWS_PER_CHUNK = 1024
"""Number of queries compared with the gallery at a time."""


def match_ranks(
    queries: Tensor, gallery: Tensor, target: Tensor | None = None, ids: Sequence[Hashable] | None = None
) -> Tensor:
    """Rank [Q] int64 of each query's right answer by cosine, 1 = first.

    Among equal cosines the right answer is last, so that an encoder with one embedding for everything scores zero.

    Args:
        queries: [Q, D], not zero.
        gallery: [M, D], not zero.
        target: [Q] index of the right answer in the gallery; by default query i belongs to entry i.
        ids: M names. Entries with the name of the right answer, such as a repeated caption, are not ranked.

    Raises:
        InputError: numbers of queries, entries, targets and names that do not match.
    """
    target = torch.arange(len(queries)) if target is None else target.long().cpu()
    if len(target) != len(queries) or len(gallery) == 0 or (len(target) and int(target.max()) >= len(gallery)):
        found = f"{len(queries)} queries, {len(gallery)} entries"
        raise InputError("retrieval", "one entry of the gallery for each query", found)
    if ids is not None and len(ids) != len(gallery):
        raise InputError("retrieval ids", f"{len(gallery)}, one per entry", str(len(ids)))
    q, g = F.normalize(queries.float().cpu(), dim=-1), F.normalize(gallery.float().cpu(), dim=-1)
    numbers: dict[Hashable, int] = {}
    same_as = None if ids is None else torch.tensor([numbers.setdefault(name, len(numbers)) for name in ids])
    ranks = []
    for rows in torch.arange(len(q)).split(ROWS_PER_CHUNK):
        scores, right = q[rows] @ g.T, target[rows]  # [rows, M], [rows]
        ahead = scores >= scores.gather(1, right[:, None]) - EQUAL
        if same_as is not None:
            ahead &= same_as != same_as[right][:, None]
        ahead[torch.arange(len(rows)), right] = True  # the right answer itself
        ranks.append(ahead.sum(1))
    return torch.cat(ranks) if ranks else target


def recall(ranks: Tensor, ks: Sequence[int] = KS) -> dict[str, float]:
    """``R@k``, the share of ranks ≤ k, for each k, and the median rank ``MedR``."""
    if len(ranks) == 0:
        raise InputError("retrieval", "at least one query", "none")
    scores = {f"R@{k}": float((ranks <= k).float().mean()) for k in ks}
    return scores | {"MedR": float(ranks.float().median())}


def retrieval_scores(
    objects: Tensor, texts: Tensor, images: Tensor | None = None, captions: Sequence[Hashable] | None = None
) -> dict[str, dict[str, float]]:
    """`recall` in the directions ``text→3D, 3D→text, image→3D, 3D→image`` (the last two with ``images`` only).

    Args:
        objects, texts, images: [M, D] embeddings; row i of each belongs to one object (images: one view of it).
        captions: M names; objects with the same caption are not wrong answers to and for texts.
    """
    scores = {
        "text→3D": recall(match_ranks(texts, objects, ids=captions)),
        "3D→text": recall(match_ranks(objects, texts, ids=captions)),
    }
    if images is not None:
        scores["image→3D"] = recall(match_ranks(images, objects))
        scores["3D→image"] = recall(match_ranks(objects, images))
    return scores


def reference_rank(query: Tensor, gallery: Tensor, target: int, ids: Sequence[Hashable] | None = None) -> int:
    """`match_ranks` for one query: the definition."""
    score = [float(F.cosine_similarity(query, entry, dim=0)) for entry in gallery]
    others = [j for j in range(len(gallery)) if j != target and (ids is None or ids[j] != ids[target])]
    return 1 + sum(score[j] >= score[target] - EQUAL for j in others)
