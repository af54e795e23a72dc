"""Group selected points into objects: connected components with boxes and scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..nn.connected import join_cells


@dataclass(frozen=True)
class QueryObject:
    """One connected group of selected points.

    Attributes:
        indices: [K] int64 indices of the points, ascending.
        box_min, box_max: [3] corners of the axis-aligned box of the points, world, metres.
        centroid: [3] mean of the points, world, metres.
        size: K.
        score_mean, score_max: mean and maximum of the points' scores; NaN without scores.
    """

    indices: NDArray[np.int64]
    box_min: NDArray[np.float64]
    box_max: NDArray[np.float64]
    centroid: NDArray[np.float64]
    size: int
    score_mean: float
    score_max: float


def components(
    coord: NDArray | Tensor,
    selected: NDArray | Tensor,
    radius: float,
    scores: NDArray | Tensor | None = None,
    minimum: int = 10,
) -> list[QueryObject]:
    """Group the selected points by single linkage: points within ``radius`` of each other are connected.

    Args:
        coord: [N, 3] points, world, metres. Points that are not finite are ignored.
        selected: [N] bool.
        radius: metres, > 0.
        scores: [N], or None.
        minimum: number of points below which a group is dropped.

    Returns:
        objects by decreasing mean score, then by decreasing size.

    Raises:
        InputError: wrong shapes or types, or a radius that is not positive or too small for the extent of the points.
    """
    coord, selected = _numpy(coord), _numpy(selected)
    n = len(coord)
    if coord.ndim != 2 or coord.shape[1] != 3:
        raise InputError("coord", "shape [N, 3]", str(list(coord.shape)))
    if selected.shape != (n,) or selected.dtype != np.bool_:
        raise InputError("selected", f"a bool mask of shape [{n}]", f"{selected.dtype} {list(selected.shape)}")
    if not (np.isfinite(radius) and radius > 0):
        raise InputError("radius", "metres > 0", str(radius))
    score = None if scores is None else _numpy(scores).astype(np.float64)
    if score is not None and score.shape != (n,):
        raise InputError("scores", f"shape [{n}]", str(list(score.shape)))

    index = np.flatnonzero(selected)
    index = index[np.isfinite(coord[index]).all(1)]
    points = coord[index].astype(np.float64)
    labels = connected_labels(points, radius)
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    objects = [_describe(index[g], points[g], score) for g in groups if len(g) >= max(minimum, 1)]
    return sorted(objects, key=lambda o: (-np.nan_to_num(o.score_mean, nan=-np.inf), -o.size, o.indices[0]))


def connected_labels(points: NDArray[np.float64], radius: float) -> NDArray[np.int64]:
    """Component number [n] of every point [n, 3] under single linkage; exact, without n² distances.

    Points are sorted into cells with the radius as their diagonal, so that all points of a cell are connected. Two
    cells at most two steps apart are joined if they hold a pair of points within the radius; pairs of cells that are
    already connected are skipped.
    """
    if len(points) == 0:
        return np.empty(0, np.int64)
    side = radius / np.sqrt(3) * (1 - 1e-9)
    # Relative to the median, so that a distant outlier does not cost the other points precision. Empty space of any
    # width counts as three cells, so that it costs no memory and does not overflow the key.
    cells = [_close_gaps(np.floor(x / side)) for x in (points - np.median(points, 0)).T]
    spans = [int(c.max()) + 3 for c in cells]  # two empty cells at the end, so that neighbours never wrap around
    if np.prod([float(s) for s in spans]) > 2.0**62:
        raise InputError("radius", "one that suits the distances between the points", f"{radius}", "use a larger one")
    key = (cells[0] * spans[1] + cells[1]) * spans[2] + cells[2]
    order = np.argsort(key, kind="stable")
    keys, start = np.unique(key[order], return_index=True)
    labels = np.empty(len(points), np.int64)
    sorted_points = np.ascontiguousarray(points[order])
    within = float(np.nextafter(radius * radius, np.inf))  # a distance of exactly the radius links, too
    cell_label = join_cells(sorted_points, np.append(start, len(points)), keys, (spans[2], spans[1] * spans[2]), within)
    labels[order] = np.repeat(cell_label, np.diff(np.append(start, len(points))))
    return labels


def _close_gaps(cell: NDArray[np.float64]) -> NDArray[np.int64]:
    values, inverse = np.unique(cell, return_inverse=True)
    steps = np.minimum(np.diff(values, prepend=values[0]), 3)
    return np.cumsum(steps).astype(np.int64)[inverse]


def _describe(indices: NDArray[np.int64], points: NDArray[np.float64], scores: NDArray | None) -> QueryObject:
    mean, best = (np.nan, np.nan) if scores is None else (scores[indices].mean(), scores[indices].max())
    return QueryObject(indices, points.min(0), points.max(0), points.mean(0), len(indices), float(mean), float(best))


def _numpy(values: NDArray | Tensor) -> NDArray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
