"""Toy figures."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box
from ...geometry.shapes import ball, cone, limb, mirrored, pair, rod, torus, turned
from ...materials.materials import choose
from ...materials.paint import DARK, natural, paint, solid
from .furniture import Maker


def robot(rng: Generator) -> list[Part]:
    w, h, head = rng.uniform(0.2, 0.34), rng.uniform(0.22, 0.36), rng.uniform(0.13, 0.22)
    leg = rng.uniform(0.1, 0.26)
    body_paint, joint, glow = solid(rng), solid(rng), paint(rng)
    parts: list[Part] = [(rounded_box((-w / 2, -w * 0.3, leg), (w / 2, w * 0.3, leg + h), 0.02), body_paint)]
    z = leg + h + 0.04
    if rng.uniform() < 0.6:
        skull: Mesh = rounded_box((-head * 0.6, -head * 0.45, z), (head * 0.6, head * 0.45, z + head * 0.85), 0.02)
        y = head * 0.45
    else:
        skull = turned(
            [
                (0, z),
                (head * 0.55, z),
                (head * 0.55, z + head * 0.4),
                (head * 0.35, z + head * 0.8),
                (0, z + head * 0.85),
            ],
            20,
        )
        y = head * 0.5
    eyes = [
        cylinder(head * 0.14, 0, 0.02, 16).turned(-np.pi / 2, "x").moved(s * head * 0.25, y - 0.005, z + head * 0.5)
        for s in (-1, 1)
    ]
    mouth = box((-head * 0.28, y - 0.01, z + head * 0.16), (head * 0.28, y + 0.008, z + head * 0.24))
    panel = box((-w * 0.3, w * 0.3 - 0.005, leg + h * 0.4), (w * 0.3, w * 0.3 + 0.008, leg + h * 0.8))
    feeler = [
        join(
            [
                rod((x, 0, z + head * 0.8), (x * 1.3, 0, z + head * 1.25), 0.006),
                ball(0.03).moved(x * 1.3, 0, z + head * 1.27),
            ]
        )
        for x in choose(rng, ((0.0,), (-0.05, 0.05)))
    ]
    lift = rng.uniform(-1.3, 0.3)
    arm = (
        join(
            [
                limb([(0, 0, 0), (0.05, 0, -0.06), (0.06, 0.02, -0.16)], (0.028, 0.024, 0.024), 12, 8),
                torus(0.032, 0.01, 18, 8, 4.6).turned(np.pi / 2, "x").turned(2.4, "y").moved(0.06, 0.02, -0.21),
            ]
        )
        .turned(lift, "y")
        .moved(w / 2, 0, leg + h * 0.85)
    )
    if rng.uniform() < 0.7:
        legs = [
            join(
                [
                    cylinder(0.032, 0.03, leg + 0.01, 14).moved(s * w * 0.27),
                    rounded_box((s * w * 0.27 - 0.05, -0.06, 0), (s * w * 0.27 + 0.05, 0.09, 0.045), 0.015),
                ]
            )
            for s in (-1, 1)
        ]
    else:
        legs = [
            cylinder(leg * 0.5, -0.04, 0.04, 20).turned(np.pi / 2, "y").moved(s * w * 0.45, 0, leg * 0.5)
            for s in (-1, 1)
        ]
    return [
        *parts,
        (skull, body_paint if rng.uniform() < 0.6 else solid(rng)),
        (join([*eyes, mouth, panel]), glow),
        (join([*feeler, arm, mirrored(arm), *legs, cylinder(0.03, leg + h, z + 0.01, 12)]), joint),
    ]


def duck(rng: Generator) -> list[Part]:
    """A rubber duck."""
    fat, head = rng.uniform(0.85, 1.2), rng.uniform(0.032, 0.044)
    coat = natural(rng, (0.93, 0.8, 0.2))
    body = ball(0.1 * fat, 0.14, 0.085, 24).moved(z=0.04)
    tail = limb(
        [(0, -0.03, 0.05), (0, -0.065, 0.06), (0, -0.08, 0.06 + rng.uniform(0.02, 0.045))], (0.035, 0.022, 0.007), 14, 8
    )
    z = 0.075 + head * rng.uniform(0.7, 1.1)
    skull = ball(2 * head).moved(0, 0.035, z)
    bill = join(
        [
            ball(0.04, 0.045, 0.012, 14).moved(0, 0.035 + head + 0.008, z - 0.006),
            ball(0.034, 0.035, 0.01, 14).moved(0, 0.035 + head + 0.005, z - 0.014),
        ]
    )
    wings = pair(ball(0.02, 0.08, 0.045, 16).turned(0.35, "x").moved(0.047 * fat, -0.012, 0.05))
    eyes = pair(ball(0.011).moved(head * 0.55, 0.035 + head * 0.78, z + head * 0.35))
    parts: list[Part] = [(join([body, tail, skull, wings]), coat), (bill, solid(rng)), (eyes, DARK)]
    if rng.uniform() < 0.35:
        parts.append(
            (
                lathe(
                    [(0, 0), (head * 0.9, 0), (head * 0.9, 0.004), (head * 0.5, 0.004), (head * 0.5, 0.03), (0, 0.03)],
                    20,
                ).moved(0, 0.035, z + head * 0.85),
                paint(rng),
            )
        )
    return parts


def teddy_bear(rng: Generator) -> list[Part]:
    fat, head, ear = rng.uniform(0.85, 1.2), rng.uniform(0.085, 0.115), rng.uniform(0.03, 0.048)
    fur, pale = solid(rng), solid(rng)
    body = ball(0.2 * fat, 0.17 * fat, 0.24, 24).moved(z=0.15)
    z = 0.27 + head * 0.75
    skull = ball(2 * head, 1.8 * head, 1.8 * head, 24).moved(z=z)
    ears = pair(ball(2 * ear, ear, 2 * ear, 16).moved(head * 0.75, 0, z + head * 0.75))
    lift = rng.uniform(-0.07, 0.12)
    arm = pair(
        limb(
            [(0.07 * fat, 0, 0.23), (0.13 * fat, 0.03, 0.2 + lift * 0.5), (0.16 * fat, 0.05, 0.16 + lift)],
            (0.038, 0.04, 0.038),
            14,
            8,
        )
    )
    sitting = rng.uniform() < 0.6
    leg = limb(
        [(0.06, 0.02, 0.06), (0.085, 0.1, 0.045), (0.1, 0.17, 0.05)]
        if sitting
        else [(0.06, 0, 0.1), (0.065, 0.0, 0.0), (0.068, 0.015, -0.1)],
        (0.05, 0.045, 0.05),
        14,
        8,
    )
    muzzle = ball(head * 0.9, head * 0.8, head * 0.7, 16).moved(0, head * 0.75, z - head * 0.22)
    sole = (
        pair(ball(0.07, 0.025, 0.08, 14).moved(0.1, 0.21, 0.055))
        if sitting
        else pair(ball(0.07, 0.06, 0.02, 14).moved(0.068, 0.03, -0.15))
    )
    face = [ball(0.02).moved(s * head * 0.35, head * 0.83, z + head * 0.18) for s in (-1, 1)] + [
        ball(head * 0.3, head * 0.2, head * 0.2, 10).moved(0, head * 1.14, z - head * 0.08)
    ]
    inner = pair(ball(1.3 * ear, 0.4 * ear, 1.3 * ear, 12).moved(head * 0.75, ear * 0.4, z + head * 0.75))
    parts: list[Part] = [
        (join([body, skull, ears, arm, pair(leg)]), fur),
        (join([muzzle, sole, inner]), pale),
        (join(face), DARK),
    ]
    if rng.uniform() < 0.5:
        bow = pair(cone(0.03, -0.055, 0, 12).turned(np.pi / 2, "y")).turned(0.0).moved(0, 0.085 * fat, 0.262)
        parts.append((bow, paint(rng)))
    return parts


TOYS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "duck": (duck, ("rubber duck",)),
    "robot": (robot, ()),
    "teddy bear": (teddy_bear, ("stuffed bear",)),
}
"""Category → maker, synonyms."""
