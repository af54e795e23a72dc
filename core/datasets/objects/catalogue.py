"""All categories: how they are made, what else they are called, which are held out."""

from __future__ import annotations

from ..rooms.captions import SYNONYMS as ROOM_SYNONYMS
from .animals import ANIMALS
from .buildings import BUILDINGS
from .craft import CRAFT
from .food import FOOD
from .furniture import FURNITURE, Maker
from .gadgets import GADGETS
from .leisure import LEISURE
from .outdoors import OUTDOORS
from .plants import PLANTS
from .tableware import TABLEWARE
from .tools import TOOLS
from .toys import TOYS
from .vehicles import VEHICLES
from .wear import WEAR

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
