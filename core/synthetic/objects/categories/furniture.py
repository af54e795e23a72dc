"""Categories that rooms have: their items, alone and without what stands on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from ...furniture import bath, clutter, decor, kitchen, seats, storage, surfaces
from ...furniture.item import Item, Part
from ...geometry.mesh import join
from ...geometry.shapes import torus
from ...materials.materials import Style, choose, metal


class Named(NamedTuple):
    """Parts of an instance that has a name of its own besides its category's."""

    parts: Sequence[Part]
    names: tuple[str, ...]


Maker = Callable[[Generator], "Sequence[Part] | Named"]


def from_item(make: Callable[[Generator, Style], Item]) -> Maker:
    """A category from a room's item maker."""
    return lambda rng: make(rng, Style.draw(rng)).placed_parts()


_TABLES = (
    (surfaces.dining_table, "dining table"),
    (surfaces.dining_table, "dining table"),
    (surfaces.coffee_table, "coffee table"),
    (surfaces.side_table, "side table"),
)
OWN_NAMES = tuple(sorted({name for _, name in _TABLES}))
"""Names that an instance may have besides those of its category."""


def table(rng: Generator) -> Named:
    """Dining, coffee and side tables: one category, because only size tells them apart."""
    make, name = choose(rng, _TABLES)
    return Named(make(rng, Style.draw(rng)).placed_parts(), (name,))


def basket(rng: Generator) -> Sequence[Part]:
    """With an arched handle over it, or two at its sides."""
    parts = clutter.basket(rng, Style.draw(rng)).placed_parts()
    mesh, material = parts[0]
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    r, x, y = (high[0] - low[0]) / 2, (high[0] + low[0]) / 2, (high[1] + low[1]) / 2
    kind = rng.uniform()
    if kind < 0.5:
        arch = torus(r * 0.95, 0.012, 24, 8, np.pi).turned(np.pi / 2, "x").scaled(1, 1, rng.uniform(0.7, 1.2))
        parts.append((arch.moved(x, y, high[2] - 0.03), material))
    elif kind < 0.85:
        ears = [torus(0.06, 0.01, 16, 8).turned(np.pi / 2, "x").moved(x + s * r * 0.95, y, high[2]) for s in (-1, 1)]
        parts.append((join(ears), material if rng.uniform() < 0.5 else metal(rng)))
    return parts


def oven(rng: Generator) -> Sequence[Part]:
    """The oven of a kitchen, with its hob."""
    for _ in range(100):  # not every kitchen has one
        run = kitchen.kitchen_run(rng, Style.draw(rng), rng.uniform(1.4, 2.4))
        found = {item.label: item.placed_parts() for item in run.walk()}
        if "oven" in found:
            return [*found["oven"], *found["hob"]]
    raise AssertionError("a hundred kitchens without an oven")


def rug(rng: Generator, style: Style) -> Item:
    w = rng.uniform(0.9, 2.4)
    return decor.rug(rng, style, w, w * rng.uniform(0.5, 1.0))


def curtain(rng: Generator, style: Style) -> Item:
    return decor.curtains(rng, style, rng.uniform(0.8, 2.0), rng.uniform(0.5, 1.0), rng.uniform(2.0, 2.3), 2.6)


def _stretched(make: Callable[[Generator, Style], Item], amount: float) -> Maker:
    """Items of nearly one size, drawn out along each axis by up to so much."""

    def maker(rng: Generator) -> Sequence[Part]:
        x, y, z = (float(v) for v in np.exp(rng.uniform(-amount, amount, 3)))
        return [(mesh.scaled(x, y, z), material) for mesh, material in make(rng, Style.draw(rng)).placed_parts()]

    return maker


FURNITURE: dict[str, Maker] = {
    "armchair": from_item(seats.armchair),
    "basket": basket,
    "bathtub": from_item(lambda rng, style: bath.bathtub(rng, style, rng.uniform(1.45, 1.9))),
    "bed": from_item(seats.bed),
    "bin": from_item(clutter.bin_),
    "books": from_item(clutter.book_pile),
    "bookshelf": from_item(storage.bookshelf),
    "bottle": from_item(clutter.bottle),
    "bowl": from_item(clutter.bowl),
    "box": from_item(lambda rng, style: clutter.carton(rng, style, rng.uniform(0.15, 0.5))),
    "ceiling lamp": from_item(
        lambda rng, style: clutter.ceiling_lamp(rng, style, bool(rng.uniform() < 0.5), rng.uniform(0.3, 0.7))
    ),
    "chair": from_item(seats.chair),
    "coat rack": _stretched(storage.coat_rack, 0.2),
    "cup": from_item(clutter.cup),
    "curtain": from_item(curtain),
    "desk": from_item(surfaces.desk),
    "desk lamp": _stretched(clutter.desk_lamp, 0.2),
    "dresser": from_item(storage.dresser),
    "filing cabinet": from_item(storage.filing_cabinet),
    "floor lamp": from_item(clutter.floor_lamp),
    "hood": _stretched(kitchen.hood, 0.2),
    "kettle": from_item(kitchen.kettle),
    "knife block": _stretched(kitchen.knife_block, 0.25),
    "laptop": from_item(lambda rng, style: clutter.laptop(rng)),
    "microwave": _stretched(kitchen.microwave, 0.12),
    "mirror": from_item(decor.mirror),
    "monitor": from_item(lambda rng, style: clutter.monitor(rng)),
    "nightstand": from_item(storage.nightstand),
    "office chair": from_item(seats.office_chair),
    "ottoman": from_item(seats.bench),
    "oven": oven,
    "picture": from_item(decor.picture),
    "plant": from_item(clutter.plant),
    "pot": from_item(kitchen.pot),
    "printer": from_item(lambda rng, style: clutter.printer(rng)),
    "radiator": from_item(decor.radiator),
    "refrigerator": from_item(kitchen.refrigerator),
    "rug": from_item(rug),
    "sideboard": from_item(storage.sideboard),
    "sink": from_item(bath.pedestal_sink),
    "sofa": from_item(seats.sofa),
    "stool": from_item(seats.stool),
    "table": table,
    "table lamp": from_item(clutter.table_lamp),
    "toilet": from_item(bath.toilet),
    "towel": from_item(decor.towel),
    "tv": from_item(lambda rng, style: clutter.television(rng, rng.uniform(0.7, 1.4))),
    "vase": from_item(clutter.vase),
    "wardrobe": from_item(storage.wardrobe),
    "whiteboard": from_item(decor.whiteboard),
}
"""Category → maker; the names are the labels that rooms give their items."""
