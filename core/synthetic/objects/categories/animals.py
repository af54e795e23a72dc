"""Animals, and the snowman."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, cylinder, join, lathe
from ...geometry.shapes import ball, cone, ellipse, extrude, limb, pair, rod, spline, sweep, torus
from ...materials.materials import choose
from ...materials.paint import DARK, natural, paint, solid
from .furniture import Maker


def bird(rng: Generator) -> list[Part]:
    fat, neck, beak = rng.uniform(0.8, 1.25), rng.uniform(0.0, 0.12), rng.uniform(0.03, 0.09)
    z = 0.16
    tilt = rng.uniform(0.1, 0.7)
    body = ball(0.12 * fat, 0.22, 0.13 * fat, 22).turned(tilt, "x").moved(z=z)
    shoulder = np.array([0, 0.07, z + 0.05 + 0.06 * tilt])
    at = np.add(shoulder, [0, 0.04, 0.05 + neck])
    head = join(
        [
            ball(0.085).moved(*at),
            limb([shoulder - [0, 0.03, 0.03], (shoulder + at) / 2, at], (0.045, 0.033, 0.035), 14, 8),
        ]
    )
    bill = cone(0.016, 0, beak, 10).turned(-np.pi / 2 - 0.1, "x").moved(*(np.add(at, [0, 0.036, -0.004])))
    eyes = pair(ball(0.014).moved(0.035, at[1] + 0.016, at[2] + 0.014))
    long = rng.uniform(0.08, 0.18)
    tail = (
        extrude([(-0.02, 0), (0.02, 0), (0.045, -long), (-0.045, -long)], -0.006, 0.006)
        .turned(tilt * 0.8 - 0.1, "x")
        .moved(0, -0.08, z - 0.05 * tilt)
    )
    if rng.uniform() < 0.4:  # wings spread
        wing = (
            ball(0.3, 0.13, 0.012, 20)
            .moved(0.16)
            .turned(-rng.uniform(0.0, 0.6), "y")
            .turned(rng.uniform(-0.2, 0.3))
            .moved(0.03, 0, z + 0.03)
        )
    else:
        wing = ball(0.03, 0.19, 0.085, 18).turned(tilt * 1.0, "x").moved(0.058 * fat, -0.02, z + 0.005)
    legs = [
        join(
            [
                rod((s * 0.03, 0, z - 0.05), (s * 0.033, 0.0, 0.0), 0.005),
                *[
                    rod((s * 0.033, 0, 0.003), (s * 0.033 + 0.03 * np.sin(a), 0.03 * np.cos(a), 0.003), 0.004)
                    for a in (-0.6, 0, 0.6, np.pi)
                ],
            ]
        )
        for s in (-1, 1)
    ]
    coat = solid(rng)
    return [
        (join([body, head]), coat),
        (join([pair(wing), tail]), coat if rng.uniform() < 0.3 else solid(rng)),
        (join([bill, *legs]), natural(rng, (0.9, 0.6, 0.15))),
        (eyes, DARK),
    ]


def butterfly(rng: Generator) -> list[Part]:
    span, open_ = rng.uniform(0.1, 0.16), rng.uniform(0.1, 0.8)
    a, b = rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.7)
    turn = rng.uniform(0.3, 0.7)
    upper = ellipse(span * 0.5, span * 0.5 * a * 0.75, 24, rng.uniform(1.7, 2.6))
    fore = extrude(upper, -0.0015, 0.0015).moved(span * 0.47).turned(turn).moved(0.004, 0.012)
    hind = (
        extrude(ellipse(span * 0.36, span * 0.36 * b, 24), -0.0015, 0.0015)
        .moved(span * 0.33)
        .turned(-turn * 1.2)
        .moved(0.004, -0.012)
    )
    spot = cylinder(span * 0.14, -0.003, 0.003, 16).moved(span * 0.6).turned(turn).moved(0.004, 0.012)
    wings = pair(join([fore, hind]).turned(-open_, "y"))
    marks = pair(spot.turned(-open_, "y"))
    body = limb([(0, -0.06, 0), (0, 0, 0), (0, 0.045, 0)], (0.006, 0.009, 0.008), 12, 8)
    feelers = pair(
        sweep(spline([(0.002, 0.05, 0.002), (0.012, 0.075, 0.014), (0.028, 0.09, 0.016)], 8), np.full(8, 0.0014), 6)
    )
    return [
        (wings, solid(rng)),
        (marks, paint(rng)),
        (join([body, feelers, ball(0.018).moved(0, 0.055)]), choose(rng, (DARK, paint(rng)))),
    ]


def dog(rng: Generator) -> list[Part]:
    """A standing dog: long or short, with hanging or pricked ears."""
    long, leg, fat = rng.uniform(0.3, 0.6), rng.uniform(0.12, 0.34), rng.uniform(0.075, 0.12)
    coat, second = solid(rng), solid(rng)
    z, a = leg + fat * 0.7, long / 2
    body = limb([(0, -a, z), (0, 0, z - 0.01), (0, a, z + 0.02)], (fat * 0.9, fat, fat * 1.1), 18, 10)
    rise = rng.uniform(0.08, 0.2)
    at = np.array([0, a + 0.1, z + rise + 0.08])
    bend = [(0, a - 0.02, z + 0.03), (0, a + 0.05, z + rise * 0.6)]
    neck = limb(np.vstack([*bend, at]), (fat * 0.8, fat * 0.62, fat * 0.6), 14, 8)
    snout = rng.uniform(0.06, 0.15)
    head = join(
        [
            ball(fat * 1.75, fat * 1.9, fat * 1.6, 18).moved(*at),
            limb(
                [
                    np.add(at, [0, 0.03, -0.02]),
                    np.add(at, [0, 0.04 + snout * 0.5, -0.03]),
                    np.add(at, [0, 0.04 + snout, -0.032]),
                ],
                (fat * 0.55, fat * 0.48, fat * 0.4),
                12,
                6,
            ),
        ]
    )
    nose = ball(fat * 0.42).moved(*(np.add(at, [0, 0.05 + snout + fat * 0.32, -0.015])))
    if rng.uniform() < 0.5:
        ear = cone(fat * 0.42, 0, fat * 1.1, 12).scaled(1, 0.5, 1).turned(0.3, "y").moved(fat * 0.5, 0, fat * 0.5)
    else:
        ear = ball(fat * 0.3, fat * 0.8, fat * 1.5, 14).turned(-0.25, "y").moved(fat * 0.9, -0.01, -fat * 0.15)
    eyes = pair(ball(fat * 0.24).moved(fat * 0.42, fat * 0.8, fat * 0.3)).moved(*at)
    legs = [
        limb(
            [(s * fat * 0.6, y, z), (s * fat * 0.65, y + 0.01, z * 0.5), (s * fat * 0.65, y + 0.02, 0.03)],
            (fat * 0.5, fat * 0.36, fat * 0.36),
            12,
            8,
        )
        for y in (-a * 0.9, a * 0.9)
        for s in (-1, 1)
    ]
    up = rng.uniform(-0.1, 0.25)
    tail = limb(
        [(0, -a - fat * 0.5, z + 0.03), (0, -a - 0.14, z + 0.06 + up * 0.5), (0, -a - 0.18, z + 0.08 + up)],
        (0.03, 0.022, 0.014),
        10,
        10,
    )
    return [
        (join([body, neck, head, *legs, tail]), coat),
        (pair(ear).moved(*at), coat if rng.uniform() < 0.4 else second),
        (join([nose, eyes]), DARK),
    ]


def fish(rng: Generator) -> list[Part]:
    length, tall, fat = 0.4, rng.uniform(0.1, 0.26), rng.uniform(0.05, 0.11)
    s = np.linspace(0, 1, 22)
    peak = rng.uniform(0.3, 0.5)
    height = tall / 2 * np.interp(s, [0, 0.06, peak, 0.85, 1], [0.02, 0.4, 1, 0.22, 0.18])
    height = np.convolve(np.pad(height, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    p = np.stack([0 * s, length * (0.5 - s), 0 * s], 1)
    body = sweep(p, np.stack([height * fat / tall * 2, height], 1), 20)
    fork, spread = rng.uniform(0.02, 0.08), rng.uniform(0.06, 0.13)
    y = -length * 0.5

    def fin(points: list[tuple[float, float]], t: float = 0.004) -> Mesh:
        return extrude(points, -t, t).turned(np.pi / 2, "x").turned(np.pi / 2, "z")

    tail = fin([(y + 0.03, 0.012), (y - 0.09, spread), (y - 0.09 + fork, 0), (y - 0.09, -spread), (y + 0.03, -0.012)])
    h = tall * rng.uniform(0.25, 0.6)
    back = fin([(0.09, tall * 0.35), (0.02, tall * 0.4 + h), (-0.1, tall * 0.3 + h * 0.4), (-0.12, tall * 0.15)])
    belly = fin([(0.02, -tall * 0.35), (-0.05, -tall * 0.4 - h * 0.6), (-0.08, -tall * 0.2)])
    side = pair(ball(0.012, 0.08, 0.05, 12).turned(0.6, "z").turned(-0.4, "x").moved(fat * 0.55, 0.06, -0.02))
    eyes = pair(ball(0.016, 0.03, 0.03, 12).moved(fat * 0.36, length * 0.36, tall * 0.12))
    skin = solid(rng)
    fins = skin if rng.uniform() < 0.4 else solid(rng)
    return [(body, skin), (join([tail, back, belly, side]), fins), (eyes, choose(rng, (DARK, paint(rng))))]


def giraffe(rng: Generator) -> list[Part]:
    long, leg, neck = rng.uniform(0.5, 0.7), rng.uniform(0.6, 0.85), rng.uniform(0.7, 1.1)
    z, a = leg + 0.1, long / 2
    coat, trim = solid(rng), solid(rng)
    lean = rng.uniform(0.12, 0.4)
    at = np.array([0, a + 0.08 + lean, z + 0.1 + neck])
    body = limb([(0, -a, z - 0.05), (0, 0, z), (0, a, z + 0.06)], (0.14, 0.17, 0.16), 18, 10)
    bend = [(0, a, z + 0.05), (0, a + 0.05 + lean * 0.5, z + neck * 0.5)]
    throat = limb(np.vstack([*bend, at]), (0.13, 0.075, 0.055), 16, 12)
    head = limb([at, np.add(at, [0, 0.1, -0.01]), np.add(at, [0, 0.2, -0.05])], (0.075, 0.065, 0.045), 14, 8)
    horns = pair(join([rod((0.03, 0, 0.05), (0.04, -0.01, 0.15), 0.012), ball(0.035).moved(0.04, -0.01, 0.155)])).moved(
        *at
    )
    ears = pair(ball(0.11, 0.03, 0.05, 12).turned(-0.4, "y").moved(0.1, -0.02, 0.04)).moved(*at)
    legs = [
        limb([(s * 0.09, y, z), (s * 0.09, y, z * 0.5), (s * 0.09, y, 0.03)], (0.07, 0.04, 0.035), 12, 8)
        for y in (-a * 0.95, a * 0.95)
        for s in (-1, 1)
    ]
    tail = limb([(0, -a - 0.12, z), (0, -a - 0.2, z - 0.15), (0, -a - 0.21, z - 0.32)], (0.02, 0.014, 0.03), 10, 8)
    spots = [
        ball(0.12, 0.12, 0.03, 10).turned(np.pi / 2, "y").moved(s * 0.15, y, z + dz)
        for s in (-1, 1)
        for y, dz in ((-0.2, 0.0), (-0.03, 0.05), (0.15, 0.03), (0.04, -0.08))
    ]
    eyes = pair(ball(0.03).moved(0.06, 0.08, 0.03)).moved(*at)
    return [(join([body, throat, head, *legs, tail]), coat), (join([horns, ears, *spots]), trim), (eyes, DARK)]


def snail(rng: Generator) -> list[Part]:
    turns, grow = rng.uniform(1.8, 3.0), rng.uniform(0.85, 1.15)
    r = 0.05 * grow
    a = np.linspace(0.6, 2 * np.pi * turns, 60)
    q = r * (a / a[-1]) ** 1.1
    path = np.stack(
        [np.linspace(0.02, 0.0, 60), -0.01 - q * np.sin(a - a[-1] - 1.6), r * 1.15 + q * np.cos(a - a[-1] - 1.6)], 1
    )
    shell = sweep(path, np.linspace(0.004, 0.028 * grow, 60), 14)
    lift = rng.uniform(0.03, 0.07)
    foot = limb(
        [(0, -0.1, 0.008), (0, 0.0, 0.014), (0, 0.06, 0.018), (0, 0.085, 0.02 + lift)],
        (0.008, 0.024, 0.022, 0.017),
        16,
        16,
    )
    horns = pair(
        join(
            [
                rod((0.006, 0.09, 0.03 + lift), (0.018, 0.105, 0.07 + lift), 0.003),
                ball(0.011).moved(0.018, 0.105, 0.072 + lift),
            ]
        )
    )
    return [(shell, solid(rng)), (join([foot, horns]), solid(rng))]


def snowman(rng: Generator) -> list[Part]:
    n = int(choose(rng, (2, 3, 3)))
    r, z = rng.uniform(0.3, 0.4), 0.0
    white, trim = natural(rng, (0.95, 0.95, 0.96)), paint(rng)
    balls: list[Mesh] = []
    shrink = rng.uniform(0.68, 0.82)
    for k in range(n):
        z += r * (0.92 if k == 0 else 0.8)
        balls.append(ball(2 * r, 2 * r, 1.9 * r, 24).moved(z=z))
        last, height = r, z
        z += r * 0.8
        r *= shrink
    r, z = last, height
    nose = cone(r * 0.16, 0, r * rng.uniform(0.6, 1.2), 12).turned(-np.pi / 2, "x").moved(0, r * 0.9, z)
    eyes = [ball(r * 0.16).moved(s * r * 0.33, r * 0.88, z + r * 0.3) for s in (-1, 1)]
    buttons = [ball(r * 0.17).moved(0, (r / shrink) * 0.97, z - r * q) for q in (1.55, 1.95)]
    parts: list[Part] = [
        (join(balls), white),
        (nose, paint(rng)),
        (join([*eyes, *buttons]), choose(rng, (DARK, paint(rng)))),
    ]
    if rng.uniform() < 0.65:
        hat = lathe(
            [
                (0, 0),
                (r * 0.95, 0),
                (r * 0.95, 0.03),
                (r * 0.62, 0.03),
                (r * 0.62, r * rng.uniform(0.6, 1.2)),
                (0, r * 1.1),
            ],
            24,
        )
        parts.append((hat.moved(z=z + r * 0.75), trim))
    if rng.uniform() < 0.6:
        parts.append((torus(r * 0.72, r * 0.16, 24, 10).moved(z=z - r * 0.72), solid(rng)))
    if rng.uniform() < 0.75:
        y = z - r * 1.5
        arms = [
            rod((s * r * 0.9, 0, y), (s * r * 2.4, 0, y + r * rng.uniform(-0.2, 1.0)), 0.018, 0.01, 8) for s in (-1, 1)
        ]
        parts.append((join(arms), solid(rng)))
    return parts


ANIMALS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "bird": (bird, ()),
    "butterfly": (butterfly, ()),
    "dog": (dog, ()),
    "fish": (fish, ()),
    "giraffe": (giraffe, ()),
    "snail": (snail, ()),
    "snowman": (snowman, ()),
}
"""Category → maker, synonyms."""
