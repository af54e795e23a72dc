"""Categories that rooms have: their items without children."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from ...furniture import bath, clutter, decor, electronics, kitchen, lamps, seats, storage, surfaces
from ...furniture.item import Item, Part
from ...geometry.mesh import join
from ...geometry.shapes import torus
from ...materials.materials import Style, choose, metal


class NamedParts(NamedTuple):
    """Parts of an instance that has further names besides those of its category."""

    parts: Sequence[Part]
    names: tuple[str, ...]


Maker = Callable[[Generator], "Sequence[Part] | NamedParts"]
"""Function from random numbers to the parts of one object."""


def maker_from_item(make: Callable[[Generator, Style], Item]) -> Maker:
    """Maker of a category from a maker of room items."""
    return lambda rng: make(rng, Style.draw(rng)).placed_parts()


_TABLES = (
    (surfaces.dining_table, "dining table"),
    (surfaces.dining_table, "dining table"),
    (surfaces.coffee_table, "coffee table"),
    (surfaces.side_table, "side table"),
)
INSTANCE_NAMES = tuple(sorted({name for _, name in _TABLES}))
"""All names in `NamedParts`."""


def table(rng: Generator) -> NamedParts:
    """A dining, coffee or side table: one category, because they differ in size only."""
    make, name = choose(rng, _TABLES)
    return NamedParts(make(rng, Style.draw(rng)).placed_parts(), (name,))


def basket(rng: Generator) -> Sequence[Part]:
    """A basket with an arched handle, two side handles or none."""
    parts = clutter.basket(rng, Style.draw(rng)).placed_parts()
    mesh, material = parts[0]
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    r, x, y = (high[0] - low[0]) / 2, (high[0] + low[0]) / 2, (high[1] + low[1]) / 2
    kind = rng.uniform()
    if kind < 0.5:
        arch = torus(r * 0.95, 0.012, 24, 8, np.pi).rotate(np.pi / 2, "x").scale(1, 1, rng.uniform(0.7, 1.2))
        parts.append((arch.translate(x, y, high[2] - 0.03), material))
    elif kind < 0.85:
        ears = [
            torus(0.06, 0.01, 16, 8).rotate(np.pi / 2, "x").translate(x + s * r * 0.95, y, high[2]) for s in (-1, 1)
        ]
        parts.append((join(ears), material if rng.uniform() < 0.5 else metal(rng)))
    return parts


def oven(rng: Generator) -> Sequence[Part]:
    """An oven with its hob, taken from a random kitchen run."""
    for _ in range(100):  # not every run has one
        run = kitchen.kitchen_run(rng, Style.draw(rng), rng.uniform(1.4, 2.4))
        found = {item.label: item.placed_parts() for item in run.walk()}
        if "oven" in found:
            return [*found["oven"], *found["hob"]]
    raise AssertionError("no oven in 100 kitchen runs")


def rug(rng: Generator, style: Style) -> Item:
    w = rng.uniform(0.9, 2.4)
    return decor.rug(rng, style, w, w * rng.uniform(0.5, 1.0))


def curtain(rng: Generator, style: Style) -> Item:
    return decor.curtains(rng, style, rng.uniform(0.8, 2.0), rng.uniform(0.5, 1.0), rng.uniform(2.0, 2.3), 2.6)


def _stretched_maker(make: Callable[[Generator, Style], Item], amount: float) -> Maker:
    """Maker that stretches items along each axis by up to a factor of exp(``amount``)."""

    def maker(rng: Generator) -> Sequence[Part]:
        x, y, z = (float(v) for v in np.exp(rng.uniform(-amount, amount, 3)))
        return [(mesh.scale(x, y, z), material) for mesh, material in make(rng, Style.draw(rng)).placed_parts()]

    return maker


FURNITURE: dict[str, Maker] = {
    "armchair": maker_from_item(seats.armchair),
    "basket": basket,
    "bathtub": maker_from_item(lambda rng, style: bath.bathtub(rng, style, rng.uniform(1.45, 1.9))),
    "bed": maker_from_item(seats.bed),
    "bin": maker_from_item(clutter.waste_bin),
    "books": maker_from_item(clutter.book_pile),
    "bookshelf": maker_from_item(storage.bookshelf),
    "bottle": maker_from_item(clutter.bottle),
    "bowl": maker_from_item(clutter.bowl),
    "box": maker_from_item(lambda rng, style: clutter.carton(rng, style, rng.uniform(0.15, 0.5))),
    "ceiling lamp": maker_from_item(
        lambda rng, style: lamps.ceiling_lamp(rng, style, bool(rng.uniform() < 0.5), rng.uniform(0.3, 0.7))
    ),
    "chair": maker_from_item(seats.chair),
    "coat rack": _stretched_maker(storage.coat_rack, 0.2),
    "cup": maker_from_item(clutter.cup),
    "curtain": maker_from_item(curtain),
    "desk": maker_from_item(surfaces.desk),
    "desk lamp": _stretched_maker(lamps.desk_lamp, 0.2),
    "dresser": maker_from_item(storage.dresser),
    "filing cabinet": maker_from_item(storage.filing_cabinet),
    "floor lamp": maker_from_item(lamps.floor_lamp),
    "hood": _stretched_maker(kitchen.hood, 0.2),
    "kettle": maker_from_item(kitchen.kettle),
    "knife block": _stretched_maker(kitchen.knife_block, 0.25),
    "laptop": maker_from_item(lambda rng, style: electronics.laptop(rng)),
    "microwave": _stretched_maker(kitchen.microwave, 0.12),
    "mirror": maker_from_item(decor.mirror),
    "monitor": maker_from_item(lambda rng, style: electronics.monitor(rng)),
    "nightstand": maker_from_item(storage.nightstand),
    "office chair": maker_from_item(seats.office_chair),
    "ottoman": maker_from_item(seats.bench),
    "oven": oven,
    "picture": maker_from_item(decor.picture),
    "plant": maker_from_item(clutter.plant),
    "pot": maker_from_item(kitchen.pot),
    "printer": maker_from_item(lambda rng, style: electronics.printer(rng)),
    "radiator": maker_from_item(decor.radiator),
    "refrigerator": maker_from_item(kitchen.refrigerator),
    "rug": maker_from_item(rug),
    "sideboard": maker_from_item(storage.sideboard),
    "sink": maker_from_item(bath.pedestal_sink),
    "sofa": maker_from_item(seats.sofa),
    "stool": maker_from_item(seats.stool),
    "table": table,
    "table lamp": maker_from_item(lamps.table_lamp),
    "toilet": maker_from_item(bath.toilet),
    "towel": maker_from_item(decor.towel),
    "tv": maker_from_item(lambda rng, style: electronics.television(rng, rng.uniform(0.7, 1.4))),
    "vase": maker_from_item(clutter.vase),
    "wardrobe": maker_from_item(storage.wardrobe),
    "whiteboard": maker_from_item(decor.whiteboard),
}
"""Maker of each category; the names are labels of room items."""
