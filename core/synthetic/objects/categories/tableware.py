"""Crockery, cutlery and other small things on a table."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box, tapered
from ...geometry.shapes import ball, extrude, spline, sweep, torus, turned
from ...materials.materials import choose, metal
from ...materials.paint import natural, paint, solid
from .furniture import Maker


def _handle(rng: Generator, length: float) -> Mesh:
    """A flat handle from y = −length to 0, widening to its end."""
    w = rng.uniform(0.006, 0.012)
    outline = [
        (-w, -length),
        (w, -length),
        (w * 0.8, -length * 0.7),
        (0.004, -0.01),
        (0.004, 0),
        (-0.004, 0),
        (-0.004, -0.01),
        (-w * 0.8, -length * 0.7),
    ]
    return extrude(outline, -0.0015, 0.0015)


def teapot(rng: Generator) -> list[Part]:
    r, h = 0.08, rng.uniform(0.09, 0.17)
    belly = rng.uniform(0.3, 0.6)
    clay = solid(rng)
    body = turned([(0, 0), (r * 0.6, 0), (r, h * belly), (r * 0.55, h * 0.93), (r * 0.35, h), (0, h)])
    lid = join(
        [
            turned([(0, h - 0.005), (r * 0.5, h - 0.005), (r * 0.3, h + 0.02), (0, h + 0.025)]),
            ball(0.025).moved(z=h + 0.032),
        ]
    )
    lift = rng.uniform(0.7, 1.05)
    spout = sweep(
        spline([(r * 0.7, 0, h * 0.3), (r * 1.35, 0, h * 0.42), (r * 1.5, 0, h * 0.75), (r * 1.9, 0, h * lift)], 12),
        np.linspace(0.024, 0.011, 12),
    )
    if rng.uniform() < 0.3:  # an arch over the lid
        grip = torus(r * 0.85, 0.006, 20, 8, np.pi).turned(np.pi / 2, "x").scaled(1, 1, 0.9).moved(z=h * 0.85)
    else:
        grip = sweep(
            spline(
                [(-r * 0.75, 0, h * 0.2), (-r * 1.6, 0, h * 0.35), (-r * 1.5, 0, h * 0.8), (-r * 0.6, 0, h * 0.85)], 14
            ),
            np.full(14, 0.008),
        )
    return [
        (join([body, spout]), clay),
        (lid, clay if rng.uniform() < 0.6 else paint(rng)),
        (grip, choose(rng, (clay, solid(rng)))),
    ]


def wine_glass(rng: Generator) -> list[Part]:
    r, bowl, stem = rng.uniform(0.03, 0.045), rng.uniform(0.05, 0.11), rng.uniform(0.05, 0.1)
    z = stem
    kind = rng.uniform()
    if kind < 0.55:  # round
        cup = [(r * 0.75, z + bowl * 0.2), (r, z + bowl * 0.5), (r * rng.uniform(0.7, 0.95), z + bowl)]
    elif kind < 0.8:  # a flute or a cone
        cup = [(r * rng.uniform(0.3, 0.5), z + bowl * 0.35), (r * 1.1, z + bowl)]
    else:  # a coupe
        bowl = 0.035
        cup = [(r * 1.3, z + bowl * 0.4), (r * 1.5, z + bowl)]
    foot = [(0, 0), (r * 0.95, 0), (r * 0.9, 0.004), (0.006, 0.012), (0.004, stem * 0.5), (0.005, z)]
    outside = [(float(a), float(b)) for a, b in spline([foot[-1], *cup], 14)]
    inside = [(max(a - 0.0025, 0.002), b + 0.002) for a, b in outside[-2::-1] if b > z + 0.006]
    profile = [*foot, *outside[1:], (cup[-1][0] - 0.002, cup[-1][1]), *inside, (0, z + 0.008)]
    return [(lathe(profile, 28), solid(rng))]


def candle(rng: Generator) -> list[Part]:
    wax, stand = paint(rng), solid(rng)
    r, h = rng.uniform(0.01, 0.035), rng.uniform(0.08, 0.22)
    base = 0.02
    kind = rng.uniform()
    if kind < 0.4:  # a tall candlestick
        base, r = rng.uniform(0.08, 0.2), 0.011
        foot = turned(
            [
                (0, 0),
                (0.05, 0),
                (0.045, 0.012),
                (0.012, 0.03),
                (0.018, base * 0.5),
                (0.009, base * 0.7),
                (0.024, base),
                (0, base),
            ]
        )
    elif kind < 0.75:  # a saucer with a ring
        foot = join(
            [
                lathe(
                    [
                        (0, 0),
                        (0.05, 0),
                        (0.07, 0.018),
                        (0.065, 0.018),
                        (0.045, 0.006),
                        (0.02, 0.006),
                        (0.018, 0.02),
                        (0, 0.02),
                    ],
                    24,
                ),
                torus(0.018, 0.004, 16, 8).turned(np.pi / 2, "x").moved(0.085, 0, 0.014),
            ]
        )
    else:
        foot = cylinder(0.06, 0, base, 24)
    body = cylinder(r, base, base + h, 20)
    wick = cylinder(0.0018, base + h, base + h + 0.012, 6)
    flame = turned(
        [(0, base + h + 0.008), (0.007, base + h + 0.018), (0.004, base + h + 0.034), (0, base + h + 0.045)], 12, 12
    )
    return [(foot, stand), (body, wax), (wick, solid(rng)), (flame, natural(rng, (0.95, 0.7, 0.2), 0.5))]


def spoon(rng: Generator) -> list[Part]:
    length, w = rng.uniform(0.08, 0.16), rng.uniform(0.018, 0.034)
    long = w * rng.uniform(1.0, 1.6)
    dish = lathe(
        [(0, -0.5), (0.5, -0.42), (0.86, -0.2), (1, 0), (0.94, 0), (0.8, -0.17), (0.45, -0.36), (0, -0.43)], 24
    )
    bowl = dish.scaled(w, long, w * rng.uniform(0.7, 1.1)).moved(0, long * 0.97)
    material = solid(rng)
    grip = material if rng.uniform() < 0.6 else solid(rng)
    return [(bowl, material), (_handle(rng, length), grip)]


def fork(rng: Generator) -> list[Part]:
    length, n = rng.uniform(0.1, 0.15), int(rng.integers(2, 5))
    w, tine = rng.uniform(0.011, 0.016), rng.uniform(0.035, 0.06)
    head = extrude([(-0.004, -0.004), (0.004, -0.004), (w, 0.02), (w, 0.032), (-w, 0.032), (-w, 0.02)], -0.0015, 0.0015)
    t = w / (1.6 * n)
    tines = [box((x - t, 0.03, -0.0015), (x + t, 0.03 + tine, 0.0015)) for x in np.linspace(-w + t, w - t, n)]
    material = solid(rng)
    grip = material if rng.uniform() < 0.6 else solid(rng)
    return [(join([head, *tines]), material), (_handle(rng, length), grip)]


def knife(rng: Generator) -> list[Part]:
    blade, w = rng.uniform(0.1, 0.24), rng.uniform(0.02, 0.05)
    tip = rng.uniform(0.5, 1.0)
    edge = [(0, 0), (w, 0), *[(w * (1 - s**2.5 * tip), blade * s) for s in np.linspace(0.4, 1.0, 8)], (0, blade)]
    grip = rounded_box(
        (w * 0.1, -rng.uniform(0.09, 0.12), -0.008), (w * 0.1 + rng.uniform(0.018, 0.026), 0.004, 0.008), 0.006
    )
    return [(extrude(edge, -0.0012, 0.0012), metal(rng) if rng.uniform() < 0.5 else paint(rng)), (grip, solid(rng))]


def hourglass(rng: Generator) -> list[Part]:
    r, h = rng.uniform(0.03, 0.06), rng.uniform(0.12, 0.2)
    plate = rng.uniform(1.15, 1.35) * r
    glass = turned(
        [
            (0, 0.012),
            (r * 0.9, 0.012),
            (r, h * 0.25),
            (r * 0.12, h * 0.5),
            (r, h * 0.75),
            (r * 0.9, h - 0.012),
            (0, h - 0.012),
        ],
        32,
    )
    n = int(rng.integers(3, 5))
    if rng.uniform() < 0.5:
        discs = [cylinder(plate, 0, 0.014, 28), cylinder(plate, h - 0.014, h, 28)]
    else:
        discs = [rounded_box((-plate, -plate, z), (plate, plate, z + 0.014), 0.004) for z in (0, h - 0.014)]
    posts = [
        tapered(0.005, 0.005, 0.012, h - 0.012, 10).moved(plate * 0.88).turned(2 * np.pi * (k + 0.5) / n)
        for k in range(n)
    ]
    return [(glass, paint(rng)), (join([*discs, *posts]), solid(rng))]


def trophy(rng: Generator) -> list[Part]:
    r, h = rng.uniform(0.06, 0.1), rng.uniform(0.1, 0.18)
    base, stem = rng.uniform(0.03, 0.07), rng.uniform(0.03, 0.1)
    z = base + stem
    gold = natural(rng, (0.85, 0.68, 0.25))
    cup = lathe(
        [
            (0, base),
            (r * 0.5, base),
            (r * 0.15, base + stem * 0.4),
            (r * 0.12, z),
            (r * 0.6, z + h * 0.15),
            (r * 0.9, z + h * 0.5),
            (r, z + h),
            (r * 0.95, z + h),
            (r * 0.82, z + h * 0.5),
            (0, z + h * 0.3),
        ],
        28,
    )
    ears = [
        sweep(
            spline(
                [
                    (s * r * 0.75, 0, z + h * 0.3),
                    (s * r * 1.5, 0, z + h * 0.4),
                    (s * r * 1.55, 0, z + h * 0.85),
                    (s * r * 0.97, 0, z + h * 0.88),
                ],
                14,
            ),
            np.full(14, 0.007),
        )
        for s in (-1, 1)
    ]
    if rng.uniform() < 0.5:
        foot = rounded_box((-r * 0.8, -r * 0.8, 0), (r * 0.8, r * 0.8, base), 0.006)
    else:
        foot = lathe([(0, 0), (r * 0.95, 0), (r * 0.7, base), (0, base)], 28)
    return [(join([cup, *ears]), gold), (foot, solid(rng))]


TABLEWARE: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "candle": (candle, ()),
    "fork": (fork, ()),
    "hourglass": (hourglass, ("sand timer",)),
    "knife": (knife, ("kitchen knife",)),
    "spoon": (spoon, ()),
    "teapot": (teapot, ()),
    "trophy": (trophy, ("trophy cup",)),
    "wine glass": (wine_glass, ("goblet",)),
}
"""Category → maker, synonyms."""
