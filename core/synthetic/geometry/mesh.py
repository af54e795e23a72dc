"""Triangle meshes of simple solids, in numpy.

Every solid is closed and wound so that normals point out of it: a ray that starts in free space never meets a back
face. Vertices are not shared across sharp edges, so a vertex normal is the surface's own. Long faces are cut into a
grid, because light is stored per vertex (`light.py`).

Texture coordinates are the position, in metres, at which the solid was made: solid textures (wood, stone, checks)
stay attached when it is moved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

STEP = 0.12
"""Longest grid edge of a flat face, metres."""


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: [V, 3] float64, metres.
        normals: [V, 3] unit vectors, outwards.
        tex: [V, 3] texture coordinates, metres.
        faces: [F, 3] int64 vertex indices, counter-clockwise seen from outside.
    """

    vertices: NDArray
    normals: NDArray
    tex: NDArray
    faces: NDArray

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Mesh:
        """Translated by (x, y, z)."""
        return replace(self, vertices=self.vertices + np.array([x, y, z], float))

    def turned(self, angle: float, axis: str = "z", about: Sequence[float] = (0.0, 0.0, 0.0)) -> Mesh:
        """Rotated by ``angle`` radians about an axis through the point ``about``."""
        i = "xyz".index(axis)
        j, k = (i + 1) % 3, (i + 2) % 3
        rotation = np.eye(3)
        rotation[j, j] = rotation[k, k] = np.cos(angle)
        rotation[k, j] = np.sin(angle)
        rotation[j, k] = -np.sin(angle)
        centre = np.asarray(about, float)
        return replace(self, vertices=(self.vertices - centre) @ rotation.T + centre, normals=self.normals @ rotation.T)

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Mesh:
        """Scaled per axis by positive factors; normals follow the inverse scale."""
        s = np.array([x, y, z], float)
        n = self.normals / s
        return replace(self, vertices=self.vertices * s, normals=n / np.linalg.norm(n, axis=1, keepdims=True))

    def textured(self, tex: ArrayLike) -> Mesh:
        """With other texture coordinates [V, 3]."""
        return replace(self, tex=np.broadcast_to(np.asarray(tex, float), self.vertices.shape).copy())


def join(meshes: Sequence[Mesh]) -> Mesh:
    """All the meshes as one."""
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.tex for m in meshes]),
        np.concatenate([m.faces + s for m, s in zip(meshes, starts, strict=False)]),
    )


@lru_cache(maxsize=512)
def _grid_faces(rows: int, columns: int) -> NDArray:
    """[2·rows·columns, 3] triangles of a (rows + 1) × (columns + 1) vertex grid, columns fastest."""
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    a = (i * (columns + 1) + j).ravel()
    b, c, d = a + 1, a + columns + 1, a + columns + 2
    faces = np.stack([np.stack([a, b, d], 1), np.stack([a, d, c], 1)], 1).reshape(-1, 3)
    faces.flags.writeable = False
    return faces


@lru_cache(maxsize=512)
def _unit_grid(rows: int, columns: int) -> NDArray:
    """[(rows + 1)·(columns + 1), 2] places on the unit square, the first coordinate along the columns."""
    b, a = np.meshgrid(np.linspace(0, 1, rows + 1), np.linspace(0, 1, columns + 1), indexing="ij")
    grid = np.stack([a.ravel(), b.ravel()], 1)
    grid.flags.writeable = False
    return grid


def patch(origin: ArrayLike, u: ArrayLike, v: ArrayLike, step: float = STEP) -> Mesh:
    """A rectangle with corner ``origin`` and edge vectors ``u``, ``v``; the normal is u × v."""
    (ux, uy, uz), (vx, vy, vz) = np.asarray(u, float).tolist(), np.asarray(v, float).tolist()
    columns = max(1, math.ceil(math.hypot(ux, uy, uz) / step - 1e-9))
    rows = max(1, math.ceil(math.hypot(vx, vy, vz) / step - 1e-9))
    vertices = np.asarray(origin, float) + _unit_grid(rows, columns) @ np.array([[ux, uy, uz], [vx, vy, vz]])
    n = np.array([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx])
    normals = np.empty_like(vertices)
    normals[:] = n / math.sqrt(n @ n)
    return Mesh(vertices, normals, vertices, _grid_faces(rows, columns))


