"""`build_room`: a furnished room from a seed, as labelled triangles with materials and lights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ...errors import InputError
from ..furniture import clutter, decor
from ..furniture.item import Box, Item, Lamp, class_index
from ..materials.materials import RGB, MaterialTable, Style, choose
from .layout import Layout
from .recipes import ESSENTIAL, KINDS, RECIPES, SIZES, finishing
from .shell import Opening, Plan, door, floor_and_ceiling, walls, window

GENERATOR_VERSION = 1
"""Raise it whenever a seed would give another room, picture or point: it seeds the generator and names the cache."""

ATTEMPTS = 6
"""Times a room is furnished until all that makes it what it is has found a place."""
WITHOUT_INSTANCE = ("wall", "floor", "ceiling", "splashback")


@dataclass(frozen=True)
class WindowLight:
    """A pane through which the sky shines: corner [3], edges u, v [3] (metres), inward normal [3]."""

    corner: NDArray
    u: NDArray
    v: NDArray
    normal: NDArray


@dataclass(frozen=True)
class Room:
    """One room: V vertices, F triangles, M materials. World frame: z up, floor at 0, metres, a corner at the origin.

    Attributes:
        seed: what it was made from.
        kind: one of `recipes.KINDS`.
        plan: the floor plan.
        vertices, normals, tex: [V, 3] float32; see `mesh.Mesh`.
        faces: [F, 3] int64.
        material: [F] int64 rows of ``materials``.
        segment: [F] int64 ScanNet-20 class, −1 for the ceiling.
        instance: [F] int64 object, −1 for walls, floor and ceiling.
        side: [F] int64 the texture axis that the face looks along most.
        materials: the material table.
        solids: [B, 6] boxes that things fill (x0, y0, z0, x1, y1, z1).
        labels: name of each instance.
        lamps: those that are lit, in the world frame.
        windows: panes with the sky behind them.
        sky: linear RGB of the light through the windows; zero at night.
        sun: direction towards the sun [3]; sun_color: linear RGB of its light, zero without one.
    """

    seed: int
    kind: str
    plan: Plan
    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    tex: NDArray[np.float32]
    faces: NDArray[np.int64]
    material: NDArray[np.int64]
    segment: NDArray[np.int64]
    instance: NDArray[np.int64]
    side: NDArray[np.int64]
    materials: MaterialTable
    solids: NDArray[np.float64]
    labels: tuple[str, ...]
    lamps: tuple[Lamp, ...]
    windows: tuple[WindowLight, ...]
    sky: NDArray[np.float64]
    sun: NDArray[np.float64]
    sun_color: NDArray[np.float64]

    @cached_property
    def face_normals(self) -> NDArray[np.float32]:
        """[F, 3] unit normals of the triangles, outwards."""
        a, b, c = (self.vertices[self.faces[:, i]].astype(np.float64) for i in range(3))
        n = np.cross(b - a, c - a)
        return (n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)).astype(np.float32)

    def areas(self) -> NDArray[np.float64]:
        """[F] area of each triangle, square metres."""
        a, b, c = (self.vertices[self.faces[:, i]].astype(np.float64) for i in range(3))
        return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def build_room(seed: int, kind: str | None = None) -> Room:
    """The room of that seed.

    Args:
        seed: any non-negative integer; the same seed always gives the same room.
        kind: one of `recipes.KINDS`; drawn from the seed by default.

    Raises:
        InputError: a negative seed or an unknown kind.
    """
    if seed < 0:
        raise InputError("seed", "0 or more", f"{seed}")
    if kind is not None and kind not in KINDS:
        raise InputError("kind", "one of " + ", ".join(KINDS), repr(kind))
    rng = np.random.default_rng([GENERATOR_VERSION, seed])
    drawn = str(rng.choice(KINDS, p=[0.21, 0.19, 0.18, 0.18, 0.14, 0.10]))
    kind = drawn if kind is None else kind
    style = Style.draw(rng)
    long, short = (rng.uniform(*r) for r in SIZES[kind])
    w, d = (long, short) if rng.uniform() < 0.5 else (short, long)
    l_shaped = kind in ("living room", "studio", "office", "bedroom") and w * d > 14 and rng.uniform() < 0.3
    plan = Plan.draw(rng, w, d, rng.uniform(2.35, 2.95), l_shaped)
    time = str(rng.choice(["sun", "overcast", "night"], p=[0.5, 0.32, 0.18]))
    lay = _furnish(rng, plan, style, kind)
    holes = [_fill(rng, plan, o, style, time == "night") for o in lay.openings]
    panes = [pane for _, pane in holes if pane is not None]
    shell = walls(rng, plan, lay.openings, style, kind) + floor_and_ceiling(rng, plan, style, kind)
    lamp_on = time == "night" or not panes or rng.uniform() < (0.35 if time == "sun" else 0.6)
    ceiling = _ceiling_lamps(rng, plan, style, lamp_on, kind)
    sun, sun_color, sky = _daylight(rng, time, panes)
    items = [*shell, *(hole for hole, _ in holes), *lay.items, *ceiling]
    return _assemble(seed, kind, plan, items, lay.solids, panes, sky, sun, sun_color)


def _furnish(rng: Generator, plan: Plan, style: Style, kind: str) -> Layout:
    """Doors, windows and furniture; drawn anew when something essential found no place."""
    for _ in range(ATTEMPTS):
        lay = Layout(rng, plan, _openings(rng, plan, kind))
        _dress_windows(lay, rng, style, kind)
        RECIPES[kind](lay, rng, style)
        if ESSENTIAL[kind] <= {item.category for top in lay.items for item in top.walk()}:
            break
    finishing(lay, rng, style, kind)
    return lay


def _openings(rng: Generator, plan: Plan, kind: str) -> list[Opening]:
    """One or two doors and none to three windows that do not get in each other's way."""
    out: list[Opening] = []

    def cut(what: str, width: float, z0: float, z1: float, margin: float) -> None:
        for _ in range(12):
            wall = int(rng.integers(len(plan)))
            _, _, length = plan.wall(wall)
            if length < width + 2 * margin:
                continue
            s = rng.uniform(margin, length - width - margin)
            if what == "door" and rng.uniform() < 0.6:
                s = margin if rng.uniform() < 0.5 else length - width - margin
            clash = [o for o in out if o.wall == wall and o.s0 - 0.3 < s + width and s < o.s1 + 0.3]
            if clash or (what == "window" and len(plan) == 6 and length < 1.5):
                continue
            out.append(Opening(wall, s, s + width, z0, z1, what))
            return

    cut("door", rng.uniform(0.76, 0.95), 0.0, min(rng.uniform(1.98, 2.12), plan.h - 0.12), rng.uniform(0.12, 0.3))
    if kind in ("living room", "studio", "office") and rng.uniform() < 0.35:
        cut("door", rng.uniform(0.76, 0.95), 0.0, min(2.05, plan.h - 0.12), 0.15)
    count = {"bathroom": (0, 2), "kitchen": (1, 2), "bedroom": (1, 3)}.get(kind, (1, 4))
    for _ in range(int(rng.integers(count[0], count[1] + (kind == "kitchen")))):
        top = min(rng.uniform(2.0, 2.3), plan.h - 0.15)
        if kind == "bathroom":
            cut("window", rng.uniform(0.5, 0.9), rng.uniform(1.2, 1.5), top, 0.3)
        elif kind not in ("kitchen", "office") and rng.uniform() < 0.2:  # a French window
            cut("window", rng.uniform(1.2, 2.0), 0.04, top, 0.4)
        else:
            sill = rng.uniform(1.05, 1.15) if kind == "kitchen" else rng.uniform(0.55, 1.05)
            cut("window", rng.uniform(0.8, 2.2), sill, top, 0.4)
    return out


