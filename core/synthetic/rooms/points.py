"""The point cloud of a room: what a scanner that stood where the cameras are would have picked up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...data.scene import PointScene
from ...geometry.cameras import Cameras
from ..render.trace import Hits
from .light import LitRoom, points_of
from .render import View
from .room import GENERATOR_VERSION

SEEN_WITHIN = 0.03
"""A point was seen when a depth frame agrees with its depth to so many metres."""
_ROUNDS = 4


def sample_points(lit: LitRoom, cameras: Cameras, views: Sequence[View], count: int, name: str = "room") -> PointScene:
    """Up to ``count`` points, uniform by area on the surfaces that at least one view saw from the front.

    Hidden surfaces are left out, as they are in real scans; fewer points come back when little was seen. Colours
    carry the room's light, normals face the cameras that saw the point.
    """
    room = lit.room
    rng = np.random.default_rng([GENERATOR_VERSION, room.seed, 2])
    share = np.cumsum(room.areas())
    depth = np.stack([v.depth for v in views])
    viewmats, Ks = cameras.viewmats.numpy(), cameras.Ks.numpy()
    kept: list[tuple[Hits, NDArray, NDArray]] = []
    total = 0
    for _ in range(_ROUNDS):
        n = 2 * count
        face = np.minimum(np.searchsorted(share, rng.uniform(0, share[-1], n)), len(share) - 1)
        u, v = rng.uniform(size=(2, n)).astype(np.float32)
        outside = u + v > 1
        u[outside], v[outside] = 1 - u[outside], 1 - v[outside]
        hits = Hits(face, u, v, np.zeros(n, np.float32))
        at = points_of(room, hits)
        normal = _normals_at(lit, hits)
        seen = np.flatnonzero(_seen(at, normal, viewmats, Ks, depth))[: count - total]
        kept.append((Hits(*(a[seen] for a in hits)), at[seen], normal[seen]))
        total += len(seen)
        if total == count:
            break
    hits = Hits(*(np.concatenate(a) for a in zip(*(k[0] for k in kept), strict=True)))
    return PointScene(
        name,
        coord=np.concatenate([k[1] for k in kept]),
        color=np.rint(lit.shade(hits) * 255).astype(np.uint8),
        normal=np.concatenate([k[2] for k in kept]),
        segment=room.segment[hits.face],
        instance=room.instance[hits.face],
    )


def _normals_at(lit: LitRoom, hits: Hits) -> NDArray[np.float32]:
    a, b, c = (lit.room.normals[lit.room.faces[hits.face, i]] for i in range(3))
    n = a + hits.u[:, None] * (b - a) + hits.v[:, None] * (c - a)
    return n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)


@njit(cache=True)
def _seen(points: NDArray, normals: NDArray, viewmats: NDArray, Ks: NDArray, depth: NDArray) -> NDArray:
    """[N] whether a camera in front of the surface measured the point's depth."""
    height, width = depth.shape[1:]
    out = np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        for c in range(len(viewmats)):
            m, k = viewmats[c], Ks[c]
            p = points[i]
            x = m[0, 0] * p[0] + m[0, 1] * p[1] + m[0, 2] * p[2] + m[0, 3]
            y = m[1, 0] * p[0] + m[1, 1] * p[1] + m[1, 2] * p[2] + m[1, 3]
            z = m[2, 0] * p[0] + m[2, 1] * p[1] + m[2, 2] * p[2] + m[2, 3]
            if z < 0.05:
                continue
            column, row = int(np.floor(k[0, 0] * x / z + k[0, 2])), int(np.floor(k[1, 1] * y / z + k[1, 2]))
            if column < 0 or row < 0 or column >= width or row >= height:
                continue
            if abs(depth[c, row, column] - z) > SEEN_WITHIN:
                continue
            n = normals[i]
            nx = m[0, 0] * n[0] + m[0, 1] * n[1] + m[0, 2] * n[2]
            ny = m[1, 0] * n[0] + m[1, 1] * n[1] + m[1, 2] * n[2]
            nz = m[2, 0] * n[0] + m[2, 1] * n[1] + m[2, 2] * n[2]
            if nx * x + ny * y + nz * z < 0:  # the camera is in front
                out[i] = True
                break
    return out
