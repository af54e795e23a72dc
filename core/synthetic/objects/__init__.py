"""Procedural objects: many categories, each of many shapes and materials, from a seed alone.

    (category, seed) ─ build_object ─→ ProceduralObject ─ light_object ─→ LitObject ─ render_object ─→ pictures
                                             ├─ surface_points, to_trimesh ─→ coloured points, a coloured mesh
                                             ├─ object_gaussians ─→ Gaussians
                                             └─ describe, captions ─→ what can truly be said of it

shapes                 solids that rooms have no use for
paint                  what they are made of
furniture              categories that rooms have
tableware, food, tools, gadgets, leisure, toys, wear, vehicles, craft, plants, animals, buildings, outdoors    others
catalogue              all categories, what they are called, which are held out
solid                  what every object with a surface is
build                  `build_object`
light, render          light per vertex; cameras around an object, pictures
surface                points and meshes with colours
gaussians              Gaussians without an optimiser
triplets               Gaussians, renders and captions on the disk
wording                names, colours, materials, sizes
preview                a sheet to look at
"""

from __future__ import annotations

from .build import ProceduralObject, build_object
from .catalogue import CATEGORIES, HELD_OUT, SYNONYMS
from .gaussians import object_gaussians
from .light import LitObject, ObjectLight, light_object
from .render import object_cameras, render_object
from .surface import SurfacePoints, surface_points, to_trimesh
from .wording import captions, describe

__all__ = [
    "CATEGORIES",
    "HELD_OUT",
    "SYNONYMS",
    "LitObject",
    "ObjectLight",
    "ProceduralObject",
    "SurfacePoints",
    "build_object",
    "captions",
    "describe",
    "light_object",
    "object_cameras",
    "object_gaussians",
    "render_object",
    "surface_points",
    "to_trimesh",
]
