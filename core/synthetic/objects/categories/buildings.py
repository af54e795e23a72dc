"""Houses, castles, towers."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, box, cylinder, join, lathe
from ...geometry.shapes import ball, cone, extrude, loft, rod, torus, turned
from ...materials.materials import choose
from ...materials.paint import DARK, PALE, paint, solid
from .furniture import Maker


def gable(w: float, d: float, z0: float, z1: float) -> Mesh:
    """A ridge roof along x over w × d, from eaves at z0 to its ridge at z1."""
    return extrude([(-d / 2, z0), (d / 2, z0), (0, z1)], -w / 2, w / 2).turned(np.pi / 2, "x").turned(np.pi / 2, "z")


def hip(w: float, d: float, z0: float, z1: float, ridge: float) -> Mesh:
    """A hipped roof whose ridge is ``ridge`` long; 0 makes a pyramid."""
    low = [(-w / 2, -d / 2, z0), (w / 2, -d / 2, z0), (w / 2, d / 2, z0), (-w / 2, d / 2, z0)]
    r = max(ridge, 0.01) / 2
    return loft([low, [(-r, -0.005, z1), (r, -0.005, z1), (r, 0.005, z1), (-r, 0.005, z1)]], False)


def _battlements(r: float, z: float, n: int) -> list[Mesh]:
    return [
        box((r * 0.82, -0.3 * np.pi * r / n, z), (r * 1.06, 0.3 * np.pi * r / n, z + 0.3 * r), 1.0).turned(
            2 * np.pi * k / n
        )
        for k in range(n)
    ]


def house(rng: Generator) -> list[Part]:
    w, d, floors = rng.uniform(5, 9), rng.uniform(4, 6.5), int(rng.integers(1, 4))
    h = 2.6 * floors
    rise = rng.uniform(1.2, 3.5)
    wall, roof_, glass = solid(rng), solid(rng), choose(rng, (DARK, paint(rng)))
    kind = rng.uniform()
    eaves = rng.uniform(0.2, 0.6)
    if kind < 0.6:
        roof = gable(w + 2 * eaves, d + 2 * eaves, h, h + rise)
    else:
        roof = hip(w + 2 * eaves, d + 2 * eaves, h, h + rise, rng.uniform(0, 0.6) * w)
    parts: list[Part] = [(box((-w / 2, -d / 2, 0), (w / 2, d / 2, h), 1.0), wall), (roof, roof_)]
    panes: list[Mesh] = []
    frames: list[Mesh] = []
    columns = int(rng.integers(2, 5))
    at = int(rng.integers(columns))
    for floor in range(floors):
        for side in (1, -1):
            for k in range(columns):
                if floor == 0 and side == 1 and k == at:
                    continue
                x = -w / 2 + (k + 0.5) * w / columns
                y, z = side * d / 2, 2.6 * floor + 1.0
                panes.append(box((x - 0.45, y - 0.04, z), (x + 0.45, y + 0.04, z + 1.1), 1.0))
                frames.append(box((x - 0.55, y - 0.06, z - 0.1), (x + 0.55, y + 0.06, z), 1.0))
        for side in (1, -1):
            x, z = side * w / 2, 2.6 * floor + 1.0
            panes += [box((x - 0.04, y - 0.4, z), (x + 0.04, y + 0.4, z + 1.1), 1.0) for y in (-d * 0.25, d * 0.25)]
    x = -w / 2 + (at + 0.5) * w / columns
    door = box((x - 0.5, d / 2 - 0.04, 0), (x + 0.5, d / 2 + 0.06, 2.1), 1.0)
    parts += [(join(panes), glass), (join(frames), PALE), (door, paint(rng))]
    if rng.uniform() < 0.65:
        cx = w * rng.uniform(-0.3, 0.3)
        parts.append((box((cx - 0.35, -0.9, h + rise * 0.3), (cx + 0.35, -0.3, h + rise + 0.5), 1.0), solid(rng)))
    if rng.uniform() < 0.3:  # a wing
        side = choose(rng, (-1, 1))
        x0, x1 = sorted((side * w / 2, side * (w / 2 + rng.uniform(2, 3.5))))
        parts.append((box((x0, -d * 0.4, 0), (x1, d * 0.3, 2.4), 1.0), wall))
        parts.append((gable(x1 - x0 + 0.4, d * 0.7 + 0.4, 2.4, 3.8).moved((x0 + x1) / 2, -d * 0.05), roof_))
    return parts


def castle(rng: Generator) -> list[Part]:
    a, r, h = rng.uniform(2.2, 3.2), rng.uniform(0.6, 0.9), rng.uniform(2.0, 3.2)
    wall_h = h * rng.uniform(0.5, 0.75)
    stone, roof = solid(rng), solid(rng)
    pointed = rng.uniform() < 0.55
    meshes: list[Mesh] = []
    tops: list[Mesh] = []
    corners = int(choose(rng, (3, 4, 4, 5)))
    spots = [(a * np.cos(t), a * np.sin(t)) for t in np.pi / 4 + 2 * np.pi * np.arange(corners) / corners]
    for k, (x, y) in enumerate(spots):
        tall = h * rng.uniform(0.85, 1.3)
        meshes.append(cylinder(r, 0, tall, 18).moved(x, y))
        if pointed:
            tops.append(cone(r * 1.2, tall, tall + r * rng.uniform(1.6, 2.6), 18).moved(x, y))
        else:
            meshes += [m.moved(x, y) for m in [cylinder(r * 1.08, tall - 0.2, tall, 18), *_battlements(r, tall, 8)]]
        nx, ny = spots[(k + 1) % corners]
        length, turn = float(np.hypot(nx - x, ny - y)), float(np.arctan2(ny - y, nx - x))
        run = [box((0, -0.2, 0), (length, 0.2, wall_h), 1.0)]
        run += [box((s, -0.2, wall_h), (s + 0.22, 0.2, wall_h + 0.25), 1.0) for s in np.arange(r, length - r, 0.5)]
        meshes += [m.turned(turn).moved(x, y) for m in run]
    keep = rng.uniform(0.7, 1.2)
    if rng.uniform() < 0.75:
        tall = h * rng.uniform(1.2, 1.8)
        meshes.append(box((-keep, -keep, 0), (keep, keep, tall), 1.0))
        if pointed:
            tops.append(hip(2.3 * keep, 2.3 * keep, tall, tall + keep * 1.6, 0.0))
        else:
            meshes += [
                box((s - 0.15, q - 0.1, tall), (s + 0.15, q + 0.1, tall + 0.3), 1.0)
                for s in np.linspace(-keep + 0.15, keep - 0.15, 4)
                for q in (-keep + 0.1, keep - 0.1)
            ]
    gate = extrude(
        [(-0.45, 0), (0.45, 0), *[(0.45 * np.cos(t), 0.8 + 0.45 * np.sin(t)) for t in np.linspace(0, np.pi, 10)]],
        -0.26,
        0.26,
    )
    x, y = (np.array(spots[0]) + spots[1]) / 2
    gate = (
        gate.turned(np.pi / 2, "x")
        .turned(float(np.arctan2(spots[1][1] - spots[0][1], spots[1][0] - spots[0][0])))
        .moved(float(x), float(y))
    )
    parts: list[Part] = [(join(meshes), stone), (gate, choose(rng, (DARK, solid(rng))))]
    return [*parts, (join(tops), roof)] if tops else parts


def lighthouse(rng: Generator) -> list[Part]:
    r, h, top = rng.uniform(0.9, 1.4), rng.uniform(4, 7.5), rng.uniform(0.5, 0.75)
    a, b = paint(rng), paint(rng)
    n = int(rng.integers(3, 8))
    bands: list[list[Mesh]] = [[], []]
    for k in range(n):
        r0, r1 = (r * (1 - (1 - top) * s) for s in (k / n, (k + 1) / n))
        bands[k % 2].append(lathe([(0, h * k / n), (r0, h * k / n), (r1, h * (k + 1) / n), (0, h * (k + 1) / n)], 28))
    q = r * top
    deck = lathe([(0, h), (q * 1.35, h), (q * 1.35, h + 0.15), (0, h + 0.15)], 28)
    rail = [
        torus(q * 1.28, 0.04, 28, 6).moved(z=h + 0.6),
        *[
            rod(
                (q * 1.28 * np.cos(t), q * 1.28 * np.sin(t), h + 0.1),
                (q * 1.28 * np.cos(t), q * 1.28 * np.sin(t), h + 0.6),
                0.03,
                segments=6,
            )
            for t in np.arange(10) * np.pi / 5
        ],
    ]
    lamp = cylinder(q * 0.75, h + 0.15, h + 1.25, 20)
    cap = (
        turned([(0, h + 1.25), (q * 1.0, h + 1.25), (q * 0.7, h + 1.6), (0, h + 2.0)], 16, 24)
        if rng.uniform() < 0.5
        else cone(q, h + 1.25, h + 2.1, 24)
    )
    parts: list[Part] = [
        (join(bands[0]), a),
        (join(bands[1]), b if rng.uniform() < 0.8 else a),
        (join([deck, *rail, cap]), solid(rng)),
        (lamp, paint(rng)),
    ]
    if rng.uniform() < 0.5:
        parts.append((join([box((r * 0.6, -0.8, 0), (r * 0.6 + 2.0, 0.8, 1.4), 1.0)]), a))
        parts.append((gable(2.3, 1.9, 1.4, 2.2).moved(r * 0.6 + 1.0), solid(rng)))
    return parts


def windmill(rng: Generator) -> list[Part]:
    r, h, sides = rng.uniform(1.0, 1.5), rng.uniform(3, 4.5), int(choose(rng, (6, 8, 24)))
    top = rng.uniform(0.55, 0.75) * r
    tower = lathe([(0, 0), (r, 0), (top, h), (0, h)], sides, smooth=sides > 8)
    cap = (
        turned([(0, h), (top * 1.12, h), (top * 0.9, h + top * 0.6), (0, h + top)], 14, 24)
        if rng.uniform() < 0.6
        else cone(top * 1.2, h, h + top * 1.3, 24)
    )
    n, long, wide = int(choose(rng, (4, 4, 4, 3, 6))), h * rng.uniform(0.6, 0.85), rng.uniform(0.4, 0.7)
    y, z = top + 0.35, h + top * 0.25
    start = rng.uniform(0, 1.5)
    arms: list[Mesh] = []
    cloth: list[Mesh] = []
    for k in range(n):
        a = start + 2 * np.pi * k / n
        arms.append(box((-0.06, y, 0), (0.06, y + 0.12, long)).turned(a, "y").moved(z=z))
        bars = [box((0.02, y + 0.04, s), (wide, y + 0.08, s + 0.06)) for s in np.linspace(0.25, 1, 7) * long - 0.06]
        arms += [
            m.turned(a, "y").moved(z=z)
            for m in [*bars, box((wide - 0.05, y + 0.04, 0.25 * long), (wide, y + 0.08, long))]
        ]
        cloth.append(
            box((0.05, y + 0.03, 0.27 * long), (wide - 0.05, y + 0.05, long - 0.05), 1.0).turned(a, "y").moved(z=z)
        )
    arms += [ball(0.4).moved(0, y + 0.05, z), rod((0, 0, z), (0, y + 0.1, z), 0.12)]
    door = box((-0.35, r * 0.7, 0), (0.35, r * 0.99, 1.3))
    panes = [
        box((-0.2, 0.5 * top, s), (0.2, r * (1 - (1 - top / r) * s / h) + 0.02, s + 0.45)) for s in (h * 0.5, h * 0.72)
    ]
    parts: list[Part] = [
        (tower, solid(rng)),
        (cap, solid(rng)),
        (join(arms), solid(rng)),
        (join([door, *panes]), paint(rng)),
    ]
    return [*parts, (join(cloth), paint(rng))] if rng.uniform() < 0.6 else parts


BUILDINGS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "castle": (castle, ("fortress",)),
    "house": (house, ("building",)),
    "lighthouse": (lighthouse, ()),
    "windmill": (windmill, ()),
}
"""Category → maker, synonyms."""
