"""Orders of the Gaussians of a patch along space-filling curves, as input of 1D convolutions.

Each patch is divided into 2^BITS cells along every axis of its bounding cube; a cell's code is its position on the
curve:

xyz      x first, then y, then z
z        Morton's curve: the bits of x, y and z interleaved, x highest
hilbert  Hilbert's curve (Skilling, "Programming the Hilbert curve", 2004): successive cells share a face

Nothing here is trained. The references define the codes cell by cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError

Order = Literal["xyz", "z", "hilbert"]

BITS = 10
"""Bits per axis: 1,024 cells along each edge."""


def patch_order(points: Tensor, order: Order, bits: int = BITS) -> Tensor:
    """Indices [..., n] int64 that sort the points [..., n, 3] of each patch along a curve (stable within a cell)."""
    return curve_codes(cells(points, bits), order, bits).argsort(dim=-1, stable=True)


def cells(points: Tensor, bits: int = BITS) -> Tensor:
    """Integer cells [..., n, 3], 0 … 2^bits − 1, of points [..., n, 3] in each patch's bounding cube."""
    low = points.amin(-2, keepdim=True)
    edge = (points.amax(-2, keepdim=True) - low).amax(-1, keepdim=True).clamp_min(1e-12)
    top = (1 << bits) - 1
    return ((points - low) / edge * (top + 1)).long().clamp_(0, top)


def curve_codes(grid: Tensor, order: Order, bits: int = BITS) -> Tensor:
    """Positions [...] int64, 0 … 8^bits − 1, of cells [..., 3] along a curve.

    Raises:
        InputError: an unknown order.
    """
    if order not in _CODES:
        raise InputError("order", f"one of {', '.join(_CODES)}", repr(order))
    x, y, z = grid.long().unbind(-1)
    return _CODES[order](x, y, z, bits)


def _xyz(x: Tensor, y: Tensor, z: Tensor, bits: int) -> Tensor:
    return (((x << bits) | y) << bits) | z


def _morton(x: Tensor, y: Tensor, z: Tensor, bits: int) -> Tensor:
    return (_spread(x, bits) << 2) | (_spread(y, bits) << 1) | _spread(z, bits)


def _hilbert(x: Tensor, y: Tensor, z: Tensor, bits: int) -> Tensor:
    """Skilling's transform of all cells at once: undo the rotations from the highest bit down, then Gray-decode."""
    axes = [x, y, z]
    for level in range(bits - 1, 0, -1):
        below = (1 << level) - 1
        for i in range(3):
            inverted = (axes[i] >> level & 1).bool()
            swap = torch.where(inverted, 0, (axes[0] ^ axes[i]) & below)
            axes[0] = torch.where(inverted, axes[0] ^ below, axes[0] ^ swap)
            if i:
                axes[i] = axes[i] ^ swap
    axes[1] = axes[1] ^ axes[0]
    axes[2] = axes[2] ^ axes[1]
    flips = torch.zeros_like(x)
    for level in range(bits - 1, 0, -1):
        flips = torch.where((axes[2] >> level & 1).bool(), flips ^ ((1 << level) - 1), flips)
    return _morton(axes[0] ^ flips, axes[1] ^ flips, axes[2] ^ flips, bits)


def _spread(x: Tensor, bits: int) -> Tensor:
    """Move bit k of x to bit 3k."""
    masks = ((16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F), (4, 0x10C30C30C30C30C3), (2, 0x1249249249249249))
    x = x & ((1 << bits) - 1)
    for shift, mask in masks:
        x = (x | (x << shift)) & mask
    return x


_CODES: dict[str, Callable[[Tensor, Tensor, Tensor, int], Tensor]] = {"xyz": _xyz, "z": _morton, "hilbert": _hilbert}

ORDERS: tuple[Order, ...] = ("xyz", "z", "hilbert")
"""All orders."""


# --- references ---------------------------------------------------------------------------------------------


def reference_code(cell: tuple[int, int, int], order: Order, bits: int = BITS) -> int:
    """`curve_codes` of one cell; "hilbert" lists the whole curve, so use few bits."""
    x, y, z = cell
    if order == "xyz":
        return x * 4**bits + y * 2**bits + z
    if order == "z":
        return sum((c >> k & 1) << (3 * k + 2 - axis) for axis, c in enumerate(cell) for k in range(bits))
    return _reference_hilbert(bits).index((x, y, z))


def _reference_hilbert(bits: int) -> list[tuple[int, int, int]]:
    """List all cells in the order in which the curve visits them (for few bits).

    A curve of 2^bits cells per edge consists of eight copies of the next smaller one in the eight octants, rotated or
    mirrored so that each starts beside the end of the previous one. ``_OCTANTS`` holds, in that order, each octant, the
    axes of the small curve along its x, y and z, and which of them run backwards.
    """
    if bits == 0:
        return [(0, 0, 0)]
    half, small = 1 << (bits - 1), _reference_hilbert(bits - 1)
    path: list[tuple[int, int, int]] = []
    for octant, (axes, mirrored) in _OCTANTS.items():
        for cell in small:
            rotated = [cell[a] for a in axes]
            local = [half - 1 - c if m else c for c, m in zip(rotated, mirrored, strict=True)]
            x, y, z = (o * half + c for o, c in zip(octant, local, strict=True))
            path.append((x, y, z))
    return path


_OCTANTS = {
    (0, 0, 0): ((1, 2, 0), (False, False, False)),
    (0, 0, 1): ((1, 0, 2), (False, False, False)),
    (0, 1, 1): ((0, 1, 2), (False, False, False)),
    (0, 1, 0): ((2, 1, 0), (True, False, True)),
    (1, 1, 0): ((2, 1, 0), (False, False, False)),
    (1, 1, 1): ((0, 1, 2), (False, False, False)),
    (1, 0, 1): ((1, 0, 2), (True, True, False)),
    (1, 0, 0): ((1, 2, 0), (True, False, True)),
}
