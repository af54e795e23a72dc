"""The empty room: floor plan, walls with openings, doors, windows, floor and ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..furniture.item import IGNORED, Box, Item, Part, make
from ..geometry.mesh import Mesh, box, join, patch, rounded_box, superellipsoid
from ..materials import textures as T
from ..materials.materials import (
    Material,
    Style,
    any_color,
    choose,
    marble,
    metal,
    mix,
    neutral,
    plain,
    planks,
    soft,
    speckle,
    tiles,
    vivid,
)

WALL_STEP = 0.09
"""Grid of the light on walls, floor and ceiling, metres."""


@dataclass(frozen=True)
class Opening:
    """A hole in a wall: from s0 to s1 along it, from z0 to z1, for a "door" or a "window"."""

    wall: int
    s0: float
    s1: float
    z0: float
    z1: float
    kind: str


@dataclass(frozen=True)
class Plan:
    """A floor plan: a rectangle [0, w] × [0, d], sometimes without one corner.

    Attributes:
        w, d, h: width, depth and height, metres.
        notch: (x0, y0, x1, y1) the corner left out, or None.
        corners: [K, 2] counter-clockwise.
    """

    w: float
    d: float
    h: float
    notch: tuple[float, float, float, float] | None
    corners: NDArray

    @staticmethod
    def draw(rng: Generator, w: float, d: float, h: float, l_shaped: bool) -> Plan:
        rectangle = np.array([[0, 0], [w, 0], [w, d], [0, d]], float)
        if not l_shaped:
            return Plan(w, d, h, None, rectangle)
        a, b = w * rng.uniform(0.28, 0.42), d * rng.uniform(0.28, 0.42)
        k = int(rng.integers(4))
        x0, y0 = (0.0 if k in (0, 3) else w - a), (0.0 if k in (0, 1) else d - b)
        inner = np.array([[a, b], [w - a, b], [w - a, d - b], [a, d - b]])[k]
        before = np.array([[0, b], [w - a, 0], [w, d - b], [a, d]])[k]
        after = np.array([[a, 0], [w, b], [w - a, d], [0, d - b]])[k]
        corners = np.concatenate([rectangle[:k], [before, inner, after], rectangle[k + 1 :]])
        return Plan(w, d, h, (x0, y0, x0 + a, y0 + b), corners)

    def __len__(self) -> int:
        """The number of walls."""
        return len(self.corners)

    def wall(self, i: int) -> tuple[NDArray, NDArray, float]:
        """Start [2], direction [2] and length of wall ``i``; the room is on its left."""
        a, b = self.corners[i], self.corners[(i + 1) % len(self.corners)]
        length = float(np.linalg.norm(b - a))
        return a, (b - a) / length, length

    def yaw(self, i: int) -> float:
        """Turns an item's frame so that its back is to wall ``i``."""
        _, e, _ = self.wall(i)
        return float(np.arctan2(e[1], e[0]))

    def at_wall(self, item: Item, i: int, s: float, gap: float = 0.0, z: float = 0.0) -> Item:
        """The item with its back to wall ``i``, ``s`` metres along it."""
        a, e, _ = self.wall(i)
        x, y = a + s * e + gap * np.array([-e[1], e[0]])
        return item.turned(self.yaw(i)).moved(float(x), float(y), z)

    def holds(self, b: Box, slack: float = 1e-3) -> bool:
        """Whether the box is inside the walls."""
        if b[0] < -slack or b[1] < -slack or b[3] > self.w + slack or b[4] > self.d + slack:
            return False
        n = self.notch
        return n is None or b[3] <= n[0] + slack or b[0] >= n[2] - slack or b[4] <= n[1] + slack or b[1] >= n[3] - slack

    def rectangles(self) -> list[tuple[float, float, float, float]]:
        """Rectangles (x0, y0, x1, y1) that make up the floor."""
        if self.notch is None:
            return [(0, 0, self.w, self.d)]
        x0, y0, x1, y1 = self.notch
        beside = (x1, y0, self.w, y1) if x0 == 0 else (0.0, y0, x0, y1)
        rest = (0.0, y1, self.w, self.d) if y0 == 0 else (0.0, 0.0, self.w, y0)
        return [beside, rest]


