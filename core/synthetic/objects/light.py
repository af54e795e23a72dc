"""Light on one object, kept per vertex: a soft lamp with its shadows, and the sky as far as it is seen.

Surfaces are matt, so all views of an object agree; that is what Gaussians are fitted to. Directions are fixed to the
object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from ..materials.materials import MaterialTable
from ..materials.textures import albedo
from ..render.solid import Solid
from ..render.trace import Hits
from .build import ProceduralObject

SKY_RAYS = 24
LAMP_RAYS = 8
BOUNCED = 0.35
"""What a surface that hides the sky sends instead, as a share of the sky's light."""


@dataclass(frozen=True)
class ObjectLight:
    """Light from a lamp and from all around.

    Attributes:
        towards: [3] unit vector to the lamp.
        lamp: [3] linear light of the lamp on a surface that faces it.
        sky: [3] linear light from straight above; from below comes ``ground`` [3].
        spread: angular radius of the lamp, radians: how soft its shadows are.
    """

    towards: tuple[float, float, float]
    lamp: tuple[float, float, float]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    spread: float = 0.15

    @staticmethod
    def draw(rng: Generator) -> ObjectLight:
        """Nearly white, from somewhere above; a white surface that faces the lamp comes out nearly white."""
        turn, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.2)
        share, warmth = rng.uniform(0.35, 0.65), rng.uniform(-0.05, 0.05)
        tint = np.array([1 + warmth, 1.0, 1 - warmth])
        lamp, sky = 1.15 * share * tint, 1.15 * (1 - share) / tint
        towards = (np.cos(height) * np.cos(turn), np.cos(height) * np.sin(turn), np.sin(height))
        return ObjectLight(
            *(tuple(float(x) for x in v) for v in (towards, lamp, 1.15 * sky, 0.6 * sky)),  # type: ignore[arg-type]
            spread=float(rng.uniform(0.05, 0.3)),
        )


@dataclass(frozen=True, eq=False)
class LitObject:
    """An object with its light worked out.

    Attributes:
        obj: the object.
        light: [V, 3] float32 linear light on each vertex.
    """

    obj: ProceduralObject
    light: NDArray[np.float32]

    def shade(self, hits: Hits) -> NDArray[np.float32]:
        """[R, 3] sRGB in [0, 1] of the surface points hit; black where nothing was."""
        obj = self.obj
        return _shade(hits.face, hits.u, hits.v, obj.faces, obj.tex, obj.material, obj.side, obj.table, self.light)


def light_object(obj: ProceduralObject, light: ObjectLight | None = None) -> LitObject:
    """Works out the light on an object; by default a light drawn from the object's seed."""
    return LitObject(obj, vertex_light(obj, ObjectLight.draw(obj.rng(1)) if light is None else light))


class Lit(Protocol):
    """A `Solid` with its light worked out."""

    @property
    def obj(self) -> Solid: ...
    def shade(self, hits: Hits) -> NDArray[np.float32]: ...


def vertex_light(obj: Solid, light: ObjectLight) -> NDArray[np.float32]:
    """[V, 3] linear light on each vertex: the lamp as far as it is seen, the sky and what hides it."""
    n = obj.normals
    at = obj.vertices + np.float32(0.004 * obj.radius) * n
    start = np.modf(np.arange(len(n)) * 0.754877666)[0] * 2 * np.pi  # low-discrepancy from vertex to vertex
    directions = around(n, start, np.sqrt((np.arange(SKY_RAYS) + 0.5) / SKY_RAYS))
    free = obj.tracer.first(np.repeat(at, SKY_RAYS, 0), directions.reshape(-1, 3)).reshape(-1, SKY_RAYS) < 0
    gain = np.where(free, 1.0, BOUNCED)
    up = 0.5 + 0.5 * directions[..., 2]
    sky, ground = np.array(light.sky), np.array(light.ground)
    above = (gain * up).mean(1)
    out = above[:, None] * sky + (gain.mean(1) - above)[:, None] * ground

    towards = np.array(light.towards, np.float32)
    facing = np.flatnonzero(n @ towards > -np.sin(light.spread))
    radius = np.sin(light.spread) * np.sqrt((np.arange(LAMP_RAYS) + 0.5) / LAMP_RAYS)
    rays = around(np.broadcast_to(towards, (len(facing), 3)), start[facing], radius)
    seen = obj.tracer.first(np.repeat(at[facing], LAMP_RAYS, 0), rays.reshape(-1, 3)).reshape(-1, LAMP_RAYS) < 0
    cosine = np.maximum((rays * n[facing, None]).sum(-1), 0)
    out[facing] += (seen * cosine).mean(1)[:, None] * np.array(light.lamp)
    return out.astype(np.float32)


