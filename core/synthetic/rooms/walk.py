"""A person with a camera: where they can stand, how they walk, what they look at."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from ...geometry.cameras import Cameras, intrinsics, look_at
from .light import LitRoom
from .render import PixelRays
from .room import GENERATOR_VERSION, Room

CELL = 0.1
CLEARANCE = 0.22
"""Least distance in plan from the camera to a wall or to anything taller than a knee, metres."""
_PROBE = (20, 15)
"""Rays per candidate view."""
_STRETCH = 0.4
"""Surfaces count as seen by cubes of so many metres."""


def free_floor(room: Room) -> NDArray[np.bool_]:
    """[X, Y] cells of the floor, `CELL` metres wide, on which a person can stand; the largest connected part."""
    nx, ny = int(np.ceil(room.plan.w / CELL)), int(np.ceil(room.plan.d / CELL))
    taken = np.zeros((nx, ny), bool)
    boxes = room.solids[(room.solids[:, 5] > 0.25) & (room.solids[:, 2] < 1.9)]
    notch = [] if room.plan.notch is None else [room.plan.notch]
    for x0, y0, x1, y1 in [*boxes[:, [0, 1, 3, 4]].tolist(), *notch]:
        taken[max(int(x0 / CELL), 0) : int(np.ceil(x1 / CELL)), max(int(y0 / CELL), 0) : int(np.ceil(y1 / CELL))] = True
    distance = ndimage.distance_transform_edt(~np.pad(taken, 1, constant_values=True))
    free = np.asarray(distance)[1:-1, 1:-1] * CELL > CLEARANCE + CELL
    areas, count = ndimage.label(free)  # type: ignore[misc]
    if count == 0:
        return np.asarray(distance)[1:-1, 1:-1] >= np.asarray(distance).max()
    sizes = np.bincount(areas.ravel())
    sizes[0] = 0
    return areas == sizes.argmax()


def _path(rng: Generator, free: NDArray[np.bool_], count: int) -> NDArray[np.float64]:
    """[count, 2] places along a walk through the free floor: far-apart places, visited nearest first."""
    cells = np.argwhere(free) + 0.5
    chosen = [cells[rng.integers(len(cells))]]
    away = np.linalg.norm(cells - chosen[0], axis=1)
    for _ in range(count - 1):
        # the farthest cells, but not strictly: a person does not hug the walls
        far = np.flatnonzero(away >= np.quantile(away, 0.9))
        chosen.append(cells[rng.choice(far)])
        away = np.minimum(away, np.linalg.norm(cells - chosen[-1], axis=1))
    rest = list(range(1, count))
    order = [0]
    while rest:
        nearest = min(rest, key=lambda i: float(np.linalg.norm(chosen[i] - chosen[order[-1]])))
        rest.remove(nearest)
        order.append(nearest)
    return np.array([chosen[i] for i in order]) * CELL


def walk(lit: LitRoom, frames: int, width: int, height: int) -> Cameras:
    """Cameras of a walk through the room: at eye height, level to slightly downwards, turned to what is still unseen.

    Every view is the best of a few headings by what it adds (objects and stretches of surface that few rays have met
    so far) and by not staring at a near surface.
    """
    room = lit.room
    rng = np.random.default_rng([GENERATOR_VERSION, room.seed, 1])
    eye = rng.uniform(1.35, 1.65)
    fov = np.deg2rad(rng.uniform(64, 75))
    k = intrinsics(float(fov), width, height)
    probe_k = intrinsics(float(fov), *_PROBE)
    places = _path(rng, free_floor(room), frames)
    objects = np.ones(len(room.labels))
    surface = np.ones(tuple(int(np.ceil(e / _STRETCH)) + 1 for e in (room.plan.w, room.plan.d, room.plan.h)))
    viewmats = []
    previous = rng.uniform(0, 2 * np.pi)
    for x, y in places:
        position = torch.tensor([x, y, eye + rng.uniform(-0.12, 0.12)], dtype=torch.float64)
        best: tuple[float, torch.Tensor, NDArray, tuple, float] | None = None
        for heading in np.arange(12) * 2 * np.pi / 12 + rng.uniform(0, 1):
            pitch = rng.uniform(0.08, 0.5)
            forward = [np.cos(heading) * np.cos(pitch), np.sin(heading) * np.cos(pitch), -np.sin(pitch)]
            viewmat = look_at(position, position + torch.tensor(forward, dtype=torch.float64))
            found, cells, weight, depth = _probe(lit, viewmat, probe_k, surface.shape)
            gain = (found / objects).clip(max=0.6).sum() + 8 * (weight / surface[cells]).mean()
            near = (depth < 0.7).mean() + 0.6 * (depth < 1.2).mean()
            turn = abs((heading - previous + np.pi) % (2 * np.pi) - np.pi)
            score = float(gain + 0.45 * min(float(np.median(depth)), 3.0) - 5.0 * near - 0.12 * turn)
            if best is None or score > best[0]:
                best = score, viewmat, found, cells, float(heading)
        assert best is not None
        _, viewmat, found, cells, previous = best
        objects += 0.25 * found
        np.add.at(surface, cells, 0.5)
        viewmats.append(_rolled(viewmat, rng.normal(0, 0.012)))
    return Cameras(torch.stack(viewmats).float(), k.expand(frames, 3, 3).clone(), width, height)


def _probe(
    lit: LitRoom, viewmat: torch.Tensor, k: torch.Tensor, shape: tuple[int, ...]
) -> tuple[NDArray, tuple[NDArray, ...], NDArray, NDArray]:
    """Rays per object [I]; per ray the stretch of surface met (indices), how much it matters, and its depth [R]."""
    origins, directions = PixelRays(Cameras(viewmat[None].float(), k[None], *_PROBE), 0).through(0.5, 0.5)
    hits = lit.tracer.hits(origins, directions)
    instance = np.where(hits.face >= 0, lit.room.instance[np.maximum(hits.face, 0)], -1)
    at = origins + np.minimum(hits.distance, 20)[:, None] * directions
    cells = tuple(np.clip(at[:, i] / _STRETCH, 0, shape[i] - 1).astype(int) for i in range(3))
    found = np.bincount(instance + 1, minlength=len(lit.room.labels) + 1)[1:].astype(float)
    return found, cells, np.where(instance >= 0, 1.0, 0.3), hits.distance


def _rolled(viewmat: torch.Tensor, angle: float) -> torch.Tensor:
    """The camera turned about its own viewing direction by ``angle`` radians."""
    c, s = float(np.cos(angle)), float(np.sin(angle))
    roll = torch.tensor([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=viewmat.dtype)
    return roll @ viewmat
