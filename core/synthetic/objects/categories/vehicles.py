"""Things that drive on wheels."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box
from ...geometry.shapes import ball, ellipse, extrude, loft, mirrored, rod, spline, sweep, torus, turned
from ...materials.materials import choose
from ...materials.paint import DARK, paint, solid
from .furniture import Maker


def disc(radius: float, width: float, segments: int = 24) -> Mesh:
    """A wheel about the x axis, centred at the origin."""
    return cylinder(radius, -width / 2, width / 2, segments).turned(np.pi / 2, "y")


def wheels(xs: float, ys: list[float], radius: float, width: float, rng: Generator) -> list[Part]:
    """Pairs of wheels at ±xs, standing on the ground."""
    tyre = [disc(radius, width).moved(s * xs, y, radius) for y in ys for s in (-1, 1)]
    hub = [disc(radius * 0.55, width * 1.12, 16).moved(s * xs, y, radius) for y in ys for s in (-1, 1)]
    return [(join(tyre), choose(rng, (DARK, DARK, paint(rng)))), (join(hub), paint(rng))]


def side_extrusion(outline: list[tuple[float, float]], width: float) -> Mesh:
    """An outline of (y, z), as seen from the side, as wide as that in x."""
    return extrude(outline, -width / 2, width / 2).turned(np.pi / 2, "x").turned(np.pi / 2, "z")


def car(rng: Generator) -> list[Part]:
    length, w, h = rng.uniform(3.4, 4.8), rng.uniform(1.55, 1.85), rng.uniform(0.5, 0.7)
    cabin, lift, r = rng.uniform(0.4, 0.65), rng.uniform(0.18, 0.35), rng.uniform(0.28, 0.38)
    a, z0, z1 = length / 2, lift, lift + h
    kind = choose(rng, ("saloon", "hatchback", "estate", "pickup", "sports"))
    nose, tail = {
        "saloon": (0.42, -0.5),
        "hatchback": (0.4, -0.85),
        "estate": (0.42, -0.96),
        "pickup": (0.3, -0.15),
        "sports": (0.25, -0.75),
    }[kind]
    rake = rng.uniform(0.2, 0.4)
    top = z1 + (cabin * 0.7 if kind == "sports" else cabin)
    hood = z1 - rng.uniform(0.0, 0.15)
    body = spline(
        [
            (-a, z0),
            (a, z0),
            (a, z0 + h * 0.5),
            (a * 0.95, hood - 0.05),
            (a * nose, z1),
            (a * tail, z1),
            (-a * 0.98, z1 - 0.05),
            (-a, z0 + h * 0.5),
        ],
        48,
        True,
    )
    shell = side_extrusion([(float(y), max(float(z), z0)) for y, z in body], w)
    y0, y1 = a * tail, a * nose
    lean = [
        (y1, z1 - 0.02),
        (y1 - rake * a * 0.5, top),
        (y0 + 0.12 * a, top),
        (y0 - (0.1 * a if kind == "saloon" else 0.0), z1 - 0.02),
    ]
    k = rng.uniform(0.82, 0.92)
    glass = side_extrusion(lean, w * k)
    roof = rounded_box((-w * k / 2, y0 + 0.1 * a, top - 0.03), (w * k / 2, y1 - rake * a * 0.48, top + 0.02), 0.02)
    color = paint(rng)
    posts = [
        box((s * w * k / 2 - 0.02, y - 0.04, z1 - 0.02), (s * w * k / 2 + 0.02, y + 0.04, top))
        for s in (-1, 1)
        for y in ((y1 - rake * a * 0.5 + y0 + 0.12 * a) / 2,)
    ]
    lamps = [ball(0.2, 0.08, 0.14, 12).moved(s * w * 0.36, a * 0.98, z0 + h * 0.6) for s in (-1, 1)]
    back = [
        box((s * w * 0.4 - 0.12, -a - 0.02, z0 + h * 0.5), (s * w * 0.4 + 0.12, -a + 0.05, z0 + h * 0.7))
        for s in (-1, 1)
    ]
    parts: list[Part] = [
        (shell, color),
        (join([roof, *posts]), color),
        (glass, choose(rng, (DARK, paint(rng)))),
        (join(lamps), paint(rng)),
        (join(back), paint(rng)),
    ]
    if kind == "pickup":
        bed = [
            box((s * w / 2 - 0.04, -a * 0.98, z1 - 0.1), (s * w / 2 + 0.0 if s > 0 else -w / 2 + 0.04, y0, z1 + 0.2))
            for s in (1,)
        ]
        parts.append((join([*bed, mirrored(bed[0]), box((-w / 2, -a, z1 - 0.1), (w / 2, -a + 0.05, z1 + 0.2))]), color))
    return parts + wheels(w / 2 - 0.06, [-a * 0.6, a * 0.62], r, 0.2, rng)


def truck(rng: Generator) -> list[Part]:
    w, r = rng.uniform(2.0, 2.4), rng.uniform(0.42, 0.52)
    bed, cab, h = rng.uniform(3.0, 6.5), rng.uniform(1.5, 2.0), rng.uniform(1.9, 2.5)
    z = r * 1.4
    paint_, cargo = paint(rng), solid(rng)
    parts: list[Part] = [(box((-w * 0.3, -bed, z - 0.25), (w * 0.3, cab, z), 0.5), DARK)]
    if rng.uniform() < 0.35:  # a bonnet before the cab
        parts.append((rounded_box((-w * 0.42, cab, z - 0.2), (w * 0.42, cab + 1.1, z + h * 0.38), 0.12), paint_))
        nose = 1.1
    else:
        nose = 0.0
    parts.append((rounded_box((-w / 2, 0.15, z - 0.3), (w / 2, cab, z + h * 0.8), 0.1), paint_))
    parts.append((box((-w * 0.44, cab, z + h * 0.38), (w * 0.44, cab + 0.02, z + h * 0.7)), paint(rng)))
    parts.append(
        (
            join(
                [
                    box((s * w / 2 - 0.01, 0.55, z + h * 0.36), (s * w / 2 + 0.01, cab - 0.2, z + h * 0.68))
                    for s in (-1, 1)
                ]
            ),
            paint(rng),
        )
    )
    kind = choose(rng, ("box", "flat", "tank", "dump"))
    if kind == "box":
        parts.append((box((-w / 2, -bed, z), (w / 2, 0, z + h * rng.uniform(1.0, 1.3)), 0.5), cargo))
    elif kind == "tank":
        tank = lathe(
            [(0, -bed), (w * 0.4, -bed + 0.1), (w * 0.45, -bed + 0.4), (w * 0.45, -0.4), (w * 0.4, -0.1), (0, 0)], 28
        )
        parts.append((tank.turned(-np.pi / 2, "x").moved(z=z + w * 0.45), cargo))
    else:
        wall = 0.35 if kind == "flat" else h * 0.6
        sides = [
            box((s * (w / 2 - 0.05) - 0.05, -bed, z), (s * (w / 2 - 0.05) + 0.05, 0, z + wall), 0.5) for s in (-1, 1)
        ]
        ends = [box((-w / 2, y, z), (w / 2, y + 0.1, z + wall), 0.5) for y in (-bed, -0.1)]
        parts.append((join([*sides, *ends, box((-w / 2, -bed, z), (w / 2, 0, z + 0.1), 0.5)]), cargo))
        if rng.uniform() < 0.5:
            load = ball(w * 0.8, bed * 0.85, wall * 2.2 + 0.5, 16).moved(0, -bed / 2, z + 0.15)
            parts.append((load, solid(rng)))
    ys = [cab * 0.55 + nose * 0.8, -bed * 0.8] + ([-bed * 0.8 + 2.2 * r] if bed > 4 else [])
    return parts + wheels(w / 2 - 0.15, ys, r, 0.3, rng)


def bus(rng: Generator) -> list[Part]:
    length, w, h = rng.uniform(6, 12), rng.uniform(2.2, 2.6), rng.uniform(2.2, 2.7)
    decks = 2 if rng.uniform() < 0.3 else 1
    h *= 1.0 if decks == 1 else 1.65
    r, a = 0.5, length / 2
    z = 0.35
    color, glass = paint(rng), choose(rng, (DARK, paint(rng)))
    parts: list[Part] = [(rounded_box((-w / 2, -a, z), (w / 2, a, z + h), rng.uniform(0.08, 0.3), 0.6), color)]
    windows: list[Mesh] = []
    n = int(length / rng.uniform(1.0, 1.6))
    for deck in range(decks):
        z0 = z + h * (0.45 if decks == 1 else (0.2, 0.62)[deck])
        z1 = z0 + (h * 0.35 if decks == 1 else h * 0.22)
        for k in range(n):
            y0, y1 = -a + 0.3 + k * (length - 0.6) / n, -a + 0.3 + (k + 0.86) * (length - 0.6) / n
            windows.append(box((-w / 2 - 0.015, y0, z0), (w / 2 + 0.015, y1, z1), 0.8))
        windows.append(box((-w * 0.42, a - 0.02, z0 - 0.1), (w * 0.42, a + 0.02, z1), 0.8))
    parts.append((join(windows), glass))
    door = box((w / 2 - 0.01, a - 1.5, z + 0.1), (w / 2 + 0.02, a - 0.7, z + 1.9 * h / 2.6 / decks), 0.8)
    parts.append(
        (
            join(
                [
                    door,
                    box(
                        (-w / 2 - 0.02, -a + 0.05, z + h * 0.2 / decks),
                        (w / 2 + 0.02, a - 0.05, z + h * 0.25 / decks),
                        0.8,
                    ),
                ]
            ),
            paint(rng),
        )
    )
    return parts + wheels(w / 2 - 0.1, [-a * 0.6, a * 0.55], r, 0.3, rng)


def train(rng: Generator) -> list[Part]:
    """A steam locomotive."""
    r, length = rng.uniform(0.5, 0.75), rng.uniform(3.0, 4.5)
    z = rng.uniform(0.9, 1.2)
    body, trim = paint(rng), solid(rng)
    boiler = (
        lathe([(0, 0), (r, 0), (r, length - 0.15), (r * 0.92, length), (0, length)], 28)
        .turned(-np.pi / 2, "x")
        .moved(z=z + r)
    )
    cab = rng.uniform(1.0, 1.5)
    roof = rng.uniform(0.9, 1.3)
    walls = box((-r * 1.15, -cab, z), (r * 1.15, 0.05, z + 2 * r + roof * 0.3), 0.5)
    lid = (
        extrude(ellipse(r * 1.35, 0.22, 24), -cab - 0.15, 0.2)
        .turned(np.pi / 2, "x")
        .moved(0, 0, z + 2 * r + roof * 0.32)
    )
    stack_h, flare = rng.uniform(0.4, 0.9), rng.uniform(1.0, 2.2)
    stack = lathe([(0, 0), (0.16, 0), (0.16, stack_h * 0.6), (0.16 * flare, stack_h), (0, stack_h)], 20).moved(
        0, length - 0.5, z + 2 * r - 0.08
    )
    dome = turned([(0, 0), (0.26, 0), (0.26, 0.2), (0.1, 0.36), (0, 0.38)], 20, 20).moved(
        0, length * 0.45, z + 2 * r - 0.1
    )
    frame = box((-r, -cab, z - 0.25), (r, length + 0.2, z), 0.5)
    plow = loft(
        [
            [
                (-r, length + 0.2, z - 0.25),
                (r, length + 0.2, z - 0.25),
                (r, length + 0.2, 0.12),
                (-r, length + 0.2, 0.12),
            ],
            [
                (-0.08, length + 0.75, 0.35),
                (0.08, length + 0.75, 0.35),
                (0.08, length + 0.8, 0.12),
                (-0.08, length + 0.8, 0.12),
            ],
        ],
        False,
    )
    n = int(rng.integers(2, 5))
    big = rng.uniform(0.36, 0.5)
    ys = np.linspace(-cab * 0.4, length * 0.55, n)
    rim = [disc(big, 0.14).moved(s * r * 1.02, y, big) for y in ys for s in (-1, 1)]
    small = [disc(0.25, 0.14).moved(s * r * 1.02, y, 0.25) for y in (length * 0.8, length + 0.02) for s in (-1, 1)]
    return [
        (boiler, body),
        (join([walls, frame]), body if rng.uniform() < 0.5 else paint(rng)),
        (join([lid, stack, dome, plow]), trim),
        (join([*rim, *small]), choose(rng, (DARK, paint(rng)))),
    ]


def bicycle(rng: Generator) -> list[Part]:
    r, base = rng.uniform(0.3, 0.36), rng.uniform(0.92, 1.1)
    t = rng.uniform(0.014, 0.026)
    frame, tyre = paint(rng), choose(rng, (DARK, paint(rng)))
    back, front_ = -base / 2, base / 2
    ring = [torus(r - t, t, 36, 8).turned(np.pi / 2, "y").moved(0, y, r) for y in (back, front_)]
    n = int(rng.integers(8, 15))
    spokes = [
        rod((0, 0, 0), (0, (r - t) * np.cos(a), (r - t) * np.sin(a)), 0.003, segments=5).moved(0, y, r)
        for y in (back, front_)
        for a in np.arange(n) * 2 * np.pi / n
    ]
    crank = (0, back + base * 0.42, r * 0.85)
    seat = (0, back + base * rng.uniform(0.22, 0.32), r * 2.2 + rng.uniform(0, 0.15))
    head = (0, front_ - rng.uniform(0.16, 0.24), r * 2.25)
    tubes: list[Mesh] = [
        rod((0, back, r), crank, 0.012),
        rod(crank, seat, 0.017),
        rod((0, back, r), (0, seat[1] + 0.02, seat[2] - 0.12), 0.01),
        rod(crank, (0, head[1] + 0.02, head[2] - 0.1), 0.019),
    ]
    if rng.uniform() < 0.7:
        tubes.append(rod((0, seat[1] + 0.03, seat[2] - 0.1), (0, head[1], head[2] - 0.03), 0.016))
    tubes.append(rod((0, front_, r), (0, head[1], head[2] + 0.1), 0.016))
    top = head[2] + 0.1
    if rng.uniform() < 0.5:
        bar = sweep(
            spline(
                [
                    (-0.28, head[1] - 0.18, top + 0.02),
                    (-0.26, head[1] - 0.02, top + 0.04),
                    (0, head[1], top),
                    (0.26, head[1] - 0.02, top + 0.04),
                    (0.28, head[1] - 0.18, top + 0.02),
                ],
                21,
            ),
            np.full(21, 0.013),
        )
    else:
        bar = rod((-0.3, head[1] - 0.03, top), (0.3, head[1] - 0.03, top), 0.013)
    saddle = loft(
        [
            np.insert(ellipse(wd, 0.025, 14), 1, y, 1)
            for y, wd in ((-0.12, 0.05), (-0.1, 0.08), (-0.02, 0.07), (0.08, 0.025), (0.15, 0.015))
        ]
    ).moved(0, seat[1], seat[2] + 0.02)
    pedals = join(
        [
            disc(0.085, 0.008).moved(*crank),
            *[
                box((s * 0.05, -0.04, -0.01), (s * 0.05 + s * 0.09 if s > 0 else -0.05, 0.04, 0.01)).moved(
                    0, crank[1], crank[2] + s * 0.15
                )
                for s in (1,)
            ],
            rod((0.02, crank[1], crank[2]), (0.02, crank[1], crank[2] + 0.15), 0.008),
            rod((-0.02, crank[1], crank[2]), (-0.02, crank[1], crank[2] - 0.15), 0.008),
        ]
    )
    parts: list[Part] = [
        (join(ring), tyre),
        (join(spokes), solid(rng)),
        (join(tubes), frame),
        (join([bar, saddle]), solid(rng)),
        (pedals, DARK),
    ]
    if rng.uniform() < 0.35:
        basket = rounded_box((-0.16, head[1] + 0.06, top - 0.22), (0.16, head[1] + 0.34, top + 0.02), 0.03)
        parts.append((basket, solid(rng)))
    return parts


VEHICLES: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "bicycle": (bicycle, ("bike",)),
    "bus": (bus, ("coach",)),
    "car": (car, ("automobile",)),
    "train": (train, ("locomotive", "steam train")),
    "truck": (truck, ("lorry",)),
}
"""Category → maker, synonyms."""