def _slab(plan: Plan, z: float, up: bool, material: Material, category: str, label: str) -> Item:
    parts: list[Part] = []
    for x0, y0, x1, y1 in plan.rectangles():
        # a little beyond the walls, so that no ray slips through the seam
        x0, y0, x1, y1 = x0 - 0.02, y0 - 0.02, x1 + 0.02, y1 + 0.02
        u, v = np.array([x1 - x0, 0, 0]), np.array([0, y1 - y0, 0])
        parts.append((patch((x0, y0, z), u, v, WALL_STEP) if up else patch((x0, y0, z), v, u, WALL_STEP), material))
    return make(label, category, parts)


def floor_material(rng: Generator, style: Style, kind: str) -> Material:
    wet = kind in ("bathroom", "kitchen")
    r = rng.uniform()
    if r < (0.15 if wet else 0.6):
        return planks(rng, style.wood if rng.uniform() < 0.3 else None, int(rng.integers(2)))
    if r < (0.85 if wet else 0.7):
        size = choose(rng, ((0.3, 0.3), (0.6, 0.6), (0.15, 0.15), (0.6, 0.3), (0.08, 0.08)))
        base = choose(rng, (neutral, neutral, soft, any_color))(rng)
        return tiles(rng, base, size, neutral(rng) if rng.uniform() < 0.2 else None)
    if r < 0.93:
        return speckle(rng, choose(rng, (neutral, soft, any_color))(rng))
    return marble(rng)


def wall_material(rng: Generator, style: Style) -> Material:
    r = rng.uniform()
    base = choose(rng, (soft, soft, neutral, lambda g: mix(neutral(g), vivid(g), 0.25)))(rng)
    if sum(base) < 1.1:
        base = mix(base, (0.9, 0.9, 0.88), 0.6)
    if r < 0.66:
        return plain(base, 0.02)
    other = mix(base, choose(rng, ((1.0, 1.0, 1.0), any_color(rng), style.accent)), rng.uniform(0.15, 0.5))
    return Material(
        T.WALLPAPER, (base, other, base), (rng.uniform(0.08, 0.3), rng.uniform(0, 4)), 0, int(rng.integers(1, 9999))
    )


def walls(rng: Generator, plan: Plan, openings: list[Opening], style: Style, kind: str) -> list[Item]:
    """The walls with their skirting, one item each."""
    main = wall_material(rng, style)
    accent = int(rng.integers(len(plan))) if rng.uniform() < 0.3 else -1
    accent_material = choose(
        rng,
        (
            plain(style.accent, 0.03),
            wall_material(rng, style),
            Material(
                T.TILES,
                (c := mix((0.62, 0.3, 0.22), neutral(rng), 0.4), (0.75, 0.73, 0.7), mix(c, (0.2, 0.1, 0.1), 0.3)),
                (0.22, 0.07, 0.5, 0.01, 0.9),
                0,
                5,
            ),
        ),
    )
    split = 0.0
    lower = main
    if kind == "bathroom":
        split = plan.h if rng.uniform() < 0.3 else rng.uniform(1.1, 2.1)
        size = choose(rng, ((0.15, 0.15), (0.2, 0.1), (0.3, 0.3), (0.3, 0.6), (0.1, 0.1)))
        lower = tiles(rng, choose(rng, (soft, neutral, neutral, any_color))(rng), size)
    elif rng.uniform() < 0.12:
        split = rng.uniform(0.8, 1.1)
        lower = style.board(rng) if rng.uniform() < 0.6 else wall_material(rng, style)
    skirting = rng.uniform(0.05, 0.13) if kind != "bathroom" else 0.0
    skirting_material = choose(rng, (plain((0.93, 0.93, 0.92)), style.board(rng)))
    out: list[Item] = []
    for i in range(len(plan)):
        _, _, length = plan.wall(i)
        holes = [o for o in openings if o.wall == i]
        upper = accent_material if i == accent and kind != "bathroom" else main
        low: list[Mesh] = []
        high: list[Mesh] = []
        s_cuts = sorted({-0.005, length + 0.005, *(s for o in holes for s in (o.s0, o.s1))})
        z_cuts = sorted({0.0, plan.h, *(z for o in holes for z in (o.z0, o.z1)), *((split,) if split else ())})
        for s0, s1 in pairwise(s_cuts):
            for z0, z1 in pairwise(z_cuts):
                sc, zc = (s0 + s1) / 2, (z0 + z1) / 2
                if any(o.s0 < sc < o.s1 and o.z0 < zc < o.z1 for o in holes):
                    continue
                cell = patch((s0, 0, z0), (0, 0, z1 - z0), (s1 - s0, 0, 0), WALL_STEP)
                (low if zc < split else high).append(cell)
        for o in holes:
            t = 0.14  # reveals
            a, b, c, d = o.s0, o.s1, o.z0, o.z1
            high.append(patch((a, -t, c), (0, t, 0), (0, 0, d - c), WALL_STEP))
            high.append(patch((b, -t, c), (0, 0, d - c), (0, t, 0), WALL_STEP))
            high.append(patch((a, -t, d), (0, t, 0), (b - a, 0, 0), WALL_STEP))
            if o.z0 > 0:
                high.append(patch((a, -t, c), (b - a, 0, 0), (0, t, 0), WALL_STEP))
        parts: list[Part] = []
        if low:
            parts.append((join(low), lower))
        if high:
            parts.append((join(high), upper))
        if skirting:
            doors = sorted((o.s0 - 0.07, o.s1 + 0.07) for o in holes if o.z0 < skirting)
            ends = [0.0, *(x for span in doors for x in span), length]
            boards = [
                box((a, 0, 0), (b, 0.014, skirting), 0.3)
                for a, b in zip(ends[::2], ends[1::2], strict=True)
                if b - a > 0.02
            ]
            if boards:
                parts.append((join(boards), skirting_material))
        out.append(plan.at_wall(make("wall", "wall", parts), i, 0.0))
    return out


