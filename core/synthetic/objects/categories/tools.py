"""Tools to work with."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box
from ...geometry.shapes import (
    ellipse,
    ellipse3,
    extrude,
    loft,
    mirrored,
    ring_plate,
    rod,
    spline,
    standing,
    sweep,
    torus,
)
from ...materials.materials import choose, metal
from ...materials.paint import handle, paint, solid
from .furniture import Maker


def hammer(rng: Generator) -> list[Part]:
    length, r = rng.uniform(0.22, 0.4), rng.uniform(0.011, 0.017)
    w, s = rng.uniform(0.09, 0.15), rng.uniform(0.026, 0.042)
    grip = lathe(
        [(0, 0), (r * 1.2, 0), (r * 1.3, length * 0.15), (r * 0.85, length * 0.5), (r * 0.8, length), (0, length)], 16
    ).scaled(1, 0.8, 1)
    z = length - s * 0.3
    kind = choose(rng, ("claw", "sledge", "mallet"))
    if kind == "claw":
        face = (
            lathe([(0, 0), (s * 0.6, 0), (s * 0.6, 0.012), (s * 0.4, 0.03), (s * 0.42, w * 0.5), (0, w * 0.5)], 18)
            .turned(np.pi / 2, "y")
            .moved(-w * 0.5, 0, z)
        )
        claw = [
            sweep(
                spline(
                    [
                        (0, 0, z),
                        (w * 0.25, q * 0.007, z),
                        (w * 0.5, q * 0.012, z - 0.018),
                        (w * 0.62, q * 0.014, z - 0.045),
                    ],
                    12,
                ),
                np.stack([np.linspace(0.008, 0.004, 12), np.linspace(s * 0.42, 0.003, 12)], 1),
                section=ellipse(1, 1, 12, 4),
            )
            for q in (-1, 1)
        ]
        head = join([face, *claw])
    elif kind == "sledge":
        head = rounded_box((-w * 0.55, -s * 0.7, z - s * 0.7), (w * 0.55, s * 0.7, z + s * 0.7), 0.008)
    else:
        head = cylinder(s * rng.uniform(0.9, 1.4), -w * 0.55, w * 0.55, 24).turned(np.pi / 2, "y").moved(z=z)
    return [(grip, handle(rng)), (head, solid(rng) if rng.uniform() < 0.5 else metal(rng))]


def axe(rng: Generator) -> list[Part]:
    length, w, t = rng.uniform(0.35, 0.7), rng.uniform(0.12, 0.2), 0.02
    path = spline([(0, 0, 0), (0.015, 0, length * 0.1), (-0.01, 0, length * 0.5), (0, 0, length)], 16)
    grip = sweep(path, np.stack([np.full(16, 0.011), np.full(16, 0.017)], 1))
    flare = rng.uniform(1.0, 1.9)
    z = length - 0.05
    h = rng.uniform(0.03, 0.045)

    def blade(s: float) -> Mesh:
        return loft(
            [
                [(s * 0.015, -t, z - h), (s * 0.015, t, z - h), (s * 0.015, t, z + h), (s * 0.015, -t, z + h)],
                [
                    (s * w * 0.6, -t * 0.6, z - h * flare),
                    (s * w * 0.6, t * 0.6, z - h * flare),
                    (s * w * 0.6, t * 0.6, z + h),
                    (s * w * 0.6, -t * 0.6, z + h),
                ],
                [
                    (s * w, -0.001, z - h * flare * 1.4),
                    (s * w, 0.001, z - h * flare * 1.4),
                    (s * w, 0.001, z + h * 1.25),
                    (s * w, -0.001, z + h * 1.25),
                ],
            ],
            False,
        )

    head = [rounded_box((-0.03, -t, z - h), (0.03, t, z + h), 0.006), blade(1)]
    if rng.uniform() < 0.3:
        head.append(blade(-1))
    return [(grip, handle(rng)), (join(head), solid(rng))]


def screwdriver(rng: Generator) -> list[Part]:
    grip, shaft, r = rng.uniform(0.07, 0.12), rng.uniform(0.06, 0.2), rng.uniform(0.011, 0.018)
    n = int(rng.integers(5, 9))
    t = np.linspace(0, 2 * np.pi, 6 * n, endpoint=False)
    wave = 1 + 0.08 * np.cos(n * t)
    rings = [
        np.stack([s * r * wave * np.cos(t), s * r * wave * np.sin(t), np.full(len(t), z)], 1)
        for s, z in ((0.6, 0), (0.95, 0.006), (1, grip * 0.4), (1.0, grip * 0.75), (0.65, grip * 0.9), (0.75, grip))
    ]
    bar = cylinder(0.0032, grip, grip + shaft, 12)
    tip = loft(
        [
            ellipse3(0.003, 0.003, grip + shaft),
            ellipse3(0.005, 0.0015, grip + shaft + 0.008),
            ellipse3(0.004, 0.0006, grip + shaft + 0.016),
        ]
    )
    return [(loft(rings), solid(rng)), (join([bar, tip]), metal(rng) if rng.uniform() < 0.6 else paint(rng))]


def wrench(rng: Generator) -> list[Part]:
    length, w, r, t = (
        rng.uniform(0.14, 0.28),
        rng.uniform(0.007, 0.012),
        rng.uniform(0.017, 0.026),
        rng.uniform(0.003, 0.005),
    )
    material = metal(rng) if rng.uniform() < 0.4 else solid(rng)

    def jaw(y: float, up: float, size: float, turn: float) -> Mesh:
        gap = size * 0.5
        a = np.linspace(np.pi / 2 + 0.62, np.pi / 2 - 0.62 + 2 * np.pi, 24)
        points = [
            *np.stack([size * np.cos(a), size * np.sin(a)], 1).tolist(),
            (gap, size * 0.1),
            (0, -size * 0.25),
            (-gap, size * 0.1),
        ]
        return (
            extrude(points, -t, t).scaled(1, up, 1).turned(turn).moved(0, y)
            if up > 0
            else mirrored(extrude(points, -t, t).turned(-turn), "y").moved(0, y)
        )

    def ring(y: float, size: float) -> Mesh:
        return ring_plate(ellipse(size, size, 24), ellipse(size * 0.6, size * 0.6, 24), -t * 1.3, t * 1.3).moved(0, y)

    shaft = rounded_box((-w, 0, -t * 0.8), (w, length, t * 0.8), t * 0.5)
    small = r * rng.uniform(0.7, 1.0)
    a, b = ((jaw, ring), (jaw, jaw), (ring, ring))[int(rng.integers(3))]
    head = jaw(length + r * 0.7, 1, r, 0.25) if a is jaw else ring(length + r * 0.7, r)
    foot = jaw(-small * 0.7, -1, small, 0.25) if b is jaw else ring(-small * 0.7, small)
    return [(standing(join([shaft, head, foot])), material)]


def scissors(rng: Generator) -> list[Part]:
    length, spread, r = rng.uniform(0.08, 0.15), rng.uniform(0.12, 0.5), rng.uniform(0.018, 0.028)
    w = rng.uniform(0.008, 0.013)
    blade = extrude(
        [(-w * 0.6, -0.01), (w, -0.01), (w, length * 0.5), (-w * 0.3, length), (-w * 0.6, length * 0.95)], 0, 0.0025
    )
    arm = sweep(
        spline([(0, 0.005, 0), (w * 0.8, -0.03, 0), (r * 1.0, -0.055, 0)], 8),
        np.stack([np.full(8, 0.006), np.full(8, 0.003)], 1),
    )
    bow = torus(r, 0.0048, 24, 8).scaled(1, rng.uniform(1.0, 1.5), 1).moved(r * 0.95, -0.055 - r * 1.1)
    half_a, half_b = spread / 2, -spread / 2
    blades = join([blade.turned(half_b), mirrored(blade).turned(half_a).moved(z=0.003)])
    grips = join([join([arm, bow]).turned(half_a), mirrored(join([arm, bow])).turned(half_b).moved(z=0.002)])
    pin = cylinder(0.005, -0.002, 0.008, 14)
    steel = metal(rng) if rng.uniform() < 0.5 else paint(rng)
    return [(standing(join([blades, pin])), steel), (standing(grips), solid(rng))]


def key(rng: Generator) -> list[Part]:
    length, r, t = rng.uniform(0.035, 0.06), rng.uniform(0.011, 0.016), 0.002
    material = metal(rng) if rng.uniform() < 0.4 else solid(rng)
    kind = rng.uniform()
    meshes: list[Mesh] = []
    if kind < 0.5:  # an old key: a round shaft and a bit
        shaft = rod((0, 0, 0), (0, length, 0), 0.0028)
        teeth = int(rng.integers(2, 4))
        bits = [
            box((0, y, -t / 2), (rng.uniform(0.008, 0.013), y + 0.004, t / 2)) for y in 0.001 + 0.006 * np.arange(teeth)
        ]
        plate = box((0, 0.0, -t / 2), (0.006, 0.006 * teeth - 0.001, t / 2))
        meshes += [
            shaft,
            *bits,
            plate,
            *(torus(0.0035, 0.0014, 14, 6).turned(np.pi / 2, "x").moved(0, length * q, 0) for q in (0.85, 0.95)),
        ]
        if rng.uniform() < 0.5:
            meshes.append(torus(r * 0.8, 0.0028, 24, 8).moved(0, length + r * 0.8))
        else:
            meshes += [
                torus(r * 0.48, 0.0024, 20, 8).moved(x, length + y)
                for x, y in ((-r * 0.55, r * 0.4), (r * 0.55, r * 0.4), (0, r * 1.2))
            ]
    else:  # a flat key with a toothed edge
        n = int(rng.integers(4, 7))
        edge = [(0.0035 - rng.uniform(0.0, 0.004) * (k % 2), length * 0.85 * k / n) for k in range(n, 0, -1)]
        outline = [(-0.004, length), (-0.004, 0.004), (-0.001, 0), (0.003, 0.003), *edge[::-1], (0.004, length)]
        outer = ellipse(r, r * rng.uniform(0.75, 1.1), 24, choose(rng, (2.0, 3.5)))
        meshes += [
            extrude(outline, -t / 2, t / 2),
            ring_plate(outer, np.add(ellipse(r * 0.3, r * 0.3, 24), [0, r * 0.4]), -t * 0.6, t * 0.6).moved(
                0, length + r * 0.75
            ),
        ]
    return [(standing(join(meshes)), material)]


def ladder(rng: Generator) -> list[Part]:
    h, w, n = rng.uniform(1.4, 3.0), rng.uniform(0.35, 0.5), int(rng.integers(5, 11))
    taper = rng.uniform(0.7, 1.0)
    lean = rng.uniform(0.12, 0.3)
    material = solid(rng)
    square = rng.uniform() < 0.5

    def side(count: int) -> Mesh:
        a, b = w / 2, w / 2 * taper
        posts = [
            sweep([(s * a, 0, 0), (s * b, 0, h)], [0.022, 0.022], section=ellipse(1, 1, 12, 6 if square else 2))
            for s in (-1, 1)
        ]
        rungs = []
        for z in (np.arange(count) + 0.7) / count * h:
            x = a + (b - a) * z / h
            rungs.append(
                box((-x, -0.03, z - 0.012), (x, 0.03, z + 0.012)) if square else rod((-x, 0, z), (x, 0, z), 0.014)
            )
        return join([*posts, *rungs])

    if rng.uniform() < 0.5:  # a step ladder
        front_ = side(n).turned(lean, "x", (0, 0, h))
        back = side(2).turned(-lean, "x", (0, 0, h))
        top = box((-w * taper / 2 - 0.02, -0.07, h - 0.03), (w * taper / 2 + 0.02, 0.07, h + 0.01))
        return [(join([front_, top]), material), (back, material if rng.uniform() < 0.6 else solid(rng))]
    return [(side(n + 2).turned(0.25 * float(rng.uniform(0, 1)), "x"), material)]


def bucket(rng: Generator) -> list[Part]:
    r, h, base = 0.14, rng.uniform(0.2, 0.32), rng.uniform(0.65, 0.9)
    body = lathe(
        [
            (0, 0),
            (r * base, 0),
            (r, h),
            (r + 0.008, h),
            (r + 0.008, h - 0.015),
            (r * 0.99, h - 0.016),
            (r - 0.006, h - 0.02),
            (r * base - 0.006, 0.008),
            (0, 0.008),
        ],
        28,
    )
    swing = rng.uniform(-1.3, 1.3)
    arch = torus(r, 0.004, 28, 8, np.pi).turned(np.pi / 2, "x").scaled(1, 1, rng.uniform(0.8, 1.1))
    grip = cylinder(0.011, -0.05, 0.05, 12).turned(np.pi / 2, "y").moved(z=r * 0.97)
    bail = join([arch]).turned(swing, "x").moved(z=h - 0.02)
    return [(body, solid(rng)), (bail, metal(rng)), (grip.turned(swing, "x").moved(z=h - 0.02), handle(rng))]


def barrel(rng: Generator) -> list[Part]:
    r, h, belly = rng.uniform(0.22, 0.3), rng.uniform(0.6, 0.95), rng.uniform(1.0, 1.35)
    n = 28
    body = lathe(
        [
            (0, 0.03),
            (r - 0.02, 0.03),
            (r - 0.02, 0),
            (r, 0),
            *[(r * (1 + (belly - 1) * np.sin(np.pi * s)), h * s) for s in np.linspace(0.08, 0.92, 10)],
            (r, h),
            (r - 0.02, h),
            (r - 0.02, h - 0.03),
            (0, h - 0.03),
        ],
        n,
    )
    hoops = []
    for s in choose(rng, ((0.08, 0.3, 0.7, 0.92), (0.1, 0.9), (0.06, 0.2, 0.8, 0.94), (0.33, 0.67))):
        q = r * (1 + (belly - 1) * np.sin(np.pi * s)) + 0.006
        hoops.append(
            lathe([(q - 0.02, h * s - 0.022), (q, h * s - 0.022), (q, h * s + 0.022), (q - 0.02, h * s + 0.022)], n)
        )
    parts: list[Part] = [(body, solid(rng)), (join(hoops), solid(rng))]
    if rng.uniform() < 0.3:  # lying on a cradle
        lie = [(m.moved(z=-h / 2).turned(np.pi / 2, "x").moved(z=r * belly + 0.05), material) for m, material in parts]
        blocks = [box((-r * 1.05, y - 0.04, 0), (r * 1.05, y + 0.04, r * 0.75)) for y in (-h * 0.3, h * 0.3)]
        return [*lie, (join(blocks), solid(rng))]
    return parts


def flashlight(rng: Generator) -> list[Part]:
    r, length = rng.uniform(0.013, 0.02), rng.uniform(0.09, 0.2)
    flare, head = rng.uniform(1.3, 2.2), rng.uniform(0.03, 0.06)
    tube_ = lathe(
        [
            (0, 0),
            (r * 0.9, 0),
            (r, 0.004),
            (r, length),
            (r * flare, length + head * 0.5),
            (r * flare, length + head),
            (r * flare * 0.88, length + head),
            (r * flare * 0.8, length + head - 0.008),
            (0, length + head - 0.008),
        ],
        28,
    )
    ribs = [
        torus(r, 0.0014, 24, 6).moved(z=z) for z in np.linspace(length * 0.15, length * 0.6, int(rng.integers(3, 9)))
    ]
    knob = rounded_box((r * 0.6, -0.006, length * 0.7), (r * 1.35, 0.006, length * 0.85), 0.003)
    lens = cylinder(r * flare * 0.8, length + head - 0.008, length + head - 0.004, 24)
    lie = [(tube_, solid(rng)), (join([*ribs, knob]), solid(rng)), (lens, paint(rng))]
    return [(m.turned(-np.pi / 2, "x"), material) for m, material in lie]


TOOLS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "axe": (axe, ("hatchet",)),
    "barrel": (barrel, ("cask",)),
    "bucket": (bucket, ("pail",)),
    "flashlight": (flashlight, ("torch",)),
    "hammer": (hammer, ()),
    "key": (key, ()),
    "ladder": (ladder, ()),
    "scissors": (scissors, ()),
    "screwdriver": (screwdriver, ()),
    "wrench": (wrench, ("spanner",)),
}
"""Category → maker, synonyms."""
