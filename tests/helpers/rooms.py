"""Checksums of procedural rooms."""

from __future__ import annotations

import hashlib

import numpy as np
from gaussiancross.core.synthetic.rooms import build_room, light_room, render, sample_points, walk


def digest(*arrays: np.ndarray) -> str:
    h = hashlib.sha256()
    for a in arrays:
        h.update(np.ascontiguousarray(a).tobytes())
    return h.hexdigest()


def fingerprint(seed: int) -> str:
    """Of everything a room's user can get to see."""
    room = build_room(seed)
    lit = light_room(room)
    cameras = walk(lit, 2, 48, 36)
    views = [render(lit, cameras, i) for i in range(2)]
    points = sample_points(lit, cameras, views, 500)
    return digest(
        room.vertices, room.segment, room.instance, views[1].color, views[1].depth, points.coord, points.color
    )
