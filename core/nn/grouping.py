"""Connected components of points per class (PointGroup proposals).

Two points are linked when they have one label and lie less than a radius apart; a group is a connected component of
the links. `group_reference` walks from point to point and is the definition. The fast implementations use that in a
cell of edge radius / √3 all points of a label are linked, so only *cells* are joined, with linked cells at most two
steps away. All implementations return the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

GroupBackend = Literal["auto", "numba", "torch", "reference"]

REACH = 2
"""Largest number of cells that a link spans along an axis: radius / edge = √3 is less than 2."""

PAIRS_PER_CHUNK = 1 << 22
"""Number of point pairs whose distance is computed at a time (backend "torch")."""


@dataclass(frozen=True)
class Cells:
    """N points sorted into M cells of one label each.

    Attributes:
        order: [N] indices of points, cell by cell.
        start: [M + 1] index in ``order`` of each cell's first point; the last is N.
        keys: [M] int64 cell numbers, ascending. One step along z is 1; along y and x it is ``strides``; none wraps.
        strides: of y and of x.
    """

    order: Tensor
    start: Tensor
    keys: Tensor
    strides: tuple[int, int]


def group_points(coord: Tensor, labels: Tensor, radius: float, backend: GroupBackend = "auto") -> Tensor:
    """Group points into connected components.

    Args:
        coord: [N, 3] metres.
        labels: [N] integers ≥ 0; points of different labels are never linked.
        radius: metres; points nearer than this are linked.
        backend: "auto" (numba on the CPU, torch elsewhere), "numba", "torch" or "reference".

    Returns:
        [N] int64 group of each point, numbered in the order of their first points.

    Raises:
        InputError: shapes that do not match, negative labels, coordinates that are not finite or too far apart to
            number their cells, a radius that is not positive.
    """
    n = len(coord)
    if coord.shape != (n, 3) or labels.shape != (n,):
        found = f"{list(coord.shape)} and {list(labels.shape)}"
        raise InputError("group_points", "coord [N, 3] and labels [N]", found)
    if not radius > 0:
        raise InputError("group_points", "a radius above 0 m", f"{radius}")
    if n == 0:
        return labels.new_zeros(0, dtype=torch.int64)
    if not bool(torch.isfinite(coord).all()):
        raise InputError("group_points", "finite coordinates", "NaN or infinity")
    if int(labels.min()) < 0:
        raise InputError("group_points", "labels of 0 or more", f"{int(labels.min())}", "leave unlabelled points out")
    coord, labels = coord.detach().double(), labels.long()
    if backend == "reference":
        return group_reference(coord, labels, radius)
    cells = _cells(coord, labels, radius)
    if backend == "numba" or (backend == "auto" and coord.device.type == "cpu"):
        from .connected import join_cells  # compiled when first used

        ordered, start, keys = (t.cpu().numpy() for t in (coord[cells.order], cells.start, cells.keys))
        joined = join_cells(ordered, start, keys, cells.strides, radius**2)
        root = torch.from_numpy(joined).to(coord.device)
    else:
        root = _join_cells(coord[cells.order], cells, radius)
    group = torch.empty(n, dtype=torch.int64, device=coord.device)
    group[cells.order] = torch.repeat_interleave(root, torch.diff(cells.start), output_size=n)
    return _numbered(group)


def group_reference(coord: Tensor, labels: Tensor, radius: float) -> Tensor:
    """`group_points`, point by point, breadth first."""
    group = torch.full((len(coord),), -1, dtype=torch.int64, device=coord.device)
    count = 0
    for first in range(len(coord)):
        if group[first] >= 0:
            continue
        group[first] = count
        queue = [first]
        while queue:
            at = queue.pop(0)
            near = ((coord - coord[at]) ** 2).sum(1) < radius**2
            linked = (near & (labels == labels[at]) & (group < 0)).nonzero()[:, 0]
            group[linked] = count
            queue += linked.tolist()
        count += 1
    return group


def _cells(coord: Tensor, labels: Tensor, radius: float) -> Cells:
    """Sort points [N, 3] with labels [N] into cells."""
    edge = radius / np.sqrt(3) * (1 - 1e-9)  # slightly less: points of one cell are *less* than the radius apart
    cell = ((coord - coord.amin(0)) / edge).floor()  # [N, 3]
    sizes = [int(v) + 1 + REACH for v in cell.amax(0).tolist()]  # margins, so that neighbours never wrap around
    if sizes[0] * sizes[1] * sizes[2] * (int(labels.max()) + 1) >= 2**62:
        spread = " × ".join(f"{s * edge:.3g}" for s in sizes)
        raise InputError("group_points", f"points that lie together, seen from {radius:g} m", f"a spread of {spread} m")
    x, y, z = cell.long().unbind(1)
    key = ((labels * sizes[0] + x) * sizes[1] + y) * sizes[2] + z  # [N]
    ordered, order = torch.sort(key, stable=True)
    keys, counts = torch.unique_consecutive(ordered, return_counts=True)
    start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Cells(order, start, keys, (sizes[2], sizes[1] * sizes[2]))


def _join_cells(coord: Tensor, cells: Cells, radius: float) -> Tensor:
    """[M] root of each cell's component, for points ``coord`` [N, 3] in the order of the cells."""
    keys, start = cells.keys, cells.start
    root = torch.arange(len(keys), device=keys.device)
    steps = [(x, y, z) for x in range(REACH + 1) for y in range(-REACH, REACH + 1) for z in range(-REACH, REACH + 1)]
    half = sorted((s for s in steps if s > (0, 0, 0)), key=lambda s: s[0] ** 2 + s[1] ** 2 + s[2] ** 2)
    for x, y, z in half:  # nearest first: farther cells are mostly joined already
        neighbour = keys + (x * cells.strides[1] + y * cells.strides[0] + z)  # [M]
        other = torch.searchsorted(keys, neighbour).clamp_max(len(keys) - 1)
        one = ((keys[other] == neighbour) & (root != root[other])).nonzero()[:, 0]  # [P]
        other = other[one]  # [P]
        linked = ((coord[start[one]] - coord[start[other]]) ** 2).sum(1) < radius**2  # [P] by the first points alone
        unlinked = (~linked).nonzero()[:, 0]
        linked[unlinked] = _any_link(coord, start, one[unlinked], other[unlinked], radius)
        root = _merged(root, one[linked], other[linked])
    return root


