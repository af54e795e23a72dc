"""All categories: how they are made, what else they are called, which are held out."""

from __future__ import annotations

from ..rooms.captions import SYNONYMS as ROOM_SYNONYMS
from .furniture import FURNITURE, Maker

SYNONYMS: dict[str, tuple[str, ...]] = {
    **{name: ROOM_SYNONYMS.get(name, ()) for name in FURNITURE},
    "books": ("book", "pile of books"),
}
"""Category → what else it is called."""

MAKERS: dict[str, Maker] = {**FURNITURE}

CATEGORIES: tuple[str, ...] = tuple(sorted(MAKERS))

HELD_OUT: tuple[str, ...] = ("armchair", "floor lamp", "nightstand", "pot", "wardrobe")
"""Categories that no training split has."""
