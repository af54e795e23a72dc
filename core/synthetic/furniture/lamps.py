"""Table, floor, desk and ceiling lamps."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, cylinder, join, lathe, rounded_box, superellipsoid, tapered, tube
from ..materials.materials import (
    RGB,
    Material,
    Style,
    any_color,
    choose,
    fabric,
    metal,
    mix,
    plain,
    vivid_color,
)
from .item import OTHER, Item, Lamp, Part, make_item

WARM: tuple[RGB, ...] = ((1.0, 0.80, 0.58), (1.0, 0.86, 0.70), (1.0, 0.93, 0.84))
"""Linear colours of lamps, about 2,900 to 4,000 K after partial white balance."""


def table_lamp(rng: Generator, style: Style) -> Item:
    h, r = rng.uniform(0.3, 0.48), rng.uniform(0.09, 0.15)
    shade_h = r * rng.uniform(1.1, 1.6)
    waist = rng.uniform(0.015, 0.06)
    foot = lathe(
        [
            (0, 0),
            (0.06, 0),
            (0.06, 0.015),
            (waist, 0.08),
            (waist * 0.7, h * 0.45),
            (0.012, h * 0.55),
            (0.012, h - shade_h + 0.02),
            (0, h - shade_h + 0.02),
        ]
    )
    return _lamp_with_shade(
        rng, "table lamp", foot, choose(rng, (style.board(rng), metal(rng), plain(any_color(rng)))), h, r, shade_h, 0.55
    )


def floor_lamp(rng: Generator, style: Style) -> Item:
    h, r = rng.uniform(1.4, 1.75), rng.uniform(0.16, 0.24)
    shade_h = r * rng.uniform(1.0, 1.4)
    if rng.uniform() < 0.5:
        foot = lathe(
            [(0, 0), (0.15, 0), (0.15, 0.02), (0.014, 0.035), (0.012, h - shade_h + 0.03), (0, h - shade_h + 0.03)]
        )
    else:
        legs3 = [
            cylinder(0.013, 0, h - shade_h, 8).rotate(0.17, "x", (0, 0, h - shade_h)).rotate(a).translate(z=0.02)
            for a in np.arange(3) * 2 * np.pi / 3
        ]
        foot = join([*legs3, cylinder(0.03, h - shade_h - 0.02, h - shade_h + 0.04, 10)])
    return _lamp_with_shade(rng, "floor lamp", foot, style.frame(rng), h, r, shade_h, 1.0)


def _lamp_with_shade(
    rng: Generator, label: str, foot: Mesh, material: Material, h: float, r: float, shade_h: float, power: float
) -> Item:
    lit = rng.uniform() < 0.6
    color = choose(rng, WARM)
    cloth = plain(mix((0.97, 0.93, 0.85), any_color(rng), rng.uniform(0, 0.3)), 0.03, glow=1.05 if lit else 0.0)
    top = r * rng.uniform(0.55, 0.95)
    z0 = h - shade_h
    shade = lathe([(r - 0.006, z0), (r, z0), (top, h), (top - 0.006, h)], 24)
    inner = lathe([(top - 0.006, h), (top - 0.008, h - 0.01), (r - 0.006, z0)], 24)  # the inside, which faces the bulb
    bulb = superellipsoid((0.06, 0.06, 0.08), 1, 1, 6, 10).translate(z=z0 + shade_h * 0.5)
    lamps = [Lamp((0.0, r, z0 + shade_h / 2), r * 1.35, color, power)] if lit else []
    parts: list[Part] = [(foot.translate(0, r), material), (join([shade, inner, bulb]).translate(0, r), cloth)]
    return make_item(label, OTHER, parts, lamps=lamps)


def ceiling_lamp(rng: Generator, style: Style, lit: bool, drop: float) -> Item:
    """A ceiling lamp; its origin is its mounting point. ``drop`` is the length of the cord, metres."""
    color = choose(rng, WARM)
    glow = 1.12 if lit else 0.0
    white = plain((0.96, 0.95, 0.91), 0.02, glow)
    parts: list[Part] = []
    kind = rng.choice(["globe", "dome", "panel", "drum"])
    if kind == "panel" or drop < 0.12:
        w, d = rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6)
        if rng.uniform() < 0.5:
            parts.append(
                (lathe([(0, -0.09), (w / 2 - 0.03, -0.09), (w / 2, -0.06), (w / 2, -0.002), (0, -0.002)], 28), white)
            )
        else:
            parts.append((rounded_box((-w / 2, -d / 2, -0.07), (w / 2, d / 2, -0.002), 0.02), white))
        low, r = -0.1, w / 2
    else:
        r = rng.uniform(0.14, 0.26)
        parts.append((cylinder(0.006, -drop, -0.002, 8), plain((0.15, 0.15, 0.15))))
        if kind == "globe":
            parts.append((superellipsoid((2 * r, 2 * r, 2 * r), 1, 1, 12, 24).translate(z=-drop - r), white))
            low = -drop - 2 * r
        else:
            shade = plain(any_color(rng)) if kind == "dome" else fabric(rng)
            a = 0.05 if kind == "dome" else r * 0.9
            parts.append(
                (
                    lathe(
                        [
                            (0, -drop - r * 0.9 + 0.012),
                            (r - 0.012, -drop - r * 0.9 + 0.012),
                            (r, -drop - r * 0.9),
                            (a, -drop),
                            (0, -drop),
                        ],
                        28,
                    ),
                    shade,
                )
            )
            parts.append((cylinder(r - 0.02, -drop - r * 0.9 + 0.002, -drop - r * 0.9 + 0.011, 28), white))
            low = -drop - r * 0.9
    lamps = [Lamp((0.0, 0.0, low - 0.02), r, color, 3.0, down=True)] if lit else []
    return make_item("ceiling lamp", OTHER, parts, lamps=lamps)


def desk_lamp(rng: Generator, style: Style) -> Item:
    color = plain(choose(rng, ((0.1, 0.1, 0.1), (0.85, 0.85, 0.85), vivid_color(rng))))
    foot = cylinder(0.08, 0, 0.02, 20)
    arm = tube([(0, 0, 0.02), (0, -0.06, 0.16), (0, -0.1, 0.28), (0, 0.0, 0.4), (0, 0.1, 0.44)], 0.007)
    head = tapered(0.07, 0.025, -0.06, 0.03, 16).rotate(0.5, "x").translate(0, 0.13, 0.43)
    return make_item("desk lamp", OTHER, [(join([foot, arm, head]).translate(0, 0.1), color)])
