"""What furnishes a living room, a bedroom, a kitchen, a bathroom, an office, a studio, and how it is arranged.

Each recipe puts its essential things first and what else fits after them.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from ..furniture import bath, clutter, decor, seats, storage, surfaces
from ..furniture import kitchen as units
from ..materials.materials import Style, choose
from .groups import bed_group, dining, hang, kitchenette, sofa_group, workplace
from .layout import Layout

KINDS = ("living room", "bedroom", "kitchen", "bathroom", "office", "studio")
SIZES = {
    "living room": ((3.9, 6.2), (3.4, 5.0)),
    "bedroom": ((3.2, 5.0), (2.9, 4.2)),
    "kitchen": ((2.9, 4.8), (2.5, 3.9)),
    "bathroom": ((2.3, 3.6), (1.75, 2.7)),
    "office": ((3.2, 5.8), (2.8, 4.4)),
    "studio": ((5.0, 7.0), (3.9, 5.2)),
}
"""(longest, shortest) side ranges, metres."""

ESSENTIAL: dict[str, set[str]] = {
    "living room": {"sofa", "table"},
    "bedroom": {"bed"},
    "kitchen": {"counter", "cabinet", "sink", "refrigerator"},
    "bathroom": {"toilet", "sink"},
    "office": {"desk", "chair"},
    "studio": {"bed", "refrigerator", "sofa"},
}
"""Classes without which a room would not be recognised."""

# ── rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────


def living_room(lay: Layout, rng: Generator, style: Style) -> None:
    sofa_group(lay, rng, style)
    for _ in range(int(rng.integers(1, 3))):
        lay.against(storage.bookshelf(rng, style), front=0.4, corner=True)
    if lay.plan.w * lay.plan.d > 17:
        dining(lay, rng, style)
    if rng.uniform() < 0.5:
        lay.against(storage.sideboard(rng, style), front=0.4)
    if rng.uniform() < 0.25:
        workplace(lay, rng, style)


def bedroom(lay: Layout, rng: Generator, style: Style) -> None:
    bed_group(lay, rng, style)
    if rng.uniform() < 0.85:
        lay.against(storage.wardrobe(rng, style), front=0.5, corner=True, tries=40)
    if rng.uniform() < 0.6:
        placed = lay.against(storage.dresser(rng, style), front=0.4)
        if placed and rng.uniform() < 0.6:
            lay.against(
                decor.mirror(rng, style),
                [placed[1]],
                placed[0].top + rng.uniform(0.35, 0.5),
                near=placed[2],
                gap=0.002,
                tries=1,
            )
    if rng.uniform() < 0.55:
        workplace(lay, rng, style)
    if rng.uniform() < 0.5:
        lay.against(storage.bookshelf(rng, style), front=0.3)
    if rng.uniform() < 0.3:
        lay.against(seats.armchair(rng, style), corner=True)


def kitchen(lay: Layout, rng: Generator, style: Style) -> None:
    longest = max(lay.plan.wall(i)[2] for i in range(len(lay.plan)))
    kitchenette(lay, rng, style, min(rng.uniform(1.9, 3.4), longest - 0.75))
    if rng.uniform() < 0.35:
        second = units.kitchen_run(rng, style, rng.uniform(1.2, 1.8))
        lay.against(second, front=0.6, gap=0.004)
    dining(lay, rng, style, small=lay.plan.w * lay.plan.d < 11)
    if rng.uniform() < 0.35:
        lay.against(storage.sideboard(rng, style), front=0.4)
    if rng.uniform() < 0.4:
        lay.against(storage.wall_shelf(rng, style), z=rng.uniform(1.4, 1.6), gap=0.002)
    if rng.uniform() < 0.35:
        lay.against(seats.stool(rng, style))


def bathroom(lay: Layout, rng: Generator, style: Style) -> None:
    short = [i for i in range(len(lay.plan)) if 1.45 < lay.plan.wall(i)[2] < 2.15]
    if rng.uniform() < 0.85:
        for attempt in range(6):
            alcove = bool(short) and attempt < 3
            wall = [int(rng.choice(short))] if alcove else None
            length = lay.plan.wall(wall[0])[2] - 0.012 if wall else rng.uniform(1.5, 1.75)
            tub = bath.bathtub(rng, style, length)
            placed = lay.against(tub, wall, front=0.5, corner=True, gap=0.005, tries=12)
            if placed:
                if rng.uniform() < 0.75:
                    b = tub.bounds
                    veil = bath.shower_curtain(rng, style, length, b[4])
                    hung = lay.plan.at_wall(veil, placed[1], placed[2], 0.005)
                    if lay.fits(hung, zones=False):
                        lay.add(hung)
                break
    lay.against(bath.toilet(rng, style), front=0.45, gap=0.004, tries=50)
    basin = bath.vanity(rng, style) if rng.uniform() < 0.5 else bath.pedestal_sink(rng, style)
    placed = lay.against(basin, front=0.5, gap=0.004, tries=40) or lay.against(
        bath.pedestal_sink(rng, style), front=0.3, gap=0.004, tries=60
    )
    if placed:
        if rng.uniform() < 0.8:
            lay.against(
                decor.mirror(rng, style, rng.uniform(0.45, 0.8)),
                [placed[1]],
                rng.uniform(1.25, 1.35),
                near=placed[2],
                gap=0.002,
                tries=2,
            )
        else:
            lay.against(
                units.wall_cabinets(rng, style, rng.uniform(0.5, 0.8)),
                [placed[1]],
                1.35,
                near=placed[2],
                gap=0.004,
                tries=2,
            )
    for _ in range(int(rng.integers(1, 3))):
        lay.against(decor.towel(rng, style), z=rng.uniform(1.1, 1.4), gap=0.002)
    if rng.uniform() < 0.45:
        lay.against(
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
        x, y = rng.uniform(0.5, lay.plan.w - 0.5), rng.uniform(0.5, lay.plan.d - 0.7)
        if lay.fits(mat.moved(x, y), zones=False):
            lay.add(mat.moved(x, y), solid=False)
    if rng.uniform() < 0.4:
        lay.against(clutter.basket(rng, style), corner=True)


def office(lay: Layout, rng: Generator, style: Style) -> None:
    for _ in range(int(rng.integers(1, 4))):
        workplace(lay, rng, style)
    for _ in range(int(rng.integers(1, 3))):
        lay.against(storage.bookshelf(rng, style), front=0.35, corner=True)
    if rng.uniform() < 0.7:
        lay.against(storage.filing_cabinet(rng, style), front=0.4)
    if rng.uniform() < 0.5:
        lay.against(storage.sideboard(rng, style), front=0.4)
    if lay.plan.w * lay.plan.d > 13 and rng.uniform() < 0.6:
        dining(lay, rng, style)
    if rng.uniform() < 0.65:
        lay.against(decor.whiteboard(rng, style), z=rng.uniform(0.95, 1.15), gap=0.002)
    if rng.uniform() < 0.3:
        lay.against(seats.sofa(rng, style), front=0.4)
    if rng.uniform() < 0.4:
        table = surfaces.side_table(rng, style)
        machine = clutter.printer(rng)
        lay.against(table.with_children([machine.moved(y=(table.depth - machine.depth) / 2, z=table.top)]))


def studio(lay: Layout, rng: Generator, style: Style) -> None:
    kitchenette(lay, rng, style, rng.uniform(1.6, 2.4))
    bed_group(lay, rng, style)
    sofa_group(lay, rng, style)
    if rng.uniform() < 0.6:
        lay.against(storage.wardrobe(rng, style), front=0.4, corner=True)
    dining(lay, rng, style, small=True, chairs=2)
    lay.against(storage.bookshelf(rng, style), front=0.3)
    if rng.uniform() < 0.4:
        workplace(lay, rng, style)


RECIPES: dict[str, Callable[[Layout, Generator, Style], None]] = {
    "living room": living_room,
    "bedroom": bedroom,
    "kitchen": kitchen,
    "bathroom": bathroom,
    "office": office,
    "studio": studio,
}


def finishing(lay: Layout, rng: Generator, style: Style, kind: str) -> None:
    """What any room may have besides: plants, pictures, shelves, boxes, stools, lamps."""
    dry = kind != "bathroom"
    floor_things = [clutter.plant, clutter.bin_, clutter.carton, clutter.basket, seats.stool]
    if dry:
        floor_things += [clutter.floor_lamp, clutter.plant, seats.chair, seats.bench, storage.coat_rack]
    for _ in range(int(rng.integers(1, 5 if dry else 2))):
        make_ = choose(rng, floor_things)
        item = clutter.carton(rng, style, rng.uniform(0.3, 0.5)) if make_ is clutter.carton else make_(rng, style)
        lay.against(item, corner=bool(rng.uniform() < 0.6), gap=rng.uniform(0.02, 0.1))
    for _ in range(int(rng.integers(1, 4 if dry else 2))):
        wall = int(rng.integers(len(lay.plan)))
        s = lay.plan.wall(wall)[2] * rng.uniform(0.2, 0.8)
        hang(lay, rng, style, wall, s, rng.uniform(1.2, 1.6), rng.uniform(0.3, 1.0))
    if dry and rng.uniform() < 0.3:
        lay.against(storage.wall_shelf(rng, style), z=rng.uniform(1.3, 1.7), gap=0.002)
