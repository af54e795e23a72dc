"""Few-shot classification on frozen embeddings: m examples for each of n classes, tested on other objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError

FOLDS = 10
"""Number of random episodes (the benchmark's)."""
QUERIES = 20
"""Number of test objects per class and fold (the benchmark's)."""

Method = Literal["ridge", "nearest"]


@dataclass(frozen=True)
class Episode:
    """Rows of an embedding table that make one fold.

    Attributes:
        support: [n · m] examples.
        support_labels: [n · m] in 0 … n − 1.
        query: [Q] test objects.
        query_labels: [Q] in 0 … n − 1.
    """

    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor


def draw_episodes(
    labels: Tensor, ways: int, shots: int, folds: int = FOLDS, queries: int = QUERIES, seed: int = 0
) -> list[Episode]:
    """Draw random episodes from labels [M]: ``ways`` classes with ``shots`` examples and up to ``queries`` others each.

    Raises:
        InputError: fewer than ``ways`` classes with more than ``shots`` objects.
    """
    labels = labels.long().cpu()
    members = {int(c): np.flatnonzero((labels == c).numpy()) for c in labels.unique()}
    usable = sorted(c for c, rows in members.items() if len(rows) > shots)
    if min(ways, shots, folds, queries) < 1 or len(usable) < ways:
        expected = f"{ways} classes with more than {shots} objects each"
        raise InputError(f"{shots}-shot {ways}-way", expected, str(len(usable)))
    episodes = []
    for fold in range(folds):
        rng = np.random.default_rng([seed, fold])
        support, query = [], []
        for c in rng.choice(usable, ways, replace=False):
            rows = torch.from_numpy(rng.permutation(members[int(c)])[: shots + queries])
            support.append(rows[:shots])
            query.append(rows[shots:])
        way = torch.arange(ways)
        query_labels = way.repeat_interleave(torch.tensor([len(q) for q in query]))
        episodes.append(Episode(torch.cat(support), way.repeat_interleave(shots), torch.cat(query), query_labels))
    return episodes


def episode_accuracy(embeddings: Tensor, episode: Episode, method: Method = "ridge", ridge: float = 1.0) -> float:
    """Top-1 accuracy in 0–1 of one fold.

    Args:
        embeddings: [M, D], not necessarily normalised.
        method: "ridge": a linear classifier by regularised least squares on the examples, W = Xᵀ (X Xᵀ + λ I)⁻¹ Y with
            unit rows and a bias; "nearest": the class with the nearest mean.
        ridge: λ.

    Raises:
        InputError: an unknown method.
    """
    e = episode
    x = F.normalize(embeddings[e.support].double(), dim=-1)  # [n · m, D]
    q = F.normalize(embeddings[e.query].double(), dim=-1)  # [Q, D]
    onehot = F.one_hot(e.support_labels).double()  # [n · m, n]
    if method == "nearest":
        means = F.normalize(onehot.T @ x / onehot.sum(0)[:, None], dim=-1)
        predicted = (q @ means.T).argmax(1)
    elif method == "ridge":
        center = x.mean(0)
        x, q = x - center, q - center
        gram = x @ x.T + ridge * torch.eye(len(x), dtype=x.dtype)
        predicted = (q @ x.T @ torch.linalg.solve(gram, onehot - onehot.mean(0)) + onehot.mean(0)).argmax(1)
    else:
        raise InputError("few-shot method", "ridge or nearest", repr(method))
    return float((predicted == e.query_labels).double().mean())


def few_shot_scores(embeddings: Tensor, episodes: Sequence[Episode], method: Method = "ridge") -> dict[str, float]:
    """``mean`` and ``std`` (over folds, n − 1) of the top-1 accuracy, and the number of ``folds``."""
    if not episodes:
        raise InputError("few-shot folds", "at least one", "none")
    scores = np.array([episode_accuracy(embeddings, e, method) for e in episodes])
    std = float(scores.std(ddof=1)) if len(scores) > 1 else 0.0
    return {"mean": float(scores.mean()), "std": std, "folds": float(len(scores))}
