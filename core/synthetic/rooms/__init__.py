"""Procedural rooms: furnished, lit and labelled with ScanNet's 20 classes, from a seed.

    seed ─ build_room ─→ Room ─ light_room ─→ LitRoom ─ walk ─→ cameras ─ render ─→ views ─ sample_points ─→ points

room       `build_room`: the room as labelled triangles with materials and lights
shell      floor plan, walls, openings, doors, windows, floor and ceiling
layout     placement of items without collisions
groups     items that are placed together: a desk with its chair, a bed with nightstands
recipes    the contents of each kind of room
light      light per vertex, sunlight per point
walk       cameras of a walk through the room
render     colour, depth, normals and labels of a view
points     the point cloud that the views cover
captions   names, colours, materials, sizes and relations of the things in a room
preview    contact sheets
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
