"""What hangs on walls and lies on floors: curtains, blinds, pictures, mirrors, whiteboards, towels, rugs."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, box, cloth, cylinder, join, lathe, rounded_box, superellipsoid, tube
from ..materials import textures as T
from ..materials.materials import Material, Style, any_color, choose, fabric, metal, mix, neutral, plain, soft, vivid
from .bath import folds
from .item import Item, Part, make


def curtains(rng: Generator, style: Style, width: float, sill: float, top: float, ceiling: float) -> Item:
    """A pair of curtains (or one) beside a window ``width`` metres wide, on a rail; centred on the window.

    They hang to just above the floor, or to below the sill.
    """
    z1 = min(top + rng.uniform(0.08, 0.22), ceiling - 0.06)
    z0 = rng.uniform(0.02, 0.06) if rng.uniform() < 0.7 else max(0.1, sill - rng.uniform(0.1, 0.2))
    y = 0.085
    reach = rng.uniform(0.12, 0.28)
    drawn = rng.uniform(0.2, 0.5)
    material = style.fabric(rng)
    meshes: list[Mesh] = []
    span = width + 2 * reach
    boxes = []
    for side in choose(rng, ((-1, 1), (-1, 1), (-1, 1), (-1,), (1,))):
        w = span * drawn * rng.uniform(0.8, 1.0)
        x0 = -span / 2 if side < 0 else span / 2 - w
        curve = folds(rng, w, rng.uniform(0.08, 0.14), rng.uniform(0.02, 0.036)) + np.array([x0, y])
        meshes.append(cloth(curve, z0, z1, 0.008))
        boxes.append((x0, 0.01, z0, x0 + w, y + 0.06, z1))
    rail = cylinder(0.013, -span / 2 - 0.06, span / 2 + 0.06, 10).turned(np.pi / 2, "y").moved(0, y, z1 + 0.02)
    knobs = [
        superellipsoid((0.05, 0.05, 0.05), 1, 1, 6, 12).moved(s * (span / 2 + 0.07), y, z1 + 0.02) for s in (-1, 1)
    ]
    holders = [box((x - 0.008, 0, z1 + 0.012), (x + 0.008, y, z1 + 0.028)) for x in (-span / 2 - 0.02, span / 2 + 0.02)]
    parts: list[Part] = [(join(meshes), material), (join([rail, *knobs, *holders]), style.frame(rng))]
    boxes.append((-span / 2 - 0.1, 0.0, z1, span / 2 + 0.1, y + 0.03, z1 + 0.05))
    return make("curtain", "curtain", parts, boxes)


def blind(rng: Generator, style: Style, width: float, sill: float, top: float) -> Item:
    """A roller blind or slats in front of the upper part of a window; also a curtain to ScanNet's annotators."""
    w = width + 0.08
    z0 = top - (top - sill) * rng.uniform(0.25, 0.75)
    if rng.uniform() < 0.5:
        material = style.fabric(rng)
        meshes = [
            box((-w / 2, 0.02, z0), (w / 2, 0.026, top + 0.06)),
            cylinder(0.03, -w / 2, w / 2, 14).turned(np.pi / 2, "y").moved(0, 0.04, top + 0.09),
            box((-w / 2, 0.014, z0 - 0.02), (w / 2, 0.032, z0)),
        ]
    else:
        material = style.board(rng)
        meshes = [
            box((-w / 2, 0.012, z), (w / 2, 0.052, z + 0.003)).turned(0.5, "x", (0, 0.032, z))
            for z in np.arange(z0, top + 0.03, 0.045)
        ]
        meshes.append(box((-w / 2, 0.008, top + 0.04), (w / 2, 0.06, top + 0.1)))
    return make("blind", "curtain", [(join(meshes), material)])


def picture(rng: Generator, style: Style, w: float | None = None) -> Item:
    """A framed (or frameless) picture; its lower edge at z = 0."""
    w = rng.uniform(0.3, 1.1) if w is None else w
    h = w * rng.uniform(0.6, 1.45)
    h = min(h, 0.95)
    f = rng.uniform(0.012, 0.05)
    framed = rng.uniform() < 0.8
    canvas_w, canvas_h = (w - 2 * f, h - 2 * f) if framed else (w, h)
    margin = rng.uniform(0.03, 0.09) if framed and rng.uniform() < 0.45 else 0.0
    margin = min(margin, 0.2 * min(canvas_w, canvas_h))
    colors = choose(
        rng,
        (
            (soft(rng), vivid(rng), any_color(rng)),
            (any_color(rng), any_color(rng), any_color(rng)),
            (neutral(rng), neutral(rng), vivid(rng)),
        ),
    )
    art = Material(T.PAINTING, colors, (rng.uniform(0, 4), canvas_w, canvas_h, margin), 0, int(rng.integers(1, 9999)))
    z0 = (h - canvas_h) / 2
    canvas = box((-canvas_w / 2, 0, z0), (canvas_w / 2, 0.016, z0 + canvas_h))
    canvas = canvas.textured(canvas.vertices - np.array([0, 0, z0]))
    parts: list[Part] = [(canvas, art)]
    if framed:
        t = rng.uniform(0.02, 0.035)
        bars = [
            box((-w / 2, 0, 0), (w / 2, t, f)),
            box((-w / 2, 0, h - f), (w / 2, t, h)),
            box((-w / 2, 0, f), (-w / 2 + f, t, h - f)),
            box((w / 2 - f, 0, f), (w / 2, t, h - f)),
        ]
        parts.append(
            (
                join(bars),
                style.frame(rng)
                if rng.uniform() < 0.6
                else plain(choose(rng, ((0.08, 0.08, 0.08), (0.94, 0.94, 0.93)))),
            )
        )
    return make("picture", "picture", parts)


