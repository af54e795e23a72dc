"""Mesh files of single objects: read, normalise and light them, for rendering and sampling.

file ─ read_mesh ─→ RawMesh ─ mesh_object ─→ MeshObject ─ light_mesh ─→ LitMesh ─→ `objects.render_object`,
                                                                              `objects.surface_points`

read        read files with trimesh: materials, textures, colours per vertex or face, scenes of several nodes
draco       decode Draco-compressed glTF
unpack      decode meshopt, quantised attributes and KTX 2 textures of glTF
usd         read USD with usd-core
normals     vertex normals, smooth on surfaces and sharp at edges
solid       upright object in the unit ball, with small triangles and cut-out textures
shade       colours with or without light
"""

from __future__ import annotations

from .read import SUFFIXES, RawMesh, read_mesh
from .shade import LitMesh, light_mesh
from .solid import MeshObject, mesh_object

__all__ = ["SUFFIXES", "LitMesh", "MeshObject", "RawMesh", "light_mesh", "mesh_object", "read_mesh"]
