"""Light: soft shadows and interreflection per vertex, sunlight per point.

Surfaces are matt, so what a point sends to a camera does not depend on the camera: frames and point clouds show the
same colours. Lamps and windows are sampled as areas; light that bounces is gathered over the hemisphere of every
vertex and iterated on the stored hits (radiosity by final gathering, Ward et al. 1988, without their cache). The sun
has sharp edges and is therefore tested by a ray for every shaded point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..materials.materials import MaterialTable
from ..materials.textures import OUTDOORS, albedo
from ..render.trace import Hits, Tracer
from .room import Room

GATHER_RAYS = 40
BOUNCES = 4
WHITE = 6.0
"""Light (1 = a white wall's, about) that the picture shows as pure white."""
SKIN = 0.004
"""Shadow rays start this far off the surface, metres."""


class Surfaces(NamedTuple):
    """The arrays of a `Room` that the compiled kernels read, under their names there."""

    normals: NDArray[np.float32]
    tex: NDArray[np.float32]
    faces: NDArray[np.int64]
    material: NDArray[np.int64]
    side: NDArray[np.int64]

    @staticmethod
    def of(room: Room) -> Surfaces:
        return Surfaces(room.normals, room.tex, room.faces, room.material, room.side)


@dataclass(frozen=True)
class LitRoom:
    """A room with its light worked out, ready to be looked at.

    Attributes:
        room: the room.
        tracer: rays against it.
        light: [V, 3] float32 light on each vertex without the sun's; linear, already exposed and white-balanced.
        sun: [3] the sun's light at normal incidence, exposed likewise.
    """

    room: Room
    tracer: Tracer
    light: NDArray[np.float32]
    sun: NDArray[np.float64]

    def shade(self, hits: Hits) -> NDArray[np.float32]:
        """[R, 3] sRGB in [0, 1] of the surface points hit; black where nothing was."""
        return _shade(
            hits.face,
            hits.u,
            hits.v,
            self._sunlit(hits),
            Surfaces.of(self.room),
            self.room.materials,
            self.light,
            self.sun,
            self.room.sun,
        )

    def _sunlit(self, hits: Hits) -> NDArray[np.bool_]:
        room = self.room
        out = np.zeros(len(hits.face), bool)
        if not self.sun.any():
            return out
        f = np.maximum(hits.face, 0)
        n = room.normals[room.faces[f, 0]]
        index = np.flatnonzero((hits.face >= 0) & (n @ room.sun.astype(np.float32) > 0) & ~_panes(room)[f])
        at = points_of(room, Hits(*(a[index] for a in hits))) + SKIN * n[index]
        out[index] = _sees_sky(room, self.tracer, at)
        return out


def light_room(room: Room) -> LitRoom:
    """Works out the light in a room."""
    tracer = Tracer(room.vertices, room.faces)
    at = _bake_points(room)
    direct = _lamps_and_windows(room, tracer, at)
    lit = np.zeros(len(at), bool)
    cosine = room.normals @ room.sun.astype(np.float32)
    if room.sun_color.any():
        facing = np.flatnonzero(cosine > 0)
        lit[facing] = _sees_sky(room, tracer, at[facing])
    sun = (lit * np.maximum(cosine, 0))[:, None] * room.sun_color
    reflectance = _vertex_albedo(Surfaces.of(room), room.materials, _first_face(room))
    reflectance = np.minimum(reflectance, 0.9)
    hit = tracer.first(*_hemisphere(room, at)).reshape(-1, GATHER_RAYS)
    source = direct + sun
    bounced = np.zeros_like(direct)
    for _ in range(BOUNCES):
        bounced = _gather(hit, room.faces, reflectance * (source + bounced))
    bounced = _smoothed(bounced, room.faces)
    light = _smoothed(direct, room.faces, 1) + bounced
    exposure = _exposure(room, reflectance, light + sun, light)
    return LitRoom(room, tracer, (light * exposure).astype(np.float32), room.sun_color * exposure)


def points_of(room: Room, hits: Hits) -> NDArray:
    """[R, 3] float32 positions of hits (all of them must have hit)."""
    a, b, c = (room.vertices[room.faces[hits.face, i]] for i in range(3))
    return a + hits.u[:, None] * (b - a) + hits.v[:, None] * (c - a)


def _panes(room: Room) -> NDArray[np.bool_]:
    """[F] the triangles behind which the sky is."""
    return room.materials.kind[room.material] == OUTDOORS


def _sees_sky(room: Room, tracer: Tracer, at: NDArray) -> NDArray[np.bool_]:
    """[R] whether a ray from the point towards the sun leaves through a window."""
    face = tracer.first(at, np.broadcast_to(room.sun, at.shape))
    return (face >= 0) & _panes(room)[face]


def _bake_points(room: Room) -> NDArray[np.float32]:
    """[V, 3] where each vertex samples its light: drawn into its triangles, so that a vertex on the seam of two
    surfaces is not inside the other one, and lifted off the surface."""
    middle = room.vertices[room.faces].mean(1)
    total = np.zeros_like(room.vertices)
    count = np.zeros(len(room.vertices), np.float32)
    for i in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(room.faces[:, i], middle[:, axis], len(total)).astype(np.float32)
        count += np.bincount(room.faces[:, i], minlength=len(total))
    inward = total / np.maximum(count, 1)[:, None] - room.vertices
    inward -= (inward * room.normals).sum(1, keepdims=True) * room.normals
    return (room.vertices + 0.5 * inward + SKIN * room.normals).astype(np.float32)


def _hemisphere(room: Room, at: NDArray) -> tuple[NDArray, NDArray]:
    """Origins and cosine-distributed directions [V · GATHER_RAYS, 3]: a spiral, turned anew at every vertex."""
    k = np.arange(GATHER_RAYS)
    r = np.sqrt((k + 0.5) / GATHER_RAYS)
    n = room.normals
    pick = np.where(np.abs(n[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]).astype(np.float32)
    t = np.cross(pick, n)
    t /= np.maximum(np.linalg.norm(t, axis=1, keepdims=True), 1e-9)
    b = np.cross(n, t)
    start = np.modf(np.arange(len(n)) * 0.754877666)[0] * 2 * np.pi  # low-discrepancy from vertex to vertex
    angle = (k * 2.399963 + start[:, None]).astype(np.float32)
    x, y = (r * np.cos(angle)).astype(np.float32), (r * np.sin(angle)).astype(np.float32)
    z = np.sqrt(1 - r * r).astype(np.float32)
    directions = x[..., None] * t[:, None] + y[..., None] * b[:, None] + z[:, None] * n[:, None]
    return np.repeat(at, GATHER_RAYS, axis=0), directions.reshape(-1, 3)


def _lamps_and_windows(room: Room, tracer: Tracer, at: NDArray) -> NDArray[np.float64]:
    """[V, 3] light straight from lamps and windows, irradiance / π."""
    total = np.zeros((len(at), 3))

    def add(position: NDArray, color: NDArray, normal: NDArray | None, floor: float) -> None:
        """One point of a source; ``normal`` and ``floor`` shape its lobe."""
        to = position.astype(np.float32) - at
        square = (to * to).sum(1)
        distance = np.sqrt(square)
        cosine = (to * room.normals).sum(1) / distance
        lobe = (
            1.0 if normal is None else np.maximum(-(to @ normal.astype(np.float32)) / distance, 0) * (1 - floor) + floor
        )
        gain = np.maximum(cosine, 0) * lobe / (np.pi * (square + 0.03))  # bounded close to the source
        index = np.flatnonzero(gain > 1e-5)
        seen = index[~tracer.blocked(at[index], to[index])]
        total[seen] += gain[seen, None] * color

    golden = np.pi * (3 - np.sqrt(5))
    for lamp in room.lamps:
        n = 10 if lamp.down else 6
        k = np.arange(n)
        if lamp.down:
            r = lamp.radius * np.sqrt((k + 0.5) / n)
            offset = np.stack([r * np.cos(golden * k), r * np.sin(golden * k), 0 * r], 1)
        else:
            z = 1 - (2 * k + 1) / n
            ring = np.sqrt(1 - z * z)
            offset = lamp.radius * np.stack([ring * np.cos(golden * k), ring * np.sin(golden * k), z], 1)
        for o in offset:
            down = np.array([0.0, 0.0, -1.0]) if lamp.down else None
            add(np.array(lamp.center) + o, np.array(lamp.color) * lamp.power / n, down, 0.15)
    if room.sky.any():
        for pane in room.windows:
            nu = max(2, round(float(np.linalg.norm(pane.u)) / 0.35))
            nv = max(2, round(float(np.linalg.norm(pane.v)) / 0.4))
            area = float(np.linalg.norm(pane.u) * np.linalg.norm(pane.v)) / (nu * nv)
            for i in range(nu):
                for j in range(nv):
                    position = pane.corner + (i + 0.5) / nu * pane.u + (j + 0.5) / nv * pane.v
                    add(position, room.sky * area, pane.normal, 0.0)
    return total


def _smoothed(values: NDArray, faces: NDArray, rounds: int = 2) -> NDArray[np.float64]:
    """Averaged with the neighbours on the same surface (vertices are not shared across edges)."""
    n = len(values)
    a = np.concatenate([faces[:, 0], faces[:, 1], faces[:, 2]])
    b = np.concatenate([faces[:, 1], faces[:, 2], faces[:, 0]])
    count = np.bincount(a, minlength=n) + np.bincount(b, minlength=n)
    out = np.array(values, np.float64)
    for _ in range(rounds):
        around = np.stack([np.bincount(a, out[b, c], n) + np.bincount(b, out[a, c], n) for c in range(3)], 1)
        out = 0.4 * out + 0.6 * around / np.maximum(count, 1)[:, None]
    return out


def _exposure(room: Room, reflectance: NDArray, total: NDArray, light: NDArray) -> NDArray[np.float64]:
    """[3] the camera's gain and white balance, which removes most of the light's tint.

    The gain is between metering the light (pale rooms look pale) and metering what comes back (dark rooms are not
    too dark): the geometric mean of both.
    """
    weight = np.zeros(len(total))
    areas = room.areas()
    for i in range(3):
        weight += np.bincount(room.faces[:, i], areas / 3, len(total))
    balance = (light * weight[:, None]).sum(0)
    balance = np.maximum(balance / max(balance.mean(), 1e-9), 1e-3) ** -0.7

    def median(values: NDArray) -> float:
        order = np.argsort(values)
        rank = np.cumsum(weight[order])
        return max(float(values[order[np.searchsorted(rank, 0.5 * rank[-1])]]), 1e-4)

    incident = median((total * balance).mean(1)) * 0.42
    returned = median((reflectance * total * balance).mean(1))
    return balance * 0.37 / np.sqrt(incident * returned)


@njit(cache=True)
def _gather(hit: NDArray, faces: NDArray, radiosity: NDArray) -> NDArray:
    """[V, 3] mean over the gather rays of what the surfaces they hit give off."""
    out = np.zeros((len(hit), 3))
    for i in range(len(hit)):
        for j in range(hit.shape[1]):
            f = hit[i, j]
            if f >= 0:
                for c in range(3):
                    out[i, c] += radiosity[faces[f, 0], c] + radiosity[faces[f, 1], c] + radiosity[faces[f, 2], c]
        for c in range(3):
            out[i, c] /= 3 * hit.shape[1]
    return out


def _first_face(room: Room) -> NDArray[np.int64]:
    """[V] a triangle that each vertex belongs to."""
    out = np.zeros(len(room.vertices), np.int64)
    for i in range(3):
        out[room.faces[:, i]] = np.arange(len(room.faces))
    return out


@njit(cache=True)
def _vertex_albedo(surface: Surfaces, table: MaterialTable, face: NDArray[np.int64]) -> NDArray:
    """[V, 3] linear reflectance at the vertices; nothing for what shines (its light is a lamp's or a window's)."""
    tex = surface.tex
    out = np.zeros((len(tex), 3))
    for i in range(len(tex)):
        f = int(face[i])
        m = int(surface.material[f])
        if table.glow[m] == 0.0:
            out[i] = _color(table, m, surface.side[f], tex[i, 0], tex[i, 1], tex[i, 2])
    return out


@njit(cache=True)
def _color(table: MaterialTable, m: int, side: int, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Linear RGB of material ``m`` at the texture coordinates x, y, z."""
    return albedo(table.kind[m], table.axis[m], table.seed[m], table.color[m], table.p[m], side, x, y, z)


@njit(cache=True)
def _encoded(y: float) -> float:
    """Linear → sRGB (IEC 61966-2-1), clipped to [0, 1]."""
    y = min(max(y, 0.0), 1.0)
    return 12.92 * y if y <= 0.0031308 else 1.055 * y ** (1 / 2.4) - 0.055


@njit(cache=True)
def _shade(
    face: NDArray,
    u: NDArray,
    v: NDArray,
    sunlit: NDArray,
    surface: Surfaces,
    table: MaterialTable,
    light: NDArray,
    sun: NDArray,
    towards_sun: NDArray,
) -> NDArray:
    """[R, 3] sRGB. Bright light is compressed by Reinhard's curve with white at `WHITE`; what shines is not."""
    out = np.zeros((len(face), 3), np.float32)
    normals, tex = surface.normals, surface.tex
    for i in range(len(face)):
        f = int(face[i])
        if f < 0:
            continue
        w1, w2 = u[i], v[i]
        w0 = 1 - w1 - w2
        a, b, c = surface.faces[f]
        m = int(surface.material[f])
        rgb = _color(
            table,
            m,
            surface.side[f],
            w0 * tex[a, 0] + w1 * tex[b, 0] + w2 * tex[c, 0],
            w0 * tex[a, 1] + w1 * tex[b, 1] + w2 * tex[c, 1],
            w0 * tex[a, 2] + w1 * tex[b, 2] + w2 * tex[c, 2],
        )
        if table.glow[m] > 0:
            for k in range(3):
                out[i, k] = _encoded(rgb[k] * table.glow[m])
            continue
        cosine = 0.0
        if sunlit[i]:
            for k in range(3):
                cosine += (w0 * normals[a, k] + w1 * normals[b, k] + w2 * normals[c, k]) * towards_sun[k]
            cosine = max(cosine, 0.0)
        for k in range(3):
            x = rgb[k] * (w0 * light[a, k] + w1 * light[b, k] + w2 * light[c, k] + cosine * sun[k])
            out[i, k] = _encoded(x * (1 + x / (WHITE * WHITE)) / (1 + x))
    return out
