"""Meshes of single objects, as they are found: read, made upright and of one size, lit, to be looked at and sampled.

file ─ read_mesh ─→ RawMesh ─ mesh_object ─→ MeshObject ─ light_mesh ─→ LitMesh ─→ `objects.render_object`,
                                                                              `objects.surface_points`

read        files through trimesh: materials, textures, colours per vertex or face, scenes of many nodes
normals     smooth where the surface is, sharp at its edges
solid       the object: triangles small enough to keep light per vertex, rays that pass through cut-outs
shade       its colours, lit or plain
"""

from __future__ import annotations

from .read import SUFFIXES, RawMesh, read_mesh
from .shade import LitMesh, light_mesh
from .solid import MeshObject, mesh_object

__all__ = ["SUFFIXES", "LitMesh", "MeshObject", "RawMesh", "light_mesh", "mesh_object", "read_mesh"]
