"""Solids that rooms have no use for: lofts, sweeps, extrusions of any outline, rings.

As in `rooms.mesh`, every solid is closed, its normals point outwards and sharp edges keep their own vertices. The
winding of what is given does not matter: a solid that comes out inside out is turned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .mesh import Mesh, join, lathe, superellipsoid

SMOOTH = 0.77
"""Cosine of the sharpest corner that is shaded as a curve, about 40°."""


def volume(mesh: Mesh) -> float:
    """Signed volume that the triangles enclose, cubic metres; positive when they face outwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def turned_out(mesh: Mesh) -> Mesh:
    """The closed mesh with its faces and normals pointing outwards."""
    return mesh if volume(mesh) >= 0 else replace(mesh, normals=-mesh.normals, faces=mesh.faces[:, ::-1])


def mirrored(mesh: Mesh, axis: str = "x") -> Mesh:
    """Reflected through the plane where the axis' coordinate is 0."""
    flip = np.ones(3)
    flip["xyz".index(axis)] = -1
    return replace(mesh, vertices=mesh.vertices * flip, normals=mesh.normals * flip, faces=mesh.faces[:, ::-1])


def pair(mesh: Mesh, axis: str = "x") -> Mesh:
    """The mesh and its mirror image."""
    return join([mesh, mirrored(mesh, axis)])