def floor_and_ceiling(rng: Generator, plan: Plan, style: Style, kind: str) -> list[Item]:
    white = plain(mix((0.96, 0.96, 0.95), soft(rng), rng.uniform(0, 0.3)), 0.02)
    return [
        _slab(plan, 0.0, True, floor_material(rng, style, kind), "floor", "floor"),
        _slab(plan, plan.h, False, white, IGNORED, "ceiling"),
    ]


def door(rng: Generator, style: Style, width: float, height: float) -> Item:
    """A closed door with its frame, for an opening from x = 0 to ``width``, z = 0 to ``height``."""
    leaf = style.board(rng).grained(2)
    frame_material = leaf if rng.uniform() < 0.6 else plain(neutral(rng))
    f, t = rng.uniform(0.05, 0.07), 0.016
    frame = [
        box((-f, 0, 0), (0.012, t, height + f)),
        box((width - 0.012, 0, 0), (width + f, t, height + f)),
        box((0.012, 0, height - 0.012), (width - 0.012, t, height + f)),
        box((0, -0.13, 0), (0.012, 0, height)),
        box((width - 0.012, -0.13, 0), (width, 0, height)),
        box((0.012, -0.13, height - 0.012), (width - 0.012, 0, height)),
    ]
    y = -rng.uniform(0.01, 0.07)
    slab: list[Mesh] = [box((0.0, y - 0.04, 0.0), (width, y, height), 0.2)]
    extra: list[Part] = []
    kind = rng.choice(["flat", "panels", "glazed", "slats"])
    a, b = 0.13, width - 0.13
    if kind == "panels":
        rows = int(rng.integers(2, 4))
        columns = int(rng.integers(1, 3))
        for i in range(rows):
            for j in range(columns):
                z0, z1 = 0.18 + i * (height - 0.3) / rows, 0.18 + (i + 1) * (height - 0.3) / rows - 0.1
                x0, x1 = a + j * (b - a) / columns + 0.02, a + (j + 1) * (b - a) / columns - 0.02
                slab.append(rounded_box((x0, y - 0.01, z0), (x1, y + 0.012, z1), 0.01, 0.25))
    elif kind == "glazed":
        pane = plain(choose(rng, ((0.72, 0.8, 0.8), (0.62, 0.66, 0.66), (0.85, 0.86, 0.82))), 0.15)
        z0 = rng.uniform(0.3, 1.0)
        extra.append((box((a, y, z0), (b, y + 0.003, height - 0.14), 0.25), pane))
        z = np.linspace(z0, height - 0.14, int(rng.integers(2, 5)))
        slab += [box((a, y, q - 0.012), (b, y + 0.012, q + 0.012)) for q in z]
        slab += [box((q - 0.012, y, z0), (q + 0.012, y + 0.012, height - 0.14)) for q in (a, b)]
    elif kind == "slats":
        slab += [box((a, y, q), (b, y + 0.008, q + 0.03)) for q in np.arange(0.2, height - 0.2, 0.06)]
    left = rng.uniform() < 0.5
    x = 0.075 if left else width - 0.075
    turn = 1 if left else -1
    if rng.uniform() < 0.7:
        lever = (
            box((0, y + 0.045, 1.0), (0.11, y + 0.06, 1.018))
            if left
            else box((-0.11, y + 0.045, 1.0), (0.0, y + 0.06, 1.018))
        )
        grip = join([box((-0.01, y, 0.998), (0.01, y + 0.06, 1.02)), lever]).moved(x - 0.01 * turn)
    else:
        grip = join(
            [
                superellipsoid((0.055, 0.055, 0.055), 1, 1, 8, 14).moved(x, y + 0.05, 1.0),
                box((x - 0.01, y, 0.99), (x + 0.01, y + 0.03, 1.01)),
            ]
        )
    plate = box((x - 0.022, y, 0.9), (x + 0.022, y + 0.006, 1.08))
    parts: list[Part] = [(join(frame), frame_material), (join(slab), leaf), (join([grip, plate]), metal(rng)), *extra]
    return make("door", "door", parts, [(-f, 0, 0, width + f, 0.03, height + f)])


