"""Read and write SuperSplat's compressed PLY: 16 bytes per Gaussian, relative to the bounds of chunks of 256.

element chunk   ⌈N / 256⌉ rows   f32 min and max of x y z, scale_x y z (logarithms) and, in newer files, r g b
element vertex  N rows           u32 packed_position 11-10-11, packed_rotation 2-10-10-10, packed_scale 11-10-11,
                                 packed_color 8-8-8-8 (the last is the opacity)
element sh      N rows           u8 f_rest_* (optional), −4 to 4
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import InputError
from ..ply_table import read_table, read_vertices, write_tables
from .data import SH_COUNTS, SplatData, join_smallest_three, log_scales, splat_data, split_smallest_three

CHUNK = 256
"""Number of Gaussians per chunk."""

PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
_BOUNDS = tuple(
    f"{side}_{name}"
    for names in (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"))
    for side in ("min", "max")
    for name in names
)
_COLOR_BOUNDS = tuple(f"{side}_{name}" for side in ("min", "max") for name in ("r", "g", "b"))


def read_compressed_ply(path: Path | str) -> SplatData:
    """Read the Gaussians of a compressed PLY.

    Raises:
        InputError: missing, damaged, of another schema, or no usable Gaussian.
    """
    path = Path(path)
    vertex, chunk = read_vertices(path), read_table(path, "chunk")
    if chunk is None:
        raise InputError(path, "SuperSplat's compressed PLY", "one without the element chunk")
    missing = [n for n in PACKED if n not in (vertex.dtype.names or ()) or vertex.dtype[n] != np.uint32]
    missing += [n for n in _BOUNDS if n not in (chunk.dtype.names or ())]
    if missing:
        raise InputError(path, "SuperSplat's compressed PLY", f"one without {', '.join(missing)}")
    count = len(vertex)
    if len(chunk) != -(-count // CHUNK):
        raise InputError(path, f"{-(-count // CHUNK)} chunks for {count} Gaussians", str(len(chunk)))
    row = np.arange(count) // CHUNK
    position = _unpack(vertex["packed_position"], (11, 10, 11))
    scale = _unpack(vertex["packed_scale"], (11, 10, 11))
    color = _unpack(vertex["packed_color"], (8, 8, 8, 8))
    rotation = (_unpack(vertex["packed_rotation"] & 0x3FFFFFFF, (10, 10, 10)) - 0.5) * 2**0.5
    rgb = color[:, :3]
    if set(_COLOR_BOUNDS) <= set(chunk.dtype.names or ()):
        rgb = _lerp(chunk, _COLOR_BOUNDS, row, rgb)
    with np.errstate(over="ignore"):  # infinite scales are dropped
        scales = np.exp(_lerp(chunk, _BOUNDS[6:], row, scale))
    return splat_data(
        path,
        _lerp(chunk, _BOUNDS[:6], row, position),
        join_smallest_three(vertex["packed_rotation"] >> 30, rotation),
        scales,
        color[:, 3],
        rgb,
        _harmonics(path, count),
    )


def write_compressed_ply(path: Path | str, data: SplatData) -> None:
    """Write a compressed PLY, the Gaussians **in Morton order**, so that those of a chunk are close to each other.

    Features and labels are not stored.
    """
    data = data[_morton_order(data)]
    g = data.gaussians
    position, scale = g.means.double().numpy(), log_scales(g).clip(-20, 20)
    color = g.colors.double().numpy()
    bounds: dict[str, NDArray] = {}
    units = []
    for names, values in ((_BOUNDS[:6], position), (_BOUNDS[6:], scale), (_COLOR_BOUNDS, color)):
        starts = np.arange(0, len(g), CHUNK)
        low, high = (f.reduceat(values, starts).astype(np.float32) for f in (np.minimum, np.maximum))
        bounds |= dict(zip(names, [*low.T, *high.T], strict=True))
        row = np.arange(len(g)) // CHUNK
        units.append((values - low[row]) / np.maximum(high - low, 1e-12)[row])
    largest, others = split_smallest_three(g.quats)
    rotation = largest.astype(np.uint32) << 30 | _pack(others / 2**0.5 + 0.5, (10, 10, 10))
    packed = {
        "packed_position": _pack(units[0], (11, 10, 11)),
        "packed_rotation": rotation,
        "packed_scale": _pack(units[1], (11, 10, 11)),
        "packed_color": _pack(np.column_stack([units[2], g.opacities.double().numpy()]), (8, 8, 8, 8)),
    }
    tables = {"chunk": {n: bounds[n] for n in (*_BOUNDS, *_COLOR_BOUNDS)}, "vertex": packed}
    if data.sh is not None:
        sh = data.sh.transpose(1, 2).flatten(1).numpy()
        rest = np.floor((sh / 8 + 0.5) * 256).clip(0, 255).astype(np.uint8)
        tables["sh"] = {f"f_rest_{i}": rest[:, i] for i in range(rest.shape[1])}
    write_tables(path, tables)


def _harmonics(path: Path, count: int) -> NDArray[np.float32] | None:
    table = read_table(path, "sh")
    if table is None:
        return None
    width = len(table.dtype.names or ())
    names = [f"f_rest_{i}" for i in range(width)]
    if (
        set(names) != set(table.dtype.names or ())
        or width % 3
        or width // 3 not in SH_COUNTS[1:]
        or len(table) != count
    ):
        raise InputError(path, f"9, 24, 45 or 72 harmonics of {count} Gaussians", f"{width} of {len(table)}")
    rest = np.stack([table[name] for name in names], 1)
    unit = np.where(rest == 0, 0.0, np.where(rest == 255, 1.0, (rest + 0.5) / 256))
    return ((unit - 0.5) * 8).astype(np.float32).reshape(count, 3, -1).transpose(0, 2, 1)


def _unpack(words: NDArray[np.integer], bits: tuple[int, ...]) -> NDArray[np.float64]:
    """Fields of 32-bit words, the last in the lowest bits, as shares [N, len(bits)] of their largest value."""
    out, shift = np.empty((len(words), len(bits))), 0
    for i in reversed(range(len(bits))):
        largest = (1 << bits[i]) - 1
        out[:, i] = (words >> shift & largest) / largest
        shift += bits[i]
    return out


def _pack(shares: NDArray[np.floating], bits: tuple[int, ...]) -> NDArray[np.uint32]:
    """The inverse of `_unpack`; shares are clamped to [0, 1]."""
    words = np.zeros(len(shares), np.int64)
    for i, width in enumerate(bits):
        largest = (1 << width) - 1
        words = words << width | np.floor(shares[:, i].clip(0, 1) * largest + 0.5).astype(np.int64)
    return words.astype(np.uint32)


def _lerp(chunk: NDArray, names: tuple[str, ...], row: NDArray, share: NDArray) -> NDArray[np.float64]:
    """Values [N, 3] at ``share`` between the minima (names 0–2) and maxima (names 3–5) of the chunks ``row``."""
    low, high = (np.stack([chunk[n] for n in part], 1).astype(np.float64) for part in (names[:3], names[3:]))
    return low[row] * (1 - share) + high[row] * share


def _morton_order(data: SplatData) -> torch.Tensor:
    """Indices [N] that sort the Gaussians along a Z-order curve of 2¹⁰ cells per axis."""
    means = data.gaussians.means.double()
    low, high = means.amin(0), means.amax(0)
    cell = ((means - low) / (high - low).clamp_min(1e-12) * 1023).long()  # [N, 3]
    key = torch.zeros(len(cell), dtype=torch.int64)
    for bit in range(10):
        for axis in range(3):
            key |= (cell[:, axis] >> bit & 1) << (3 * bit + 2 - axis)
    return key.argsort(stable=True)
