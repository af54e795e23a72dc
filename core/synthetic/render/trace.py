"""Rays against a room, by Embree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError


class Hits(NamedTuple):
    """Where R rays first meet a surface.

    Attributes:
        face: [R] int64 triangle, −1 for a miss.
        u, v: [R] float32 weights of the triangle's second and third vertex.
        distance: [R] float32 in units of the ray's direction vector.
    """

    face: NDArray
    u: NDArray
    v: NDArray
    distance: NDArray


class Tracer:
    """Ray queries on V vertices [V, 3] and F triangles [F, 3]."""

    def __init__(self, vertices: NDArray, faces: NDArray) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise InputError(
                "rooms", "the package embreex to cast rays with", "none installed", "run: pip install embreex"
            ) from error
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(vertices[faces], np.float32))

    def hits(self, origins: NDArray, directions: NDArray) -> Hits:
        """First hits of rays [R, 3]; directions need not be unit vectors."""
        found = self._scene.run(_rows(origins), _rows(directions), output=1)
        return Hits(found["primID"].astype(np.int64), found["u"], found["v"], found["tfar"])

    def first(self, origins: NDArray, directions: NDArray) -> NDArray[np.int64]:
        """[R] the triangle that each ray meets first, −1 for none."""
        return self._scene.run(_rows(origins), _rows(directions)).astype(np.int64)

    def blocked(self, origins: NDArray, directions: NDArray) -> NDArray[np.bool_]:
        """[R] whether anything lies between the origin and origin + direction."""
        ones = np.ones(len(origins), np.float32)
        return self._scene.run(_rows(origins), _rows(directions), dists=ones, query="OCCLUDED") == 0


def _rows(a: NDArray) -> NDArray[np.float32]:
    return np.ascontiguousarray(a, np.float32)
