"""Coloured surface points and meshes of one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..render.solid import Solid
from ..render.trace import Hits
from .build import ProceduralObject
from .light import Lit, LitObject, linear_to_srgb_array, spread_directions, surface_albedo

if TYPE_CHECKING:
    import trimesh

_EXPOSURE_RAYS = 16


class SurfacePoints(NamedTuple):
    """N surface points.

    Attributes:
        coord: [N, 3] float32 metres, in the object's frame.
        color: [N, 3] uint8 sRGB.
        normal: [N, 3] float32 outward unit normals.
    """

    coord: NDArray[np.float32]
    color: NDArray[np.uint8]
    normal: NDArray[np.float32]


def surface_points(
    obj: ProceduralObject | Lit, count: int, seed: int = 0, areas: NDArray[np.float64] | None = None
) -> SurfacePoints:
    """Sample points uniformly by area on the outer surface.

    Args:
        obj: an object, for the colours of its materials, or a lit one, for those of its pictures.
        count: number of points.
        seed: random seed.
        areas: [F] weight of each triangle; `exposed_areas` by default.

    Raises:
        InputError: fewer than one point.
    """
    if count < 1:
        raise InputError("count", "1 or more points", f"{count}")
    solid = obj if isinstance(obj, ProceduralObject) else obj.obj
    rng = solid.rng(1000 + seed)
    share = np.cumsum(exposed_areas(solid) if areas is None else areas)
    face = np.minimum(np.searchsorted(share, rng.uniform(0, share[-1], count)), len(share) - 1)
    u, v = rng.uniform(size=(2, count)).astype(np.float32)
    outside = u + v > 1
    u[outside], v[outside] = 1 - u[outside], 1 - v[outside]
    hits = Hits(face, u, v, np.zeros(count, np.float32))
    corners = solid.faces[face]
    weights = np.stack([1 - u - v, u, v], 1)[..., None]
    normal = (solid.normals[corners] * weights).sum(1)
    return SurfacePoints(
        (solid.vertices[corners] * weights).sum(1),
        np.rint(colors_at(obj, hits) * 255).astype(np.uint8),
        normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9),
    )


def colors_at(obj: ProceduralObject | Lit, hits: Hits) -> NDArray[np.float32]:
    """[R, 3] sRGB in [0, 1] of hits: colours of the materials, or those of a lit object's pictures."""
    if not isinstance(obj, ProceduralObject):
        return obj.shade(hits)
    return linear_to_srgb_array(
        surface_albedo(hits.face, hits.u, hits.v, obj.faces, obj.tex, obj.material, obj.side, obj.table)
    )


def exposed_areas(obj: Solid) -> NDArray[np.float64]:
    """[F] area of the triangles that are exposed to the outside, 0 for others, square metres."""
    return obj.areas() * is_exposed(obj)


def is_exposed(obj: Solid) -> NDArray[np.bool_]:
    """[F] whether light from outside reaches the centre of each triangle (not inside closed cabinets, for instance)."""
    corners = obj.vertices[obj.faces]
    n = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
    at = corners.mean(1) + np.float32(1e-3 * obj.radius) * n
    rays = spread_directions(n, np.zeros(len(n)), np.sqrt((np.arange(_EXPOSURE_RAYS) + 0.5) / _EXPOSURE_RAYS))
    return (
        obj.tracer.first(np.repeat(at, _EXPOSURE_RAYS, 0), rays.reshape(-1, 3)).reshape(-1, _EXPOSURE_RAYS).min(1) < 0
    )


def to_trimesh(obj: ProceduralObject | LitObject) -> trimesh.Trimesh:
    """Mesh with a colour per vertex, z up, metres. Vertices are not shared across sharp edges or materials."""
    import trimesh

    solid = obj.obj if isinstance(obj, LitObject) else obj
    vertex, face = np.unique(solid.faces.ravel(), return_index=True)  # one corner of each vertex
    corner = face % 3
    hits = Hits(face // 3, (corner == 1).astype(np.float32), (corner == 2).astype(np.float32), np.zeros(len(vertex)))
    color = np.full((len(solid.vertices), 4), 255, np.uint8)
    color[vertex, :3] = np.rint(colors_at(obj, hits) * 255)
    return trimesh.Trimesh(
        solid.vertices, solid.faces, vertex_normals=solid.normals, vertex_colors=color, process=False, validate=False
    )