def _fill(rng: Generator, plan: Plan, o: Opening, style: Style, night: bool) -> tuple[Item, WindowLight | None]:
    """The door or window in an opening, and the light that comes through it."""
    width = o.s1 - o.s0
    if o.kind == "door":
        return plan.at_wall(door(rng, style, width, o.z1), o.wall, o.s0), None
    a, e, _ = plan.wall(o.wall)
    n = np.array([-e[1], e[0], 0.0])
    inset = 0.05
    corner = np.array([*(a + (o.s0 + inset) * e), o.z0 + inset]) - 0.05 * n
    light = WindowLight(
        corner, np.array([*(e * (width - 2 * inset)), 0.0]), np.array([0, 0, o.z1 - o.z0 - 2 * inset]), n
    )
    return plan.at_wall(window(rng, style, width, o.z0, o.z1, night), o.wall, o.s0), light


def _dress_windows(lay: Layout, rng: Generator, style: Style, kind: str) -> None:
    """Curtains or blinds, and radiators under high sills."""
    seed = int(rng.integers(1 << 30))  # the windows of a room are dressed alike
    for o in lay.openings:
        if o.kind != "window":
            continue
        middle, width = (o.s0 + o.s1) / 2, o.s1 - o.s0
        r = rng.uniform()
        if r < (0.15 if kind in ("bathroom", "kitchen") else 0.68):
            item = decor.curtains(np.random.default_rng(seed), style, width, o.z0, o.z1, lay.plan.h)
            placed = lay.plan.at_wall(item, o.wall, middle, 0.016)
            if lay.fits(placed, zones=False):
                lay.add(placed)
                continue
        if r < 0.85:
            placed = lay.plan.at_wall(
                decor.blind(np.random.default_rng(seed), style, width, o.z0, o.z1), o.wall, middle, 0.004
            )
            if lay.fits(placed, zones=False):
                lay.add(placed)
        if o.z0 > 0.75 and kind != "kitchen" and rng.uniform() < 0.6:
            lay.against(decor.radiator(rng, style), [o.wall], near=middle, tries=1)