def ball(x: float, y: float | None = None, z: float | None = None, segments: int = 20) -> Mesh:
    """An ellipsoid with those full extents, centred at the origin; one number makes a sphere."""
    y, z = x if y is None else y, x if z is None else z
    return superellipsoid((x, y, z), 1, 1, max(6, segments // 2 + 2), segments)


def cone(radius: float, z0: float, z1: float, segments: int = 20) -> Mesh:
    return lathe([(0, z0), (radius, z0), (0, z1)], segments)


def ellipse(a: float, b: float, count: int = 24, exponent: float = 2.0) -> NDArray:
    """[count, 2] outline with half axes a, b; exponents above 2 make it boxy."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    e = 2.0 / exponent
    return np.stack([a * np.sign(c) * np.abs(c) ** e, b * np.sign(s) * np.abs(s) ** e], 1)


def spline(points: ArrayLike, count: int = 32, closed: bool = False) -> NDArray:
    """[count, D] a smooth curve through the points [K, D] (Catmull-Rom)."""
    p = np.asarray(points, float)
    n = len(p)
    at = np.linspace(0, n if closed else n - 1, count, endpoint=not closed)
    i = np.minimum(at.astype(int), n - 1 if closed else n - 2)
    t = (at - i)[:, None]
    if closed:
        a, b, c, d = (p[(i + k) % n] for k in (-1, 0, 1, 2))
    else:
        b, c = p[i], p[i + 1]
        a = np.where((i > 0)[:, None], p[np.maximum(i - 1, 0)], 2 * b - c)
        d = np.where((i < n - 2)[:, None], p[np.minimum(i + 2, n - 1)], 2 * c - b)
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def loft(rings: ArrayLike, smooth: bool = True) -> Mesh:
    """The closed skin over rings [R, K, 3] of K corners each, with flat ends; a ring may shrink to one point.

    With ``smooth`` off every facet keeps its own normal.
    """
    r = np.asarray(rings, float)
    skin = _skin(np.concatenate([r, r[:, :1]], 1), smooth)
    return turned_out(join([skin, *_caps(r, skin)]))


def _skin(grid: NDArray, smooth: bool) -> Mesh:
    """The quads of a vertex grid [R, K + 1, 3] whose last column repeats the first."""
    rows, columns = grid.shape[0] - 1, grid.shape[1] - 1
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    a = (i * (columns + 1) + j).ravel()
    b, c, d = a + 1, a + columns + 1, a + columns + 2
    v = grid.reshape(-1, 3)
    if not smooth:
        corners = np.stack([a, b, d, c], 1)
        quads = v[corners]
        n = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
        k = 4 * np.arange(len(a))
        faces = np.stack([np.stack([k, k + 1, k + 2], 1), np.stack([k, k + 2, k + 3], 1)], 1).reshape(-1, 3)
        flat = quads.reshape(-1, 3)
        return _tidy(Mesh(flat, np.repeat(n, 4, 0), flat.copy(), faces))
    faces = np.stack([np.stack([a, b, d], 1), np.stack([a, d, c], 1)], 1).reshape(-1, 3)
    fn = np.cross(v[faces[:, 1]] - v[faces[:, 0]], v[faces[:, 2]] - v[faces[:, 0]])
    n = np.stack([sum(np.bincount(faces[:, k], fn[:, x], len(v)) for k in range(3)) for x in range(3)], 1)
    n = np.asarray(n).reshape(rows + 1, columns + 1, 3)
    n[:, 0] = n[:, -1] = n[:, 0] + n[:, -1]
    pole = np.ptp(grid, axis=1).max(1) < 1e-9
    n[pole] = n[pole].sum(1, keepdims=True)
    n = n.reshape(-1, 3)
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
    return _tidy(Mesh(v, n, v.copy(), faces))


def _caps(rings: NDArray, skin: Mesh) -> list[Mesh]:
    """Flat lids on the first and last ring where they are not points, wound as the skin is."""
    out = []
    k = rings.shape[1]
    fan = np.stack([np.zeros(k, int), np.arange(1, k + 1), np.roll(np.arange(1, k + 1), -1)], 1)
    for ring, sign in ((rings[0], -1), (rings[-1], 1)):
        if np.ptp(ring, axis=0).max() < 1e-9:
            continue
        v = np.concatenate([ring.mean(0, keepdims=True), ring])
        faces = fan[:, ::sign]
        n = np.cross(v[faces[:, 1]] - v[faces[:, 0]], v[faces[:, 2]] - v[faces[:, 0]]).sum(0)
        n = n / max(float(np.linalg.norm(n)), 1e-12)
        out.append(_tidy(Mesh(v, np.broadcast_to(n, v.shape).copy(), v.copy(), faces)))
    return out


def _tidy(mesh: Mesh) -> Mesh:
    """Without collapsed triangles and the vertices only they used."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    faces = mesh.faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-12]
    used, index = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[used], mesh.normals[used], mesh.tex[used], index.reshape(-1, 3))


def sweep(
    path: ArrayLike, radii: ArrayLike, segments: int = 14, section: NDArray | None = None, smooth: bool = True
) -> Mesh:
    """A section carried along the polyline ``path`` [P, 3] without twisting.

    Args:
        radii: [P] or [P, 2] or one number: the section's scale across and upwards, metres.
        section: [K, 2] outline of unit size; a circle by default. Its second axis starts as upright as the path lets
            it.
    """
    p = np.asarray(path, float)
    size = np.asarray(radii, float)
    size = np.broadcast_to(size[:, None] if size.ndim == 1 else size, (len(p), 2))
    tangent = np.gradient(p, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
    outline = ellipse(1, 1, segments) if section is None else section
    up = np.array([0, 0, 1.0]) if abs(tangent[0, 2]) < 0.9 else np.array([0, 1.0, 0])
    rings = []
    for i, t in enumerate(tangent):
        up = up - (up @ t) * t
        up /= np.linalg.norm(up)
        side = np.cross(t, up)
        rings.append(p[i] + outline[:, :1] * size[i, 0] * side + outline[:, 1:] * size[i, 1] * up)
    return loft(rings, smooth)


def limb(points: ArrayLike, radii: Sequence[float], segments: int = 14, count: int = 12) -> Mesh:
    """A soft tapering limb with round ends through the points [K, 3], ``radii`` thick at each."""
    p = spline(points, count)
    r = spline(np.asarray(radii, float)[:, None], count)[:, 0]
    a, b = p[0] - p[1], p[-1] - p[-2]
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    bend = np.linspace(0, np.pi / 2, 5)[1:]
    head = [(p[0] + r[0] * math.sin(t) * a, r[0] * math.cos(t)) for t in bend[::-1]]
    tail = [(p[-1] + r[-1] * math.sin(t) * b, r[-1] * math.cos(t)) for t in bend]
    path = np.array([q for q, _ in head] + list(p) + [q for q, _ in tail])
    thick = np.array([s for _, s in head] + list(r) + [s for _, s in tail])
    return sweep(path, np.where(thick < 1e-9, 0, thick), segments)


def rod(a: ArrayLike, b: ArrayLike, radius: float, end: float | None = None, segments: int = 10) -> Mesh:
    """A straight round bar from a to b; ``end`` is its radius at b."""
    return sweep(np.stack([a, b]), [radius, radius if end is None else end], segments)


def torus(radius: float, thickness: float, segments: int = 28, sides: int = 10, arc: float = 2 * np.pi) -> Mesh:
    """A ring (or an arc of it, closed at its ends) about the z axis in the plane z = 0; thickness is its radius."""
    whole = arc >= 2 * np.pi - 1e-9
    t = np.linspace(0, arc, segments + 1)
    s = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    r = radius + thickness * np.cos(s)[None]
    z = np.broadcast_to(thickness * np.sin(s), (len(t), sides))
    rings = np.stack([r * np.cos(t)[:, None], r * np.sin(t)[:, None], z], -1)
    if not whole:
        return loft(rings)
    rings[-1] = rings[0]
    skin = _skin(np.concatenate([rings, rings[:, :1]], 1), True)
    n = (rings - radius * np.stack([np.cos(t), np.sin(t), 0 * t], -1)[:, None]) / thickness
    exact = np.concatenate([n, n[:, :1]], 1).reshape(-1, 3)
    return replace(skin, normals=exact, faces=skin.faces if volume(skin) > 0 else skin.faces[:, ::-1])


def extrude(outline: ArrayLike, z0: float, z1: float) -> Mesh:
    """Any simple outline [K, 2] (concave too) extruded from ``z0`` to ``z1``."""
    c = _counter_clockwise(np.asarray(outline, float))
    fan = triangulate(c)
    up = np.broadcast_to([0.0, 0.0, 1.0], (len(c), 3))
    top = np.concatenate([c, np.full((len(c), 1), z1)], 1)
    bottom = np.concatenate([c, np.full((len(c), 1), z0)], 1)
    lids = [Mesh(top, up.copy(), top.copy(), fan), Mesh(bottom, -up, bottom.copy(), fan[:, ::-1])]
    return join([*lids, _wall(c, z0, z1)])


def ring_plate(outer: ArrayLike, inner: ArrayLike, z0: float, z1: float) -> Mesh:
    """The plate between two outlines [K, 2] with as many corners each, extruded from ``z0`` to ``z1``."""
    a, b = _counter_clockwise(np.asarray(outer, float)), _counter_clockwise(np.asarray(inner, float))
    k = len(a)
    i, j = np.arange(k), np.roll(np.arange(k), -1)
    lid = np.concatenate([np.stack([i, j, j + k], 1), np.stack([i, j + k, i + k], 1)])
    both = np.concatenate([a, b])
    up = np.broadcast_to([0.0, 0.0, 1.0], (2 * k, 3))
    top = np.concatenate([both, np.full((2 * k, 1), z1)], 1)
    bottom = np.concatenate([both, np.full((2 * k, 1), z0)], 1)
    hole = _wall(b, z0, z1)
    return join(
        [
            Mesh(top, up.copy(), top.copy(), lid),
            Mesh(bottom, -up, bottom.copy(), lid[:, ::-1]),
            _wall(a, z0, z1),
            replace(hole, normals=-hole.normals, faces=hole.faces[:, ::-1]),
        ]
    )


def _counter_clockwise(c: NDArray) -> NDArray:
    x, y = c.T
    return c if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0 else c[::-1]


def _wall(c: NDArray, z0: float, z1: float) -> Mesh:
    """The side faces of a prism over a counter-clockwise outline."""
    step = np.roll(c, -1, 0) - c
    n = np.stack([step[:, 1], -step[:, 0]], 1)
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
    before, after = np.roll(n, 1, 0), np.roll(n, -1, 0)
    start = np.where(((n * before).sum(1) > SMOOTH)[:, None], n + before, n)
    end = np.where(((n * after).sum(1) > SMOOTH)[:, None], n + after, n)
    corner, following = c, np.roll(c, -1, 0)
    v = np.stack(
        [
            np.insert(corner, 2, z0, 1),
            np.insert(following, 2, z0, 1),
            np.insert(following, 2, z1, 1),
            np.insert(corner, 2, z1, 1),
        ],
        1,
    ).reshape(-1, 3)
    normals = np.insert(np.stack([start, end, end, start], 1), 2, 0.0, 2).reshape(-1, 3)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    k = 4 * np.arange(len(c))
    faces = np.stack([np.stack([k, k + 1, k + 2], 1), np.stack([k, k + 2, k + 3], 1)], 1).reshape(-1, 3)
    return _tidy(Mesh(v, normals, v.copy(), faces))


def triangulate(outline: NDArray) -> NDArray[np.int64]:
    """[K − 2, 3] triangles of a simple counter-clockwise outline [K, 2], by cutting off ears (Meisters 1975)."""
    points = [(float(x), float(y)) for x, y in outline]
    left = list(range(len(points)))
    out: list[tuple[int, int, int]] = []

    def cross(a: int, b: int, c: int) -> float:
        (ax, ay), (bx, by), (cx, cy) = points[a], points[b], points[c]
        return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)

    while len(left) > 3:
        for k in range(len(left)):
            a, b, c = left[k - 1], left[k], left[(k + 1) % len(left)]
            if cross(a, b, c) <= 0:
                continue
            others = (p for p in left if p not in (a, b, c))
            if not any(cross(a, b, p) >= 0 and cross(b, c, p) >= 0 and cross(c, a, p) >= 0 for p in others):
                break
        else:  # collinear rest: any corner goes, its triangle has no area
            k = 0
            a, b, c = left[-1], left[0], left[1]
        out.append((a, b, c))
        del left[k]
    out.append((left[0], left[1], left[2]))
    return np.array(out, np.int64)


def refined(mesh: Mesh, longest: float) -> tuple[Mesh, NDArray[np.int64]]:
    """The same surface with no edge longer than ``longest`` metres, and the face [F'] that each triangle was cut from.

    The longest edge of a triangle is halved until all are short. What becomes of an edge depends on its length alone,
    so neighbours are cut alike and no gaps open.
    """
    v, n, t, faces = mesh.vertices, mesh.normals, mesh.tex, mesh.faces
    origin = np.arange(len(faces))
    done: list[NDArray] = []
    kept: list[NDArray] = []
    while len(faces):
        p = v[faces]
        length = np.linalg.norm(np.roll(p, -1, 1) - p, axis=2)  # edge k joins corners k and k + 1
        k = np.argmax(length, axis=1)
        long = length[np.arange(len(faces)), k] > longest
        done.append(faces[~long])
        kept.append(origin[~long])
        faces, origin, k = faces[long], origin[long], k[long]
        if not len(faces):
            break
        row = np.arange(len(faces))
        a, b, c = faces[row, k], faces[row, (k + 1) % 3], faces[row, (k + 2) % 3]
        edge, index = np.unique(np.sort(np.stack([a, b], 1), 1), axis=0, return_inverse=True)
        middle = len(v) + index.reshape(-1)
        i, j = edge.T
        v = np.concatenate([v, (v[i] + v[j]) / 2])
        halfway = n[i] + n[j]
        n = np.concatenate([n, halfway / np.maximum(np.linalg.norm(halfway, axis=1, keepdims=True), 1e-12)])
        t = np.concatenate([t, (t[i] + t[j]) / 2])
        faces = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
        origin = np.concatenate([origin, origin])
    return Mesh(v, n, t, np.concatenate(done)), np.concatenate(kept)


def turned(profile: Sequence[tuple[float, float]], count: int = 28, segments: int = 28) -> Mesh:
    """A lathed solid whose profile of (radius, z) is a smooth curve through the points given."""
    p = spline(profile, count)
    p[:, 0] = np.maximum(p[:, 0], 0)
    p[0, 0] = p[-1, 0] = 0
    return lathe([(float(r), float(z)) for r, z in p], segments)


def standing(mesh: Mesh) -> Mesh:
    """A flat shape in the xy plane set upright: its y becomes z, its front faces +y."""
    return mesh.turned(np.pi / 2, "x").turned(np.pi)


def ellipse3(a: float, b: float, z: float) -> np.ndarray:
    """[24, 3] level ellipse at height z."""
    return np.insert(ellipse(a, b, 24), 2, z, 1)
