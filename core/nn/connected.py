"""Connected components of points in cells, on the CPU: union-find over cells, one sweep per column of neighbours.

Cells are so small that their own points are always linked, so only cells are joined: two cells when a point of one
lies within the radius of a point of the other. Used by `core.nn.grouping` and `core.query.objects`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_COLUMNS = np.array(
    sorted(((x, y) for x in range(3) for y in range(-2, 3) if (x, y) >= (0, 0)), key=lambda c: c[0] ** 2 + c[1] ** 2),
    np.int64,
)
"""[13, 2] offsets (x, y) of the columns of cells that a cell is joined with, nearest first; in its own column, only the
cells above it."""


def join_cells(
    coord: NDArray[np.float64],
    start: NDArray[np.int64],
    keys: NDArray[np.int64],
    strides: tuple[int, int],
    radius2: float,
) -> NDArray[np.int64]:
    """Number the connected components of M cells.

    Args:
        coord: [N, 3] in the order of the cells; float64, contiguous.
        start: [M + 1] index in ``coord`` of each cell's first point; the last is N.
        keys: [M] ascending cell numbers. One step along z is 1; along y and x it is ``strides``. At least two empty
            cells at the end of each axis keep neighbours from wrapping around.
        strides: of y and of x.
        radius2: square of the radius; points are linked at a squared distance strictly below it.

    Returns:
        [M] the lowest index of a cell in each cell's component.
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
    low, high = np.empty((cells, 3)), np.empty((cells, 3))  # boxes around each cell's points
    for c in range(cells):
        for k in range(3):
            low[c, k], high[c, k] = np.inf, -np.inf
            for i in range(start[c], start[c + 1]):
                low[c, k], high[c, k] = min(low[c, k], coord[i, k]), max(high[c, k], coord[i, k])
    for n in range(len(columns)):
        own = columns[n, 0] == 0 and columns[n, 1] == 0
        shift = columns[n, 0] * stride_x + columns[n, 1] * stride_y
        begin = 0  # keys ascend, and so do their neighbours in a column: one moving index finds them
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
    """Find the root of cell ``c``, halving the path to it."""
    while parent[c] != c:
        parent[c] = parent[parent[c]]
        c = parent[c]
    return c


@njit(cache=True)
def _linked(coord: NDArray, start: NDArray, low: NDArray, high: NDArray, one: int, other: int, radius2: float) -> bool:
    """Return whether a point of cell ``one`` lies within the radius of a point of cell ``other``."""
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