def _ceiling_lamps(rng: Generator, plan: Plan, style: Style, lit: bool, kind: str) -> list[Item]:
    """One lamp in the middle of each floor rectangle that is large enough, or one for the room."""
    spots = []
    for x0, y0, x1, y1 in plan.rectangles():
        if min(x1 - x0, y1 - y0) > 1.4 or plan.notch is None:
            long = max(x1 - x0, y1 - y0)
            for t in (0.5,) if long < 5 else (0.27, 0.73):
                across = x1 - x0 >= y1 - y0
                spots.append((x0 + (t if across else 0.5) * (x1 - x0), y0 + (0.5 if across else t) * (y1 - y0)))
    seed = int(rng.integers(1 << 30))
    drop = 0.0 if plan.h < 2.55 or kind == "bathroom" else rng.uniform(0.0, plan.h - 2.35)
    out = []
    for x, y in spots:  # the lamps of a room are alike
        same = np.random.default_rng(seed)
        out.append(clutter.ceiling_lamp(same, style, lit, drop).moved(x, y, plan.h))
    return out


def _daylight(rng: Generator, time: str, panes: list[WindowLight]) -> tuple[NDArray, NDArray, NDArray]:
    """Direction to the sun, its light, and the sky's."""
    if time == "night" or not panes:
        return np.array([0.0, 0.0, 1.0]), np.zeros(3), np.zeros(3)
    sky = np.array(choose(rng, ((0.82, 0.92, 1.0), (0.9, 0.96, 1.0), (1.0, 0.98, 0.95)))) * rng.uniform(6, 10)
    pane = panes[int(rng.integers(len(panes)))]
    turn = rng.uniform(-0.9, 0.9)
    outward = -pane.normal
    c, s = np.cos(turn), np.sin(turn)
    flat = np.array([c * outward[0] - s * outward[1], s * outward[0] + c * outward[1], 0.0])
    height = rng.uniform(0.35, 0.85)
    sun = np.cos(height) * flat + np.array([0, 0, np.sin(height)])
    color: RGB = choose(rng, ((1.0, 0.93, 0.82), (1.0, 0.88, 0.70), (1.0, 0.96, 0.9)))
    return sun, np.array(color) * (rng.uniform(3.0, 5.0) if time == "sun" else 0.0), sky


def _assemble(
    seed: int,
    kind: str,
    plan: Plan,
    items: list[Item],
    solids: list[Box],
    panes: list[WindowLight],
    sky: NDArray,
    sun: NDArray,
    sun_color: NDArray,
) -> Room:
    """All items as one mesh."""
    vertices, normals, tex, faces, material, segment, instance = [], [], [], [], [], [], []
    rows: dict = {}
    labels: list[str] = []
    lamps: list[Lamp] = []
    start = 0
    for item in (one for top in items for one in top.walk()):
        own = -1
        if item.label not in WITHOUT_INSTANCE:
            own = len(labels)
            labels.append(item.label)
        lamps += item.lamps
        for mesh, m in item.placed_parts():
            vertices.append(mesh.vertices)
            normals.append(mesh.normals)
            tex.append(mesh.tex)
            faces.append(mesh.faces + start)
            start += len(mesh.vertices)
            count = len(mesh.faces)
            material.append(np.full(count, rows.setdefault(m, len(rows))))
            segment.append(np.full(count, class_index(item.category)))
            instance.append(np.full(count, own))
    t, f = np.concatenate(tex), np.concatenate(faces)
    facing = np.abs(np.cross(t[f[:, 1]] - t[f[:, 0]], t[f[:, 2]] - t[f[:, 0]]))
    return Room(
        seed=seed,
        kind=kind,
        plan=plan,
        vertices=np.concatenate(vertices).astype(np.float32),
        normals=np.concatenate(normals).astype(np.float32),
        tex=t.astype(np.float32),
        faces=f.astype(np.int64),
        material=np.concatenate(material).astype(np.int64),
        segment=np.concatenate(segment).astype(np.int64),
        instance=np.concatenate(instance).astype(np.int64),
        # a hair's preference for the first axes: a face at 45° must not flip its texture with rounding
        side=np.argmax(facing * [1.002, 1.001, 1.0], axis=1).astype(np.int64),
        materials=MaterialTable.of(list(rows)),
        solids=np.array(solids, np.float64).reshape(-1, 6),
        labels=tuple(labels),
        lamps=tuple(lamps),
        windows=tuple(panes),
        sky=sky,
        sun=sun,
        sun_color=sun_color,
    )
