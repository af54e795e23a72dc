"""Contents of each kind of room. A recipe places the essential items first, then others as far as they fit."""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from ..furniture import bath, clutter, decor, electronics, lamps, seats, storage, surfaces
from ..furniture import kitchen as units
from ..materials.materials import Style, choose
from .groups import bed_group, desk_group, dining_group, hang_pictures, kitchen_group, sofa_group
from .layout import Layout

ROOM_KINDS = ("living room", "bedroom", "kitchen", "bathroom", "office", "studio")
SIDE_LENGTHS = {
    "living room": ((3.9, 6.2), (3.4, 5.0)),
    "bedroom": ((3.2, 5.0), (2.9, 4.2)),
    "kitchen": ((2.9, 4.8), (2.5, 3.9)),
    "bathroom": ((2.3, 3.6), (1.75, 2.7)),
    "office": ((3.2, 5.8), (2.8, 4.4)),
    "studio": ((5.0, 7.0), (3.9, 5.2)),
}
"""Ranges of the longer and the shorter side of a room, metres."""

ESSENTIAL_CLASSES: dict[str, set[str]] = {
    "living room": {"sofa", "table"},
    "bedroom": {"bed"},
    "kitchen": {"counter", "cabinet", "sink", "refrigerator"},
    "bathroom": {"toilet", "sink"},
    "office": {"desk", "chair"},
    "studio": {"bed", "refrigerator", "sofa"},
}
"""ScanNet classes that each kind of room must contain."""

# ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────


def living_room(layout: Layout, rng: Generator, style: Style) -> None:
    sofa_group(layout, rng, style)
    for _ in range(int(rng.integers(1, 3))):
        layout.place_at_wall(storage.bookshelf(rng, style), front=0.4, corner=True)
    if layout.plan.w * layout.plan.d > 17:
        dining_group(layout, rng, style)
    if rng.uniform() < 0.5:
        layout.place_at_wall(storage.sideboard(rng, style), front=0.4)
    if rng.uniform() < 0.25:
        desk_group(layout, rng, style)


def bedroom(layout: Layout, rng: Generator, style: Style) -> None:
    bed_group(layout, rng, style)
    if rng.uniform() < 0.85:
        layout.place_at_wall(storage.wardrobe(rng, style), front=0.5, corner=True, tries=40)
    if rng.uniform() < 0.6:
        placed = layout.place_at_wall(storage.dresser(rng, style), front=0.4)
        if placed and rng.uniform() < 0.6:
            layout.place_at_wall(
                decor.mirror(rng, style),
                [placed[1]],
                placed[0].top + rng.uniform(0.35, 0.5),
                near=placed[2],
                gap=0.002,
                tries=1,
            )
    if rng.uniform() < 0.55:
        desk_group(layout, rng, style)
    if rng.uniform() < 0.5:
        layout.place_at_wall(storage.bookshelf(rng, style), front=0.3)
    if rng.uniform() < 0.3:
        layout.place_at_wall(seats.armchair(rng, style), corner=True)


def kitchen(layout: Layout, rng: Generator, style: Style) -> None:
    longest = max(layout.plan.wall(i)[2] for i in range(len(layout.plan)))
    kitchen_group(layout, rng, style, min(rng.uniform(1.9, 3.4), longest - 0.75))
    if rng.uniform() < 0.35:
        second = units.kitchen_run(rng, style, rng.uniform(1.2, 1.8))
        layout.place_at_wall(second, front=0.6, gap=0.004)
    dining_group(layout, rng, style, small=layout.plan.w * layout.plan.d < 11)
    if rng.uniform() < 0.35:
        layout.place_at_wall(storage.sideboard(rng, style), front=0.4)
    if rng.uniform() < 0.4:
        layout.place_at_wall(storage.wall_shelf(rng, style), z=rng.uniform(1.4, 1.6), gap=0.002)
    if rng.uniform() < 0.35:
        layout.place_at_wall(seats.stool(rng, style))


