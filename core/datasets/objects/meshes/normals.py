"""Normals for triangles that come without."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARP = np.cos(np.radians(42))
"""Cosine of the angle off the mean of its neighbours from which a face keeps its own normal."""


def corner_normals(vertices: NDArray, faces: NDArray) -> NDArray[np.float32]:
    """[3F, 3] a unit normal for each corner of each triangle: the mean about its vertex by area, or, where the face
    turns far away from that, the face's own. Vertices at one place count as one."""
    corners = vertices[faces]
    own = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    span = max(float(np.abs(vertices).max()), 1e-30)
    places = np.rint(vertices / span * 2**24).astype(np.int64)
    _, same = np.unique(places, axis=0, return_inverse=True)
    at = same.reshape(-1)[faces.ravel()]
    own = np.repeat(own, 3, 0)
    mean = np.stack([np.bincount(at, own[:, k]) for k in range(3)], 1)[at]
    own, mean = (n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-30) for n in (own, mean))
    return np.where((own * mean).sum(1, keepdims=True) < SHARP, own, mean).astype(np.float32)