def mirror(rng: Generator, style: Style, w: float | None = None, h: float | None = None) -> Item:
    """A mirror; drawn as the pale grey of what it usually shows, because depth cameras see no reflections either."""
    w = rng.uniform(0.45, 0.9) if w is None else w
    h = rng.uniform(0.6, 0.95) if h is None else h
    glass = plain(choose(rng, ((0.74, 0.78, 0.79), (0.66, 0.70, 0.72), (0.8, 0.82, 0.8))), 0.25)
    if rng.uniform() < 0.3:
        disc = (
            lathe([(0, 0), (0.5, 0), (0.5, 0.02), (0, 0.02)], 36)
            .turned(-np.pi / 2, "x")
            .scaled(w, 1, w)
            .moved(0, 0, w / 2)
        )
        face = (
            lathe([(0, 0.021), (0.47, 0.021), (0.47, 0.024), (0, 0.024)], 36)
            .turned(-np.pi / 2, "x")
            .scaled(w, 1, w)
            .moved(0, 0, w / 2)
        )
    else:
        disc = rounded_box((-w / 2, 0, 0), (w / 2, 0.02, h), 0.008)
        face = box((-w / 2 + 0.02, 0.0205, 0.02), (w / 2 - 0.02, 0.023, h - 0.02))
    return make("mirror", "otherfurniture", [(disc, style.frame(rng)), (face, glass)])


def whiteboard(rng: Generator, style: Style) -> Item:
    w, h = rng.uniform(0.9, 1.8), rng.uniform(0.7, 1.1)
    face = box((-w / 2 + 0.02, 0.016, 0.02), (w / 2 - 0.02, 0.018, h - 0.02))
    ink: list[Mesh] = []
    for _ in range(int(rng.integers(1, 6))):
        n = 9
        x = np.linspace(0, rng.uniform(0.2, 0.45), n) + rng.uniform(-w / 2 + 0.08, w / 2 - 0.55)
        z = rng.uniform(0.15, h - 0.15) + np.cumsum(rng.normal(0, 0.012, n))
        ink.append(tube(np.stack([x, np.full(n, 0.019), np.clip(z, 0.06, h - 0.06)], 1), 0.004, 5))
    tray = box((-w / 2 + 0.1, 0.016, -0.015), (w / 2 - 0.1, 0.07, 0.0))
    parts: list[Part] = [
        (rounded_box((-w / 2, 0, 0), (w / 2, 0.016, h), 0.006), metal(rng)),
        (face, plain((0.95, 0.95, 0.95), 0.02)),
        (tray, metal(rng)),
        (join(ink), plain(vivid(rng))),
    ]
    return make("whiteboard", "otherfurniture", parts)


def towel(rng: Generator, style: Style) -> Item:
    """A towel over a rail; its origin is at the rail's height."""
    w = rng.uniform(0.35, 0.6)
    drop = rng.uniform(0.35, 0.6)
    rail = cylinder(0.009, -w / 2 - 0.06, w / 2 + 0.06, 10).turned(np.pi / 2, "y").moved(0, 0.06, 0)
    ends = [box((s * (w / 2 + 0.05) - 0.012, 0, -0.012), (s * (w / 2 + 0.05) + 0.012, 0.07, 0.012)) for s in (-1, 1)]
    sheet = rounded_box((-w / 2, 0.078, -drop), (w / 2, 0.092, 0.016), 0.006)
    back = rounded_box((-w / 2, 0.03, -drop * 0.8), (w / 2, 0.044, 0.016), 0.006)
    ridge = rounded_box((-w / 2, 0.03, 0.008), (w / 2, 0.092, 0.022), 0.006)
    return make(
        "towel", "otherfurniture", [(join([rail, *ends]), metal(rng)), (join([sheet, back, ridge]), style.fabric(rng))]
    )


def rug(rng: Generator, style: Style, w: float, d: float) -> Item:
    """A rug lying flat; centred in x, from y = 0 to d."""
    t = rng.uniform(0.008, 0.02)
    if rng.uniform() < 0.25:
        r = min(w, d) / 2
        mesh, material = lathe([(0, 0.001), (r, 0.001), (r, t), (0, t)], 40).moved(0, d / 2), style.fabric(rng)
    else:
        mesh = box((-w / 2, 0, 0.001), (w / 2, d, t))
        if rng.uniform() < 0.5:
            material = fabric(rng)
        else:
            c = any_color(rng)
            material = Material(
                T.RUG,
                (c, any_color(rng), mix(c, any_color(rng), 0.7)),
                (w / 2, d / 2, rng.uniform(0, 3)),
                0,
                int(rng.integers(1, 9999)),
            )
            mesh = mesh.textured(mesh.vertices - np.array([0, d / 2, 0]))
    return make("rug", "otherfurniture", [(mesh, material)])


def radiator(rng: Generator, style: Style) -> Item:
    """A radiator, as under most windows."""
    w, h = rng.uniform(0.6, 1.3), rng.uniform(0.45, 0.6)
    n = int(w / 0.06)
    fins = [
        rounded_box((x - 0.024, 0.03, 0.12), (x + 0.024, 0.1, 0.12 + h), 0.012, 0.3)
        for x in np.linspace(-w / 2 + 0.03, w / 2 - 0.03, n)
    ]
    feet = [box((x - 0.015, 0.04, 0), (x + 0.015, 0.08, 0.13)) for x in (-w / 2 + 0.08, w / 2 - 0.08)]
    return make(
        "radiator", "otherfurniture", [(join([*fins, *feet]), plain(choose(rng, ((0.94, 0.94, 0.93), neutral(rng)))))]
    )
