"""Procedural rooms: furnished, lit, walked through and labelled with ScanNet's 20 classes, from a seed alone.

    seed ─ build_room ─→ Room ─ light_room ─→ LitRoom ─ walk ─→ cameras ─ render ─→ views ─ sample_points ─→ points

mesh, textures, materials    solids; colour as a function of place; what things are made of
item                         one object as parts with materials
seats, surfaces, storage, bath, kitchen, clutter, decor      the furniture
shell, layout                walls and openings; where things may stand
groups, recipes              what belongs together; what belongs into which room
room                         `build_room`
trace, light, render         rays; light per vertex and sun per point; pictures
walk, points                 where the camera goes; what a scanner would pick up
dataset                      `Rooms`: made once, kept on the disk
preview                      a contact sheet
"""

from __future__ import annotations

from .light import LitRoom, light_room
from .points import sample_points
from .render import View, render
from .room import Room, build_room
from .walk import walk

__all__ = [
    "LitRoom",
    "Room",
    "View",
    "build_room",
    "light_room",
    "render",
    "sample_points",
    "walk",
]
