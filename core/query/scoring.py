"""Scores of features for a query: cosine, LERF's relevancy, and query vectors from several examples."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..errors import InputError

TEMPERATURE = 10.0
"""Factor of the cosines in the relevancy (LERF's value, not CLIP's logit scale)."""


class CosineStore(Protocol):
    """Interface of `store.FeatureStore` that `centred_cosine` needs."""

    @property
    def device(self) -> torch.device: ...
    @property
    def unusable(self) -> Tensor: ...
    def scores(self, vectors: Tensor) -> Tensor: ...
    def center(self) -> Tensor: ...


def unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Normalise vectors of any length, including very short, very long and invalid ones.

    Args:
        vectors: [N, D], any floating dtype; half precision is raised to float32.

    Returns:
        unit vectors [N, D], and usable [N] bool: False for rows that are zero or not finite, which become zero.
    """
    vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    peak = vectors.abs().amax(-1)
    usable = peak.isfinite() & (peak > 0)
    # Dividing by the largest entry first keeps the squares of very long and very short rows inside float32.
    scaled = torch.where(usable[:, None], vectors, 0) / torch.where(usable, peak, 1)[:, None]
    return scaled / scaled.norm(dim=-1, keepdim=True).clamp_min(1), usable


def similarity(features: Tensor, queries: Tensor) -> Tensor:
    """Cosine of every feature with every query.

    Args:
        features: [N, D] of any length.
        queries: [Q, D] of any length.

    Returns:
        [N, Q] in [−1, 1]; 0 where a feature or a query is zero or not finite.
    """
    check_widths(features.shape, queries=queries)
    feature, query = unit(features)[0], unit(queries)[0]
    dtype = torch.promote_types(feature.dtype, query.dtype)
    return feature.to(dtype) @ query.to(feature.device, dtype).T


def relevancy(features: Tensor, phrases: Tensor, negatives: Tensor) -> Tensor:
    """LERF's relevancy: how much more similar a feature is to the phrase than to the nearest negative.

    For unit vectors φ (feature), q (phrase) and canon_i (negatives)::

        min_i exp(10 φ·q) / (exp(10 φ·q) + exp(10 φ·canon_i))  =  sigmoid(10 (φ·q − max_i φ·canon_i))

    (Kerr et al., "LERF: Language Embedded Radiance Fields", ICCV 2023, §3.4.) 0.5 means as similar
    to the phrase as to the nearest negative. Other phrases of the query do not act as negatives.

    Args:
        features: [N, D] of any length.
        phrases: [P, D] of any length.
        negatives: [K ≥ 1, D] of any length: the canonical phrases (`text.CANONICAL`) and those the user excludes.

    Returns:
        [N, P] in (0, 1); exactly 0 where the feature or the phrase is zero or not finite. Negatives that are zero or
        not finite are ignored.
    """
    check_widths(features.shape, phrases=phrases, negatives=negatives)
    phrase, known = unit(phrases)
    cosine = similarity(features, torch.cat([phrase, usable_negatives(negatives).to(phrase)]))
    relevant = margin_to_relevancy(cosine[:, : len(phrase)], cosine[:, len(phrase) :])
    return relevant * (unit(features)[1][:, None] & known.to(features.device))


def relevancy_reference(features: Tensor, phrases: Tensor, negatives: Tensor) -> Tensor:
    """Reference of `relevancy`: the paper's formula, one pair at a time in float64. For tests."""
    out = torch.zeros(len(features), len(phrases), dtype=torch.float64)
    canon = [c.double() / c.double().norm() for c in negatives]
    for n, feature in enumerate(features.double()):
        for p, phrase in enumerate(phrases.double()):
            if not (feature.isfinite().all() and phrase.isfinite().all() and feature.any() and phrase.any()):
                continue
            f, q = feature / feature.norm(), phrase / phrase.norm()
            positive = torch.exp(TEMPERATURE * f @ q)
            out[n, p] = min(positive / (positive + torch.exp(TEMPERATURE * f @ c)) for c in canon)
    return out


