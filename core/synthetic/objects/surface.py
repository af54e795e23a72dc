"""Points and meshes of one object, with colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..render.solid import Solid
from ..render.trace import Hits
from .build import ProceduralObject
from .light import Lit, LitObject, around, encoded_array, surface_albedo

if TYPE_CHECKING:
    import trimesh

_RAYS = 16


class SurfacePoints(NamedTuple):
    """N points on a surface.

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
    """Points uniform by area on what can be seen from outside.

    Args:
        obj: an object, whose points get the colours of its materials, or a lit one, whose points get those of its
            pictures.
        count: how many points.
        seed: of the draw.
        areas: [F] what the triangles count; `exposed_areas` unless given.

    Raises:
        InputError: no points asked for.
    """
    if count < 1:
        raise InputError("count", "1 or more points", f"{count}")
    bare = obj if isinstance(obj, ProceduralObject) else obj.obj
    rng = bare.rng(1000 + seed)
    share = np.cumsum(exposed_areas(bare) if areas is None else areas)
    face = np.minimum(np.searchsorted(share, rng.uniform(0, share[-1], count)), len(share) - 1)
    u, v = rng.uniform(size=(2, count)).astype(np.float32)
    outside = u + v > 1
    u[outside], v[outside] = 1 - u[outside], 1 - v[outside]
    hits = Hits(face, u, v, np.zeros(count, np.float32))
    corners = bare.faces[face]
    weights = np.stack([1 - u - v, u, v], 1)[..., None]
    normal = (bare.normals[corners] * weights).sum(1)
    return SurfacePoints(
        (bare.vertices[corners] * weights).sum(1),
        np.rint(colors_at(obj, hits) * 255).astype(np.uint8),
        normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9),
    )


def colors_at(obj: ProceduralObject | Lit, hits: Hits) -> NDArray[np.float32]:
    """[R, 3] sRGB in [0, 1]: as materials are, or as they look in a lit object's pictures."""
    if not isinstance(obj, ProceduralObject):
        return obj.shade(hits)
    return encoded_array(
        surface_albedo(hits.face, hits.u, hits.v, obj.faces, obj.tex, obj.material, obj.side, obj.table)
    )


def exposed_areas(obj: Solid) -> NDArray[np.float64]:
    """[F] square metres of the triangles that can be seen from outside, 0 of the others."""
    return obj.areas() * exposed(obj)


def exposed(obj: Solid) -> NDArray[np.bool_]:
    """[F] whether light from outside can reach the middle of each triangle: not so inside closed cabinets."""
    corners = obj.vertices[obj.faces]
    n = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
    at = corners.mean(1) + np.float32(1e-3 * obj.radius) * n
    rays = around(n, np.zeros(len(n)), np.sqrt((np.arange(_RAYS) + 0.5) / _RAYS))
    return obj.tracer.first(np.repeat(at, _RAYS, 0), rays.reshape(-1, 3)).reshape(-1, _RAYS).min(1) < 0


def to_trimesh(obj: ProceduralObject | LitObject) -> trimesh.Trimesh:
    """The object as a mesh with a colour per vertex, z up, metres. Vertices are not shared across sharp edges and
    changes of material."""
    import trimesh

    bare = obj.obj if isinstance(obj, LitObject) else obj
    vertex, face = np.unique(bare.faces.ravel(), return_index=True)  # a corner that shows each vertex
    corner = face % 3
    hits = Hits(face // 3, (corner == 1).astype(np.float32), (corner == 2).astype(np.float32), np.zeros(len(vertex)))
    color = np.full((len(bare.vertices), 4), 255, np.uint8)
    color[vertex, :3] = np.rint(colors_at(obj, hits) * 255)
    return trimesh.Trimesh(
        bare.vertices, bare.faces, vertex_normals=bare.normals, vertex_colors=color, process=False, validate=False
    )
