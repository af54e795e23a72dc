"""`core.nn.grouping` on the CPU: one sweep over sorted cells per column of neighbours, with union-find."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_COLUMNS = np.array(
    sorted(((x, y) for x in range(3) for y in range(-2, 3) if (x, y) >= (0, 0)), key=lambda c: c[0] ** 2 + c[1] ** 2),
    np.int64,
)
"""Columns of cells (x, y) whose members a cell is joined with, nearest first; in its own one, those above it."""


def join_cells(
    coord: NDArray[np.float64],
    start: NDArray[np.int64],
    keys: NDArray[np.int64],
    strides: tuple[int, int],
    radius2: float,
) -> NDArray[np.int64]:
    """[M] a number per cell, equal for cells that links connect.

    Args:
        coord: [N, 3] in the order of the cells.
        start, keys, strides: see `core.nn.grouping.Cells`.
        radius2: square of the radius.
    """
    return _join(coord, start, keys, _COLUMNS, *strides, radius2)


@njit(cache=True)
def _join(
    coord: NDArray,
    start: NDArray,
    keys: NDArray,
    columns: NDArray,
    stride_y: int,
    stride_x: int,
    radius2: float,
) -> NDArray:
    cells = len(keys)
    parent = np.arange(cells)
    low, high = np.empty((cells, 3)), np.empty((cells, 3))
    for c in range(cells):
        for k in range(3):
            low[c, k], high[c, k] = np.inf, -np.inf
            for i in range(start[c], start[c + 1]):
                low[c, k], high[c, k] = min(low[c, k], coord[i, k]), max(high[c, k], coord[i, k])
    for n in range(len(columns)):
        own = columns[n, 0] == 0 and columns[n, 1] == 0
        shift = columns[n, 0] * stride_x + columns[n, 1] * stride_y
        begin = 0  # keys ascend, and so does what each is compared with
        for c in range(cells):
            lowest = keys[c] + shift + (1 if own else -2)
            while begin < cells and keys[begin] < lowest:
                begin += 1
            other = begin
            while other < cells and keys[other] <= keys[c] + shift + 2:
                a, b = _root(parent, c), _root(parent, other)
                if a != b and _linked(coord, start, low, high, c, other, radius2):
                    parent[max(a, b)] = min(a, b)
                other += 1
    for c in range(cells):
        parent[c] = _root(parent, c)
    return parent


@njit(cache=True)
def _root(parent: NDArray, c: int) -> int:
    while parent[c] != c:
        parent[c] = parent[parent[c]]
        c = parent[c]
    return c


@njit(cache=True)
def _linked(coord: NDArray, start: NDArray, low: NDArray, high: NDArray, one: int, other: int, radius2: float) -> bool:
    """Whether a point of cell ``one`` lies within the radius of one of ``other``."""
    for i in range(start[one], start[one + 1]):
        outside = 0.0  # squared distance to the box around the other cell's points
        for k in range(3):
            d = max(low[other, k] - coord[i, k], coord[i, k] - high[other, k], 0.0)
            outside += d * d
        if outside >= radius2:
            continue
        for j in range(start[other], start[other + 1]):
            d2 = 0.0
            for k in range(3):
                d2 += (coord[i, k] - coord[j, k]) ** 2
            if d2 < radius2:
                return True
    return False
