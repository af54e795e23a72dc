"""Compute normals of triangle meshes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARP = np.cos(np.radians(42))
"""Cosine of the angle to the mean normal of a vertex beyond which a face keeps its own normal."""


def corner_normals(vertices: NDArray, faces: NDArray) -> NDArray[np.float32]:
    """Unit normals [3F, 3] of the corners of all triangles: the mean of the faces at the vertex, weighted by area, or
    the normal of the face where it deviates strongly (`SHARP`). Vertices with equal positions count as one."""
    corners = vertices[faces]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    span = max(float(np.abs(vertices).max()), 1e-30)
    places = np.rint(vertices / span * 2**24).astype(np.int64)
    _, same = np.unique(places, axis=0, return_inverse=True)
    at = same.reshape(-1)[faces.ravel()]
    face = np.repeat(face, 3, 0)
    mean = np.stack([np.bincount(at, face[:, k]) for k in range(3)], 1)[at]
    face, mean = (n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-30) for n in (face, mean))
    return np.where((face * mean).sum(1, keepdims=True) < SHARP, face, mean).astype(np.float32)
