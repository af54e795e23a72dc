"""Procedural objects: 130 categories with many shapes and materials each, from a seed.

    (category, seed) ─ build_object ─→ ProceduralObject ─ light_object ─→ LitObject ─ render_object ─→ pictures
                                             ├─ surface_points, to_trimesh ─→ coloured points, a coloured mesh
                                             ├─ object_gaussians ─→ Gaussians
                                             └─ describe, random_caption ─→ true statements about it

categories/   makers of the parts of one object, by subject
catalogue     all categories, their synonyms, and those held out of training
build         `build_object`: the object as triangles with materials
light         light per vertex
render        cameras around an object, pictures
surface       points and meshes with colours
gaussians     Gaussians from surface points, without optimisation
captions      names, colours, materials and proportions
preview       contact sheets
"""

from __future__ import annotations

from .build import ProceduralObject, build_object
from .captions import describe, random_caption
from .catalogue import CATEGORIES, HELD_OUT, SYNONYMS
from .gaussians import object_gaussians
from .light import LitObject, ObjectLight, light_object
from .render import object_cameras, render_object
from .surface import SurfacePoints, surface_points, to_trimesh

__all__ = [
    "CATEGORIES",
    "HELD_OUT",
    "SYNONYMS",
    "LitObject",
    "ObjectLight",
    "ProceduralObject",
    "SurfacePoints",
    "build_object",
    "describe",
    "light_object",
    "object_cameras",
    "object_gaussians",
    "random_caption",
    "render_object",
    "surface_points",
    "to_trimesh",
]
