"""Kitchens: counters with their cabinets, refrigerators, ovens and what stands about."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box, superellipsoid, tube
from ..materials.materials import Style, any_color, board, ceramic, choose, metal, neutral, plain, soft, vivid
from . import clutter
from .bath import STEEL, stone, tap
from .item import Box, Item, Part, make
from .storage import carcass, fronts
from .surfaces import scatter


def refrigerator(rng: Generator, style: Style) -> Item:
    w, d = rng.uniform(0.56, 0.9), rng.uniform(0.58, 0.7)
    h = choose(rng, (rng.uniform(1.2, 1.45), rng.uniform(1.6, 1.95), rng.uniform(1.7, 1.95)))
    body = choose(
        rng,
        (
            plain((0.93, 0.93, 0.92), 0.02),
            STEEL,
            plain((0.2, 0.2, 0.21)),
            plain(soft(rng)),
            plain(vivid(rng)),
            plain(any_color(rng)),
        ),
    )
    r = rng.uniform(0.006, 0.03)
    parts: list[Part] = [
        (box((-w / 2, 0.02, 0.04), (w / 2, d - 0.07, h), 0.2), body),
        (box((-w / 2 + 0.02, 0.05, 0), (w / 2 - 0.02, d - 0.1, 0.04)), plain((0.1, 0.1, 0.1))),
    ]
    grips: list[Mesh] = []

    def door(x0: float, x1: float, z0: float, z1: float, grip_x: float, grip_z: tuple[float, float]) -> None:
        parts.append((rounded_box((x0 + 0.003, d - 0.068, z0 + 0.003), (x1 - 0.003, d, z1 - 0.003), r, 0.2), body))
        grips.append(rounded_box((grip_x - 0.012, d, grip_z[0]), (grip_x + 0.012, d + 0.04, grip_z[1]), 0.008))

    if w > 0.8:
        door(-w / 2, 0, 0.05, h, -0.035, (h * 0.4, h * 0.75))
        door(0, w / 2, 0.05, h, 0.035, (h * 0.4, h * 0.75))
    else:
        split = h * choose(rng, (0.35, 0.68, 0.72))
        gx = choose(rng, (-1, 1)) * (w / 2 - 0.05)
        door(-w / 2, w / 2, 0.05, split, gx, (split - 0.32, split - 0.05))
        door(-w / 2, w / 2, split, h, gx, (split + 0.04, min(split + 0.3, h - 0.05)))
    parts.append((join(grips), choose(rng, (STEEL, plain((0.12, 0.12, 0.12))))))
    top = [clutter.carton(rng, style, rng.uniform(0.2, 0.3))] if h < 1.6 and rng.uniform() < 0.5 else []
    return make("refrigerator", "refrigerator", parts, children=scatter(rng, top, -w / 2, w / 2, 0.05, d - 0.1, h))


def kitchen_run(rng: Generator, style: Style, width: float) -> Item:
    """Base cabinets under a counter, with a sink, a hob over an oven, and things standing about.

    Cabinets, counter, sink, hob and oven are instances of their own.
    """
    d, h, t = 0.6, rng.uniform(0.86, 0.93), rng.uniform(0.025, 0.045)
    front = style.board(rng)
    body = front if rng.uniform() < 0.5 else plain(neutral(rng))
    kind, grip = str(rng.choice(["flat", "framed"])), str(rng.choice(["bar", "short", "knob"]))
    z0, under = 0.1, h - t
    n = max(2, round(width / rng.uniform(0.45, 0.6)))
    unit = width / n
    oven = int(rng.integers(n)) if width > 1.3 and rng.uniform() < 0.85 else -1
    options = [i for i in range(n) if abs(i - oven) > (1 if n > 3 else 0)]
    wet = choose(rng, options) if options else -1
    sink_w, sink_d = min(0.46, unit * n * 0.4), 0.38
    sx = float(np.clip(-width / 2 + (wet + 0.5) * unit, -width / 2 + sink_w / 2 + 0.04, width / 2 - sink_w / 2 - 0.04))
    ox = -width / 2 + (oven + 0.5) * unit
    plates: list[Mesh] = []
    grips: list[Mesh] = []
    shell: list[Mesh] = []
    for i in range(n):
        x0, x1 = -width / 2 + i * unit, -width / 2 + (i + 1) * unit
        if i == oven:
            continue
        if wet >= 0 and x0 < sx + sink_w / 2 + 0.02 and x1 > sx - sink_w / 2 - 0.02:
            shell.append(box((x0, 0.02, z0), (x1, d - 0.03, under - 0.2), 0.2))
            shell.append(box((x0, d - 0.06, under - 0.2), (x1, d - 0.03, under), 0.2))
        else:
            shell.append(box((x0, 0.02, z0), (x1, d - 0.03, under), 0.2))
        rows = int(rng.choice([1, 1, 3]))
        p, g = fronts(rng, x0, x1, z0, under - 0.01, d - 0.029, 1, rows, kind, grip)
        plates += p
        grips += g
    parts: list[Part] = [(join(shell), body), (join(plates), front), (join(grips), style.frame(rng))]
    parts.append((box((-width / 2, 0.05, 0), (width / 2, d - 0.08, z0), 0.2), plain((0.13, 0.13, 0.13))))
    top_material = stone(rng, style)
    slab: list[Mesh] = []
    y0, y1 = 0.12, 0.12 + sink_d
    front_edge = d + 0.02
    if wet >= 0:
        a, b = sx - sink_w / 2 + 0.01, sx + sink_w / 2 - 0.01
        slab += [box((-width / 2, 0, under), (a, front_edge, h)), box((b, 0, under), (width / 2, front_edge, h))]
        slab += [box((a, 0, under), (b, y0 + 0.01, h)), box((a, y1 - 0.01, under), (b, front_edge, h))]
    else:
        slab.append(box((-width / 2, 0, under), (width / 2, front_edge, h)))
    splash = rng.uniform(0.04, 0.12)
    slab.append(box((-width / 2, 0, h), (width / 2, 0.018, h + splash)))
    children = [make("counter", "counter", [(join(slab), top_material)])]
    taken: list[Box] = []
    if wet >= 0:
        steel = STEEL if rng.uniform() < 0.65 else ceramic(rng)
        rim, deep = h + 0.004, 0.17
        bowl = [
            box((sx - sink_w / 2, y0, rim - deep), (sx - sink_w / 2 + 0.02, y1, rim)),
            box((sx + sink_w / 2 - 0.02, y0, rim - deep), (sx + sink_w / 2, y1, rim)),
            box((sx - sink_w / 2 + 0.02, y0, rim - deep), (sx + sink_w / 2 - 0.02, y0 + 0.02, rim)),
            box((sx - sink_w / 2 + 0.02, y1 - 0.02, rim - deep), (sx + sink_w / 2 - 0.02, y1, rim)),
            box(
                (sx - sink_w / 2 + 0.02, y0 + 0.02, rim - deep), (sx + sink_w / 2 - 0.02, y1 - 0.02, rim - deep + 0.012)
            ),
        ]
        children.append(make("sink", "sink", [(join(bowl), steel), (tap(0.18, 0.28).moved(sx, 0.075, h), STEEL)]))
        taken.append((sx - sink_w / 2, 0, 0, sx + sink_w / 2, d, 0))
    if oven >= 0:
        black = plain((0.06, 0.06, 0.065), 0.02)
        case = choose(rng, (STEEL, plain((0.92, 0.92, 0.91)), plain((0.1, 0.1, 0.1))))
        a, b = ox - unit / 2 + 0.004, ox + unit / 2 - 0.004
        knobs = join(
            [
                cylinder(0.018, 0, 0.025, 10).turned(-np.pi / 2, "x").moved(x, d - 0.008, under - 0.07)
                for x in np.linspace(a + 0.07, b - 0.07, 4)
            ]
        )
        oven_parts: list[Part] = [
            (box((a, 0.02, z0), (b, d - 0.01, under), 0.2), case),
            (box((a + 0.05, d - 0.009, z0 + 0.1), (b - 0.05, d, under - 0.2), 0.2), black),
            (
                join([knobs, box((a + 0.06, d - 0.009, under - 0.16), (b - 0.06, d + 0.03, under - 0.14))]),
                plain((0.5, 0.5, 0.5)),
            ),
        ]
        children.append(make("oven", "otherfurniture", oven_parts))
        hob: list[Part] = [(box((ox - 0.27, 0.07, h), (ox + 0.27, d - 0.06, h + 0.008)), black)]
        plate_color = plain((0.25, 0.25, 0.26))
        hob.append(
            (
                join(
                    [
                        cylinder(r, h + 0.008, h + 0.016, 20).moved(ox + x, y)
                        for x, y, r in ((-0.13, 0.2, 0.08), (0.13, 0.2, 0.1), (-0.13, 0.42, 0.1), (0.13, 0.42, 0.07))
                    ]
                ),
                plate_color,
            )
        )
        children.append(make("hob", "otherfurniture", hob))
        taken.append((ox - 0.28, 0, 0, ox + 0.28, d, 0))
        if rng.uniform() < 0.6:
            children.append(pot(rng, style).moved(ox + choose(rng, (-0.13, 0.13)), 0.42 - 0.11, h + 0.016))
    things = [
        choose(rng, (clutter.small_thing, kettle, microwave, knife_block))(rng, style)
        for _ in range(int(rng.integers(2, 7)))
    ]
    children += scatter(rng, things, -width / 2 + 0.03, width / 2 - 0.03, 0.06, d - 0.05, h, taken)
    return make("kitchen cabinets", "cabinet", parts, [(-width / 2, 0, 0, width / 2, front_edge, h + 0.02)], children)


def wall_cabinets(rng: Generator, style: Style, width: float, like: Item | None = None) -> Item:
    """Cabinets to hang over a counter; with the fronts of ``like`` now and then."""
    d, h = rng.uniform(0.3, 0.37), rng.uniform(0.55, 0.8)
    front = like.parts[1][1] if like is not None and rng.uniform() < 0.7 else style.board(rng)
    n = max(1, round(width / 0.5))
    parts = carcass(rng, style, width, d, 0.0, h, n, 1, front, front)
    return make("wall cabinet", "cabinet", parts)


def hood(rng: Generator, style: Style) -> Item:
    w = 0.6
    material = choose(rng, (STEEL, plain((0.12, 0.12, 0.12)), plain((0.92, 0.92, 0.92))))
    flue = box((-0.13, 0, 0.12), (0.13, 0.26, 0.75), 0.2)
    skirt = (
        lathe([(0, 0), (0.7071, 0), (0.7071, 0.05), (0.2, 0.14), (0, 0.14)], 4, smooth=False)
        .turned(np.pi / 4)
        .scaled(w, 0.46, 1)
        .moved(0, 0.23)
    )
    return make("hood", "otherfurniture", [(join([flue, skirt]), material)])


def pot(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.08, 0.11), rng.uniform(0.09, 0.16)
    mesh = lathe(
        [
            (0, 0),
            (r, 0),
            (r, h),
            (r + 0.006, h),
            (r + 0.006, h + 0.006),
            (0.02, h + 0.03),
            (0.018, h + 0.05),
            (0, h + 0.05),
        ],
        20,
    )
    ears = [
        rounded_box((sx * r - 0.025, -0.03, h * 0.7), (sx * r + 0.025, 0.03, h * 0.7 + 0.014), 0.006) for sx in (-1, 1)
    ]
    return make("pot", "otherfurniture", [(join([mesh, *ears]).moved(0, r), choose(rng, (STEEL, plain(vivid(rng)))))])


def kettle(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.075, 0.09), rng.uniform(0.18, 0.24)
    mesh = lathe([(0, 0), (r, 0), (r, 0.02), (r * 0.72, h * 0.92), (r * 0.2, h), (0, h)], 20)
    a = np.linspace(-1.1, 1.1, 7)
    grip = tube(np.stack([r * 0.75 + 0.05 * np.cos(a), 0 * a, h * 0.55 + 0.075 * np.sin(a)], 1), 0.009, 6)
    return make(
        "kettle", "otherfurniture", [(join([mesh, grip]).moved(0, r), choose(rng, (STEEL, plain(any_color(rng)))))]
    )


def microwave(rng: Generator, style: Style) -> Item:
    w, d, h = rng.uniform(0.44, 0.5), rng.uniform(0.32, 0.36), rng.uniform(0.25, 0.29)
    case = choose(rng, (STEEL, plain((0.93, 0.93, 0.92)), plain((0.12, 0.12, 0.12))))
    glass = box((-w / 2 + 0.03, d, 0.04), (w / 2 - 0.13, d + 0.004, h - 0.04), 0.2)
    bar = box((w / 2 - 0.115, d, 0.04), (w / 2 - 0.1, d + 0.03, h - 0.04), 0.2)
    return make(
        "microwave",
        "otherfurniture",
        [
            (rounded_box((-w / 2, 0, 0), (w / 2, d, h), 0.01), case),
            (glass, plain((0.05, 0.05, 0.06))),
            (bar, metal(rng)),
        ],
    )


def knife_block(rng: Generator, style: Style) -> Item:
    block = box((-0.05, 0, 0), (0.05, 0.1, 0.2))
    grips = [
        superellipsoid((0.018, 0.025, 0.1), 0.6, 0.6, 6, 8).moved(x, y, 0.24)
        for x in (-0.03, 0, 0.03)
        for y in (0.03, 0.07)
    ]
    return make("knife block", "otherfurniture", [(block, board(rng, 0.8)), (join(grips), plain((0.1, 0.1, 0.1)))])