def window(rng: Generator, style: Style, width: float, z0: float, z1: float, night: bool) -> Item:
    """A window for an opening from x = 0 to ``width``, z0 to z1: frame, bars, a pane (with the outdoors), a sill."""
    bar = rng.uniform(0.035, 0.06)
    back, face = -0.12, -0.07
    frame_material = choose(rng, (plain((0.95, 0.95, 0.94)), plain((0.95, 0.95, 0.94)), style.board(rng), metal(rng)))
    bars = [
        box((0, back, z0), (bar, face, z1)),
        box((width - bar, back, z0), (width, face, z1)),
        box((bar, back, z0), (width - bar, face, z0 + bar)),
        box((bar, back, z1 - bar), (width - bar, face, z1)),
    ]
    columns = max(1, round(width / rng.uniform(0.55, 1.1)))
    for x in np.linspace(0, width, columns + 1)[1:-1]:
        bars.append(box((x - bar * 0.6, back, z0 + bar), (x + bar * 0.6, face + 0.008, z1 - bar)))
    if rng.uniform() < 0.4:
        z = z0 + (z1 - z0) * rng.choice([0.5, 0.68])
        bars.append(box((bar, back, z - bar * 0.4), (width - bar, face - 0.004, z + bar * 0.4)))
    if night:
        colors, glow = ((0.03, 0.04, 0.09), (0.12, 0.11, 0.16), (0.02, 0.03, 0.03)), 0.8
    else:
        sky = choose(rng, ((0.55, 0.75, 0.95), (0.72, 0.83, 0.93), (0.80, 0.84, 0.88)))
        trees = choose(rng, ((0.42, 0.55, 0.3), (0.5, 0.58, 0.42), (0.62, 0.55, 0.5)))
        colors, glow = (sky, (0.97, 0.97, 0.95), trees), 1.08
    view = Material(T.OUTDOORS, colors, (z0, z1 - z0, rng.uniform(0.2, 1.3)), 0, int(rng.integers(1, 9999)), glow=glow)
    pane = patch((0, back + 0.02, z0), (0, 0, z1 - z0), (width, 0, 0), 0.3)
    parts: list[Part] = [(join(bars), frame_material), (pane, view)]
    if z0 > 0.2:
        depth = rng.uniform(0.02, 0.12)
        sill = rounded_box((-0.04, -0.07, z0 - 0.03), (width + 0.04, depth, z0 + 0.003), 0.008)
        parts.append((sill, choose(rng, (frame_material, marble(rng), plain((0.94, 0.94, 0.93))))))
    return make("window", "window", parts, [(-0.04, 0, z0, width + 0.04, 0.1, z1)])
