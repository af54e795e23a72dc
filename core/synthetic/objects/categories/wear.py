"""What one wears."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ...furniture.item import Part
from ...geometry.mesh import box, join, lathe, rounded_box, superellipsoid
from ...geometry.shapes import ball, ellipse, ellipse3, extrude, loft, pair, ring_plate, rod, spline, standing, sweep
from ...materials.materials import choose
from ...materials.paint import DARK, PALE, natural, paint, solid
from .furniture import Maker


def hat(rng: Generator) -> list[Part]:
    r = 0.09
    material, band = solid(rng), solid(rng)
    kind = choose(rng, ("top", "bowler", "sun", "witch", "cap"))
    brim, h = rng.uniform(1.4, 1.9) * r, rng.uniform(0.08, 0.12)
    if kind == "top":
        h = rng.uniform(0.13, 0.2)
        crown = [(r, 0.0), (r * 0.95, h * 0.5), (r * rng.uniform(0.95, 1.15), h), (0, h)]
    elif kind == "bowler":
        crown = [(r, 0.0), *[(r * np.cos(a), h * np.sin(a)) for a in np.linspace(0.1, np.pi / 2, 10)]]
    elif kind == "sun":
        brim = rng.uniform(2.0, 2.8) * r
        crown = [(r, 0.0), *[(r * np.cos(a) ** 0.6, 0.8 * h * np.sin(a)) for a in np.linspace(0.1, np.pi / 2, 10)]]
    elif kind == "witch":
        h = rng.uniform(0.22, 0.34)
        crown = [(r, 0.0), (r * 0.55, h * 0.45), (0, h)]
    else:
        dome = lathe(
            [
                (0, 0),
                (r, 0),
                *[(float(r * np.cos(a)), float(r * 1.0 * np.sin(a))) for a in np.linspace(0.1, np.pi / 2, 10)],
            ],
            30,
        )
        peak = extrude(
            np.concatenate(
                [
                    [(-r * 0.85, 0.4 * r)],
                    spline(
                        [
                            (-r * 0.8, 0.5 * r),
                            (-r * 0.6, r * 1.75),
                            (0, r * 2.0),
                            (r * 0.6, r * 1.75),
                            (r * 0.8, 0.5 * r),
                        ],
                        20,
                    ),
                ]
            ),
            -0.003,
            0.003,
        ).turned(-0.12, "x")
        return [(dome, material), (peak.moved(z=0.012), band), (ball(0.018).moved(z=r), band)]
    top = [(float(max(a, 0)), float(b)) for a, b in crown]
    if top[-1][0] > 1e-9:
        top.append((0.0, top[-1][1]))
    curl = rng.uniform(-0.01, 0.025)
    body = lathe([(0, -0.004), (r * 0.9, -0.006), (brim, curl - 0.004), (brim, curl), (r * 1.02, 0.0), *top], 36)
    q = h * 0.18 if kind != "witch" else 0.03
    ribbon = lathe(
        [
            (r * 0.9, 0.002),
            (r * 1.025, 0.002),
            (r * (1.0 if kind != "witch" else 0.97), 0.002 + q),
            (r * 0.85, 0.002 + q),
        ],
        36,
    )
    return [(body, material), (ribbon, band)]


def helmet(rng: Generator) -> list[Part]:
    r, long = 0.12, rng.uniform(1.05, 1.25)
    shell = solid(rng)
    kind = rng.uniform()
    a = np.linspace(0.0, np.pi / 2, 12)
    if kind < 0.4:  # a builder's
        dome = lathe(
            [
                (0, 0),
                (r * 1.12, -0.004),
                (r * 1.12, 0.0),
                *[(float(r * np.cos(t) ** 0.8), 0.01 + float(r * 0.95 * np.sin(t))) for t in a],
            ],
            32,
        ).scaled(1, long, 1)
        peak = extrude(ellipse(r * 0.8, r * 0.45, 30), -0.004, 0.002).moved(0, r * long, 0)
        ridges = [
            sweep(
                np.stack(
                    [
                        np.full(12, x),
                        r * long * np.cos(np.linspace(0.3, 2.84, 12)),
                        0.012 + r * 0.97 * np.sin(np.linspace(0.3, 2.84, 12)),
                    ],
                    1,
                ),
                np.full(12, 0.008),
            )
            for x in choose(rng, ((0.0,), (-0.03, 0.03), (-0.045, 0.0, 0.045)))
        ]
        return [(join([dome, peak]), shell), (join(ridges), shell if rng.uniform() < 0.5 else paint(rng))]
    if kind < 0.7:  # a motorcyclist's, with a visor
        dome = superellipsoid((2 * r, 2.2 * r, 2.1 * r), 0.9, 0.95, 16, 30)
        visor = superellipsoid((1.85 * r, 1.0 * r, 0.75 * r), 0.8, 0.9, 12, 24).moved(0, r * 0.66, 0.1 * r)
        chin = superellipsoid((1.5 * r, 1.0 * r, 0.55 * r), 0.6, 0.8, 10, 20).moved(0, r * 0.75, -0.62 * r)
        return [
            (join([dome, chin]), shell),
            (visor, choose(rng, (DARK, paint(rng)))),
            (box((-0.008, -r * 0.9, r * 0.85), (0.008, r * 0.5, r * 1.08)), paint(rng)),
        ]
    dome = lathe([(0, 0), (r, 0), *[(float(r * np.cos(t)), float(r * 1.1 * np.sin(t))) for t in a]], 32).scaled(
        1, long, 1
    )  # a knight's
    cheeks = [
        rounded_box((s * r * 0.98 - 0.008, -r * 0.4, -r * 0.9), (s * r * 0.98 + 0.008, r * 0.7, 0.02), 0.006)
        for s in (-1, 1)
    ]
    nose = box((-0.012, r * long - 0.012, -r * 0.7), (0.012, r * long + 0.008, r * 0.35))
    crest = (
        extrude(
            [
                (float(r * 1.35 * long * np.cos(t)), float(r * 1.4 * np.sin(t)))
                for t in np.linspace(0.35, np.pi - 0.0, 16)
            ],
            -0.012,
            0.012,
        )
        .turned(np.pi / 2, "x")
        .turned(np.pi / 2, "z")
    )
    neck = rounded_box((-r * 0.8, -r * long - 0.01, -r * 0.8), (r * 0.8, -r * long * 0.8, 0.02), 0.01)
    parts: list[Part] = [(join([dome, *cheeks, nose, neck]), shell)]
    return [*parts, (crest, paint(rng))] if rng.uniform() < 0.6 else parts


def boot(rng: Generator) -> list[Part]:
    """A shoe or a boot."""
    length, w = 0.28, rng.uniform(0.09, 0.11)
    high = rng.uniform(0.07, 0.36)
    heel = rng.uniform(0.015, 0.045)
    ys = np.linspace(-0.5, 0.5, 18)
    rings = []
    for s in ys:
        wide = (
            w / 2 * float(np.interp(s, [-0.5, -0.42, -0.2, 0.2, 0.4, 0.48, 0.5], [0.45, 0.72, 0.75, 1, 0.8, 0.5, 0.25]))
        )
        top = float(np.interp(s, [-0.5, -0.45, -0.1, 0.1, 0.35, 0.5], [0.075, 0.09, 0.088, 0.068, 0.05, 0.026]))
        e = ellipse(wide, top / 2, 18, 2.8)
        rings.append(np.stack([e[:, 0], np.full(18, s * length), heel + 0.012 + top / 2 + e[:, 1]], 1))
    foot = loft(rings)
    a, b = 0.045, 0.068
    y = -length * 0.27
    z = heel + 0.05
    leg = loft(
        [
            np.add(ellipse3(a, b, z), [0, y, 0]),
            np.add(ellipse3(a * 0.95, b * 0.92, z + high * 0.4), [0, y - 0.01, 0]),
            np.add(ellipse3(a * 1.15, b * 1.0, z + 0.03 + high), [0, y - 0.012, 0]),
            np.add(ellipse3(a * 1.0, b * 0.88, z + 0.03 + high), [0, y - 0.012, 0]),
            np.add(ellipse3(a * 0.8, b * 0.7, z + high * 0.6), [0, y - 0.01, 0]),
        ]
    )
    sole = [
        (
            w / 2 * float(np.interp(s, [-0.5, -0.42, -0.15, 0.22, 0.42, 0.5], [0.5, 0.82, 0.7, 1.06, 0.85, 0.3])),
            s * length * 1.02,
        )
        for s in ys
    ]
    flat = extrude([*sole, *[(-x, v) for x, v in sole[::-1]]], heel, heel + 0.018)
    block = rounded_box((-w * 0.36, -length * 0.5, 0), (w * 0.36, -length * 0.24, heel + 0.01), 0.006)
    front_ = rounded_box(
        (-w * 0.42, length * 0.0, max(heel - 0.012, 0.0)), (w * 0.42, length * 0.42, heel + 0.01), 0.006
    )
    if heel < 0.02:
        front_ = rounded_box((-w * 0.42, -length * 0.2, 0), (w * 0.42, length * 0.42, heel + 0.01), 0.006)
    laces = [
        rod((-0.022, y2, z2), (0.022, y2 + 0.004, z2), 0.0035)
        for y2, z2 in zip(np.linspace(-0.005, 0.065, 4), heel + 0.012 + np.linspace(0.078, 0.055, 4), strict=True)
    ]
    leather = solid(rng)
    return [(join([foot, leg]), leather), (join([flat, block, front_]), solid(rng)), (join(laces), paint(rng))]


def crown(rng: Generator) -> list[Part]:
    n, r, h = int(rng.integers(4, 10)), 0.09, rng.uniform(0.05, 0.13)
    t = np.linspace(0, 2 * np.pi, 12 * n, endpoint=False)
    wave = np.abs((t * n / (2 * np.pi)) % 1 - 0.5) * 2
    top = h * (0.4 + 0.6 * (wave if rng.uniform() < 0.6 else np.sqrt(wave)))
    flare = rng.uniform(1.0, 1.25)

    def ring(q: float, z: np.ndarray) -> np.ndarray:
        return np.stack([q * np.cos(t), q * np.sin(t), z], 1)

    rings = [ring(r, 0 * t), ring(r * flare, top), ring(r * flare - 0.004, top), ring(r - 0.004, 0 * t), ring(r, 0 * t)]
    band = loft(rings, False)
    hoop = lathe([(r - 0.006, 0), (r * 1.02 + 0.002, 0), (r * 1.02 + 0.004, 0.018), (r - 0.006, 0.018)], 48)
    gems = [ball(0.014).moved(r * flare, 0, h + 0.004).turned(2 * np.pi * k / n) for k in range(n)]
    gold = natural(rng, (0.88, 0.7, 0.25))
    parts: list[Part] = [(band, gold), (hoop, gold if rng.uniform() < 0.5 else solid(rng)), (join(gems), paint(rng))]
    if rng.uniform() < 0.35:
        parts.append((ball(2 * r * 0.9, 2 * r * 0.9, h * 1.5).moved(z=h * 0.3), solid(rng)))
    return parts


def glasses(rng: Generator) -> list[Part]:
    w, h, gap = rng.uniform(0.022, 0.03), rng.uniform(0.016, 0.026), 0.009
    e = choose(rng, (2.0, 2.0, 3.5, 6.0))
    t = rng.uniform(0.0015, 0.004)
    x = w + gap
    ring = ring_plate(ellipse(w + t, h + t, 36, e), ellipse(w, h, 36, e), -0.002, 0.002).moved(x)
    lens = extrude(ellipse(w, h, 36, e), -0.0008, 0.0008).moved(x)
    bridge = sweep(
        spline([(-gap - 0.001, h * 0.3, 0), (0, h * 0.55, 0.002), (gap + 0.001, h * 0.3, 0)], 9), np.full(9, 0.0018)
    )
    arm = sweep(
        spline(
            [
                (x + w, h * 0.4, 0),
                (x + w + 0.004, h * 0.4, -0.01),
                (x + w + 0.002, h * 0.4, -0.09),
                (x + w - 0.002, -h * 0.5, -0.13),
            ],
            16,
        ),
        np.full(16, 0.002),
    )
    frame, dark = solid(rng), choose(rng, (DARK, PALE, paint(rng)))
    return [(standing(join([pair(ring), bridge, pair(arm)])), frame), (standing(pair(lens)), dark)]


WEAR: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "boot": (boot, ("shoe",)),
    "crown": (crown, ()),
    "glasses": (glasses, ("spectacles",)),
    "hat": (hat, ()),
    "helmet": (helmet, ()),
}
"""Category → maker, synonyms."""
