"""Things that fly and swim."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box
from ...geometry.shapes import ball, ellipse, extrude, loft, pair, rod, spline, sweep, torus, turned
from ...materials.materials import choose
from ...materials.paint import DARK, paint, solid
from .furniture import Maker
from .vehicles import side_extrusion, wheels


def _hull(rng: Generator, length: float, w: float, h: float) -> Mesh:
    y = np.linspace(-0.5, 0.5, 16)
    stern = rng.uniform(0.4, 0.9)
    rings = []
    for s in y:
        wide = w / 2 * max(np.interp(s, [-0.5, -0.2, 0.15, 0.38, 0.5], [stern, 1, 0.97, 0.55, 0.02]), 0.02)
        keel = h * np.interp(s, [-0.5, 0.3, 0.5], [0.1, 0.0, 0.55])
        sheer = h * (1 + 0.8 * max(s, 0) ** 2 + 0.3 * s * s)
        rings.append(
            [
                (-wide, s * length, sheer),
                (-wide * 0.92, s * length, (sheer + keel) * 0.5),
                (-wide * 0.45, s * length, keel + 0.06 * h),
                (0, s * length, keel),
                (wide * 0.45, s * length, keel + 0.06 * h),
                (wide * 0.92, s * length, (sheer + keel) * 0.5),
                (wide, s * length, sheer),
            ]
        )
    return loft(rings, True)


def airplane(rng: Generator) -> list[Part]:
    length, r, span = rng.uniform(9, 14), rng.uniform(0.6, 0.95), rng.uniform(8, 14)
    sweep_, chord = rng.uniform(0.0, 3.0), rng.uniform(1.2, 2.2)
    color, second = paint(rng), paint(rng)
    a = length / 2
    ys = np.array([-a, -a * 0.85, -a * 0.5, a * 0.5, a * 0.8, a * 0.95, a])
    radius = np.array([0.08, 0.3, 0.95, 1, 0.85, 0.45, 0.0]) * r
    rise = np.array([0.6, 0.45, 0.1, 0, 0, -0.1, -0.2]) * r
    y = np.linspace(-a, a, 30)
    body = sweep(np.stack([0 * y, y, np.interp(y, ys, rise)], 1), np.interp(y, ys, radius), 20)
    low = -r * rng.uniform(0.2, 0.7) if rng.uniform() < 0.7 else r * 0.75

    def wing(half: float, c: float, back: float, y0: float, z0: float, up: float, t: float) -> Mesh:
        rings = []
        for x, s in ((0.0, 1.0), (half, 0.45)):
            e = ellipse(c * s / 2, t * s, 16)
            rings.append(np.stack([np.full(16, x), y0 - back * x / half + e[:, 0], z0 + up * x / half + e[:, 1]], 1))
        return pair(loft(rings))

    wings = [wing(span / 2, chord, sweep_, 0.1 * a, low, rng.uniform(0, 0.8), 0.13)]
    if rng.uniform() < 0.2:  # a biplane
        wings.append(wing(span / 2, chord, sweep_, 0.1 * a, low + 2.2 * r, 0.0, 0.1))
        wings += [
            rod((s * span * q, 0.05 * a, low), (s * span * q, 0.05 * a, low + 2.2 * r), 0.05)
            for s in (-1, 1)
            for q in (0.15, 0.35)
        ]
    high = rng.uniform() < 0.3
    fin_h = rng.uniform(1.5, 2.4)
    fin = (
        extrude([(-a * 0.98, 0.2), (-a * 0.68, 0.2), (-a * 0.9, fin_h), (-a * 1.05, fin_h)], -0.07, 0.07)
        .turned(np.pi / 2, "x")
        .turned(np.pi / 2, "z")
        .moved(z=0.4 * r)
    )
    tail = wing(span * 0.2, chord * 0.6, sweep_ * 0.3, -a * 0.93, fin_h + 0.3 * r if high else 0.5 * r, 0.0, 0.06)
    parts: list[Part] = [
        (body, color),
        (join(wings), color if rng.uniform() < 0.5 else second),
        (join([fin, tail]), second),
    ]
    kind = rng.uniform()
    if kind < 0.6:
        spots = [(q, 0.0) for q in ((0.3,), (0.25, 0.5))[int(rng.integers(2))]]
        pods = [
            lathe([(0, -0.7), (0.25, -0.7), (0.36, 0.2), (0.32, 0.7), (0.26, 0.7), (0.2, 0.4), (0, 0.4)], 18)
            .turned(-np.pi / 2, "x")
            .moved(s * q * span, 0.1 * a - sweep_ * q * 2 + chord * 0.4, low - 0.42)
            for q, _ in spots
            for s in (-1, 1)
        ]
        parts.append((join(pods), paint(rng)))
    else:
        n = int(rng.integers(2, 5))
        blades = [
            box((-0.06, a, 0.1), (0.06, a + 0.04, 1.3)).turned(2 * np.pi * k / n, "y", (0, 0, -0.2 * r))
            for k in range(n)
        ]
        parts.append((join([*blades, ball(0.3).moved(0, a, -0.2 * r)]), paint(rng)))
    y = np.linspace(-a * 0.5, a * 0.75, 14)
    glass = [ball(0.12, 0.3, 0.3, 10).moved(s * r * 0.96, v, r * 0.2) for v in y for s in (-1, 1)]
    parts.append(
        (
            join([*glass, ball(r * 1.1, r * 1.2, r * 0.7, 14).moved(0, a * 0.82, r * 0.5)]),
            choose(rng, (DARK, paint(rng))),
        )
    )
    return parts


def helicopter(rng: Generator) -> list[Part]:
    length, r = rng.uniform(2.6, 3.8), rng.uniform(0.75, 0.95)
    boom = rng.uniform(2.6, 4.2)
    color = paint(rng)
    cabin = ball(2 * r, length, 2 * r * rng.uniform(0.95, 1.15), 24)
    tail = sweep(
        [(0, -length * 0.2, 0.2), (0, -length * 0.5, 0.3), (0, -length * 0.4 - boom, 0.55)], [r * 0.6, r * 0.32, 0.1]
    )
    end = -length * 0.4 - boom
    fin = (
        extrude([(end - 0.3, 1.3), (end + 0.05, 1.3), (end + 0.5, 0.5), (end, 0.35)], -0.05, 0.05)
        .turned(np.pi / 2, "x")
        .turned(np.pi / 2, "z")
    )
    n, reach = int(rng.integers(2, 6)), rng.uniform(2.8, 4.2)
    top = 1.2 * r + 0.35
    blades = [box((0, -0.12, top), (reach, 0.12, top + 0.04), 0.6).turned(2 * np.pi * k / n + 0.4) for k in range(n)]
    small = [
        box((-0.03, -0.05, 0.05), (0.0, 0.05, 0.55)).turned(2 * np.pi * k / 3, "x").moved(0.14, end + 0.05, 0.7)
        for k in range(3)
    ]
    glass = ball(2 * r * 0.9, length * 0.6, 2 * r * 0.75, 20).moved(0, length * 0.23, 0.08)
    parts: list[Part] = [
        (join([cabin, tail, fin]), color),
        (join([*blades, *small, cylinder(0.09, r * 0.7, top + 0.1, 12)]), solid(rng)),
        (glass, choose(rng, (DARK, paint(rng)))),
    ]
    if rng.uniform() < 0.7:
        x = r * 0.85
        skid = [
            sweep(
                spline([(s * x, -1.2, -r - 0.35), (s * x, 1.1, -r - 0.35), (s * x, 1.4, -r - 0.2)], 12),
                np.full(12, 0.06),
            )
            for s in (-1, 1)
        ]
        struts = [rod((s * x, y, -r - 0.35), (s * r * 0.5, y, -r * 0.6), 0.045) for s in (-1, 1) for y in (-0.6, 0.6)]
        parts.append((join(skid + struts), solid(rng)))
    else:
        parts += [(mesh.moved(0, 0, -r - 0.45), m) for mesh, m in wheels(r * 0.8, [-0.7, 0.9], 0.28, 0.16, rng)]
    return parts


def sailboat(rng: Generator) -> list[Part]:
    length = rng.uniform(4, 7)
    w, h, mast = length * rng.uniform(0.25, 0.36), rng.uniform(0.6, 1.0), length * rng.uniform(0.95, 1.4)
    hull = _hull(rng, length, w, h)
    y0 = rng.uniform(0.02, 0.15) * length
    pole = cylinder(0.05, h * 0.5, h + mast, 10).moved(0, y0)
    foot = h + mast * 0.12
    curve = rng.uniform(0.0, 0.15)

    def sail(y1: float, y2: float, z1: float, z2: float) -> Mesh:
        edge = [
            (y1 + (y2 - y1) * s + curve * length * np.sin(np.pi * s) * np.sign(y1 - y2) * 0.0, z1 + (z2 - z1) * s)
            for s in np.linspace(0, 1, 6)
        ]
        return side_extrusion([(y2, z1), *edge], 0.03)

    sails = [sail(-length * rng.uniform(0.38, 0.48), y0 - 0.08, foot, h + mast * 0.97)]
    if rng.uniform() < 0.7:
        sails.append(sail(length * rng.uniform(0.42, 0.5), y0 + 0.1, foot, h + mast * rng.uniform(0.7, 0.95)))
    boom = rod((0, y0, foot - 0.08), (0, -length * 0.42, foot - 0.08), 0.04)
    parts: list[Part] = [(hull, solid(rng)), (join([pole, boom]), solid(rng)), (sails[0], solid(rng))]
    parts += [(s, parts[2][1] if rng.uniform() < 0.6 else solid(rng)) for s in sails[1:]]
    if rng.uniform() < 0.5:
        parts.append(
            (rounded_box((-w * 0.25, -length * 0.1, h * 0.9), (w * 0.25, length * 0.25, h * 1.45), 0.12), paint(rng))
        )
    return parts


def ship(rng: Generator) -> list[Part]:
    """A steamer: hull, decks, funnels."""
    length = rng.uniform(9, 16)
    w, h = length * rng.uniform(0.18, 0.28), rng.uniform(1.4, 2.2)
    parts: list[Part] = [(_hull(rng, length, w, h), solid(rng))]
    z, y0, y1 = h * 1.0, -length * rng.uniform(0.25, 0.42), length * rng.uniform(0.05, 0.28)
    deck = paint(rng)
    for k in range(int(rng.integers(1, 4))):
        t = rng.uniform(0.7, 1.0)
        s = 0.4 - 0.06 * k
        parts.append((rounded_box((-w * s, y0, z - 0.1), (w * s, y1, z + t), 0.06), deck))
        holes = [
            box((-w * s - 0.02, y, z + 0.3 * t), (w * s + 0.02, y + 0.3, z + 0.7 * t))
            for y in np.arange(y0 + 0.3, y1 - 0.4, 0.7)
        ]
        if holes:
            parts.append((join(holes), DARK))
        z, y0, y1 = z + t, y0 + 0.4, y1 - 0.5
    n = int(rng.integers(1, 4))
    funnels = [
        cylinder(0.36, z - 0.3, z + rng.uniform(1.0, 1.6), 18).turned(0.12, "x", (0, 0, z)).moved(0, y)
        for y in np.linspace(y0 + 0.5, y1 - 0.5, n + 2)[1:-1]
    ]
    parts.append((join(funnels), paint(rng)))
    parts.append((cylinder(0.06, h, h + rng.uniform(2, 4), 8).moved(0, length * 0.38), solid(rng)))
    return parts


def rocket(rng: Generator) -> list[Part]:
    r, h = rng.uniform(0.35, 0.7), rng.uniform(2.4, 5.0)
    nose = rng.uniform(0.8, 1.6)
    if rng.uniform() < 0.5:  # of the comics
        body = turned([(0, 0), (r * 0.5, 0), (r, h * 0.45), (r * 0.6, h * 0.85), (0, h + nose * 0.4)], 36)
        split, tip = h * 0.8, None
    else:
        body = lathe([(0, 0), (r, 0), (r, h), (0, h)], 28)
        tip = turned([(0, h), (r, h), (r * 0.75, h + nose * 0.5), (r * 0.3, h + nose * 0.88), (0, h + nose)], 20)
        split = h * 0.9
    n = int(rng.integers(3, 6))
    fh, fr, drop = rng.uniform(0.6, 1.2), rng.uniform(0.35, 0.75), rng.uniform(0.1, 0.5)
    fin = extrude(
        [(r * 0.3, 0.1), (r * 0.95 + fr, -drop), (r + fr, fh * 0.4), (r * 0.6, fh + 0.2)], -0.05, 0.05
    ).turned(np.pi / 2, "x")
    fins = join([fin.turned(2 * np.pi * k / n + 0.3) for k in range(n)])
    nozzle = lathe([(0, -0.25), (r * 0.55, -0.25), (r * 0.35, 0.05), (0, 0.05)], 20)
    ports = [
        torus(r * 0.3, 0.05, 18, 8).turned(np.pi / 2, "x").moved(0, r * 0.93, z)
        for z in np.linspace(h * 0.5, split * 0.8, int(rng.integers(1, 4)))
    ]
    parts: list[Part] = [(body, solid(rng)), (fins, solid(rng)), (nozzle, solid(rng)), (join(ports), paint(rng))]
    return [*parts, (tip, solid(rng))] if tip is not None else parts


CRAFT: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "airplane": (airplane, ("plane", "aircraft")),
    "helicopter": (helicopter, ()),
    "rocket": (rocket, ("space rocket",)),
    "sailboat": (sailboat, ("sailing boat", "boat")),
    "ship": (ship, ("steamer",)),
}
"""Category → maker, synonyms."""
