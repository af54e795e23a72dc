"""Kitchens: base and wall cabinets, worktops, refrigerators, ovens, hobs, hoods and small appliances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box, superellipsoid, tube
from ..materials.materials import (
    Material,
    Style,
    any_color,
    board,
    ceramic,
    choose,
    metal,
    neutral_color,
    plain,
    soft_color,
    vivid_color,
)
from . import clutter
from .bath import STEEL, tap, worktop_material
from .item import Box, Item, Part, make_item
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
            plain(soft_color(rng)),
            plain(vivid_color(rng)),
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
    return make_item("refrigerator", "refrigerator", parts, children=scatter(rng, top, -w / 2, w / 2, 0.05, d - 0.1, h))


@dataclass(frozen=True)
class _RunPlan:
    """Measures of a kitchen run, metres; x from its middle, y from the wall.

    Attributes:
        width, depth: of the cabinets.
        plinth: height of the plinth under the cabinets.
        under, top: heights of the worktop's underside and surface.
        count: number of base units, each ``unit`` wide.
        oven, sink: index of the unit with the oven and of the one with the sink, -1 for none.
    """

    width: float
    depth: float
    plinth: float
    under: float
    top: float
    count: int
    unit: float
    oven: int
    sink: int

    @property
    def sink_width(self) -> float:
        return min(0.46, self.unit * self.count * 0.4)

    @property
    def sink_x(self) -> float:
        """Middle of the sink."""
        half, sink_half = self.width / 2, self.sink_width / 2
        return float(np.clip(-half + (self.sink + 0.5) * self.unit, -half + sink_half + 0.04, half - sink_half - 0.04))

    @property
    def oven_x(self) -> float:
        """Middle of the oven."""
        return -self.width / 2 + (self.oven + 0.5) * self.unit

    @property
    def front_edge(self) -> float:
        """Depth of the worktop."""
        return self.depth + 0.02


_SINK_Y = (0.12, 0.12 + 0.38)
"""Back and front of the sink, metres from the wall."""


def _plan_run(rng: Generator, width: float, height: float, thickness: float) -> _RunPlan:
    """Divide a run into units and choose those of the oven and the sink."""
    n = max(2, round(width / rng.uniform(0.45, 0.6)))
    oven = int(rng.integers(n)) if width > 1.3 and rng.uniform() < 0.85 else -1
    options = [i for i in range(n) if abs(i - oven) > (1 if n > 3 else 0)]
    sink = choose(rng, options) if options else -1
    return _RunPlan(width, 0.6, 0.1, height - thickness, height, n, width / n, oven, sink)


def _base_cabinets(
    rng: Generator, style: Style, plan: _RunPlan, front: Material, body: Material, kind: str, grip: str
) -> list[Part]:
    """Base units with their doors, drawers and plinth, without the oven's unit and open below the sink."""
    plates: list[Mesh] = []
    grips: list[Mesh] = []
    shell: list[Mesh] = []
    width, d, z0, under = plan.width, plan.depth, plan.plinth, plan.under
    for i in range(plan.count):
        x0, x1 = -width / 2 + i * plan.unit, -width / 2 + (i + 1) * plan.unit
        if i == plan.oven:
            continue
        sx, half = plan.sink_x, plan.sink_width / 2
        if plan.sink >= 0 and x0 < sx + half + 0.02 and x1 > sx - half - 0.02:
            shell.append(box((x0, 0.02, z0), (x1, d - 0.03, under - 0.2), 0.2))
            shell.append(box((x0, d - 0.06, under - 0.2), (x1, d - 0.03, under), 0.2))
        else:
            shell.append(box((x0, 0.02, z0), (x1, d - 0.03, under), 0.2))
        rows = int(rng.choice([1, 1, 3]))
        p, g = fronts(rng, x0, x1, z0, under - 0.01, d - 0.029, 1, rows, kind, grip)
        plates += p
        grips += g
    plinth = box((-width / 2, 0.05, 0), (width / 2, d - 0.08, z0), 0.2)
    return [
        (join(shell), body),
        (join(plates), front),
        (join(grips), style.frame(rng)),
        (plinth, plain((0.13, 0.13, 0.13))),
    ]