def box(lo: Sequence[float], hi: Sequence[float], step: float = STEP) -> Mesh:
    """The axis-aligned box between the corners ``lo`` and ``hi``."""
    low, high = np.asarray(lo, float), np.asarray(hi, float)
    d = np.diag(high - low)
    sides = []
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        sides.append(patch(low + d[i], d[j], d[k], step))
        sides.append(patch(low, d[k], d[j], step))
    return join(sides)


def rounded_box(
    lo: Sequence[float], hi: Sequence[float], radius: float, step: float = STEP, bulge: float = 0.0
) -> Mesh:
    """A box with rounded edges and, with ``bulge`` (metres), faces that swell like a cushion's."""
    low, high = np.asarray(lo, float), np.asarray(hi, float)
    half = (high - low) / 2
    r = float(min(radius, half.min()))
    inner = half - r

    def ticks(h: float) -> NDArray:
        n = max(1, int(np.ceil(2 * h / step)))
        arc = np.array([-1.0, -0.72, -0.38])  # where the edge's quarter circle is cut
        return np.concatenate([-h + r * arc, np.linspace(-h, h, n + 1), h - r * arc[::-1]])

    sides = []
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        a, b = ticks(inner[j]), ticks(inner[k])
        for sign in (1.0, -1.0):
            kk, jj = np.meshgrid(b, a, indexing="ij")
            p = np.zeros((kk.size, 3))
            p[:, i], p[:, j], p[:, k] = sign * half[i], jj.ravel(), kk.ravel()
            faces = _grid_faces(len(b) - 1, len(a) - 1)
            core = np.clip(p, -inner, inner)
            away = p - core
            normal = away / np.linalg.norm(away, axis=1, keepdims=True)
            q = core + r * normal
            if bulge:
                swell = np.prod(1 - (core / np.maximum(half, 1e-6)) ** 2, axis=1, keepdims=True)
                q = q + bulge * swell * normal
            sides.append(Mesh(q, normal, q + half, faces if sign > 0 else faces[:, ::-1]))
    mesh = join(sides)
    return replace(mesh, vertices=mesh.vertices + (low + high) / 2)


def superellipsoid(
    size: Sequence[float], e1: float = 0.5, e2: float = 0.5, rings: int = 10, segments: int = 24
) -> Mesh:
    """|x|^(2/e2) … = 1 stretched to ``size`` (full extents), centred; exponents below 1 are boxy, above 1 pinched.

    A pillow is e1 ≈ 1, e2 ≈ 0.4 (Barr 1981).
    """
    phi, theta = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, rings + 1), np.linspace(-np.pi, np.pi, segments + 1), indexing="ij"
    )

    def power(v: NDArray, e: float) -> NDArray:
        return np.sign(v) * np.abs(v) ** e

    def shape(a: float, b: float) -> NDArray:
        c = power(np.cos(phi), a)
        return np.stack([c * power(np.cos(theta), b), c * power(np.sin(theta), b), power(np.sin(phi), a)], -1)

    half = np.asarray(size, float) / 2
    vertices = shape(e1, e2).reshape(-1, 3) * half
    normals = shape(2 - e1, 2 - e2).reshape(-1, 3) / half
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    faces = _grid_faces(rings, segments)
    return _without_slivers(Mesh(vertices, normals, vertices.copy(), faces))


