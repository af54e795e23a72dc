"""Trees, flowers, cacti."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, cylinder, join, lathe
from ...geometry.shapes import ball, ellipse, limb, loft, rod, spline, sweep, torus
from ...materials.paint import natural, paint, solid
from .furniture import Maker

GREEN = (0.25, 0.45, 0.18)


def tree(rng: Generator) -> list[Part]:
    """Broad-leaved: a trunk, boughs and a crown of clumps."""
    h, r = rng.uniform(1.2, 2.6), rng.uniform(0.08, 0.16)
    wide = rng.uniform(0.7, 1.3)
    crown = rng.uniform(0.45, 0.8)
    lean = rng.uniform(-0.15, 0.15, 2)
    top = np.array([lean[0], lean[1], h])
    wood = [limb(np.vstack([(0, 0, 0), (lean[0] * 0.3, lean[1] * 0.3, h * 0.5), top]), (r * 1.3, r, r * 0.6))]
    clumps: list[Mesh] = []
    n = int(rng.integers(5, 11))
    for k in range(n):
        a, q = 2.4 * k, wide * np.sqrt((k + 0.4) / n)
        at = np.add(
            top, [q * np.cos(a) * 0.75, q * np.sin(a) * 0.75, crown * rng.uniform(-0.2, 0.7) * (1.2 - q / wide)]
        )
        wood.append(rod((lean[0] * 0.6, lean[1] * 0.6, h * rng.uniform(0.55, 0.85)), at, r * 0.45, r * 0.2))
        s = rng.uniform(0.7, 1.1) * wide * 0.9
        clumps.append(ball(s, s * rng.uniform(0.8, 1.2), s * rng.uniform(0.6, 1.0) * crown / 0.6, 14).moved(*at))
    return [(join(wood), natural(rng, (0.4, 0.28, 0.18))), (join(clumps), natural(rng, GREEN))]


def pine(rng: Generator) -> list[Part]:
    n, r, h = int(rng.integers(3, 8)), rng.uniform(0.45, 0.75), rng.uniform(1.6, 2.4)
    trunk = rng.uniform(0.1, 0.35)
    step = (h - trunk) / n
    star = int(rng.integers(7, 13))
    jag = rng.uniform(0.0, 0.25)
    t = np.linspace(0, 2 * np.pi, 4 * star, endpoint=False)

    tiers = []
    for k in range(n):
        q = r * (1 - k / (n + 0.4))
        z0 = trunk + k * step
        edge = q * (1 + jag * (np.cos(star * t) - 1) / 2)
        low = np.stack([edge * np.cos(t), edge * np.sin(t), np.full(len(t), z0)], 1)
        tip = np.broadcast_to([0.0, 0.0, z0 + step * 1.55], low.shape)
        tiers.append(loft([low, tip], False))
    return [
        (cylinder(r * 0.14, 0, trunk + step * 0.5, 12), natural(rng, (0.4, 0.28, 0.18))),
        (join(tiers), natural(rng, GREEN)),
    ]


def palm(rng: Generator) -> list[Part]:
    h, bend = rng.uniform(1.4, 2.6), rng.uniform(-0.5, 0.5)
    path = spline([(0, 0, 0), (bend * 0.2, 0, h * 0.5), (bend, 0, h)], 14)
    trunk = join(
        [
            sweep(path, np.linspace(0.1, 0.06, 14), 12),
            *[torus(0.095 - 0.003 * i, 0.014, 14, 6).moved(*p) for i, p in enumerate(path[1:-1])],
        ]
    )
    leaves = []
    n, long, droop = int(rng.integers(6, 12)), rng.uniform(0.7, 1.1), rng.uniform(0.2, 0.9)
    for k in range(n):
        s = np.linspace(0, 1, 10)
        p = np.stack([long * s, 0 * s, 0.35 * s - (0.3 + droop) * s**2], 1)
        leaf = sweep(
            p, np.stack([0.13 * np.sin(np.pi * (0.08 + 0.9 * s)), np.full(10, 0.012)], 1), section=ellipse(1, 1, 10)
        )
        leaves.append(leaf.turned(2 * np.pi * k / n + rng.uniform(-0.1, 0.1)).moved(*path[-1]))
    parts: list[Part] = [(trunk, natural(rng, (0.5, 0.38, 0.25))), (join(leaves), natural(rng, GREEN))]
    if rng.uniform() < 0.5:
        nuts = [ball(0.13).moved(0.1 * np.cos(a), 0.1 * np.sin(a), -0.08).moved(*path[-1]) for a in (0, 2.1, 4.2)]
        parts.append((join(nuts), solid(rng)))
    return parts


def cactus(rng: Generator) -> list[Part]:
    h, r, ribs = rng.uniform(0.35, 0.8), rng.uniform(0.07, 0.11), int(rng.integers(7, 13))
    t = np.linspace(0, 2 * np.pi, 6 * ribs, endpoint=False)
    section = np.stack([np.cos(t), np.sin(t)], 1) * (1 - 0.12 * np.abs(np.sin(ribs * t / 2)))[:, None]

    def column(points: list[tuple[float, float, float]], radius: float) -> Mesh:
        p = spline(points, 16)
        end = p[-1] - p[-2]
        end = end / np.linalg.norm(end)
        cap = [p[-1] + radius * np.sin(a) * end for a in (0.5, 1.0, np.pi / 2)]
        size = [*np.full(16, radius), radius * np.cos(0.5), radius * np.cos(1.0), 0.0]
        return sweep(np.array([*p, *cap]), np.array(size), section=section)

    stems = [column([(0, 0, 0.05), (0, 0, h * 0.5), (0, 0, h)], r)]
    for k in range(int(rng.integers(0, 4))):
        z, reach, up = h * rng.uniform(0.25, 0.6), r * rng.uniform(1.9, 2.6), rng.uniform(0.15, 0.35) * h
        arm = column(
            [(0, 0, z), (reach * 0.7, 0, z + 0.02), (reach, 0, z + 0.3 * up + 0.03), (reach, 0, z + up + 0.08)],
            r * 0.55,
        )
        stems.append(arm.turned((0.2, np.pi + 0.1, 1.9)[k]))
    parts: list[Part] = [(join(stems), natural(rng, GREEN))]
    if rng.uniform() < 0.6:
        pot = lathe(
            [
                (0, -0.12),
                (r * 1.1, -0.12),
                (r * 1.5, 0.06),
                (r * 1.6, 0.06),
                (r * 1.6, 0.09),
                (r * 1.35, 0.09),
                (r * 1.3, 0.06),
                (0, 0.06),
            ],
            28,
        )
        parts.append((pot, solid(rng)))
    if rng.uniform() < 0.4:
        parts.append((join([ball(0.05, 0.05, 0.035, 12).moved(0, 0, h + r)]), paint(rng)))
    return parts


def flower(rng: Generator) -> list[Part]:
    h, n, petal = rng.uniform(0.25, 0.5), int(rng.integers(5, 14)), rng.uniform(0.05, 0.09)
    bend = rng.uniform(-0.06, 0.06)
    path = spline([(0, 0, 0), (bend * 0.3, 0, h * 0.5), (bend, 0, h)], 12)
    stem = sweep(path, np.full(12, 0.005), 8)
    heart = ball(0.045 + 0.02 * rng.uniform(-1, 1), None, 0.025, 16)
    cup = rng.uniform(0.0, 0.9)
    wide = rng.uniform(0.3, 0.75) * min(1.0, 7 / n)
    leaf = ball(petal, petal * wide, 0.008, 14).moved(petal * 0.5 + 0.01)
    head = [leaf.turned(-cup, "y").turned(2 * np.pi * k / n) for k in range(n)]
    tilt = rng.uniform(0.2, 0.9)
    parts: list[Part] = [
        (join(head).turned(-tilt, "x").moved(bend, 0, h), paint(rng)),
        (heart.moved(z=0.006).turned(-tilt, "x").moved(bend, 0, h), paint(rng)),
    ]
    blades = [
        ball(0.13, 0.04, 0.006, 14).moved(0.065).turned(-rng.uniform(0.4, 0.9), "y").turned(a).moved(0, 0, h * q)
        for a, q in ((0.4, 0.15), (3.4, 0.3))
    ]
    green = natural(rng, GREEN)
    return [*parts, (stem, green), (join(blades), green)]


PLANTS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "cactus": (cactus, ()),
    "flower": (flower, ()),
    "palm tree": (palm, ("palm",)),
    "pine tree": (pine, ("fir tree", "christmas tree")),
    "tree": (tree, ()),
}
"""Category → maker, synonyms."""
