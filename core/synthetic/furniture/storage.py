"""Cabinets, wardrobes, dressers, bookshelves."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, box, cylinder, join, lathe, superellipsoid
from ..materials import textures as T
from ..materials.materials import Material, Style, any_color, choose, neutral, plain, vivid
from . import clutter
from .item import Item, Part, make
from .seats import legs
from .surfaces import scatter

GAP = 0.004
"""Half the slit between two fronts, metres."""


def handle(rng: Generator, x: float, y: float, z: float, upright: bool, kind: str) -> Mesh:
    """A handle on a front whose face is at ``y``."""
    if kind == "knob":
        return superellipsoid((0.03, 0.03, 0.03), 1, 1, 5, 10).moved(x, y + 0.014, z)
    half = 0.07 if kind == "bar" else 0.045
    lo, hi = (-0.006, 0, -half), (0.006, 0.025, half)
    mesh = box(lo, hi) if upright else box((lo[2], 0, lo[0]), (hi[2], 0.025, hi[0]))
    return mesh.moved(x, y, z)


def fronts(
    rng: Generator, x0: float, x1: float, z0: float, z1: float, y: float, columns: int, rows: int, kind: str, grip: str
) -> tuple[list[Mesh], list[Mesh]]:
    """A grid of doors or drawers in the plane y, and their handles; ``kind`` "flat" or "framed"."""
    plates: list[Mesh] = []
    grips: list[Mesh] = []
    w, h = (x1 - x0) / columns, (z1 - z0) / rows
    for i in range(columns):
        for j in range(rows):
            a, b = x0 + i * w + GAP, x0 + (i + 1) * w - GAP
            c, d = z0 + j * h + GAP, z0 + (j + 1) * h - GAP
            plates.append(box((a, y, c), (b, y + 0.018, d), 0.2))
            if kind == "framed" and b - a > 0.2 and d - c > 0.16:
                m = 0.05
                for lo, hi in (
                    ((a, c), (a + m, d)),
                    ((b - m, c), (b, d)),
                    ((a + m, c), (b - m, c + m)),
                    ((a + m, d - m), (b - m, d)),
                ):
                    plates.append(box((lo[0], y + 0.018, lo[1]), (hi[0], y + 0.026, hi[1]), 0.2))
            drawer = h < 0.75 * w or h < 0.3
            face = y + (0.026 if kind == "framed" else 0.018)
            if grip != "none":
                if drawer:
                    grips.append(handle(rng, (a + b) / 2, face, d - 0.05 if h > 0.12 else (c + d) / 2, False, grip))
                else:
                    near = b - 0.035 if i % 2 == 0 and columns > 1 else a + 0.035
                    grips.append(handle(rng, near, face, d - 0.12 if z0 < 0.7 else c + 0.12, True, grip))
    return plates, grips


def carcass(
    rng: Generator,
    style: Style,
    w: float,
    d: float,
    z0: float,
    z1: float,
    columns: int,
    rows: int,
    body: Material,
    front: Material,
) -> list[Part]:
    """A closed cabinet between z0 and z1 with its fronts."""
    kind = str(rng.choice(["flat", "framed"]))
    grip = str(rng.choice(["bar", "short", "knob", "none"], p=[0.35, 0.2, 0.3, 0.15]))
    plates, grips = fronts(rng, -w / 2, w / 2, z0, z1, d - 0.02, columns, rows, kind, grip)
    parts: list[Part] = [(box((-w / 2, 0, z0), (w / 2, d - 0.021, z1), 0.2), body), (join(plates), front)]
    if grips:
        parts.append((join(grips), style.frame(rng)))
    return parts


def _standing(rng: Generator, style: Style, w: float, d: float, parts: list[Part]) -> float:
    """Adds a plinth or feet; returns the height of the underside."""
    if rng.uniform() < 0.55:
        h = rng.uniform(0.04, 0.09)
        parts.append((box((-w / 2 + 0.01, 0.01, 0), (w / 2 - 0.01, d - 0.05, h), 0.2), plain((0.15, 0.14, 0.14))))
        return h
    h = rng.uniform(0.08, 0.18)
    parts.append((legs(w, d, h, 0.045, 0.03, bool(rng.uniform() < 0.5)), style.frame(rng)))
    return h


def cabinet(
    rng: Generator, style: Style, w: float, d: float, h: float, columns: int, rows: int, label: str = "cabinet"
) -> Item:
    """A free-standing cabinet of that size with a grid of doors or drawers."""
    parts: list[Part] = []
    z0 = _standing(rng, style, w, d, parts)
    body = style.board(rng)
    front = body if rng.uniform() < 0.65 else style.board(rng)
    parts += carcass(rng, style, w, d, z0, h - 0.025, columns, rows, body, front)
    parts.append((box((-w / 2 - 0.008, 0, h - 0.025), (w / 2 + 0.008, d + 0.01, h), 0.2), body))
    return make(label, "cabinet", parts)


def wardrobe(rng: Generator, style: Style) -> Item:
    n = int(rng.integers(2, 5))
    return cabinet(
        rng, style, n * rng.uniform(0.44, 0.56), rng.uniform(0.52, 0.64), rng.uniform(1.85, 2.25), n, 1, "wardrobe"
    )


def dresser(rng: Generator, style: Style) -> Item:
    w, h = rng.uniform(0.75, 1.5), rng.uniform(0.72, 1.15)
    item = cabinet(rng, style, w, rng.uniform(0.4, 0.5), h, 2 if w > 1.05 else 1, int(rng.integers(3, 5)), "dresser")
    return _decorated(rng, style, item)


def nightstand(rng: Generator, style: Style) -> Item:
    item = cabinet(
        rng,
        style,
        rng.uniform(0.4, 0.52),
        rng.uniform(0.36, 0.44),
        rng.uniform(0.42, 0.58),
        1,
        int(rng.integers(1, 4)),
        "nightstand",
    )
    return _decorated(rng, style, item, lamp=True)


def sideboard(rng: Generator, style: Style) -> Item:
    n = int(rng.integers(2, 5))
    item = cabinet(
        rng, style, n * rng.uniform(0.38, 0.5), rng.uniform(0.38, 0.46), rng.uniform(0.65, 0.9), n, 1, "sideboard"
    )
    return _decorated(rng, style, item)


def tv_stand(rng: Generator, style: Style) -> Item:
    w, h = rng.uniform(1.1, 1.8), rng.uniform(0.4, 0.58)
    item = cabinet(
        rng, style, w, rng.uniform(0.36, 0.45), h, int(rng.integers(2, 4)), int(rng.integers(1, 3)), "tv stand"
    )
    tv = clutter.television(rng, min(rng.uniform(0.85, 1.25), w - 0.05))
    return item.with_children([tv.moved(0, item.depth / 2 - 0.12, item.top)])


def filing_cabinet(rng: Generator, style: Style) -> Item:
    n = int(rng.integers(2, 5))
    item = cabinet(rng, style, rng.uniform(0.38, 0.5), rng.uniform(0.5, 0.62), 0.12 + 0.31 * n, 1, n, "filing cabinet")
    return _decorated(rng, style, item)


def _decorated(rng: Generator, style: Style, item: Item, lamp: bool = False) -> Item:
    things = [clutter.small_thing(rng, style) for _ in range(int(rng.integers(0, 4)))]
    if lamp and rng.uniform() < 0.75:
        things.insert(0, clutter.table_lamp(rng, style))
    b = item.bounds
    return item.with_children(scatter(rng, things, b[0] + 0.03, b[3] - 0.03, b[1] + 0.03, b[4] - 0.04, item.top))


def books(rng: Generator, x0: float, x1: float, y0: float, depth: float, z: float, height: float) -> list[Part]:
    """A row of books from x0 to about x1 standing at height z, spines towards +y."""
    parts: list[Part] = []
    x = x0
    palette = [any_color(rng) for _ in range(6)]
    while True:
        t = rng.uniform(0.018, 0.05)
        if x + t > x1:
            return parts
        h = min(height * rng.uniform(0.62, 0.92), 0.34)
        d = min(depth, rng.uniform(0.14, 0.22))
        c = choose(rng, palette)
        spine = Material(T.SPINE, (c, choose(rng, (neutral(rng), vivid(rng))), c), (h,))
        mesh = box((0, -d, 0), (t - 0.001, 0, h), 0.3)
        if rng.uniform() < 0.08 and x + t + 0.06 < x1:
            mesh = mesh.turned(-0.17, "y").moved(z=0.001)
            x += 0.17 * h
        parts.append((mesh.moved(x, y0 + depth - rng.uniform(0.0, 0.03), z), spine))
        x += t + (0.0 if rng.uniform() < 0.95 else rng.uniform(0.02, 0.12))


def bookshelf(rng: Generator, style: Style, h: float | None = None) -> Item:
    """Shelves with books and odds and ends; sometimes without a back, sometimes a ladder of metal and wood."""
    w, d = rng.uniform(0.6, 1.3), rng.uniform(0.25, 0.36)
    h = choose(rng, (rng.uniform(0.75, 1.1), rng.uniform(1.5, 2.1), rng.uniform(1.7, 2.2))) if h is None else h
    body = style.board(rng)
    t = rng.uniform(0.016, 0.03)
    rows = max(2, round(h / rng.uniform(0.32, 0.4)))
    columns = 1 if w < 0.8 else int(rng.integers(1, 3))
    frame: list[Mesh] = []
    parts: list[Part] = []
    if rng.uniform() < 0.25:
        parts.append(
            (
                join(
                    [
                        cylinder(0.014, 0, h, 10).moved(sx * (w / 2 - 0.015), y)
                        for sx in (-1, 1)
                        for y in (0.015, d - 0.015)
                    ]
                ),
                style.frame(rng),
            )
        )
    else:
        frame += [
            box((x - t / 2, 0, 0), (x + t / 2, d, h), 0.2)
            for x in np.linspace(-w / 2 + t / 2, w / 2 - t / 2, columns + 1)
        ]
    if rng.uniform() < 0.7:
        back = body if rng.uniform() < 0.6 else plain(any_color(rng))
        parts.append((box((-w / 2 + t, 0.0, 0.05), (w / 2 - t, 0.008, h - t)), back))
    levels = np.linspace(0.06, h - t, rows + 1)
    frame += [box((-w / 2 + t, 0.009, z), (w / 2 - t, d - 0.004, z + t), 0.2) for z in levels]
    parts.append((join(frame), body))
    children: list[Item] = []
    edges = np.linspace(-w / 2 + t, w / 2 - t, columns + 1)
    fullness = rng.uniform(0.35, 0.95)
    for z, above in zip(levels[:-1] + t, levels[1:], strict=True):
        for a, b in zip(edges[:-1] + 0.012, edges[1:] - 0.012, strict=True):
            r = rng.uniform()
            if r < fullness:
                stop = b if rng.uniform() < 0.5 else a + (b - a) * rng.uniform(0.35, 0.85)
                parts += books(rng, a, stop, 0.01, d - 0.015, z + 0.0005, above - z)
                a = stop + 0.02
            if b - a > 0.15 and rng.uniform() < 0.5:
                thing = clutter.small_thing(rng, style, above - z - 0.02)
                children += scatter(rng, [thing], a, b, 0.02, d - 0.01, z)
    top = [clutter.small_thing(rng, style) for _ in range(int(rng.integers(0, 3)))] if h < 1.9 else []
    children += scatter(rng, top, -w / 2 + 0.03, w / 2 - 0.03, 0.02, d - 0.01, float(levels[-1]) + t)
    return make("bookshelf", "bookshelf", parts, [(-w / 2, 0, 0, w / 2, d, h + 0.02)], children)


def wall_shelf(rng: Generator, style: Style) -> Item:
    """A board on the wall with a few books on it."""
    w, d = rng.uniform(0.6, 1.2), rng.uniform(0.18, 0.26)
    parts: list[Part] = [(box((-w / 2, 0, 0), (w / 2, d, 0.03), 0.2), style.board(rng))]
    a = -w / 2 + rng.uniform(0.02, 0.1)
    b = a + (w - 0.1) * rng.uniform(0.3, 0.8)
    parts += books(rng, a, b, 0.005, d - 0.02, 0.0305, 0.3)
    children = scatter(rng, [clutter.small_thing(rng, style, 0.3)], b + 0.02, w / 2 - 0.02, 0.02, d - 0.01, 0.03)
    return make("wall shelf", "bookshelf", parts, children=children)


def coat_rack(rng: Generator, style: Style) -> Item:
    """A pole with hooks."""
    pole = lathe([(0, 0), (0.17, 0), (0.17, 0.02), (0.02, 0.045), (0.018, 1.7), (0.028, 1.74), (0, 1.76)])
    pegs = [
        cylinder(0.008, 0, 0.13, 8).turned(0.9, "x").turned(a).moved(0, 0, 1.6)
        for a in np.arange(4) * np.pi / 2 + rng.uniform(0, 1)
    ]
    return make("coat rack", "otherfurniture", [(join([pole, *pegs]).moved(0, 0.2), style.frame(rng))])
