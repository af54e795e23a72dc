"""What stands in streets and gardens."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, box, cylinder, join, lathe
from ...geometry.shapes import ball, ellipse, extrude, rod, spline, sweep, torus, turned
from ...materials.materials import choose
from ...materials.paint import DARK, PALE, paint, solid
from .buildings import gable, hip
from .furniture import Maker


def tent(rng: Generator) -> list[Part]:
    w, d, h = rng.uniform(1.6, 2.6), rng.uniform(1.8, 3.2), rng.uniform(1.1, 1.8)
    kind = rng.uniform()
    material, second = solid(rng), paint(rng)
    if kind < 0.4:  # a ridge tent
        body = gable(d, w, 0, h).turned(np.pi / 2)
        flap = (
            extrude([(-w * 0.22, 0), (w * 0.22, 0), (0, h * 0.8)], 0, 0.02)
            .turned(np.pi / 2, "x")
            .moved(0, d / 2 + 0.02)
        )
        poles = [rod((0, s * (d / 2 + 0.03), 0), (0, s * (d / 2 + 0.03), h + 0.12), 0.025) for s in (-1, 1)]
        ropes = [
            rod((0, s * d / 2, h), (x * w * 0.4, s * (d / 2 + 0.9), 0), 0.01, segments=5)
            for s in (-1, 1)
            for x in (-1, 1)
        ]
        return [(body, material), (flap, second), (join([*poles, *ropes]), solid(rng))]
    if kind < 0.75:  # a tepee
        n = int(rng.integers(6, 13))
        body = lathe([(0, 0), (w / 2, 0), (0.06, h * 1.3), (0, h * 1.3)], n, smooth=False)
        poles = [
            rod(
                (w * 0.48 * np.cos(a), w * 0.48 * np.sin(a), 0.02),
                (-0.12 * np.cos(a), -0.12 * np.sin(a), h * 1.58),
                0.022,
            )
            for a in 2 * np.pi * (np.arange(n)) / n
        ]
        lean = float(np.arctan2(w / 2 * np.cos(np.pi / n), h * 1.3))
        flap = (
            extrude([(-w * 0.13, 0), (w * 0.13, 0), (0, h * 0.75)], 0, 0.03)
            .turned(np.pi / 2, "x")
            .turned(lean, "x")
            .moved(0, w / 2 * 1.03)
        )
        return [(body, material), (flap, second), (join(poles), solid(rng))]
    a = np.linspace(0, np.pi / 2, 10)  # a dome
    dome = lathe([(0, 0), *[(float(w / 2 * np.cos(t) ** 0.85), float(h * 0.9 * np.sin(t))) for t in a]], 28)
    arcs = [
        torus(1.0, 0.02, 28, 8, np.pi).turned(np.pi / 2, "x").scaled(w * 0.51, w * 0.51, h * 0.93).turned(t)
        for t in (np.pi / 4, -np.pi / 4)
    ]
    hoop = [
        sweep(
            np.stack([w * 0.51 * np.cos(s) * np.cos(t), w * 0.51 * np.cos(s) * np.sin(t), h * 0.92 * np.sin(s)], 1),
            np.full(20, 0.025),
            8,
        )
        for t in (np.pi / 4, -np.pi / 4)
        for s in (np.linspace(0, np.pi, 20),)
    ]
    del arcs
    flap = (
        extrude(ellipse(w * 0.2, h * 0.36, 24), 0, 0.05)
        .turned(np.pi / 2, "x")
        .turned(0.35, "x")
        .moved(0, w * 0.48, h * 0.34)
    )
    return [(dome, material), (join(hoop), solid(rng)), (flap, second)]


def street_lamp(rng: Generator) -> list[Part]:
    h, r = rng.uniform(2.6, 4.2), rng.uniform(0.05, 0.08)
    post, light = solid(rng), paint(rng)
    foot = turned([(0, 0), (r * 3.2, 0), (r * 3, 0.12), (r * 1.6, 0.3), (r, 0.6), (r * 0.8, h), (0, h)], 24, 18)

    def lantern(x: float, z: float) -> list[Part]:
        s = 0.2
        body = lathe([(0, 0), (s * 0.6, 0), (s, 0.36), (0, 0.36)], 6, smooth=False)
        cap = lathe([(0, 0.36), (s * 1.25, 0.36), (s * 0.4, 0.52), (0, 0.6)], 6, smooth=False)
        return [(body.moved(x, 0, z), light), (join([cap, ball(0.08).moved(z=0.62)]).moved(x, 0, z), post)]

    kind = rng.uniform()
    parts: list[Part] = [(foot, post)]
    if kind < 0.35:
        return parts + lantern(0, h)
    if kind < 0.65:  # two or three arms
        arms: list[Mesh] = []
        for s in choose(rng, ((-1, 1), (-1, 0, 1))):
            if s:
                arms.append(
                    sweep(
                        spline([(0, 0, h - 0.5), (s * 0.35, 0, h - 0.6), (s * 0.5, 0, h - 0.3)], 12), np.full(12, 0.03)
                    )
                )
            parts += lantern(s * 0.5, h - 0.3 if s else h)
        return [*parts, (join(arms), post)]
    if kind < 0.85:  # bent over the road
        reach = rng.uniform(0.7, 1.3)
        arm = sweep(
            spline([(0, 0, h - 0.05), (0.05, 0, h + 0.35), (reach * 0.5, 0, h + 0.5), (reach, 0, h + 0.45)], 16),
            np.full(16, 0.04),
        )
        head = ball(0.55, 0.24, 0.14, 18).moved(reach + 0.2, 0, h + 0.43)
        return [*parts, (join([arm, head]), post), (ball(0.4, 0.18, 0.1, 14).moved(reach + 0.2, 0, h + 0.38), light)]
    globes = [ball(0.36).moved(x, 0, h + 0.16) for x in choose(rng, ((0.0,), (-0.35, 0.35)))]
    bar = rod((-0.36, 0, h - 0.05), (0.36, 0, h - 0.05), 0.03)
    return [*parts, (join(globes), light), (bar, post)]


def mailbox(rng: Generator) -> list[Part]:
    """A box on a post, or a pillar."""
    color = solid(rng)
    if rng.uniform() < 0.65:
        w, d, h, post = rng.uniform(0.16, 0.24), rng.uniform(0.35, 0.55), rng.uniform(0.12, 0.2), rng.uniform(0.6, 1.1)
        a = np.linspace(0, np.pi, 14)
        outline = [(-w / 2, 0), (w / 2, 0), *[(w / 2 * np.cos(t), h * 0.6 + w / 2 * np.sin(t)) for t in a]]
        body = extrude(outline, -d / 2, d / 2).turned(np.pi / 2, "x").moved(z=post)
        door = extrude(np.array(outline) * 1.04, 0, 0.02).turned(np.pi / 2, "x").moved(0, d / 2 + 0.015, post)
        flag = join(
            [
                box((w / 2, -0.02, post + h * 0.3), (w / 2 + 0.015, 0.01, post + h + 0.22)),
                box((w / 2, -0.02, post + h + 0.12), (w / 2 + 0.015, 0.12, post + h + 0.22)),
            ]
        )
        stick = box((-0.045, -0.045, 0), (0.045, 0.045, post)) if rng.uniform() < 0.6 else cylinder(0.04, 0, post, 14)
        return [
            (body, color),
            (door, color if rng.uniform() < 0.5 else paint(rng)),
            (flag, paint(rng)),
            (stick, solid(rng)),
        ]
    r, h = rng.uniform(0.22, 0.3), rng.uniform(1.0, 1.6)
    body = lathe([(0, 0), (r * 1.1, 0), (r * 1.1, 0.12), (r, 0.16), (r, h), (0, h)], 28)
    cap = turned([(0, h - 0.01), (r * 1.15, h), (r * 1.1, h + 0.07), (r * 0.5, h + 0.16), (0, h + 0.18)], 16)
    slot = box((-r * 0.6, r * 0.5, h * 0.8), (r * 0.6, r * 1.03, h * 0.8 + 0.06))
    plate = box((-r * 0.4, r * 0.6, h * 0.45), (r * 0.4, r * 1.02, h * 0.68))
    return [(body, color), (cap, color if rng.uniform() < 0.5 else paint(rng)), (slot, DARK), (plate, PALE)]


def well(rng: Generator) -> list[Part]:
    """A stone ring with a roof and a winch."""
    r, h, top = rng.uniform(0.45, 0.65), rng.uniform(0.45, 0.7), rng.uniform(1.4, 1.9)
    n = int(choose(rng, (6, 8, 28)))
    ring = lathe(
        [
            (0, 0.1),
            (0, 0),
            (r, 0),
            (r, h),
            (r * 1.08, h),
            (r * 1.08, h + 0.08),
            (r * 0.74, h + 0.08),
            (r * 0.74, 0.1),
            (0, 0.1),
        ][1:],
        n,
        smooth=n > 8,
    )
    posts = [box((s * r * 0.92 - 0.05, -0.05, h * 0.5), (s * r * 0.92 + 0.05, 0.05, top)) for s in (-1, 1)]
    winch = join(
        [
            rod((-r, 0, top * 0.75), (r * 1.15, 0, top * 0.75), 0.035),
            rod((r * 1.15, 0, top * 0.75), (r * 1.15, 0.12, top * 0.66), 0.018),
            cylinder(0.008, h + 0.35, top * 0.75, 6),
        ]
    )
    pail = lathe([(0, 0), (0.09, 0), (0.12, 0.2), (0, 0.2)], 18).moved(z=h + 0.16)
    roof = (
        gable(2 * r + 0.4, 1.7 * r, top - 0.05, top + rng.uniform(0.3, 0.65))
        if rng.uniform() < 0.7
        else hip(2.5 * r, 2.0 * r, top - 0.05, top + 0.5, 0.0)
    )
    return [(ring, solid(rng)), (join([*posts, winch]), solid(rng)), (roof, solid(rng)), (pail, solid(rng))]


def fountain(rng: Generator) -> list[Part]:
    r, tiers = 0.9, int(rng.integers(2, 4))
    stone, water = solid(rng), paint(rng)
    n = int(choose(rng, (8, 32, 32)))
    parts: list[Part] = []
    z, q = 0.0, r
    for k in range(tiers):
        if k == 0:
            basin = lathe(
                [
                    (0, 0),
                    (q, 0),
                    (q, 0.3),
                    (q * 1.05, 0.3),
                    (q * 1.05, 0.38),
                    (q * 0.88, 0.38),
                    (q * 0.88, 0.2),
                    (0, 0.2),
                ],
                n,
                smooth=n > 8,
            )
            level = z + 0.3
        else:
            basin = lathe(
                [(0, 0), (0.08, 0), (q * 0.6, 0.08), (q, 0.22), (q * 0.92, 0.22), (q * 0.5, 0.12), (0, 0.12)], 32
            ).moved(z=z)
            level = z + 0.18
        parts.append((basin, stone))
        parts.append((cylinder(q * 0.86, level - 0.02, level, 28), water))
        stem = rng.uniform(0.35, 0.6)
        parts.append(
            (
                turned(
                    [
                        (0, level - 0.1),
                        (0.12, level - 0.1),
                        (0.07, level + stem * 0.5),
                        (0.1, level + stem),
                        (0, level + stem),
                    ],
                    16,
                    16,
                ),
                stone,
            )
        )
        z, q = level + stem - 0.04, q * rng.uniform(0.5, 0.65)
    top = (
        ball(0.2).moved(z=z + 0.06)
        if rng.uniform() < 0.5
        else turned([(0, z), (0.1, z), (0.14, z + 0.12), (0.03, z + 0.24), (0, z + 0.3)], 16)
    )
    return [*parts, (top, stone)]


OUTDOORS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "fountain": (fountain, ()),
    "mailbox": (mailbox, ("letter box",)),
    "street lamp": (street_lamp, ("lamp post", "lamp")),
    "tent": (tent, ()),
    "well": (well, ()),
}
"""Category → maker, synonyms."""