def lathe(profile: Sequence[tuple[float, float]], segments: int = 20, smooth: bool = True) -> Mesh:
    """The surface swept by a profile of (radius, z), bottom to top, turned about the z axis.

    Start and end at radius 0 for a closed solid. With ``smooth`` off, every band keeps its own normal; corners
    sharper than about 40° are always kept. Texture coordinates are unrolled: (arc length, 0, z).
    """
    points = np.asarray(profile, float)
    theta = np.linspace(0, 2 * np.pi, segments + 1)
    circle = np.stack([np.cos(theta), np.sin(theta)], 1)
    direction = np.diff(points, axis=0)
    length = np.linalg.norm(direction, axis=1, keepdims=True)
    keep = length[:, 0] > 1e-9
    across = np.stack([direction[:, 1], -direction[:, 0]], 1) / np.maximum(length, 1e-12)
    bands = []
    for b in np.flatnonzero(keep):
        ends = []
        for neighbour in (b - 1, b + 1):
            n = across[b]
            if smooth and 0 <= neighbour < len(across) and keep[neighbour] and across[neighbour] @ n > 0.77:
                n = n + across[neighbour]
            ends.append(n / np.linalg.norm(n))
        rows = max(1, int(np.ceil(length[b, 0] / STEP)))
        t = np.linspace(0, 1, rows + 1)[:, None]
        p = points[b] * (1 - t) + points[b + 1] * t
        n = ends[0] * (1 - t) + ends[1] * t
        n /= np.linalg.norm(n, axis=1, keepdims=True)
        r_mean = max(p[:, 0].mean(), 1e-3)
        vertices = np.concatenate(
            [p[:, None, :1] * circle, np.broadcast_to(p[:, None, 1:], (rows + 1, segments + 1, 1))], -1
        )
        normals = np.concatenate(
            [n[:, None, :1] * circle, np.broadcast_to(n[:, None, 1:], (rows + 1, segments + 1, 1))], -1
        )
        if abs(across[b, 1]) > 0.9:  # a lid: unrolling would smear the texture towards the axis
            tex = vertices
        else:
            tex = np.stack(np.broadcast_arrays(theta * r_mean, 0.0, p[:, 1:]), -1)
        bands.append(
            Mesh(vertices.reshape(-1, 3), normals.reshape(-1, 3), tex.reshape(-1, 3), _grid_faces(rows, segments))
        )
    return _without_slivers(join(bands))


def cylinder(radius: float, z0: float, z1: float, segments: int = 16) -> Mesh:
    """An upright cylinder on the z axis."""
    return lathe([(0, z0), (radius, z0), (radius, z1), (0, z1)], segments)


def tapered(r0: float, r1: float, z0: float, z1: float, segments: int = 12) -> Mesh:
    """An upright truncated cone on the z axis."""
    return lathe([(0, z0), (r0, z0), (r1, z1), (0, z1)], segments)


