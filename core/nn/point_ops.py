"""Farthest point sampling and nearest neighbours, to cut point clouds into patches.

On the CPU both are numba kernels, elsewhere vectorised torch; neither needs a compiled extension. Squared distances are
float32 sums (dx² + dy²) + dz² in every implementation, so all find the same indices. The references are the definition.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..sparse.threads import share

UNI3D_SKIP = 1e-3
"""Squared radius around the origin in which PointNet++'s sampling kernel, and so Uni3D, never picks a point."""

_BLOCK = 256
_FAR = np.float32(1e10)


def farthest_point_sample(points: Tensor, count: int, skip: float = 0.0) -> Tensor:
    """Sample indices [B, count] int64 of points that are far from each other.

    The first is point 0, each further one the point farthest from all before it (the lowest index among equals).

    Args:
        points: [B, N, 3] float32, any unit. With fewer than ``count`` distinct points some are repeated.
        count: number of samples per cloud.
        skip: points with x² + y² + z² ≤ skip are not picked after the first (Uni3D: `UNI3D_SKIP`); point 0 is repeated
            when no other is left.
    """
    _check(points, "points")
    if count < 1:
        raise InputError("count", "at least 1 point to sample", str(count))
    xyz = points.detach().float()
    if xyz.device.type == "cpu":
        out = np.empty((len(xyz), count), np.int64)
        share(_fps, xyz.shape[0] * xyz.shape[1] * count, xyz.contiguous().numpy(), np.float32(skip), out)
        return torch.from_numpy(out)
    return farthest_point_sample_torch(xyz, count, skip)


