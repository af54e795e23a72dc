"""Kernel maps: pairs of input and output voxels per kernel offset, built by merging sorted keys."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from .kernels import BLOCK, ROWS, SPILL
from .threads import share

Int32, Int64 = NDArray[np.int32], NDArray[np.int64]


@dataclass(frozen=True)
class KernelMap:
    """The pairs of one convolution, grouped by blocks of output rows and, inside a block, by kernel offset.

    List l = block · volume + offset holds ``count[l]`` pairs from ``ptr[l]`` on, and padding up to ``ptr[l + 1]``:
    every list has a multiple of `ROWS` entries, the padding reads row 0 and writes to a spill row ≥ ``num_out``.

    Attributes:
        rows: [num_out] output rows; ``rows[BLOCK * b : BLOCK * (b + 1)]`` are those of block b.
        ptr: [lists + 1]. count: [lists]. src, dst: [P] input and output rows. No dst repeats within a list.
        num_in, num_out: rows of input and output. volume: kernel offsets, in the order of the flattened weight.
    """

    rows: Int32
    ptr: Int64
    count: Int64
    src: Int32
    dst: Int32
    num_in: int
    num_out: int
    volume: int


def sort_keys(keys: Int64) -> Int32:
    """[N] order that sorts ``keys``; the identity when they are sorted already, which is checked first."""
    if bool((keys[1:] >= keys[:-1]).all()):
        return np.arange(len(keys), dtype=np.int32)
    return np.argsort(keys).astype(np.int32)


def voxel_keys(indices: Int32, spatial_shape: tuple[int, int, int], margin: int = 0) -> Int64:
    """[N] keys that sort like (batch, x, y, z); with a margin, neighbours up to it never wrap to another line."""
    x, y, z = (s + 2 * margin for s in spatial_shape)
    weights = np.array([x * y * z, y * z, z, 1], np.int64)
    return _dot(indices, weights, margin * (y * z + z + 1))


def submanifold(indices: Int32, spatial_shape: tuple[int, int, int], kernel_size: int) -> KernelMap:
    """Output sites = input sites; offset o of the kernel (x slowest) reads the voxel at ``position + o − k // 2``.

    Args:
        indices: [N, 4] unique voxels (batch, x, y, z), in any order. kernel_size: odd.
    """
    n, p = len(indices), kernel_size // 2
    volume, blocks = kernel_size**3, -(-n // BLOCK)
    keys = voxel_keys(indices, spatial_shape, p)
    order = sort_keys(keys)
    keys = keys[order]
    y, z = (s + 2 * p for s in spatial_shape[1:])
    count = np.zeros(blocks * volume, np.int64)
    nothing = np.empty(0, np.int32)
    share(_merge, n * volume, keys, order, y * z, z, p, count, count, nothing, nothing)
    ptr = _padded(count)
    src, dst = np.zeros(ptr[-1], np.int32), np.empty(ptr[-1], np.int32)
    share(_merge, n * volume, keys, order, y * z, z, p, ptr[:-1].copy(), ptr[1:], src, dst)
    return KernelMap(order, ptr, count, src, dst, n, n, volume)


def coarsen(
    indices: Int32, spatial_shape: tuple[int, int, int], stride: int
) -> tuple[Int32, tuple[int, int, int], KernelMap, KernelMap]:
    """Cells of ``stride``³ voxels. Voxels beyond the last whole cell belong to none, as in a dense convolution.

    Returns:
        indices [M, 4] of the occupied cells, sorted; their spatial shape; the map voxels → cells; the map back.
    """
    x, y, z = (s // stride for s in spatial_shape)
    parent_key, offset = _parents(indices, stride, x, y, z)
    order = sort_keys(parent_key)
    parent, coarse = _unique_parents(indices, parent_key, order, stride)
    inside = (parent >= 0).nonzero()[0].astype(np.int32)
    up, n, m = parent[inside], len(indices), len(coarse)
    k = offset[inside]
    down_map = _group(up, k, inside, up, n, m, stride**3)
    up_map = _group(inside, k, up, inside, m, n, stride**3)
    return coarse, (x, y, z), down_map, up_map


def _group(row: Int32, k: Int32, src: Int32, dst: Int32, num_in: int, num_out: int, volume: int) -> KernelMap:
    """The map of the pairs (src, dst, k), whose output ``row`` says to which block each belongs."""
    lists = row // BLOCK * np.int32(volume) + k
    count = np.bincount(lists, minlength=-(-num_out // BLOCK) * volume).astype(np.int64)
    ptr = _padded(count)
    grouped = _fill(lists, src, dst, ptr, num_out, volume)
    return KernelMap(np.arange(num_out, dtype=np.int32), ptr, count, *grouped, num_in, num_out, volume)


def _padded(count: Int64) -> Int64:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(-(-count // ROWS) * ROWS)])


@numba.njit(cache=True)
def _dot(indices, weights, constant):
    keys = np.empty(len(indices), np.int64)
    for i in range(len(indices)):
        total = np.int64(constant)
        for j in range(4):
            total += np.int64(indices[i, j]) * weights[j]
        keys[i] = total
    return keys


@numba.njit(nogil=True, cache=True)
def _merge(worker, workers, keys, order, x_step, y_step, p, cursor, end, src, dst):
    """Walk every (x, y) line of the kernel along the sorted keys; as a voxel advances, so does its neighbour.

    Without room in ``src`` only counts, in ``cursor``; else writes each pair at its cursor, then pads up to ``end``.
    """
    n, k = keys.size, 2 * p + 1
    volume, fill = k**3, src.size > 0
    blocks = (n + BLOCK - 1) // BLOCK
    for block in range(blocks * worker // workers, blocks * (worker + 1) // workers):
        low, high = block * BLOCK, min(n, (block + 1) * BLOCK)
        for line in range(k * k):
            first_list = block * volume + line * k
            delta = (line // k - p) * x_step + (line % k - p) * y_step - p
            j = np.searchsorted(keys, keys[low] + delta)
            for i in range(low, high):
                first = keys[i] + delta
                while j < n and keys[j] < first:
                    j += 1
                t = j
                while t < n and keys[t] <= first + 2 * p:
                    at = first_list + keys[t] - first
                    if fill:
                        src[cursor[at]] = order[t]
                        dst[cursor[at]] = order[i]
                    cursor[at] += 1
                    t += 1
        if fill:
            for at in range(block * volume, (block + 1) * volume):
                for q in range(cursor[at], end[at]):
                    dst[q] = n + block % SPILL


@numba.njit(cache=True)
def _parents(indices, stride, x, y, z):
    """Key of every voxel's cell (the largest there is for voxels without one) and its offset inside the cell."""
    n = len(indices)
    key, offset = np.empty(n, np.int64), np.empty(n, np.int32)
    for i in range(n):
        b, vx, vy, vz = indices[i]
        cx, cy, cz = vx // stride, vy // stride, vz // stride
        key[i] = ((np.int64(b) * x + cx) * y + cy) * z + cz
        if cx >= x or cy >= y or cz >= z:
            key[i] = np.iinfo(np.int64).max
        offset[i] = ((vx - cx * stride) * stride + vy - cy * stride) * stride + vz - cz * stride
    return key, offset


@numba.njit(cache=True)
def _unique_parents(indices, key, order, stride):
    n = len(indices)
    parent, coarse = np.full(n, -1, np.int32), np.empty((n, 4), np.int32)
    m = 0
    for j in range(n):
        i = order[j]
        if key[i] == np.iinfo(np.int64).max:
            break
        if j == 0 or key[i] != key[order[j - 1]]:
            coarse[m, 0] = indices[i, 0]
            for a in range(1, 4):
                coarse[m, a] = indices[i, a] // stride
            m += 1
        parent[i] = m - 1
    return parent, coarse[:m].copy()


@numba.njit(cache=True)
def _fill(lists, src, dst, ptr, num_out, volume):
    out_src, out_dst = np.zeros(ptr[-1], np.int32), np.empty(ptr[-1], np.int32)
    cursor = ptr[:-1].copy()
    for i in range(lists.size):
        at = cursor[lists[i]]
        out_src[at] = src[i]
        out_dst[at] = dst[i]
        cursor[lists[i]] += 1
    for at in range(cursor.size):
        for q in range(cursor[at], ptr[at + 1]):
            out_dst[q] = num_out + at // volume % SPILL
    return out_src, out_dst
