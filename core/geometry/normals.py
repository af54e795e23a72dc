"""Normals of points, from a mesh or from neighbouring points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 16
"""Number of voxels per fitted plane, the point's own included."""

AT_ONCE = 200_000
"""Voxels whose planes are fitted at once, in about 300 MB."""


def vertex_normals(coord: NDArray[np.floating], triangles: NDArray[np.integer]) -> NDArray[np.float32]:
    """Compute unit normals of a mesh's vertices: area-weighted means of their triangles' normals.

    Args:
        coord: [N, 3].
        triangles: [F, 3] vertex indices, counter-clockwise seen from outside.

    Returns:
        [N, 3]; zero for a vertex without a triangle of positive area.
    """
    a, b, c = (np.asarray(coord, np.float64)[triangles[:, i]] for i in range(3))  # [F, 3] each
    area = np.cross(b - a, c - a)  # [F, 3]
    corner = triangles.ravel()
    total = np.stack([np.bincount(corner, np.repeat(area[:, i], 3), len(coord)) for i in range(3)], 1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0).astype(np.float32)


def estimate_normals(
    coord: NDArray[np.floating], voxel: float = 0.02, toward: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Estimate unit normals of scanned surfaces by principal component analysis.

    Planes are fitted to averages over voxels: several times as fast as a plane per point, and less noisy.

    Args:
        coord: [N, 3] metres.
        voxel: edge of the voxels, metres.
        toward: [3] point that normals face. Default: the centre of the bounding box, which is right for the walls,
            floor and ceiling of a room, but not for the far sides of objects in it.

    Returns:
        [N, 3]; zero where there are fewer than three voxels.
    """
    from scipy.spatial import KDTree  # slow to import

    coord = np.asarray(coord, np.float64)
    if len(coord) == 0:
        return np.zeros((0, 3), np.float32)
    low, high = coord.min(0), coord.max(0)
    x, y, z = ((coord - low) / voxel).astype(np.int64).T
    keys = (x * (y.max() + 1) + y) * (z.max() + 1) + z
    _, row, count = np.unique(keys, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(row, c) for c in coord.T], 1) / count[:, None]  # [V, 3]
    if len(mean) < 3:
        return np.zeros((len(coord), 3), np.float32)
    tree, normal = KDTree(mean), np.empty_like(mean)
    for start in range(0, len(mean), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        near = tree.query(mean[part], min(NEIGHBOURS, len(mean)))[1]  # [v, k]
        local = mean[near] - mean[near].mean(1, keepdims=True)  # [v, k, 3]
        _, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", local, local))
        normal[part] = axes[:, :, 0]  # [v, 3] direction of the smallest spread
    facing = (normal * ((low + high) / 2 if toward is None else toward) - normal * mean).sum(1)
    return np.where(facing[:, None] < 0, -normal, normal).astype(np.float32)[row]
