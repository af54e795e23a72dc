"""All categories: how they are made, what else they are called, which are held out."""

from __future__ import annotations

from ..rooms.captions import SYNONYMS as ROOM_SYNONYMS
from .categories.animals import ANIMALS
from .categories.buildings import BUILDINGS
from .categories.craft import CRAFT
from .categories.food import FOOD
from .categories.furniture import FURNITURE, Maker
from .categories.gadgets import GADGETS
from .categories.leisure import LEISURE
from .categories.outdoors import OUTDOORS
from .categories.plants import PLANTS
from .categories.tableware import TABLEWARE
from .categories.tools import TOOLS
from .categories.toys import TOYS
from .categories.vehicles import VEHICLES
from .categories.wear import WEAR

_OWN = {
    **TABLEWARE,
    **FOOD,
    **TOOLS,
    **GADGETS,
    **LEISURE,
    **TOYS,
    **WEAR,
    **VEHICLES,
    **CRAFT,
    **PLANTS,
    **ANIMALS,
    **BUILDINGS,
    **OUTDOORS,
}

MAKERS: dict[str, Maker] = {**FURNITURE, **{name: maker for name, (maker, _) in _OWN.items()}}
"""Category → function that makes the parts of one."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    **{name: ROOM_SYNONYMS.get(name, ()) for name in FURNITURE},
    "books": ("book", "pile of books"),
    **{name: synonyms for name, (_, synonyms) in _OWN.items()},
}
"""Category → what else it is called."""

CATEGORIES: tuple[str, ...] = tuple(sorted(MAKERS))

HELD_OUT: tuple[str, ...] = (
    "armchair",
    "bucket",
    "duck",
    "floor lamp",
    "lighthouse",
    "nightstand",
    "pear",
    "pine tree",
    "pot",
    "screwdriver",
    "truck",
    "wardrobe",
)
"""Categories that no training split has. Each has relatives that it could be known by."""