def _any_link(coord: Tensor, start: Tensor, one: Tensor, other: Tensor, radius: float) -> Tensor:
    """[P] whether a point of cell ``one[p]`` lies within the radius of a point of cell ``other[p]``."""
    size_one, size_other = start[one + 1] - start[one], start[other + 1] - start[other]
    pairs = size_one * size_other
    linked = torch.zeros(len(one), dtype=torch.bool, device=coord.device)
    ends = pairs.cumsum(0)
    done = 0
    total = int(ends[-1]) if len(ends) else 0
    while done < total:
        # Number all pairs of points consecutively; find the cells p and the points a, b of a chunk of numbers.
        number = torch.arange(done, min(done + PAIRS_PER_CHUNK, total), device=coord.device)
        p = torch.searchsorted(ends, number, right=True)
        within = number - (ends[p] - pairs[p])
        a = start[one[p]] + torch.div(within, size_other[p], rounding_mode="floor")
        b = start[other[p]] + within % size_other[p]
        near = ((coord[a] - coord[b]) ** 2).sum(1) < radius**2
        linked[p[near]] = True
        done += len(number)
    return linked


def _merged(root: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Join cells ``one[p]`` and ``other[p]`` in ``root`` [M].

    The lower root of a pair becomes the root of both, and pointers are followed, until nothing changes.
    """
    while True:
        a, b = root[one], root[other]
        if bool((a == b).all()):
            return root
        root = root.scatter_reduce(0, torch.maximum(a, b), torch.minimum(a, b), "amin")
        while True:
            grandparent = root[root]
            if bool((grandparent == root).all()):
                break
            root = grandparent


def _numbered(group: Tensor) -> Tensor:
    """Renumber groups [N] in the order of their first points."""
    _, inverse = torch.unique(group, return_inverse=True)
    n, count = len(group), int(inverse.max()) + 1
    first = torch.full((count,), n, dtype=torch.int64, device=group.device)
    first = first.scatter_reduce(0, inverse, torch.arange(n, device=group.device), "amin")
    rank = torch.empty_like(first)
    rank[first.argsort()] = torch.arange(count, device=group.device)
    return rank[inverse]