def around(axis: NDArray, start: NDArray, radius: NDArray) -> NDArray[np.float32]:
    """[N, K, 3] unit vectors about the axes [N, 3], spread over the disc of those radii [K] on a spiral; with radii
    up to 1 they are distributed as the cosine."""
    pick = np.where(np.abs(axis[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]).astype(np.float32)
    t = np.cross(pick, axis)
    t /= np.maximum(np.linalg.norm(t, axis=1, keepdims=True), 1e-9)
    b = np.cross(axis, t)
    angle = (np.arange(len(radius)) * 2.399963 + start[:, None]).astype(np.float32)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    z = np.sqrt(1 - radius * radius)
    out = x[..., None] * t[:, None] + y[..., None] * b[:, None] + z[:, None] * axis[:, None]
    return out.astype(np.float32)


@njit(cache=True)
def surface_albedo(
    face: NDArray,
    u: NDArray,
    v: NDArray,
    faces: NDArray,
    tex: NDArray,
    material: NDArray,
    side: NDArray,
    table: MaterialTable,
) -> NDArray:
    """[R, 3] linear reflectance of surface points; black for misses."""
    out = np.zeros((len(face), 3), np.float32)
    for i in range(len(face)):
        f = face[i]
        if f < 0:
            continue
        a, b, c = faces[f]
        w1, w2 = u[i], v[i]
        w0 = 1 - w1 - w2
        m = material[f]
        r, g, bl = albedo(
            int(table.kind[m]),
            int(table.axis[m]),
            int(table.seed[m]),
            table.color[m],
            table.p[m],
            int(side[f]),
            w0 * tex[a, 0] + w1 * tex[b, 0] + w2 * tex[c, 0],
            w0 * tex[a, 1] + w1 * tex[b, 1] + w2 * tex[c, 1],
            w0 * tex[a, 2] + w1 * tex[b, 2] + w2 * tex[c, 2],
        )
        out[i, 0], out[i, 1], out[i, 2] = r, g, bl
    return out


@njit(cache=True)
def encoded(y: float) -> float:
    """Linear → sRGB (IEC 61966-2-1), clipped to [0, 1]."""
    y = min(max(y, 0.0), 1.0)
    return 12.92 * y if y <= 0.0031308 else 1.055 * y ** (1 / 2.4) - 0.055


def encoded_array(linear: NDArray) -> NDArray[np.float32]:
    """Linear → sRGB, as `encoded`."""
    y = np.clip(linear, 0, 1)
    return np.where(y <= 0.0031308, 12.92 * y, 1.055 * y ** (1 / 2.4) - 0.055).astype(np.float32)


@njit(cache=True)
def _shade(
    face: NDArray,
    u: NDArray,
    v: NDArray,
    faces: NDArray,
    tex: NDArray,
    material: NDArray,
    side: NDArray,
    table: MaterialTable,
    light: NDArray,
) -> NDArray:
    """[R, 3] sRGB: reflectance times light, rolled off above 0.8 so that nothing is clipped hard."""
    out = surface_albedo(face, u, v, faces, tex, material, side, table)
    for i in range(len(face)):
        f = face[i]
        if f < 0:
            continue
        a, b, c = faces[f]
        w1, w2 = u[i], v[i]
        w0 = 1 - w1 - w2
        glow = table.glow[material[f]]
        for k in range(3):
            if glow > 0:
                y = out[i, k] * glow
            else:
                y = out[i, k] * (w0 * light[a, k] + w1 * light[b, k] + w2 * light[c, k])
            if y > 0.8:
                y = 1 - 0.2 * np.exp(-(y - 0.8) / 0.2)
            out[i, k] = encoded(y)
    return out