def _worktop(rng: Generator, style: Style, plan: _RunPlan) -> Item:
    """The worktop with its upstand and, where there is a sink, an opening for it."""
    material = worktop_material(rng, style)
    width, under, top, front_edge = plan.width, plan.under, plan.top, plan.front_edge
    y0, y1 = _SINK_Y
    slab: list[Mesh] = []
    if plan.sink >= 0:
        a, b = plan.sink_x - plan.sink_width / 2 + 0.01, plan.sink_x + plan.sink_width / 2 - 0.01
        slab += [box((-width / 2, 0, under), (a, front_edge, top)), box((b, 0, under), (width / 2, front_edge, top))]
        slab += [box((a, 0, under), (b, y0 + 0.01, top)), box((a, y1 - 0.01, under), (b, front_edge, top))]
    else:
        slab.append(box((-width / 2, 0, under), (width / 2, front_edge, top)))
    upstand = rng.uniform(0.04, 0.12)
    slab.append(box((-width / 2, 0, top), (width / 2, 0.018, top + upstand)))
    return make_item("counter", "counter", [(join(slab), material)])


def _inset_sink(rng: Generator, plan: _RunPlan) -> Item:
    """A sink in the worktop's opening, and its tap."""
    material = STEEL if rng.uniform() < 0.65 else ceramic(rng)
    y0, y1 = _SINK_Y
    sx, half = plan.sink_x, plan.sink_width / 2
    x0, x1 = sx - half, sx + half
    rim = plan.top + 0.004
    bottom = rim - 0.17
    bowl = [
        box((x0, y0, bottom), (x0 + 0.02, y1, rim)),
        box((x1 - 0.02, y0, bottom), (x1, y1, rim)),
        box((x0 + 0.02, y0, bottom), (x1 - 0.02, y0 + 0.02, rim)),
        box((x0 + 0.02, y1 - 0.02, bottom), (x1 - 0.02, y1, rim)),
        box((x0 + 0.02, y0 + 0.02, bottom), (x1 - 0.02, y1 - 0.02, bottom + 0.012)),
    ]
    return make_item("sink", "sink", [(join(bowl), material), (tap(0.18, 0.28).translate(sx, 0.075, plan.top), STEEL)])


_BLACK_GLASS = plain((0.06, 0.06, 0.065), 0.02)


def _oven(rng: Generator, plan: _RunPlan) -> Item:
    """An oven in its unit: case, glass door, knobs and handle."""
    case = choose(rng, (STEEL, plain((0.92, 0.92, 0.91)), plain((0.1, 0.1, 0.1))))
    a, b = plan.oven_x - plan.unit / 2 + 0.004, plan.oven_x + plan.unit / 2 - 0.004
    d, z0, under = plan.depth, plan.plinth, plan.under
    knobs = join(
        [
            cylinder(0.018, 0, 0.025, 10).rotate(-np.pi / 2, "x").translate(x, d - 0.008, under - 0.07)
            for x in np.linspace(a + 0.07, b - 0.07, 4)
        ]
    )
    handle = box((a + 0.06, d - 0.009, under - 0.16), (b - 0.06, d + 0.03, under - 0.14))
    parts: list[Part] = [
        (box((a, 0.02, z0), (b, d - 0.01, under), 0.2), case),
        (box((a + 0.05, d - 0.009, z0 + 0.1), (b - 0.05, d, under - 0.2), 0.2), _BLACK_GLASS),
        (join([knobs, handle]), plain((0.5, 0.5, 0.5))),
    ]
    return make_item("oven", "otherfurniture", parts)


def _hob(plan: _RunPlan) -> Item:
    """Four plates on a black pane over the oven."""
    ox, top = plan.oven_x, plan.top
    pane = box((ox - 0.27, 0.07, top), (ox + 0.27, plan.depth - 0.06, top + 0.008))
    plates = [
        cylinder(r, top + 0.008, top + 0.016, 20).translate(ox + x, y)
        for x, y, r in ((-0.13, 0.2, 0.08), (0.13, 0.2, 0.1), (-0.13, 0.42, 0.1), (0.13, 0.42, 0.07))
    ]
    return make_item("hob", "otherfurniture", [(pane, _BLACK_GLASS), (join(plates), plain((0.25, 0.25, 0.26)))])


