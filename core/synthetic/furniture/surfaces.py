"""Things to put things on: tables, desks, and what stands on them."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, box, join, lathe, rounded_box
from ..materials.materials import Material, Style, board, choose, plain
from .item import Box, Item, Part, make
from .seats import legs


def _top(rng: Generator, w: float, d: float, z: float, t: float, material: Material, round_: bool) -> Part:
    if round_:
        mesh = lathe([(0, z - t), (0.5, z - t), (0.5, z), (0, z)], 36).scaled(w, d, 1).moved(0, d / 2)
    elif rng.uniform() < 0.5:
        mesh = rounded_box((-w / 2, 0, z - t), (w / 2, d, z), t * 0.45)
    else:
        mesh = box((-w / 2, 0, z - t), (w / 2, d, z))
    return mesh, material


def table(rng: Generator, style: Style, w: float, d: float, h: float, round_: bool = False) -> Item:
    """A table: four legs, pedestal, trestle or slab sides; rectangular or round."""
    t = rng.uniform(0.02, 0.05)
    top = style.board(rng)
    frame = choose(rng, (top, style.frame(rng)))
    parts: list[Part] = [_top(rng, w, d, h, t, top, round_)]
    under = h - t
    kind = rng.choice(["legs", "pedestal", "slab", "splayed"], p=[0.45, 0.25, 0.12, 0.18])
    boxes: list[Box] = [(-w / 2, 0, under - 0.08, w / 2, d, h)]
    if kind == "pedestal":
        foot = min(w, d) * 0.32
        if w / d > 1.5:  # one column would not carry a long top
            for sx in (-1, 1):
                column = lathe([(0, 0), (foot, 0), (foot, 0.03), (0.04, 0.07), (0.04, under), (0, under)])
                parts.append((column.moved(sx * w * 0.28, d / 2), frame))
        else:
            parts.append(
                (
                    lathe([(0, 0), (foot, 0), (foot, 0.025), (0.05, 0.07), (0.045, under), (0, under)]).moved(0, d / 2),
                    frame,
                )
            )
        boxes.append((-w * 0.4, d * 0.2, 0, w * 0.4, d * 0.8, 0.1))
        boxes.append((-w * 0.33, d * 0.42, 0, w * 0.33, d * 0.58, under))
    elif kind == "slab" and not round_:
        parts.append(
            (
                join(
                    [
                        box((sx * (w / 2 - 0.06) - 0.02, 0.04, 0), (sx * (w / 2 - 0.06) + 0.02, d - 0.04, under))
                        for sx in (-1, 1)
                    ]
                ),
                frame,
            )
        )
        boxes += [(sx * (w / 2 - 0.06) - 0.03, 0, 0, sx * (w / 2 - 0.06) + 0.03, d, under) for sx in (-1, 1)]
    else:
        inset = 0.12 * min(w, d) if round_ else 0.03
        s = rng.uniform(0.04, 0.075)
        lw, ld = (w * 0.75, d * 0.75) if round_ else (w, d)
        splayed = kind == "splayed"
        parts.append(
            (
                legs(lw, ld, under, s, inset, splayed or bool(rng.uniform() < 0.3), 0.1 if splayed else 0.0).moved(
                    0, (d - ld) / 2
                ),
                frame,
            )
        )
        if not splayed and not round_:
            a, b, z0 = w / 2 - 0.06, 0.06, under - 0.07
            rails = [
                box((-a, b, z0), (a, b + 0.02, under)),
                box((-a, d - b - 0.02, z0), (a, d - b, under)),
                box((-a, b, z0), (-a + 0.02, d - b, under)),
                box((a - 0.02, b, z0), (a, d - b, under)),
            ]
            parts.append((join(rails), frame))
        e = s + inset + 0.05
        for sx in (-1, 1):
            for sy in (-1, 1):
                x, y = sx * (lw / 2 - e / 2), d / 2 + sy * (ld / 2 - e / 2)
                boxes.append((x - e / 2, y - e / 2, 0, x + e / 2, y + e / 2, under))
    return make("table", "table", parts, boxes)


def dining_table(rng: Generator, style: Style, small: bool = False) -> Item:
    round_ = bool(rng.uniform() < 0.3)
    if round_:
        w = d = rng.uniform(0.75, 0.95) if small else rng.uniform(0.95, 1.25)
    else:
        w, d = (
            (rng.uniform(0.8, 1.1), rng.uniform(0.7, 0.8))
            if small
            else (rng.uniform(1.2, 1.9), rng.uniform(0.78, 0.95))
        )
    return table(rng, style, w, d, rng.uniform(0.71, 0.77), round_)


def coffee_table(rng: Generator, style: Style) -> Item:
    round_ = bool(rng.uniform() < 0.35)
    w = rng.uniform(0.6, 0.85) if round_ else rng.uniform(0.8, 1.2)
    return table(rng, style, w, w if round_ else rng.uniform(0.45, 0.65), rng.uniform(0.34, 0.48), round_)


def side_table(rng: Generator, style: Style) -> Item:
    w = rng.uniform(0.38, 0.55)
    return table(rng, style, w, w, rng.uniform(0.45, 0.6), bool(rng.uniform() < 0.5))


def desk(rng: Generator, style: Style) -> Item:
    """A desk: a pedestal of drawers, panel sides, or a frame of metal legs; sometimes a modesty panel."""
    w, d, h = rng.uniform(1.05, 1.7), rng.uniform(0.6, 0.8), rng.uniform(0.71, 0.76)
    t = rng.uniform(0.02, 0.04)
    top = style.board(rng)
    body = choose(rng, (top, board(rng), style.frame(rng)))
    under = h - t
    parts: list[Part] = [_top(rng, w, d, h, t, top, False)]
    boxes: list[Box] = [(-w / 2, 0, under - 0.04, w / 2, d, h)]
    kind = rng.choice(["drawers", "both", "panels", "frame"])
    sides: list[Mesh] = []

    def drawers(x0: float, x1: float) -> None:
        parts.append((box((x0, 0.03, 0.05), (x1, d - 0.05, under)), body))
        n = int(rng.integers(2, 5))
        handle = style.frame(rng)
        for i in range(n):
            z0, z1 = 0.05 + i * (under - 0.05) / n, 0.05 + (i + 1) * (under - 0.05) / n
            parts.append((box((x0 + 0.008, d - 0.05, z0 + 0.006), (x1 - 0.008, d - 0.032, z1 - 0.006)), body))
            parts.append(
                (
                    box(((x0 + x1) / 2 - 0.06, d - 0.032, z1 - 0.06), ((x0 + x1) / 2 + 0.06, d - 0.012, z1 - 0.045)),
                    handle,
                )
            )
        parts.append((box((x0 + 0.02, 0.05, 0), (x1 - 0.02, d - 0.08, 0.05)), plain((0.14, 0.13, 0.13))))
        boxes.append((x0, 0, 0, x1, d, under))

    def panel(x: float) -> None:
        sides.append(box((x - 0.018, 0.02, 0), (x + 0.018, d - 0.03, under)))
        boxes.append((x - 0.02, 0, 0, x + 0.02, d, under))

    block = rng.uniform(0.36, 0.45)
    if kind in ("drawers", "both"):
        drawers(-w / 2 + 0.01, -w / 2 + block)
        if kind == "both" and w > 1.35:
            drawers(w / 2 - block, w / 2 - 0.01)
        else:
            panel(w / 2 - 0.03)
    elif kind == "panels":
        panel(-w / 2 + 0.03)
        panel(w / 2 - 0.03)
    else:
        for sx in (-1, 1):
            x = sx * (w / 2 - 0.08)
            sides += [
                box((x - 0.025, 0.08, 0), (x + 0.025, d - 0.06, 0.03)),
                box((x - 0.025, d / 2 - 0.03, 0.03), (x + 0.025, d / 2 + 0.03, under)),
            ]
            boxes.append((x - 0.03, 0, 0, x + 0.03, d, under))
    if kind != "frame" or rng.uniform() < 0.4:
        sides.append(box((-w / 2 + 0.05, 0.04, under - rng.uniform(0.2, 0.45)), (w / 2 - 0.05, 0.058, under)))
    if sides:
        parts.append((join(sides), body))
    boxes.append((-w / 2 + 0.05, 0, under - 0.46, w / 2 - 0.05, 0.07, under))
    return make("desk", "desk", parts, boxes)


def scatter(
    rng: Generator,
    items: list[Item],
    x0: float,
    x1: float,
    y0: float,
    y1: float,
    z: float,
    taken: list[Box] | None = None,
) -> list[Item]:
    """The items that find room on the rectangle at height z, turned a little at random, none touching another."""
    placed: list[Item] = []
    used = list(taken or [])
    for item in items:
        for _ in range(12):
            turned = item.turned(rng.uniform(-0.5, 0.5))
            b = np.array(turned.bounds)
            free_x, free_y = (x1 - x0) - (b[3] - b[0]), (y1 - y0) - (b[4] - b[1])
            if free_x <= 0 or free_y <= 0:
                continue
            dx, dy = x0 - b[0] + rng.uniform(0, free_x), y0 - b[1] + rng.uniform(0, free_y)
            c = (b[0] + dx, b[1] + dy, 0, b[3] + dx, b[4] + dy, 0)
            if all(c[0] > u[3] + 0.01 or c[3] < u[0] - 0.01 or c[1] > u[4] + 0.01 or c[4] < u[1] - 0.01 for u in used):
                used.append(c)  # type: ignore[arg-type]
                placed.append(turned.moved(dx, dy, z))
                break
    return placed