def knn(queries: Tensor, points: Tensor, count: int) -> Tensor:
    """Find indices [B, M, count] int64 of the points nearest to each query, nearest first.

    Among equals the lowest index comes first; on CUDA equals come in any order.

    Args:
        queries: [B, M, 3]; points: [B, N, 3], N ≥ count. float32.

    Raises:
        InputError: fewer than ``count`` points.
    """
    _check(queries, "queries")
    _check(points, "points")
    if not 1 <= count <= points.shape[1]:
        raise InputError("neighbours", f"between 1 and the {points.shape[1]} points", str(count))
    queries, points = queries.detach().float(), points.detach().float()
    if points.device.type == "cpu":
        out = np.empty((*queries.shape[:2], count), np.int64)
        arrays = (queries.contiguous().numpy(), points.contiguous().numpy())
        share(_knn, queries.shape[0] * queries.shape[1] * points.shape[1], *arrays, out)
        return torch.from_numpy(out)
    return knn_torch(queries, points, count)


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Gather rows of ``values`` [B, N, C] at ``index`` [B, ...]: [B, ..., C]."""
    flat = index.flatten(1)[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, flat).unflatten(1, index.shape[1:])


def _check(points: Tensor, name: str) -> None:
    if points.ndim != 3 or points.shape[-1] != 3 or points.shape[1] == 0:
        raise InputError(name, "shape [B, N, 3] with N ≥ 1", str(tuple(points.shape)))


# --- references ---------------------------------------------------------------------------------------------


def reference_fps(points: NDArray[np.float32], count: int, skip: float = 0.0) -> NDArray[np.int64]:
    """`farthest_point_sample` for one cloud [N, 3]: the definition."""
    x, y, z = points.T
    allowed = (x * x + y * y) + z * z > np.float32(skip) if skip > 0 else np.ones(len(points), bool)
    nearest = np.full(len(points), _FAR)
    picked = [0]
    for _ in range(count - 1):
        nearest = np.minimum(nearest, _squared(points, points[picked[-1]]))
        picked.append(int(np.where(allowed, nearest, -1).argmax()) if allowed.any() else 0)
    return np.array(picked)


def reference_knn(queries: NDArray[np.float32], points: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """`knn` for one cloud, by sorting all distances: the definition."""
    return np.stack([np.argsort(_squared(points, q), kind="stable")[:count] for q in queries])


def _squared(points: NDArray[np.float32], center: NDArray[np.float32]) -> NDArray[np.float32]:
    dx, dy, dz = (points - center).T
    return (dx * dx + dy * dy) + dz * dz


# --- CPU ----------------------------------------------------------------------------------------------------


@numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def _fps(worker, workers, points, skip, out):
    """Sample cloud after cloud. Coordinates lie in planes, so that the pass over a block is one vector loop; the pick
    is then searched only in the block with the farthest point."""
    clouds, n, count = points.shape[0], points.shape[1], out.shape[1]
    blocks = (n + _BLOCK - 1) // _BLOCK
    x, y, z = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    nearest = np.empty(n, np.float32)
    farthest = np.empty(blocks, np.float32)
    for b in range(worker, clouds, workers):
        for i in range(n):
            x[i], y[i], z[i] = points[b, i, 0], points[b, i, 1], points[b, i, 2]
            # a skipped point starts out nearer than any other
            near_origin = skip > 0 and (x[i] * x[i] + y[i] * y[i]) + z[i] * z[i] <= skip
            nearest[i] = np.float32(-1) if near_origin else _FAR
        pick = 0
        for step in range(count):
            out[b, step] = pick
            cx, cy, cz = x[pick], y[pick], z[pick]
            best, best_block = np.float32(-1), -1
            for k in range(blocks):
                top = np.float32(-1)
                for i in range(k * _BLOCK, min(n, k * _BLOCK + _BLOCK)):
                    dx, dy, dz = x[i] - cx, y[i] - cy, z[i] - cz
                    d = min(nearest[i], (dx * dx + dy * dy) + dz * dz)
                    nearest[i] = d
                    top = max(top, d)
                farthest[k] = top
                if top > best:
                    best, best_block = top, k
            pick = 0
            if best_block >= 0:
                pick = best_block * _BLOCK
                while nearest[pick] != best:
                    pick += 1


@numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz"})
def _knn(worker, workers, queries, points, out):
    """Compute distances by vector loops over blocks; buffer candidates better than the worst of the best ``count``, and
    cut the buffer back to the best when full."""
    clouds, m, n, count = queries.shape[0], queries.shape[1], points.shape[1], out.shape[2]
    x, y, z = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    distance = np.empty(_BLOCK, np.float32)
    room = 2 * count + _BLOCK
    kept_d, kept_i = np.empty(room, np.float32), np.empty(room, np.int64)
    for b in range(clouds):
        for i in range(n):
            x[i], y[i], z[i] = points[b, i, 0], points[b, i, 1], points[b, i, 2]
        for q in range(worker, m, workers):
            cx, cy, cz = queries[b, q, 0], queries[b, q, 1], queries[b, q, 2]
            limit, kept = np.float32(np.inf), 0
            for start in range(0, n, _BLOCK):
                size = min(n - start, _BLOCK)
                low = np.float32(np.inf)
                for i in range(size):
                    dx, dy, dz = x[start + i] - cx, y[start + i] - cy, z[start + i] - cz
                    d = (dx * dx + dy * dy) + dz * dz
                    distance[i] = d
                    low = min(low, d)
                if low >= limit:  # a later equal distance loses to the lower index
                    continue
                for i in range(size):
                    if distance[i] < limit:
                        kept_d[kept], kept_i[kept] = distance[i], start + i
                        kept += 1
                if kept >= 2 * count:
                    _cut(kept_d, kept_i, kept, count)
                    kept = count
                    limit = kept_d[0]
                    for i in range(1, count):
                        limit = max(limit, kept_d[i])
            if kept > count:
                _cut(kept_d, kept_i, kept, count)
            _sort(kept_d, kept_i, count)
            for i in range(count):
                out[b, q, i] = kept_i[i]


@numba.njit(nogil=True, cache=True)
def _before(d, i, other_d, other_i):
    return d < other_d or (d == other_d and i < other_i)


@numba.njit(nogil=True, cache=True)
def _cut(d, index, size, count):
    """Quickselect: move the ``count`` nearest entries to the front, in any order."""
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) // 2
        pivot_d, pivot_i = d[middle], index[middle]
        i, j = low, high
        while i <= j:
            while _before(d[i], index[i], pivot_d, pivot_i):
                i += 1
            while _before(pivot_d, pivot_i, d[j], index[j]):
                j -= 1
            if i <= j:
                d[i], d[j] = d[j], d[i]
                index[i], index[j] = index[j], index[i]
                i += 1
                j -= 1
        if count - 1 <= j:
            high = j
        elif count - 1 >= i:
            low = i
        else:
            return


@numba.njit(nogil=True, cache=True)
def _sort(d, index, count):
    """Insertion sort of the first ``count`` entries by distance, then index."""
    for i in range(1, count):
        key_d, key_i = d[i], index[i]
        j = i - 1
        while j >= 0 and _before(key_d, key_i, d[j], index[j]):
            d[j + 1], index[j + 1] = d[j], index[j]
            j -= 1
        d[j + 1], index[j + 1] = key_d, key_i


# --- any other device ---------------------------------------------------------------------------------------

_PAIRS = 1 << 27
"""Number of distances in memory at a time (0.5 GB)."""


def farthest_point_sample_torch(points: Tensor, count: int, skip: float) -> Tensor:
    """Sample all clouds at once by a sequence of small kernels, without synchronisation."""
    batch = torch.arange(len(points), device=points.device)
    x, y, z = points.unbind(-1)
    nearest = torch.full_like(x, float(_FAR))
    if skip > 0:
        nearest.masked_fill_((x * x + y * y) + z * z <= skip, -1.0)
    picked = torch.zeros(len(points), count, dtype=torch.int64, device=points.device)
    pick = picked[:, 0]
    for step in range(1, count):
        dx, dy, dz = (points - points[batch, pick][:, None]).unbind(-1)
        nearest = torch.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
        far, pick = nearest.max(1)
        pick = torch.where(far >= 0, pick, 0)
        picked[:, step] = pick
    return picked


def knn_torch(queries: Tensor, points: Tensor, count: int) -> Tensor:
    rows = max(1, _PAIRS // points.shape[1])
    indices = []
    for cloud_queries, cloud in zip(queries, points, strict=True):
        parts = []
        for part in cloud_queries.split(rows):
            dx, dy, dz = (cloud - part[:, None]).unbind(-1)
            parts.append(((dx * dx + dy * dy) + dz * dz).topk(count, largest=False).indices)
        indices.append(torch.cat(parts))
    return torch.stack(indices)
