"""Things to eat."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import cylinder, join, lathe, rounded_box
from ...geometry.shapes import ball, cone, ellipse, extrude, limb, loft, spline, sweep, torus, turned
from ...materials.materials import choose
from ...materials.paint import natural, paint, solid
from .furniture import Maker


def apple(rng: Generator) -> list[Part]:
    r, tall = 0.04, rng.uniform(0.8, 1.15)
    low, dip = rng.uniform(0.6, 0.95), rng.uniform(0.3, 0.6)
    h = 2 * r * tall
    body = turned(
        [
            (0, 0.12 * h),
            (r * 0.35, 0.01),
            (r * low, h * 0.2),
            (r, h * 0.6),
            (r * 0.75, h * 0.93),
            (r * 0.35, h),
            (0, h * (1 - 0.4 * dip)),
        ],
        32,
    )
    skew = rng.uniform(-0.3, 0.3)
    stem = limb(
        [(0, 0, h * 0.8), (0.004, 0, h), (0.004 + 0.02 * skew, 0, h + rng.uniform(0.008, 0.025))],
        (0.002, 0.0022, 0.003),
        8,
        6,
    )
    parts: list[Part] = [(body, natural(rng, (0.75, 0.15, 0.12))), (stem, solid(rng))]
    if rng.uniform() < 0.5:
        leaf = extrude(ellipse(0.016, 0.007, 16), -0.0008, 0.0008).moved(0.018).turned(-0.5, "y").moved(0.003, 0, h)
        parts.append((leaf, natural(rng, (0.3, 0.5, 0.15))))
    return parts


def pear(rng: Generator) -> list[Part]:
    r, h = 0.04, rng.uniform(0.1, 0.14)
    neck = rng.uniform(0.3, 0.5)
    body = turned(
        [
            (0, 0.006),
            (r * 0.5, 0.002),
            (r * 0.86, h * 0.13),
            (r, h * 0.3),
            (r * 0.9, h * 0.45),
            (r * (0.35 + 0.65 * neck), h * 0.64),
            (r * neck, h * 0.84),
            (r * neck * 0.6, h * 0.97),
            (0, h),
        ],
        40,
    )
    stem = limb(
        [(0, 0, h * 0.97), (0.003, 0, h + 0.01), (0.01 * rng.uniform(-1, 1), 0, h + 0.024)], (0.002, 0.002, 0.003), 8, 6
    )
    return [(body, natural(rng, (0.7, 0.72, 0.25))), (stem, solid(rng))]


def banana(rng: Generator) -> list[Part]:
    n = int(choose(rng, (1, 1, 2, 3)))
    radius, bend, thick = rng.uniform(0.09, 0.14), rng.uniform(1.0, 1.6), rng.uniform(0.014, 0.021)
    skin, tip = natural(rng, (0.9, 0.78, 0.2)), solid(rng)
    t = np.linspace(-bend / 2, bend / 2, 20)
    path = np.stack([radius * np.sin(t), 0 * t, radius * (1 - np.cos(t))], 1)
    size = thick * np.interp(t / bend, [-0.5, -0.44, -0.36, -0.15, 0.2, 0.4, 0.5], [0.3, 0.32, 0.65, 1, 1, 0.7, 0.3])
    one = sweep(path, size, section=ellipse(1, 1, 5), smooth=False) if rng.uniform() < 0.4 else sweep(path, size, 16)
    end = sweep(path[:2] + (path[0] - path[1]) * 1.2, size[:2] * 1.15, 10)
    fan = [-0.33 * (k - (n - 1) / 2) for k in range(n)]
    pivot = path[0]
    return [
        (join([one.turned(a, "z", pivot).moved(z=0.004 * k) for k, a in enumerate(fan)]), skin),
        (join([end.turned(a, "z", pivot).moved(z=0.004 * k) for k, a in enumerate(fan)]), tip),
    ]


def mushroom(rng: Generator) -> list[Part]:
    h, r, stem = rng.uniform(0.05, 0.12), rng.uniform(0.04, 0.07), rng.uniform(0.01, 0.022)
    dome = rng.uniform(0.35, 1.1) * r
    crown = [(r, h), (r * 0.85, h + dome * 0.6), (r * 0.4, h + dome * 0.95), (0, h + dome)]
    cap = turned([(0, h - 0.006), (r * 0.6, h - 0.008), *crown], 32)
    foot = turned([(0, 0), (stem * rng.uniform(1.0, 1.9), 0.0), (stem, h * 0.5), (stem * 0.9, h), (0, h)])
    parts: list[Part] = [(foot, natural(rng, (0.92, 0.88, 0.8))), (cap, natural(rng, (0.7, 0.2, 0.15)))]
    if rng.uniform() < 0.5:
        dots = []
        for k in range(int(rng.integers(6, 12))):
            at = spline(crown, 65)[int(rng.integers(12, 56))]
            spot = ball(rng.uniform(0.15, 0.3) * r, segments=10).scaled(1, 1, 0.6)
            dots.append(spot.moved(float(at[0]), 0, float(at[1])).turned(2.4 * k))
        parts.append((join(dots), paint(rng)))
    return parts


def ice_cream(rng: Generator) -> list[Part]:
    r, h = rng.uniform(0.025, 0.035), rng.uniform(0.09, 0.14)
    wafer = natural(rng, (0.85, 0.62, 0.35))
    parts: list[Part] = [(join([cone(r, -h, 0, 20).turned(np.pi, "x").moved(z=-h)]), wafer)]
    kind = rng.uniform()
    if kind < 0.6:
        n = int(rng.integers(1, 4))
        for k in range(n):
            s = r * 2.15 * (1 - 0.12 * k)
            parts.append((ball(s, s, s * 0.9, 18).moved(z=r * 0.45 + k * r * 1.35), paint(rng)))
    else:
        swirl = [
            torus(r * (0.72 - 0.18 * k), r * 0.42 * (1 - 0.15 * k), 24, 10).moved(z=r * (0.25 + 0.55 * k))
            for k in range(4)
        ]
        parts.append((join([*swirl, cone(r * 0.25, r * 1.9, r * 2.6, 12)]), paint(rng)))
    if rng.uniform() < 0.4:
        parts.append((cylinder(0.006, 0, r * 3.2, 10).turned(0.35, "y").moved(r * 0.3, 0, 0), paint(rng)))
    return parts


def cupcake(rng: Generator) -> list[Part]:
    r, h = rng.uniform(0.028, 0.036), rng.uniform(0.035, 0.05)
    n = 18
    t = np.linspace(0, 2 * np.pi, 4 * n, endpoint=False)
    ripple = 1 + 0.05 * np.sign(np.sin(n * t))
    rings = [
        np.stack([s * r * ripple * np.cos(t), s * r * ripple * np.sin(t), np.full(len(t), z)], 1)
        for s, z in ((0.75, 0), (1.05, h))
    ]

    layers = int(rng.integers(2, 5))
    cream = [
        torus(r * (0.75 - 0.6 * k / layers), r * 0.4, 24, 10).moved(z=h + r * 0.2 + 0.42 * r * k) for k in range(layers)
    ]
    top = h + r * 0.2 + 0.42 * r * layers
    parts: list[Part] = [
        (loft(rings, False), solid(rng)),
        (join([*cream, cone(r * 0.4, top - 0.5 * r, top + 0.15 * r)]), paint(rng)),
    ]
    if rng.uniform() < 0.6:
        parts.append((ball(0.016).moved(z=top + 0.1 * r), paint(rng)))
    return parts


def donut(rng: Generator) -> list[Part]:
    r, t = 0.05, rng.uniform(0.016, 0.028)
    flat = rng.uniform(0.75, 1.1)
    parts: list[Part] = [(torus(r, t, 36, 14).scaled(1, 1, flat).moved(z=t), solid(rng))]
    if rng.uniform() < 0.7:
        s = np.linspace(-0.15, np.pi + 0.15, 10)
        section = np.stack([np.cos(s), np.sin(s)], 1) * t * 1.05
        rim = [(r + a, t + b * flat) for a, b in section]
        parts.append(
            (lathe([*rim, *[(r + 0.9 * a, t + 0.9 * b * flat) for a, b in section[::-1]], rim[0]], 36), paint(rng))
        )
        sprinkles = []
        for _ in range(int(rng.integers(0, 30))):
            a, e = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2.6)
            bit = cylinder(0.0016, -0.005, 0.005, 6).turned(np.pi / 2, "y").turned(rng.uniform(0, 3))
            sprinkles.append(bit.moved(r + 1.06 * t * np.cos(e), 0, t + 1.06 * t * flat * np.sin(e)).turned(a))
        if sprinkles:
            parts.append((join(sprinkles), paint(rng)))
    return parts


def hamburger(rng: Generator) -> list[Part]:
    r = 0.05
    z, parts = 0.0, []
    bun = solid(rng)
    parts.append((turned([(0, 0), (r * 0.9, 0.0), (r, 0.01), (r * 0.97, 0.02), (0, 0.02)]), bun))
    z = 0.019
    for _ in range(int(rng.integers(2, 6))):
        t, kind = rng.uniform(0.005, 0.014), rng.uniform()
        if kind < 0.3:
            parts.append((rounded_box((-r, -r, z), (r, r, z + 0.004), 0.002).turned(rng.uniform(0, 1.5)), paint(rng)))
            t = 0.004
        else:
            parts.append(
                (lathe([(0, z), (r * 1.02, z), (r * 1.06, z + t / 2), (r * 1.02, z + t), (0, z + t)], 32), solid(rng))
            )
        z += t
    dome = rng.uniform(0.025, 0.04)
    parts.append(
        (turned([(0, z), (r, z), (r * 1.02, z + dome * 0.35), (r * 0.7, z + dome * 0.85), (0, z + dome)], 32), bun)
    )
    return parts


FOOD: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "apple": (apple, ()),
    "banana": (banana, ()),
    "cupcake": (cupcake, ("muffin",)),
    "donut": (donut, ("doughnut",)),
    "hamburger": (hamburger, ("burger",)),
    "ice cream": (ice_cream, ("ice cream cone",)),
    "mushroom": (mushroom, ("toadstool",)),
    "pear": (pear, ()),
}
"""Category → maker, synonyms."""
