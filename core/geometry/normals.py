"""Normals of points: from their mesh, or from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

NEIGHBOURS = 16
"""Voxels, the point's own included, that a plane is laid through."""


def vertex_normals(coord: NDArray[np.floating], triangles: NDArray[np.integer]) -> NDArray[np.float32]:
    """Unit normals [N, 3] of a mesh's vertices: the sum of their triangles' normals, weighed by area.

    Args:
        coord: [N, 3].
        triangles: [F, 3] vertex indices, counter-clockwise seen from outside.

    Returns:
        zero for a vertex without a triangle of positive area.
    """
    a, b, c = (np.asarray(coord, np.float64)[triangles[:, i]] for i in range(3))
    area = np.cross(b - a, c - a)
    corner = triangles.ravel()
    total = np.stack([np.bincount(corner, np.repeat(area[:, i], 3), len(coord)) for i in range(3)], 1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0).astype(np.float32)


def estimate_normals(
    coord: NDArray[np.floating], voxel: float = 0.02, toward: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Unit normals of scanned surfaces, by principal components.

    Points are averaged over voxels first, as a network will see them: several times as fast as a plane per point, and
    less of the scanner's noise.

    Args:
        coord: [N, 3] metres.
        voxel: edge of the voxels, metres.
        toward: [3] the point that normals face; the middle of the bounding box by default, which is right for the
            walls, floor and ceiling of a room (what stands in it has a side that faces away).

    Returns:
        [N, 3]; zero where there are fewer than three voxels.
    """
    coord = np.asarray(coord, np.float64)
    if len(coord) == 0:
        return np.zeros((0, 3), np.float32)
    low, high = coord.min(0), coord.max(0)
    x, y, z = ((coord - low) / voxel).astype(np.int64).T
    keys = (x * (y.max() + 1) + y) * (z.max() + 1) + z
    _, row, count = np.unique(keys, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(row, c) for c in coord.T], 1) / count[:, None]
    if len(mean) < 3:
        return np.zeros((len(coord), 3), np.float32)
    near = KDTree(mean).query(mean, min(NEIGHBOURS, len(mean)))[1]
    local = mean[near] - mean[near].mean(1, keepdims=True)
    _, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", local, local))
    normal = axes[:, :, 0]  # of the smallest spread
    facing = (normal * ((low + high) / 2 if toward is None else toward) - normal * mean).sum(1)
    return np.where(facing[:, None] < 0, -normal, normal).astype(np.float32)[row]
