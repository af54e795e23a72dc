"""Gradient rows of the tiles back to the Gaussians they belong to: the last step of the CPU splatter's backward pass.

The tiles left one row per (tile, Gaussian) they drew; here every Gaussian adds its own, always in the same order, and
carries the sums through its projection.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .project import axes, axes_backward, project_backward
from .simd import load, prefetch, splat, store

GATHER = 64  # Gaussians per parallel task
FAR_AHEAD = 8  # rows that are asked for early: they come from main memory


@njit(cache=True, error_model="numpy")
def _list_rows(first, last, offsets, starts, tiles, slots):
    """Gradient rows of Gaussians first .. last, camera by camera: (rows, ends [(last - first) · C])."""
    C = offsets.shape[0]
    size = 0
    for c in range(C):
        size += offsets[c, last] - offsets[c, first]
    found, ends = np.empty(size, np.int64), np.empty((last - first) * C, np.int64)
    n = 0
    for g in range(first, last):
        for c in range(C):
            base = starts[c * tiles]
            for j in range(base + offsets[c, g], base + offsets[c, g + 1]):
                if slots[j] > 0:
                    found[n] = slots[j] - 1
                    n += 1
            ends[(g - first) * C + c] = n
    return found, ends


@njit(cache=True, error_model="numpy")
def _gather_block(
    first, last, means, quats, scales, opacities, views, Ks, width, height, eps2d, records, offsets, starts, slots,
    rows, stride, v_means, v_quats, v_scales, v_opacities, v_colors, v_features,
):  # fmt: skip
    C, F = records.shape[0], v_features.shape[1]
    blocks = 16 + (F + 15) // 16 * 16
    found, ends = _list_rows(first, last, offsets, starts, (starts.shape[0] - 1) // C, slots)
    m, v_m, a, v_a = np.empty((3, 3)), np.empty((3, 3)), np.empty((2, 3)), np.empty((2, 3))
    v_mean, sums, acc = np.empty(3), np.empty(16, np.float32), np.empty(blocks, np.float32)
    zero = splat(0.0)
    n = ends[-1]
    j, e = 0, 0
    for i in range(min(n, FAR_AHEAD)):
        for b in range(0, blocks, 16):
            prefetch(rows, found[i] * stride + b)
    for g in range(first, last):
        for b in range(0, blocks, 16):
            store(acc, b, zero)
        v_mean[:] = 0.0
        v_m[:, :] = 0.0
        v_opacity = 0.0
        seen = ends[e + C - 1] > j
        if seen:
            axes(quats, scales, g, m)
        for c in range(C):
            end = ends[e]
            e += 1
            if j == end:
                continue
            head = zero
            while j < end:
                ahead = found[min(j + FAR_AHEAD, n - 1)] * stride
                at = found[j] * stride
                head = head + load(rows, at)
                prefetch(rows, ahead)
                for b in range(16, blocks, 16):
                    prefetch(rows, ahead + b)
                    store(acc, b, load(acc, b) + load(rows, at + b))
                j += 1
            store(sums, 0, head)
            for i in range(3):
                acc[i] += sums[i]
            v_opacity -= sums[4]
            project_backward(
                g, (float(sums[5]), float(sums[6]), float(sums[7]), float(sums[8]), float(sums[9])),
                float(sums[3]), records[c, g], views[c], Ks[c], means, m, width, height, eps2d,
                v_mean, v_m, a, v_a,
            )  # fmt: skip
        if seen:
            axes_backward(g, quats, scales, v_m, v_quats, v_scales)
        else:
            for i in range(4):
                v_quats[g, i] = 0.0
            for i in range(3):
                v_scales[g, i] = 0.0
        v_opacities[g] = v_opacity / opacities[g] if seen else 0.0
        for i in range(3):
            v_means[g, i] = v_mean[i]
            v_colors[g, i] = acc[i]
        for i in range(F):
            v_features[g, i] = acc[16 + i]


@njit(parallel=True, nogil=True, cache=True)
def gather_rows(
    means, quats, scales, opacities, views, Ks, width, height, eps2d, records, offsets, starts, slots, rows, stride,
    v_means, v_quats, v_scales, v_opacities, v_colors, v_features,
):  # fmt: skip
    """Add each Gaussian's rows in a fixed order and carry them back through the projection, camera by camera."""
    n = records.shape[1]
    for block in prange((n + GATHER - 1) // GATHER):
        _gather_block(
            block * GATHER, min(n, (block + 1) * GATHER), means, quats, scales, opacities, views, Ks, width, height,
            eps2d, records, offsets, starts, slots, rows, stride,
            v_means, v_quats, v_scales, v_opacities, v_colors, v_features,
        )  # fmt: skip