def bathroom(layout: Layout, rng: Generator, style: Style) -> None:
    short = [i for i in range(len(layout.plan)) if 1.45 < layout.plan.wall(i)[2] < 2.15]
    if rng.uniform() < 0.85:
        for attempt in range(6):
            alcove = bool(short) and attempt < 3
            wall = [int(rng.choice(short))] if alcove else None
            length = layout.plan.wall(wall[0])[2] - 0.012 if wall else rng.uniform(1.5, 1.75)
            tub = bath.bathtub(rng, style, length)
            placed = layout.place_at_wall(tub, wall, front=0.5, corner=True, gap=0.005, tries=12)
            if placed:
                if rng.uniform() < 0.75:
                    b = tub.bounds
                    veil = bath.shower_curtain(rng, style, length, b[4])
                    hung = layout.plan.at_wall(veil, placed[1], placed[2], 0.005)
                    if layout.fits(hung, zones=False):
                        layout.add(hung)
                break
    layout.place_at_wall(bath.toilet(rng, style), front=0.45, gap=0.004, tries=50)
    basin = bath.vanity(rng, style) if rng.uniform() < 0.5 else bath.pedestal_sink(rng, style)
    placed = layout.place_at_wall(basin, front=0.5, gap=0.004, tries=40) or layout.place_at_wall(
        bath.pedestal_sink(rng, style), front=0.3, gap=0.004, tries=60
    )
    if placed:
        if rng.uniform() < 0.8:
            layout.place_at_wall(
                decor.mirror(rng, style, rng.uniform(0.45, 0.8)),
                [placed[1]],
                rng.uniform(1.25, 1.35),
                near=placed[2],
                gap=0.002,
                tries=2,
            )
        else:
            layout.place_at_wall(
                units.wall_cabinets(rng, style, rng.uniform(0.5, 0.8)),
                [placed[1]],
                1.35,
                near=placed[2],
                gap=0.004,
                tries=2,
            )
    for _ in range(int(rng.integers(1, 3))):
        layout.place_at_wall(decor.towel(rng, style), z=rng.uniform(1.1, 1.4), gap=0.002)
    if rng.uniform() < 0.45:
        layout.place_at_wall(
            storage.cabinet(
                rng,
                style,
                rng.uniform(0.35, 0.5),
                rng.uniform(0.3, 0.36),
                rng.uniform(0.9, 1.8),
                1,
                int(rng.integers(2, 4)),
            ),
            front=0.3,
        )
    if rng.uniform() < 0.5:
        mat = decor.rug(rng, style, rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.6))
        x, y = rng.uniform(0.5, layout.plan.w - 0.5), rng.uniform(0.5, layout.plan.d - 0.7)
        if layout.fits(mat.translate(x, y), zones=False):
            layout.add(mat.translate(x, y), solid=False)
    if rng.uniform() < 0.4:
        layout.place_at_wall(clutter.basket(rng, style), corner=True)


def office(layout: Layout, rng: Generator, style: Style) -> None:
    for _ in range(int(rng.integers(1, 4))):
        desk_group(layout, rng, style)
    for _ in range(int(rng.integers(1, 3))):
        layout.place_at_wall(storage.bookshelf(rng, style), front=0.35, corner=True)
    if rng.uniform() < 0.7:
        layout.place_at_wall(storage.filing_cabinet(rng, style), front=0.4)
    if rng.uniform() < 0.5:
        layout.place_at_wall(storage.sideboard(rng, style), front=0.4)
    if layout.plan.w * layout.plan.d > 13 and rng.uniform() < 0.6:
        dining_group(layout, rng, style)
    if rng.uniform() < 0.65:
        layout.place_at_wall(decor.whiteboard(rng, style), z=rng.uniform(0.95, 1.15), gap=0.002)
    if rng.uniform() < 0.3:
        layout.place_at_wall(seats.sofa(rng, style), front=0.4)
    if rng.uniform() < 0.4:
        table = surfaces.side_table(rng, style)
        machine = electronics.printer(rng)
        layout.place_at_wall(table.with_children([machine.translate(y=(table.depth - machine.depth) / 2, z=table.top)]))


def studio(layout: Layout, rng: Generator, style: Style) -> None:
    kitchen_group(layout, rng, style, rng.uniform(1.6, 2.4))
    bed_group(layout, rng, style)
    sofa_group(layout, rng, style)
    if rng.uniform() < 0.6:
        layout.place_at_wall(storage.wardrobe(rng, style), front=0.4, corner=True)
    dining_group(layout, rng, style, small=True, chairs=2)
    layout.place_at_wall(storage.bookshelf(rng, style), front=0.3)
    if rng.uniform() < 0.4:
        desk_group(layout, rng, style)


RECIPES: dict[str, Callable[[Layout, Generator, Style], None]] = {
    "living room": living_room,
    "bedroom": bedroom,
    "kitchen": kitchen,
    "bathroom": bathroom,
    "office": office,
    "studio": studio,
}


def add_common_items(layout: Layout, rng: Generator, style: Style, kind: str) -> None:
    """Add items that any room may have: plants, pictures, shelves, boxes, stools, lamps."""
    dry = kind != "bathroom"
    floor_things = [clutter.plant, clutter.waste_bin, clutter.carton, clutter.basket, seats.stool]
    if dry:
        floor_things += [lamps.floor_lamp, clutter.plant, seats.chair, seats.bench, storage.coat_rack]
    for _ in range(int(rng.integers(1, 5 if dry else 2))):
        maker = choose(rng, floor_things)
        item = clutter.carton(rng, style, rng.uniform(0.3, 0.5)) if maker is clutter.carton else maker(rng, style)
        layout.place_at_wall(item, corner=bool(rng.uniform() < 0.6), gap=rng.uniform(0.02, 0.1))
    for _ in range(int(rng.integers(1, 4 if dry else 2))):
        wall = int(rng.integers(len(layout.plan)))
        s = layout.plan.wall(wall)[2] * rng.uniform(0.2, 0.8)
        hang_pictures(layout, rng, style, wall, s, rng.uniform(1.2, 1.6), rng.uniform(0.3, 1.0))
    if dry and rng.uniform() < 0.3:
        layout.place_at_wall(storage.wall_shelf(rng, style), z=rng.uniform(1.3, 1.7), gap=0.002)
