"""Convert the triangles of a file to an object like the procedural ones: z up, in the unit ball, finely divided."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from ....data.objects import Up
from ....synthetic.geometry.mesh import Mesh
from ....synthetic.geometry.shapes import subdivide
from ....synthetic.objects.light import spread_directions
from ....synthetic.render.solid import Solid
from ....synthetic.render.trace import Hits, Tracer
from .read import RawMesh, srgb_to_linear

GRID = 8000
"""Approximate lowest number of triangles of a surface, to store light per vertex."""
LAYERS = 16
"""Largest number of cut-out surfaces that a ray passes."""
TO_Y_UP = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
"""The rotation from the objects' frame (z up, front towards +y) to glTF's (y up, front towards +z), and back."""
_AXES: dict[str, NDArray] = {
    "y": np.eye(3),
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "-y": np.diag([1.0, -1, -1]),
    "-z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
}
"""Axis → rotation about x that maps it to y."""
SHEET = 1e-3
"""Distance between the two sides of a sheet without thickness, in radii of the object."""


@dataclass(frozen=True, eq=False)
class MeshObject(Solid):
    """One object: z up, centre of its bounds at the origin, in the unit ball.

    Attributes:
        name: seed of its random numbers.
        vertices, normals: [V, 3] float32.
        uv, color: [V, 2] and [V, 4], see `RawMesh`.
        faces: [F, 3] int64.
        picture, cutoff: [F], see `RawMesh`.
        pictures: textures [H, W, 4] float32, linear RGB and opacity, rows from the top.
        center: [3] centre in the frame of the file.
        unit: radius in the units of the file.
    """

    name: str
    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    uv: NDArray[np.float32]
    color: NDArray[np.float32]
    faces: NDArray[np.int64]
    picture: NDArray[np.int64]
    cutoff: NDArray[np.float32]
    pictures: tuple[NDArray[np.float32], ...]
    center: NDArray[np.float64]
    unit: float

    def rng(self, stream: int) -> Generator:
        """Random generator of this object; ``stream`` distinguishes its uses."""
        return np.random.default_rng([zlib.crc32(self.name.encode()), stream])

    @cached_property
    def tracer(self) -> Tracer:
        """Ray tracer of the object."""
        return _SeeThrough(self) if bool((self.cutoff > 0).any()) else Tracer(self.vertices, self.faces)

    def albedo(self, hits: Hits) -> NDArray[np.float32]:
        """Linear reflectance and opacity [R, 4] of the hit points; zero for misses."""
        out = np.zeros((len(hits.face), 4), np.float32)
        met = np.flatnonzero(hits.face >= 0)
        face = hits.face[met]
        u, v = hits.u[met], hits.v[met]
        weights = np.stack([1 - u - v, u, v], 1).astype(np.float32)[..., None]
        corners = self.faces[face]
        rgba = (self.color[corners] * weights).sum(1)
        uv = (self.uv[corners] * weights).sum(1)
        for k, picture in enumerate(self.pictures):
            rows = np.flatnonzero(self.picture[face] == k)
            if len(rows):
                rgba[rows] *= _bilinear(picture, uv[rows])
        out[met] = rgba
        return out


def mesh_object(raw: RawMesh, name: str, up: Up = "y", pixels: int = 256) -> MeshObject:
    """Make a mesh upright, scale it to the unit ball, and divide its triangles.

    Args:
        raw: mesh of `read_mesh`.
        name: name of the object.
        up: axis that points up in the file.
        pixels: size of the object in renders, pixels; finer textures are averaged.
    """
    rotation = TO_Y_UP @ _AXES[up]
    low, high = raw.vertices.min(0), raw.vertices.max(0)
    center = (low + high) / 2
    unit = float(np.linalg.norm(raw.vertices - center, axis=1).max())
    vertices = (raw.vertices - center) / unit @ rotation.T
    corners = vertices[raw.faces]
    doubled = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    area = max(float(doubled.sum()) / 2, 1e-12)
    extra = np.concatenate([raw.uv, raw.color], 1).astype(np.float64)
    cut, origin = subdivide(
        Mesh(vertices, raw.normals @ rotation.T, extra, raw.faces[doubled > 1e-14]), 2 * (area / GRID) ** 0.5
    )
    origin = np.flatnonzero(doubled > 1e-14)[origin]
    obj = MeshObject(
        name=name,
        vertices=cut.vertices.astype(np.float32),
        normals=cut.normals.astype(np.float32),
        uv=cut.tex[:, :2].astype(np.float32),
        color=cut.tex[:, 2:].astype(np.float32),
        faces=cut.faces,
        picture=raw.picture[origin],
        cutoff=raw.cutoff[origin],
        pictures=_downsample_textures(raw, corners, doubled, 2 / pixels),
        center=center,
        unit=unit,
    )
    return _orient_faces(_separate_sides(obj))


def _separate_sides(obj: MeshObject) -> MeshObject:
    """Separate coincident triangles with opposite normals (two-sided sheets): rays cannot distinguish them."""
    corners = obj.vertices[obj.faces]
    n = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-20)
    # Opposite normals are on different sides of a generic plane.
    first = n @ np.array([0.5741, 0.6217, 0.5327], np.float32) > 0
    offset = np.zeros(len(obj.vertices), bool)
    for mine in (first, ~first):
        if not mine.any() or mine.all():
            return obj
        others = Tracer(obj.vertices, obj.faces[~mine])
        middle = corners[mine].mean(1)
        reach = np.float32(0.1 * SHEET)
        met = others.blocked(middle - reach * n[mine], 2 * reach * n[mine])
        opposite = others.first(middle - reach * n[mine], n[mine])
        met &= (n[~mine][np.maximum(opposite, 0)] * n[mine]).sum(1) < -0.99
        offset[obj.faces[mine][met].ravel()] = True
    if not offset.any():
        return obj
    return replace(
        obj, vertices=np.where(offset[:, None], obj.vertices + np.float32(SHEET) * obj.normals, obj.vertices)
    )


def _orient_faces(obj: MeshObject) -> MeshObject:
    """Flip triangles that are visible only from the back, because files differ in their winding."""
    corners = obj.vertices[obj.faces]
    n = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-20)
    seen = [_open_share(obj.tracer, corners.mean(1) + side * 1e-3 * n, side * n) for side in (1, -1)]
    over = seen[1] > seen[0]
    # Normals of files may disagree with the winding: orient them by the corrected winding.
    faces = np.where(over[:, None], obj.faces[:, ::-1], obj.faces)
    summed = np.zeros_like(obj.vertices)
    for k in range(3):
        np.add.at(summed, faces[:, k], np.where(over, -1, 1)[:, None] * n)
    against = (summed * obj.normals).sum(1) < 0
    return replace(obj, faces=faces, normals=np.where(against[:, None], -obj.normals, obj.normals))


def _open_share(tracer: Tracer, at: NDArray, n: NDArray, rays: int = 8) -> NDArray[np.float64]:
    """Share [F] of the directions around the normals that are unobstructed."""
    directions = spread_directions(n.astype(np.float32), np.zeros(len(n)), np.sqrt((np.arange(rays) + 0.5) / rays))
    free = tracer.first(np.repeat(at, rays, 0), directions.reshape(-1, 3)) < 0
    return free.reshape(-1, rays).mean(1)


def _downsample_textures(
    raw: RawMesh, corners: NDArray, doubled: NDArray, pixel: float
) -> tuple[NDArray[np.float32], ...]:
    """Linear textures, with texels of about half a pixel on the surface."""
    out = []
    for k, picture in enumerate(raw.pictures):
        mine = raw.picture == k
        t = raw.uv[raw.faces[mine]].astype(np.float64) * picture.shape[1::-1]
        a, b = t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]
        texels = float(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())
        side = (texels / max(float(doubled[mine].sum()), 1e-12)) ** 0.5 * pixel / 2  # texels along half a pixel
        rgba = picture.astype(np.float32) / 255
        rgba[..., :3] = srgb_to_linear(rgba[..., :3])
        if side > 1.5:  # average linear values, not sRGB
            size = max(1, round(picture.shape[1] / side)), max(1, round(picture.shape[0] / side))
            planes = [Image.fromarray(rgba[..., c]).resize(size, Image.Resampling.BOX) for c in range(4)]
            rgba = np.stack([np.asarray(plane, np.float32) for plane in planes], -1)
        out.append(rgba)
    return tuple(out)


def _bilinear(picture: NDArray[np.float32], uv: NDArray) -> NDArray[np.float32]:
    """Sample a repeating texture bilinearly: [R, 4]."""
    h, w = picture.shape[:2]
    x, y = uv[:, 0] * w - 0.5, (1 - uv[:, 1]) * h - 0.5
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - x0)[:, None].astype(np.float32), (y - y0)[:, None].astype(np.float32)
    x0, y0, x1, y1 = x0 % w, y0 % h, (x0 + 1) % w, (y0 + 1) % h
    above = picture[y0, x0] * (1 - fx) + picture[y0, x1] * fx
    below = picture[y1, x0] * (1 - fx) + picture[y1, x1] * fx
    return above * (1 - fy) + below * fy


class _SeeThrough(Tracer):
    """Ray tracer that passes through cut-out surfaces."""

    def __init__(self, obj: MeshObject) -> None:
        super().__init__(obj.vertices, obj.faces)
        self._obj = obj

    def hits(self, origins: NDArray, directions: NDArray) -> Hits:
        face, u, v, distance = (np.array(a) for a in super().hits(origins, directions))
        at, way = np.asarray(origins, np.float32), np.asarray(directions, np.float32)
        rows = np.arange(len(face))
        begun = np.zeros(len(face), np.float32)
        for _ in range(LAYERS):
            share = self._obj.albedo(Hits(face[rows], u[rows], v[rows], distance[rows]))[:, 3]
            rows = rows[(face[rows] >= 0) & (share < self._obj.cutoff[np.maximum(face[rows], 0)])]
            if not len(rows):
                break
            length = np.maximum(np.linalg.norm(way[rows], axis=1), 1e-12)
            begun[rows] = distance[rows] + 1e-4 / length
            again = super().hits(at[rows] + begun[rows, None] * way[rows], way[rows])
            face[rows], u[rows], v[rows] = again.face, again.u, again.v
            distance[rows] = begun[rows] + again.distance
        else:
            face[rows] = -1
        return Hits(face, u, v, distance)

    def first(self, origins: NDArray, directions: NDArray) -> NDArray[np.int64]:
        return self.hits(origins, directions).face