def kitchen_run(rng: Generator, style: Style, width: float) -> Item:
    """A row of base cabinets under a worktop, with a sink, a hob over an oven, and small objects.

    Cabinets, worktop, sink, hob and oven are instances of their own.
    """
    height, thickness = rng.uniform(0.86, 0.93), rng.uniform(0.025, 0.045)
    front = style.board(rng)
    body = front if rng.uniform() < 0.5 else plain(neutral_color(rng))
    kind, grip = str(rng.choice(["flat", "framed"])), str(rng.choice(["bar", "short", "knob"]))
    plan = _plan_run(rng, width, height, thickness)
    parts = _base_cabinets(rng, style, plan, front, body, kind, grip)
    children = [_worktop(rng, style, plan)]
    occupied: list[Box] = []
    if plan.sink >= 0:
        children.append(_inset_sink(rng, plan))
        half = plan.sink_width / 2
        occupied.append((plan.sink_x - half, 0, 0, plan.sink_x + half, plan.depth, 0))
    if plan.oven >= 0:
        ox = plan.oven_x
        children += [_oven(rng, plan), _hob(plan)]
        occupied.append((ox - 0.28, 0, 0, ox + 0.28, plan.depth, 0))
        if rng.uniform() < 0.6:
            children.append(pot(rng, style).translate(ox + choose(rng, (-0.13, 0.13)), 0.42 - 0.11, plan.top + 0.016))
    things = [
        choose(rng, (clutter.small_object, kettle, microwave, knife_block))(rng, style)
        for _ in range(int(rng.integers(2, 7)))
    ]
    children += scatter(rng, things, -width / 2 + 0.03, width / 2 - 0.03, 0.06, plan.depth - 0.05, plan.top, occupied)
    bounds = (-width / 2, 0, 0, width / 2, plan.front_edge, plan.top + 0.02)
    return make_item("kitchen cabinets", "cabinet", parts, [bounds], children)


def wall_cabinets(rng: Generator, style: Style, width: float, like: Item | None = None) -> Item:
    """Wall cabinets, often with the fronts of the base cabinets ``like``."""
    d, h = rng.uniform(0.3, 0.37), rng.uniform(0.55, 0.8)
    front = like.parts[1][1] if like is not None and rng.uniform() < 0.7 else style.board(rng)
    n = max(1, round(width / 0.5))
    parts = carcass(rng, style, width, d, 0.0, h, n, 1, front, front)
    return make_item("wall cabinet", "cabinet", parts)


def hood(rng: Generator, style: Style) -> Item:
    w = 0.6
    material = choose(rng, (STEEL, plain((0.12, 0.12, 0.12)), plain((0.92, 0.92, 0.92))))
    flue = box((-0.13, 0, 0.12), (0.13, 0.26, 0.75), 0.2)
    skirt = (
        lathe([(0, 0), (0.7071, 0), (0.7071, 0.05), (0.2, 0.14), (0, 0.14)], 4, smooth=False)
        .rotate(np.pi / 4)
        .scale(w, 0.46, 1)
        .translate(0, 0.23)
    )
    return make_item("hood", "otherfurniture", [(join([flue, skirt]), material)])


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
    return make_item(
        "pot", "otherfurniture", [(join([mesh, *ears]).translate(0, r), choose(rng, (STEEL, plain(vivid_color(rng)))))]
    )


def kettle(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.075, 0.09), rng.uniform(0.18, 0.24)
    mesh = lathe([(0, 0), (r, 0), (r, 0.02), (r * 0.72, h * 0.92), (r * 0.2, h), (0, h)], 20)
    a = np.linspace(-1.1, 1.1, 7)
    grip = tube(np.stack([r * 0.75 + 0.05 * np.cos(a), 0 * a, h * 0.55 + 0.075 * np.sin(a)], 1), 0.009, 6)
    return make_item(
        "kettle", "otherfurniture", [(join([mesh, grip]).translate(0, r), choose(rng, (STEEL, plain(any_color(rng)))))]
    )


def microwave(rng: Generator, style: Style) -> Item:
    w, d, h = rng.uniform(0.44, 0.5), rng.uniform(0.32, 0.36), rng.uniform(0.25, 0.29)
    case = choose(rng, (STEEL, plain((0.93, 0.93, 0.92)), plain((0.12, 0.12, 0.12))))
    glass = box((-w / 2 + 0.03, d, 0.04), (w / 2 - 0.13, d + 0.004, h - 0.04), 0.2)
    bar = box((w / 2 - 0.115, d, 0.04), (w / 2 - 0.1, d + 0.03, h - 0.04), 0.2)
    return make_item(
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
        superellipsoid((0.018, 0.025, 0.1), 0.6, 0.6, 6, 8).translate(x, y, 0.24)
        for x in (-0.03, 0, 0.03)
        for y in (0.03, 0.07)
    ]
    return make_item("knife block", "otherfurniture", [(block, board(rng, 0.8)), (join(grips), plain((0.1, 0.1, 0.1)))])