def combine(include: Tensor, exclude: Tensor | None = None, exclude_weight: float = 0.5) -> Tensor:
    """Combine several examples into one query vector (Rocchio's formula on unit vectors).

    ``mean(include) − exclude_weight · mean(exclude)``, with each mean and the result scaled to unit length. For the
    relevancy, pass the excluded examples as negatives instead, where each counts separately:
    ``relevancy(features, combine(include)[None], torch.cat([negatives, exclude]))``.

    Args:
        include: [A ≥ 1, D] features or text vectors.
        exclude: [B ≥ 0, D] features or text vectors, or None.
        exclude_weight: weight of the excluded direction. With 1 the difference of similar examples is mostly noise.

    Returns:
        [D] of unit length.

    Raises:
        InputError: no usable example to include, or examples that cancel out.
    """
    query = _mean_direction("picks to include", include)
    if query is None:
        raise InputError("picks to include", "at least one finite, non-zero vector", f"{len(include)} unusable ones")
    if exclude is not None:
        check_widths(include.shape, exclude=exclude)
        excluded = _mean_direction("picks to exclude", exclude)
        if excluded is not None:
            query = query - exclude_weight * excluded.to(query)
    if query.norm() < 1e-4:
        raise InputError("picks", "a direction in common", "vectors that cancel out", "remove one of the picks")
    return query / query.norm()


def centred_cosine(store: CosineStore, queries: Tensor) -> Tensor:
    """Cosines of unit features φ and unit queries q relative to the features' mean m::

        (φ − m)·(q − m) / (|φ − m| |q − m|)

    computed from the cosines φ·q and φ·m, without a second store. Without it the common direction of the features
    (such as CLIP's) leaves every cosine between 0.9 and 1.

    Args:
        store: the features.
        queries: [Q, D] of any length, in the space of the features.

    Returns:
        [N, Q] in [−1, 1]; 0 for features that are zero or not finite.
    """
    query, mean = unit(queries.to(store.device, torch.float32))[0], store.center()
    length = mean.norm()
    if length < 1e-6:
        return store.scores(query)
    cosine = store.scores(torch.cat([query, mean[None]]))
    with_mean = cosine[:, -1:] * length
    query_mean = query @ mean
    product = cosine[:, :-1] - with_mean - query_mean + length**2
    feature_length = (1 - 2 * with_mean + length**2).clamp_min(1e-6).sqrt()
    query_length = (1 - 2 * query_mean + length**2).clamp_min(1e-6).sqrt()
    out = (product / (feature_length * query_length)).clamp(-1, 1)
    out[store.unusable] = 0
    return out


def margin_to_relevancy(positive: Tensor, negative: Tensor) -> Tensor:
    """Relevancy [N, P] from the cosines with the phrases [N, P] and with the negatives [N, K]."""
    return torch.sigmoid(TEMPERATURE * (positive - negative.amax(-1, keepdim=True)))


def usable_negatives(negatives: Tensor) -> Tensor:
    """[K', D] unit vectors of the negatives that are finite and not zero; `InputError` without any."""
    vectors, usable = unit(negatives)
    if not usable.any():
        raise InputError("negatives", "at least one finite, non-zero vector", f"none among {len(negatives)}")
    return vectors[usable]


def check_widths(shape: tuple[int, ...], **others: Tensor) -> None:
    """Raise `InputError` unless the features have shape [N, D ≥ 1] and all others [·, D]."""
    if len(shape) != 2 or shape[1] == 0:
        raise InputError("features", "shape [N, D] with D ≥ 1", str(list(shape)))
    for name, value in others.items():
        if value.ndim != 2 or value.shape[1] != shape[1]:
            hint = "text and features must come from the same model"
            raise InputError(name, f"shape [·, {shape[1]}], as wide as the features", str(list(value.shape)), hint)


def _mean_direction(name: str, vectors: Tensor) -> Tensor | None:
    """[D] unit vector of the mean of the usable unit vectors; None when there is none; zero when they cancel."""
    check_widths(tuple(vectors.shape))
    directions, usable = unit(vectors)
    if not usable.any():
        return None
    mean = directions[usable].mean(0)
    return mean / mean.norm() if mean.norm() > 1e-4 else torch.zeros_like(mean)