def tube(path: ArrayLike, radius: float, segments: int = 8) -> Mesh:
    """A closed round tube along the polyline ``path`` [K, 3]."""
    p = np.asarray(path, float)
    tangent = np.gradient(p, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.zeros_like(p)
    previous = np.eye(3)[np.argmin(np.abs(tangent[0]))]
    for i, t in enumerate(tangent):  # carry the frame along, so the tube does not twist
        s = previous - (previous @ t) * t
        previous = side[i] = s / np.linalg.norm(s)
    up = np.cross(tangent, side)
    theta = np.linspace(0, 2 * np.pi, segments + 1)
    ring = np.cos(theta)[None, :, None] * side[:, None] + np.sin(theta)[None, :, None] * up[:, None]
    vertices = p[:, None] + radius * ring
    flat = vertices.reshape(-1, 3)
    sides = Mesh(flat, ring.reshape(-1, 3), flat.copy(), _grid_faces(len(p) - 1, segments))
    caps = []
    for end, sign in ((0, -1), (-1, 1)):
        rim = np.concatenate([p[end][None], vertices[end]])
        i = np.arange(1, segments + 1)
        faces = np.stack([np.zeros_like(i), i, i + 1], 1)
        caps.append(Mesh(rim, np.broadcast_to(sign * tangent[end], rim.shape).copy(), rim.copy(), faces[:, ::sign]))
    return join([sides, *caps])


def cloth(curve: ArrayLike, z0: float, z1: float, thickness: float = 0.012) -> Mesh:
    """A hanging cloth: the plan curve [K, 2] drawn up from ``z0`` to ``z1``, closed, ``thickness`` metres thick.

    Texture coordinates run along the curve, so a pattern follows the folds.
    """
    c = np.asarray(curve, float)
    t = np.gradient(c, axis=0)
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    out = np.stack([t[:, 1], -t[:, 0]], 1)  # right of the direction of travel
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(c, axis=0), axis=1))])
    rows = max(1, int(np.ceil((z1 - z0) / 0.2)))
    z = np.linspace(z0, z1, rows + 1)
    faces = _grid_faces(rows, len(c) - 1)

    def sheet(sign: float) -> Mesh:
        xy = c + sign * out * thickness / 2
        vertices = np.concatenate(
            [np.broadcast_to(xy, (rows + 1, *xy.shape)), np.broadcast_to(z[:, None, None], (rows + 1, len(c), 1))], -1
        ).reshape(-1, 3)
        normals = np.tile(np.concatenate([sign * out, np.zeros((len(c), 1))], 1), (rows + 1, 1))
        tex = np.stack(np.broadcast_arrays(arc[None], 0.0, z[:, None]), -1).reshape(-1, 3)
        return Mesh(vertices, normals, tex, faces if sign > 0 else faces[:, ::-1])

    front, back = sheet(1.0), sheet(-1.0)
    k = len(c)

    def strip(a: NDArray, b: NDArray, normal: NDArray) -> Mesh:
        """The edge between two rows of vertices; ``normal`` decides the winding."""
        vertices = np.concatenate([a, b])
        f = _grid_faces(1, len(a) - 1)
        n = np.cross(vertices[f[0, 1]] - vertices[f[0, 0]], vertices[f[0, 2]] - vertices[f[0, 0]])
        f = f if n @ normal > 0 else f[:, ::-1]
        return Mesh(vertices, np.broadcast_to(normal, vertices.shape).copy(), vertices.copy(), f)

    fv, bv = front.vertices.reshape(rows + 1, k, 3), back.vertices.reshape(rows + 1, k, 3)
    edges = [
        strip(fv[-1], bv[-1], np.array([0, 0, 1.0])),
        strip(fv[0], bv[0], np.array([0, 0, -1.0])),
        strip(fv[:, -1], bv[:, -1], np.array([*t[-1], 0])),
        strip(fv[:, 0], bv[:, 0], np.array([*-t[0], 0])),
    ]
    return join([front, back, *edges])


def prism(outline: ArrayLike, z0: float, z1: float) -> Mesh:
    """A convex outline [K, 2] (counter-clockwise) extruded from ``z0`` to ``z1``."""
    c = np.asarray(outline, float)
    k = len(c)
    fan = np.stack([np.zeros(k - 2, int), np.arange(1, k - 1), np.arange(2, k)], 1)
    top = np.concatenate([c, np.full((k, 1), z1)], 1)
    bottom = np.concatenate([c, np.full((k, 1), z0)], 1)
    up = np.broadcast_to([0.0, 0.0, 1.0], top.shape)
    parts = [Mesh(top, up.copy(), top.copy(), fan), Mesh(bottom, -up, bottom.copy(), fan[:, ::-1])]
    for i in range(k):
        a, b = bottom[i], bottom[(i + 1) % k]
        parts.append(patch(a, b - a, [0, 0, z1 - z0]))
    return join(parts)


def _without_slivers(mesh: Mesh) -> Mesh:
    """Without the triangles that collapse at a pole, and without the vertices only they used."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    faces = mesh.faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-10]
    used, index = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[used], mesh.normals[used], mesh.tex[used], index.reshape(-1, 3))
