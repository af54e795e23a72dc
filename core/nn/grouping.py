"""Which points hang together: the groups that PointGroup proposes as instances.

Two points are linked when they have one label and lie less than a radius apart; a group is everything that links
connect. `group_reference` walks from point to point and is the definition. The quick ways share one idea: in a cell of
edge radius / √3 all points of a label are linked anyhow, so only *cells* are joined, each with those at most two steps
away that it shares a link with. Every way returns the same numbers.
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
"""Cells that a link can span along an axis: radius / edge = √3 is less than 2."""

_PAIRS = 1 << 22
"""Pairs of points whose distance is measured at a time ("torch")."""


@dataclass(frozen=True)
class Cells:
    """Points in cells of one label each.

    Attributes:
        order: [N] points, cell by cell.
        start: [M + 1] where in ``order`` each cell begins; the last is N.
        keys: [M] int64, ascending. One step along z is 1; along y and x it is ``strides``; none wraps.
        strides: of y and of x.
    """

    order: Tensor
    start: Tensor
    keys: Tensor
    strides: tuple[int, int]


def group_points(coord: Tensor, labels: Tensor, radius: float, backend: GroupBackend = "auto") -> Tensor:
    """[N] int64 group of each point, numbered by their first points: points that links connect share one.

    Args:
        coord: [N, 3] metres.
        labels: [N] integers ≥ 0; points of different labels are never linked.
        radius: metres; points are linked that are nearer than this.
        backend: "auto" (numba on the CPU, torch elsewhere), "numba", "torch" or "reference".

    Raises:
        InputError: shapes that do not match, negative labels, coordinates that are not finite or too far apart to be
            counted in cells, a radius that is not positive.
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
        waiting = [first]
        while waiting:
            at = waiting.pop(0)
            near = ((coord - coord[at]) ** 2).sum(1) < radius**2
            found = (near & (labels == labels[at]) & (group < 0)).nonzero()[:, 0]
            group[found] = count
            waiting += found.tolist()
        count += 1
    return group


def _cells(coord: Tensor, labels: Tensor, radius: float) -> Cells:
    edge = radius / np.sqrt(3) * (1 - 1e-9)  # a hair less: two points of a cell are *less* than the radius apart
    cell = ((coord - coord.amin(0)) / edge).floor()
    sizes = [int(v) + 1 + REACH for v in cell.amax(0).tolist()]  # margins: a step beyond the last meets no other line
    if sizes[0] * sizes[1] * sizes[2] * (int(labels.max()) + 1) >= 2**62:
        spread = " × ".join(f"{s * edge:.3g}" for s in sizes)
        raise InputError("group_points", f"points that lie together, seen from {radius:g} m", f"a spread of {spread} m")
    x, y, z = cell.long().unbind(1)
    key = ((labels * sizes[0] + x) * sizes[1] + y) * sizes[2] + z
    ordered, order = torch.sort(key, stable=True)
    keys, counts = torch.unique_consecutive(ordered, return_counts=True)
    start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Cells(order, start, keys, (sizes[2], sizes[1] * sizes[2]))


def _join_cells(coord: Tensor, cells: Cells, radius: float) -> Tensor:
    """[M] a number per cell, equal for cells that links connect; ``coord`` [N, 3] in the order of the cells."""
    keys, start = cells.keys, cells.start
    root = torch.arange(len(keys), device=keys.device)
    steps = [(x, y, z) for x in range(REACH + 1) for y in range(-REACH, REACH + 1) for z in range(-REACH, REACH + 1)]
    half = sorted((s for s in steps if s > (0, 0, 0)), key=lambda s: s[0] ** 2 + s[1] ** 2 + s[2] ** 2)
    for x, y, z in half:  # nearest first: later cells are mostly joined already
        wanted = keys + (x * cells.strides[1] + y * cells.strides[0] + z)
        other = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        one = ((keys[other] == wanted) & (root != root[other])).nonzero()[:, 0]
        other = other[one]
        linked = ((coord[start[one]] - coord[start[other]]) ** 2).sum(1) < radius**2  # a quick look at two points
        unsure = (~linked).nonzero()[:, 0]
        linked[unsure] = _any_link(coord, start, one[unsure], other[unsure], radius)
        root = _merged(root, one[linked], other[linked])
    return root


def _any_link(coord: Tensor, start: Tensor, one: Tensor, other: Tensor, radius: float) -> Tensor:
    """[P] whether any point of cell ``one[p]`` lies within the radius of any of ``other[p]``."""
    size_one, size_other = start[one + 1] - start[one], start[other + 1] - start[other]
    pairs = size_one * size_other
    found = torch.zeros(len(one), dtype=torch.bool, device=coord.device)
    ends = pairs.cumsum(0)
    begun = 0
    total = int(ends[-1]) if len(ends) else 0
    while begun < total:
        # Numbers begun … of all pairs of points: whose cells, and which of their points.
        number = torch.arange(begun, min(begun + _PAIRS, total), device=coord.device)
        p = torch.searchsorted(ends, number, right=True)
        within = number - (ends[p] - pairs[p])
        a = start[one[p]] + torch.div(within, size_other[p], rounding_mode="floor")
        b = start[other[p]] + within % size_other[p]
        near = ((coord[a] - coord[b]) ** 2).sum(1) < radius**2
        found[p[near]] = True
        begun += len(number)
    return found


def _merged(root: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """``root`` [M] after joining cells ``one[p]`` and ``other[p]``: the lower root of a pair becomes both's, and
    pointers are followed, until nothing moves."""
    while True:
        a, b = root[one], root[other]
        if bool((a == b).all()):
            return root
        root = root.scatter_reduce(0, torch.maximum(a, b), torch.minimum(a, b), "amin")
        while True:
            further = root[root]
            if bool((further == root).all()):
                break
            root = further


def _numbered(group: Tensor) -> Tensor:
    """Groups [N] of any numbers, renumbered in the order of their first points."""
    _, inverse = torch.unique(group, return_inverse=True)
    n, count = len(group), int(inverse.max()) + 1
    first = torch.full((count,), n, dtype=torch.int64, device=group.device)
    first = first.scatter_reduce(0, inverse, torch.arange(n, device=group.device), "amin")
    rank = torch.empty_like(first)
    rank[first.argsort()] = torch.arange(count, device=group.device)
    return rank[inverse]
