"""Codebooks of 256 values and palettes of vectors, by k-means."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

ENTRIES = 256
COARSE = 256
"""Number of clusters of the first level of a palette."""


def line_codebook(values: NDArray[np.floating], rounds: int = 8) -> NDArray[np.float64]:
    """256 ascending values that approximate many: Lloyd's algorithm on a histogram, begun at evenly spaced quantiles
    and evenly spaced values.

    Lowest and highest value are entries, so that no value is cut off.
    """
    flat = values.astype(np.float64).ravel()
    bins, edges = np.histogram(flat, 1 << 14)
    middle = (edges[1:] + edges[:-1]) / 2
    half = ENTRIES // 2
    book = np.sort([*np.quantile(flat, np.linspace(0, 1, half)), *np.linspace(flat.min(), flat.max(), ENTRIES - half)])
    for _ in range(rounds):
        label = nearest(book, middle)
        weight = np.bincount(label, bins, ENTRIES)
        total = np.bincount(label, bins * middle, ENTRIES)
        book = np.sort(np.where(weight > 0, total / np.maximum(weight, 1), book))
        book[0], book[-1] = flat.min(), flat.max()
    return book


def nearest(book: NDArray[np.floating], values: NDArray[np.floating]) -> NDArray[np.intp]:
    """Index of the nearest entry of an ascending ``book`` for each value, same shape."""
    return np.searchsorted((book[1:] + book[:-1]) / 2, values)


def palette(vectors: NDArray[np.float32], rounds: int = 4) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Centroids [P, D] of vectors [N, D], half as many or 65,536, and the centroid of each vector [N].

    k-means in two levels: 256 clusters, and each of them divided in proportion to its vectors.
    """
    rows = np.ascontiguousarray(vectors, np.float32)
    size = min(1 << 16, -(-len(rows) // 2))
    coarse = _k_means(rows, min(COARSE, size), rounds)[1]
    centroids, label, used = [], np.zeros(len(rows), np.int64), 0
    for members in np.split(np.argsort(coarse, kind="stable"), np.cumsum(np.bincount(coarse))[:-1]):
        if len(members):
            own, label_own = _k_means(rows[members], max(1, len(members) * size // len(rows)), rounds)
            label[members] = label_own + used
            used += len(own)
            centroids.append(own)
    return np.concatenate(centroids), label


def _k_means(rows: NDArray[np.float32], count: int, rounds: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Centroids [count, D] and the nearest one of each row [N], begun at evenly spaced rows."""
    from scipy.cluster.vq import kmeans2  # slow to import

    first = rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equal rows leave clusters empty, which is fine
        return kmeans2(rows, first, rounds, minit="matrix")
