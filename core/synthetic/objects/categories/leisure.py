"""What one plays with."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box
from ...geometry.shapes import (
    ball,
    ellipse,
    extrude,
    loft,
    mirrored,
    pair,
    ring_plate,
    rod,
    spline,
    standing,
    torus,
    turned,
)
from ...materials.materials import metal
from ...materials.paint import DARK, handle, paint, solid
from .furniture import Maker
from .vehicles import disc


def guitar(rng: Generator) -> list[Part]:
    electric = bool(rng.uniform() < 0.4)
    upper, waist, lower = rng.uniform(0.13, 0.16), rng.uniform(0.1, 0.13), rng.uniform(0.18, 0.22)
    t = 0.045 if electric else rng.uniform(0.085, 0.12)
    length = rng.uniform(0.44, 0.52)
    half = [
        (0, 0),
        (lower * 0.6, 0.01),
        (lower, length * 0.25),
        (waist, length * 0.58),
        (upper, length * 0.82),
        (upper * 0.6, length * 0.99),
        (0.03, length),
    ]
    if electric and rng.uniform() < 0.7:
        half[-2:] = [(upper * 0.9, length * 1.08), (0.05, length * 0.9)]
    right = spline(half, 26)
    outline = np.concatenate([right, (right * [-1, 1])[-2:0:-1]])
    body = extrude(outline, -t, 0)
    neck = box((-0.026, length * 0.75, 0), (0.026, length + 0.36, 0.016))
    back = box((-0.02, length, -0.022), (0.02, length + 0.36, 0))
    head = (
        extrude([(-0.026, 0), (0.026, 0), (0.042, 0.04), (0.036, 0.17), (-0.036, 0.17), (-0.042, 0.04)], -0.02, 0.0)
        .turned(-0.18, "x")
        .moved(0, length + 0.355, 0.008)
    )
    pegs = [
        ball(0.018, 0.012, 0.012, 8).moved(s * 0.052, length + 0.4 + 0.04 * k, -0.02 - 0.007 * k)
        for k in range(3)
        for s in (-1, 1)
    ]
    bridge = box((-0.07, length * 0.2, 0), (0.07, length * 0.2 + 0.025, 0.012))
    strings = [
        rod((0.007 * (k - 2.5), length * 0.22, 0.016), (0.006 * (k - 2.5), length + 0.36, 0.02), 0.0012, segments=5)
        for k in range(6)
    ]
    parts: list[Part] = [
        (body, solid(rng)),
        (join([neck, back, head]), handle(rng)),
        (join([*pegs, *strings]), metal(rng)),
        (bridge, solid(rng)),
    ]
    if electric:
        pick = [box((-0.045, length * q, 0), (0.045, length * q + 0.025, 0.008)) for q in (0.34, 0.52)]
        guard = extrude(ellipse(0.09, 0.12, 24), 0, 0.003).moved(0.05, length * 0.42)
        parts += [(join(pick), DARK), (guard, paint(rng))]
    else:
        parts.append((cylinder(0.045, 0, 0.002, 24).moved(0, length * 0.6), DARK))
        parts.append(
            (
                ring_plate(ellipse(0.054, 0.054, 24), ellipse(0.046, 0.046, 24), 0, 0.003).moved(0, length * 0.6),
                paint(rng),
            )
        )
    return [(standing(m), material) for m, material in parts]


def drum(rng: Generator) -> list[Part]:
    r, h = 0.2, rng.uniform(0.14, 0.5)
    skin = paint(rng)
    shape = rng.uniform()
    if shape < 0.55:
        shell = cylinder(r, 0.02, h - 0.02, 32)
    else:
        w = rng.uniform(0.6, 0.85)
        shell = turned(
            [
                (0, 0.02),
                (r * w, 0.02),
                (r * (w if shape < 0.8 else 1.15), h * 0.45),
                (r * 0.99, h - 0.02),
                (0, h - 0.02),
            ],
            24,
            32,
        )
    low = r if shape < 0.55 else r * 0.75
    hoops = [
        lathe([(q - 0.03, z), (q + 0.012, z), (q + 0.012, z + 0.025), (q - 0.03, z + 0.025)], 32)
        for q, z in ((low, 0.0), (r, h - 0.028))
    ]
    head = cylinder(r - 0.004, h - 0.02, h - 0.008, 32)
    n = int(rng.integers(6, 13))
    lugs: list[Mesh] = []
    for k in range(n):
        a, b = 2 * np.pi * k / n, 2 * np.pi * (k + 0.5) / n
        p, q = (low + 0.008, h * 0.04), (r + 0.008, h - 0.03)
        lugs.append(
            rod(
                (p[0] * np.cos(a), p[0] * np.sin(a), p[1]),
                (q[0] * np.cos(b), q[0] * np.sin(b), q[1]),
                0.006,
                segments=6,
            )
        )
        lugs.append(
            rod(
                (p[0] * np.cos(a), p[0] * np.sin(a), p[1]),
                (q[0] * np.cos(2 * a - b), q[0] * np.sin(2 * a - b), q[1]),
                0.006,
                segments=6,
            )
        )
    parts: list[Part] = [(shell, solid(rng)), (head, skin), (join(hoops), solid(rng)), (join(lugs), solid(rng))]
    if rng.uniform() < 0.5:
        sticks = [
            join([rod((0, -0.17, 0), (0, 0.17, 0), 0.008, 0.006), ball(0.022).moved(0, 0.17)])
            .turned(a)
            .moved(x, 0, h + 0.012)
            for a, x in ((0.5, 0.05), (-0.4, -0.05))
        ]
        parts.append((join(sticks), handle(rng)))
    return parts


def racket(rng: Generator) -> list[Part]:
    """For table tennis (a blade) or tennis (strings)."""
    grip = handle(rng)
    if rng.uniform() < 0.5:
        r, long = rng.uniform(0.075, 0.085), rng.uniform(1.0, 1.15)
        blade = extrude(ellipse(r, r * long, 36, rng.uniform(2.0, 2.8)), -0.003, 0.003).moved(0, 0.1 + r * long)
        rubber = extrude(ellipse(r * 0.99, r * long * 0.86, 36, 2.2), -0.006, 0.006).moved(0, 0.1 + r * long * 1.12)
        stick = rounded_box((-0.014, 0, -0.011), (0.014, 0.12, 0.011), 0.008)
        return [(standing(join([blade])), grip), (standing(stick), grip), (standing(rubber), paint(rng))]
    r, long = rng.uniform(0.11, 0.14), rng.uniform(1.15, 1.4)
    y = 0.33 + r * long
    ring = torus(r, 0.01, 40, 10).scaled(1, long, 1).moved(0, y)
    strings: list[Mesh] = []
    for u in np.linspace(-0.85, 0.85, 11):
        s = float(np.sqrt(1 - u * u))
        strings += [
            rod((u * r, y - s * r * long, 0), (u * r, y + s * r * long, 0), 0.0016, segments=5),
            rod((-s * r, y + u * r * long, 0), (s * r, y + u * r * long, 0), 0.0016, segments=5),
        ]
    shaft = [rod((0, 0.15, 0), (s * r * 0.5, y - r * long * 0.87, 0), 0.008) for s in (-1, 1)]
    stick = cylinder(0.016, 0, 0.18, 8).turned(-np.pi / 2, "x")
    return [
        (standing(join([ring, *shaft])), solid(rng)),
        (standing(join(strings)), paint(rng)),
        (standing(stick), grip),
    ]


def dumbbell(rng: Generator) -> list[Part]:
    bar, r = rng.uniform(0.08, 0.16), rng.uniform(0.05, 0.09)
    kind = rng.uniform()
    if kind < 0.35:
        weights = [ball(2 * r).moved(x=s * (bar / 2 + r * 0.85)) for s in (-1, 1)]
    elif kind < 0.65:
        w = rng.uniform(0.05, 0.1)
        one = lathe([(0, 0), (r * 0.8, 0), (r, 0.02), (r, w - 0.02), (r * 0.8, w), (0, w)], 6, smooth=False).turned(
            np.pi / 2, "y"
        )
        weights = [one.moved(bar / 2), mirrored(one.moved(bar / 2))]
    else:
        discs, x = [], bar / 2
        for k in range(int(rng.integers(2, 5))):
            t, q = rng.uniform(0.015, 0.03), r * (1.15 - 0.16 * k)
            discs.append(cylinder(q, x, x + t, 30).turned(np.pi / 2, "y"))
            x += t + 0.002
        discs.append(cylinder(0.013, 0, x + 0.03, 12).turned(np.pi / 2, "y"))
        weights = [pair(join(discs))]
    grip = cylinder(0.014, -bar / 2 - 0.02, bar / 2 + 0.02, 14).turned(np.pi / 2, "y")
    return [(join(weights), solid(rng)), (grip, metal(rng))]


def chess_pawn(rng: Generator) -> list[Part]:
    """A pawn, turned; now and then a bishop."""
    h, r = 0.1, rng.uniform(0.026, 0.034)
    head = rng.uniform(0.012, 0.018)
    waist = rng.uniform(0.008, 0.013)
    z = h - 2 * head
    base = [
        (0, 0),
        (r, 0),
        (r, 0.008),
        (r * 0.9, 0.014),
        (r * 0.95, 0.018),
        (r * 0.7, 0.026),
        (waist * 1.3, h * 0.45),
        (waist, z - 0.008),
        (head * 1.2, z - 0.004),
        (head * 1.25, z),
        (head * 0.7, z + 0.004),
    ]
    if rng.uniform() < 0.75:
        top = [
            (float(head * np.sin(a)), float(z + 0.002 + head - head * np.cos(a))) for a in np.linspace(0.6, np.pi, 10)
        ]
    else:
        top = [
            (head * 1.0, z + head),
            (head * 0.85, z + 1.8 * head),
            (head * 0.25, z + 2.6 * head),
            (head * 0.3, z + 2.9 * head),
            (0, z + 3.1 * head),
        ]
    return [(lathe([*base, *top], 32), solid(rng))]


def skateboard(rng: Generator) -> list[Part]:
    length, w = rng.uniform(0.6, 0.95), rng.uniform(0.17, 0.24)
    kick, nose = rng.uniform(0.0, 0.07), rng.uniform(2.5, 5)
    z = 0.09
    a = length / 2
    outline = ellipse(w / 2, a, 40, nose)
    ys = np.linspace(-a, a, 22)
    rings = []
    for y in ys:
        wide = (
            float(np.interp(abs(y), np.sort(np.abs(outline[:, 1])), np.sort(np.abs(outline[:, 0]))[::-1]))
            if abs(y) < a
            else 0.004
        )
        wide = max(wide, 0.01)
        lift = kick * max(abs(y) / a - 0.62, 0) / 0.38
        rings.append(
            [(-wide, y, z + lift), (wide, y, z + lift), (wide, y, z + lift + 0.012), (-wide, y, z + lift + 0.012)]
        )
    deck = loft(rings, False)
    r = rng.uniform(0.026, 0.036)
    axle = [
        join([rod((-w * 0.45, y, r), (w * 0.45, y, r), 0.008), box((-0.03, y - 0.02, r), (0.03, y + 0.02, z))])
        for y in (-a * 0.6, a * 0.6)
    ]
    wheel = [disc(r, 0.034).moved(s * w * 0.42, y, r) for y in (-a * 0.6, a * 0.6) for s in (-1, 1)]
    return [(deck, solid(rng)), (join(axle), solid(rng)), (join(wheel), paint(rng))]


LEISURE: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "chess pawn": (chess_pawn, ("chess piece", "pawn")),
    "drum": (drum, ()),
    "dumbbell": (dumbbell, ("weight",)),
    "guitar": (guitar, ()),
    "racket": (racket, ()),
    "skateboard": (skateboard, ()),
}
"""Category → maker, synonyms."""
