"""Wheels, clocks and other things of plates, rings and rods."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box
from ...geometry.shapes import (
    ball,
    cone,
    ellipse,
    extrude,
    loft,
    ring_plate,
    rod,
    spline,
    standing,
    sweep,
    torus,
    turned,
)
from ...materials.materials import choose, metal
from ...materials.paint import DARK, handle, natural, paint, solid
from .furniture import Maker


def gear(rng: Generator) -> list[Part]:
    n, r, t = int(rng.integers(8, 25)), 0.1, rng.uniform(0.01, 0.05)
    tooth = rng.uniform(0.1, 0.2) * r * 12 / n + 0.006
    a = np.linspace(0, 2 * np.pi, 8 * n, endpoint=False)
    phase = (np.arange(8 * n) % 8) / 8
    radius = r + tooth * np.interp(phase, [0, 0.12, 0.38, 0.5, 1], [0, 1, 1, 0, 0])
    outer = np.stack([radius * np.cos(a), radius * np.sin(a)], 1)
    circle = np.stack([np.cos(a), np.sin(a)], 1)
    hub = rng.uniform(0.15, 0.35) * r
    material = solid(rng)
    if rng.uniform() < 0.5:
        meshes = [ring_plate(outer, circle * hub, -t / 2, t / 2)]
    else:
        k = int(rng.integers(3, 7))
        meshes = [
            ring_plate(outer, circle * r * 0.78, -t / 2, t / 2),
            ring_plate(circle * hub * 1.8, circle * hub, -t * 0.6, t * 0.6),
        ]
        meshes += [
            box((hub * 1.2, -0.09 * r, -t / 3), (r * 0.85, 0.09 * r, t / 3)).turned(2 * np.pi * i / k) for i in range(k)
        ]
    return [(standing(join(meshes)), material)]


def wheel(rng: Generator) -> list[Part]:
    r, t = 0.3, rng.uniform(0.02, 0.1)
    w = rng.uniform(0.7, 1.6)
    rim = rng.uniform(0.55, 0.75) * r if t > 0.05 else r - 1.5 * t
    tyre = torus(r - t, t, 40, 12).scaled(1, 1, w)
    hub = cylinder(rng.uniform(0.12, 0.25) * r, -t * w, t * w, 20)
    n = int(rng.integers(4, 13))
    width = rng.uniform(0.012, 0.035)
    if rng.uniform() < 0.2:
        spokes = [cylinder(rim + 0.01, -t * 0.25, t * 0.25, 32)]
    elif rng.uniform() < 0.5:
        spokes = [rod((0, 0, 0), (r - t, 0, 0), width * 0.5).turned(2 * np.pi * k / n) for k in range(n)]
    else:
        spokes = [box((0, -width, -t * 0.4), (r - t, width, t * 0.4)).turned(2 * np.pi * k / n) for k in range(n)]
    inner = ring_plate(
        ellipse(r - t * 0.5, r - t * 0.5, 40),
        ellipse(min(rim, r - 1.6 * t), min(rim, r - 1.6 * t), 40),
        -t * w * 0.5,
        t * w * 0.5,
    )
    parts: list[Part] = [(tyre, choose(rng, (DARK, solid(rng)))), (join([hub, *spokes, inner]), solid(rng))]
    return [(standing(m), material) for m, material in parts]


def bell(rng: Generator) -> list[Part]:
    r, h = 0.06, rng.uniform(0.08, 0.15)
    lip, shoulder = rng.uniform(1.0, 1.35), rng.uniform(0.45, 0.75)
    outer = spline(
        [(r * lip, 0.0), (r * 0.92, h * 0.2), (r * shoulder, h * 0.65), (r * shoulder * 0.8, h * 0.9), (0.0, h)], 20
    )
    inner = [(max(a - 0.004, 0.0), b - (0.004 if i > 2 else 0.0)) for i, (a, b) in enumerate(outer.tolist())]
    dome = lathe([*[(a, b) for a, b in inner[::-1]], *outer.tolist()], 30)
    clapper = join([ball(0.022).moved(z=0.008), rod((0, 0, 0.01), (0, 0, h * 0.95), 0.003)])
    material = natural(rng, (0.82, 0.65, 0.28))
    if rng.uniform() < 0.5:
        top: Mesh = turned(
            [(0, h - 0.004), (0.009, h), (0.013, h + 0.03), (0.009, h + 0.07), (0.016, h + 0.09), (0, h + 0.1)], 20, 16
        )
    else:
        top = torus(0.016, 0.005, 20, 8).turned(np.pi / 2, "x").moved(z=h + 0.014)
    return [(dome, material), (clapper, solid(rng)), (top, solid(rng) if rng.uniform() < 0.6 else material)]


def clock(rng: Generator) -> list[Part]:
    """A wall clock, an alarm clock with bells, or a mantel clock."""
    r = 0.1
    kind = rng.uniform()
    case, face, ink = solid(rng), paint(rng), choose(rng, (DARK, paint(rng)))
    t = rng.uniform(0.02, 0.05)
    square = rng.uniform() < 0.3 and kind < 0.5
    outline = ellipse(r, r, 40, 8 if square else 2)
    dial = [extrude(outline, -t, 0), ring_plate(outline, outline * 0.9, 0, 0.012)]
    plate = extrude(outline * 0.9, 0, 0.004)
    marks = [
        box((-0.0025, r * 0.7, 0.004), (0.0025, r * (0.84 if k % 3 else 0.87), 0.0065)).turned(np.pi * k / 6)
        for k in range(12)
    ]
    hours, minutes = rng.uniform(0, 2 * np.pi, 2)
    hands = [
        box((-0.004, -0.01, 0.006), (0.004, r * 0.45, 0.008)).turned(hours),
        box((-0.0028, -0.012, 0.0082), (0.0028, r * 0.72, 0.01)).turned(minutes),
        cylinder(0.007, 0.004, 0.012, 12),
    ]
    upright = [(join(dial), case), (plate, face), (join([*marks, *hands]), ink)]
    parts: list[Part] = [(standing(m).moved(z=r), material) for m, material in upright]
    if 0.5 <= kind < 0.78:
        trim = solid(rng)
        bells = [ball(0.07, 0.07, 0.06, 16).moved(s * 0.05, -t / 2, 2 * r + 0.012) for s in (-1, 1)]
        feet = [rod((s * 0.06, -t / 2, 0.03), (s * 0.085, -t / 2, -0.02), 0.008) for s in (-1, 1)]
        parts.append((join([*bells, *feet, rod((0, -t / 2, 2 * r), (0, -t / 2, 2 * r + 0.05), 0.006)]), trim))
    elif kind >= 0.78:
        w = rng.uniform(1.1, 1.7) * r
        a = np.linspace(0, np.pi, 20)
        arch = np.concatenate([[(w, -0.6 * r)], np.stack([w * np.cos(a), 1.25 * r * np.sin(a)], 1), [(-w, -0.6 * r)]])
        parts.append((standing(extrude(arch, -t - 0.04, -0.004)).moved(z=r), case))
        parts.append((box((-w * 1.1, -0.02, 0.2 * r), (w * 1.1, t + 0.06, 0.4 * r)).turned(np.pi), solid(rng)))
    return parts


def keyboard(rng: Generator) -> list[Part]:
    """Of a computer: rows of keys on a wedge."""
    pad = bool(rng.uniform() < 0.5)
    pitch, rows, columns = 0.019, int(rng.integers(4, 7)), int(rng.integers(11, 16))
    w, d = columns * pitch + 0.016 + (4.6 * pitch if pad else 0), rows * pitch + 0.016
    tilt = rng.uniform(0.0, 0.14)
    base = rounded_box((-w / 2, 0, 0), (w / 2, d, 0.014), 0.005)
    high = rng.uniform(0.004, 0.01)
    keys: list[Mesh] = []
    s = pitch * 0.42

    def cap(x: float, y: float, half: float) -> Mesh:
        low = np.array([(-half, -s), (half, -s), (half, s), (-half, s)])
        return loft([np.insert(low, 2, 0.013, 1), np.insert(low * 0.86, 2, 0.014 + high, 1)], False).moved(x, y)

    for j in range(rows):
        y = d - 0.008 - (j + 0.5) * pitch
        x0 = -w / 2 + 0.008
        if j == rows - 1:
            gaps = [(0, 3), (3, columns - 4), (columns - 4, columns)]
            keys += [cap(x0 + (a + b) / 2 * pitch, y, (b - a) / 2 * pitch - 0.002) for a, b in gaps[1:2]]
            keys += [cap(x0 + (k + 0.5) * pitch, y, s) for k in (*range(3), *range(columns - 4, columns))]
        else:
            shift = 0.25 * (j % 3) * pitch
            keys += [cap(x0 + shift + (k + 0.5) * pitch, y, s) for k in range(columns - (1 if shift else 0))]
        if pad:
            keys += [cap(w / 2 - 0.008 - (k + 0.5) * pitch, y, s) for k in range(4)]
    parts: list[Part] = [(base, solid(rng)), (join(keys), paint(rng))]
    return [(m.turned(np.pi).turned(tilt, "x"), material) for m, material in parts]


def anchor(rng: Generator) -> list[Part]:
    h, r, w = 0.5, rng.uniform(0.16, 0.24), rng.uniform(0.014, 0.024)
    z = r
    arc = np.linspace(np.pi + 0.35, 2 * np.pi - 0.35, 20)
    arms = sweep(np.stack([r * np.cos(arc), 0 * arc, z + r * np.sin(arc)], 1), np.full(20, w * 1.15))
    flukes = []
    for s in (-1, 1):
        tip = (s * r * np.cos(0.35), 0, z - r * np.sin(0.35))
        fluke = cone(0.05, 0, 0.09, 4 if rng.uniform() < 0.5 else 16).scaled(1, 0.45, 1).turned(-s * 0.5, "y")
        flukes.append(fluke.moved(*tip))
    shank = rod((0, 0, 0), (0, 0, h), w)
    stock = rod((-r * 0.75, 0, h * 0.82), (r * 0.75, 0, h * 0.82), w * 0.8)
    ring = torus(0.05, w * 0.6, 24, 8).turned(np.pi / 2, "x").moved(z=h + 0.045)
    knobs = [ball(w * 3.4).moved(s * r * 0.75, 0, h * 0.82) for s in (-1, 1)]
    material = solid(rng)
    return [
        (join([arms, *flukes, shank]), material),
        (join([stock, ring, *knobs]), material if rng.uniform() < 0.6 else solid(rng)),
    ]


def umbrella(rng: Generator) -> list[Part]:
    n, r, h = int(rng.integers(6, 11)), rng.uniform(0.42, 0.6), rng.uniform(0.7, 0.95)
    dome = rng.uniform(0.16, 0.34)
    t = np.linspace(0, 2 * np.pi, 8 * n, endpoint=False)
    scallop = 1 - 0.06 * np.abs(np.sin(n * t / 2))
    rings = []
    for s in (1.0, 0.8, 0.55, 0.3, 0.1, 0.0):
        rings.append(
            np.stack(
                [r * s * scallop * np.cos(t), r * s * scallop * np.sin(t), np.full(len(t), h + dome * (1 - s**2))], 1
            )
        )
    under = [q * [0.995, 0.995, 1] - [0, 0, 0.006] for q in rings[::-1]]
    canopy = loft([*under, *rings])
    pole = cylinder(0.008, h * 0.0, h + dome + 0.05, 10)
    if rng.uniform() < 0.6:
        grip = sweep(
            spline([(0, 0, 0.08), (0, 0, 0.0), (0.03, 0, -0.05), (0.07, 0, -0.04), (0.085, 0, 0.0)], 20),
            np.full(20, 0.013),
        )
    else:
        grip = turned([(0, -0.1), (0.018, -0.1), (0.013, -0.04), (0.016, 0.03), (0, 0.03)], 16, 14)
    ribs = [
        rod((0, 0, h * 0.62), (r * 0.55 * np.cos(a), r * 0.55 * np.sin(a), h + dome * 0.6), 0.004, segments=6)
        for a in 2 * np.pi * np.arange(n) / n
    ]
    return [(canopy, solid(rng)), (join([pole, *ribs]), metal(rng)), (grip, solid(rng))]


def traffic_cone(rng: Generator) -> list[Part]:
    r, h, base = rng.uniform(0.11, 0.18), rng.uniform(0.4, 0.8), rng.uniform(0.15, 0.24)
    plate = (
        rounded_box((-base, -base, 0), (base, base, 0.03), 0.012)
        if rng.uniform() < 0.6
        else cylinder(base * 1.1, 0, 0.03, 8)
    )
    top = rng.uniform(0.15, 0.3) * r
    body = lathe([(0, 0.03), (r, 0.03), (top, h), (0, h)], 28)
    stripes = []
    for k in range(int(rng.integers(1, 4))):
        s0 = 0.25 + 0.24 * k
        s1 = s0 + rng.uniform(0.08, 0.15)
        a, b = (r + (top - r) * s + 0.003 for s in (s0, s1))
        stripes.append(lathe([(a - 0.01, h * s0), (a, h * s0), (b, h * s1), (b - 0.01, h * s1)], 28))
    main = natural(rng, (0.92, 0.4, 0.1), 0.25)
    return [(body, main), (plate, main if rng.uniform() < 0.5 else solid(rng)), (join(stripes), paint(rng))]


def sword(rng: Generator) -> list[Part]:
    length, w, grip = rng.uniform(0.5, 1.0), rng.uniform(0.02, 0.04), rng.uniform(0.1, 0.22)
    curve = rng.uniform(0.08, 0.25) if rng.uniform() < 0.35 else 0.0
    s = np.linspace(0, 1, 16)
    wide = w * np.where(s < 0.85, 1 - 0.25 * s, np.maximum((1 - s) / 0.15, 0.02) * 0.79)
    rings = [
        [(x - a, 0, z), (x, -0.004, z), (x + a, 0, z), (x, 0.004, z)]
        for x, a, z in zip(curve * length * s**2, wide, grip + s * length, strict=True)
    ]
    blade = loft(rings, False)
    hilt = turned([(0, 0), (0.013, 0.0), (0.016, grip * 0.5), (0.013, grip), (0, grip)], 14, 14)
    pommel = ball(rng.uniform(0.03, 0.05))
    bar = rng.uniform(0.06, 0.13)
    droop = rng.uniform(-0.03, 0.05)
    guard = sweep(spline([(-bar, 0, grip + droop), (0, 0, grip), (bar, 0, grip + droop)], 13), np.full(13, 0.011))
    return [
        (blade, metal(rng) if rng.uniform() < 0.5 else solid(rng)),
        (hilt, handle(rng)),
        (join([pommel, guard]), solid(rng)),
    ]


GADGETS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "anchor": (anchor, ()),
    "bell": (bell, ()),
    "clock": (clock, ()),
    "gear": (gear, ("cogwheel",)),
    "keyboard": (keyboard, ("computer keyboard",)),
    "sword": (sword, ()),
    "traffic cone": (traffic_cone, ("road cone",)),
    "umbrella": (umbrella, ("parasol",)),
    "wheel": (wheel, ()),
}
"""Category → maker, synonyms."""
