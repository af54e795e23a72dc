"""Vectors of names outside a text tower's words: a linear map of CLIP text vectors, fitted to the shared names."""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.query.scoring import unit
from ...core.query.text import TextEncoder, TextVectors, encode
from ...core.synthetic.objects.captions import all_names
from ...core.synthetic.rooms.captions import SYNONYMS

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Candidates of the ridge, as a multiple of the mean squared length."""


def caption_names() -> list[str]:
    """All names and synonyms of the captions."""
    return sorted({*all_names(), *SYNONYMS, *(s for many in SYNONYMS.values() for s in many)})


def bridged_names(text: TextEncoder, clip: TextVectors) -> tuple[list[str], Tensor]:
    """Map the names of CLIP vectors that a text tower does not know into its space.

    Returns:
        names, and their unit vectors [V, D].
    """
    inputs, targets = shared(text, clip)
    weight, bias = fit(inputs, targets, best_ridge(inputs, targets)[0])
    _, known = text.encode([name.partition("_(")[0].replace("_", " ") for name in clip.names])
    extra = [name for name, is_known in zip(clip.names, known.tolist(), strict=True) if not is_known]
    vectors = clip.encode(extra).vectors
    return extra, unit(vectors @ weight + bias)[0]


def shared(text: TextEncoder, clip: TextVectors) -> tuple[Tensor, Tensor]:
    """CLIP vectors [S, E] and the tower's vectors [S, D] of the captions' names that both know."""
    names = [name for name in caption_names() if isinstance(clip.find(name), str)]
    targets, known = encode(text, names)
    return clip.encode(names).vectors[known], targets[known]


def fit(inputs: Tensor, targets: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Ridge regression: weight [E, D] and bias [D] from inputs [S, E] to targets [S, D]."""
    center, bias = inputs.mean(0), targets.mean(0)
    x = inputs - center
    gram = x @ x.T
    gram = gram + ridge * gram.diagonal().mean() * torch.eye(len(x))
    weight = x.T @ torch.linalg.solve(gram, targets - bias)
    return weight, bias - center @ weight


def best_ridge(inputs: Tensor, targets: Tensor, folds: int = 10) -> tuple[float, float]:
    """Ridge with the best mean reciprocal rank of held-out names among all targets, and that rank."""
    order, best = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0)), (RIDGES[0], -1.0)
    for ridge in RIDGES:
        ranks: list[float] = []
        for k in range(folds):
            held = order[k::folds]
            keep = torch.ones(len(inputs), dtype=torch.bool).index_fill(0, held, False)
            weight, bias = fit(inputs[keep], targets[keep], ridge)
            cosine = unit(inputs[held] @ weight + bias)[0] @ unit(targets)[0].T
            above = (cosine > cosine.gather(1, held[:, None])).sum(1)
            ranks += (1 / (above + 1)).tolist()
        score = sum(ranks) / len(ranks)
        best = max(best, (ridge, score), key=lambda pair: pair[1])
    return best
