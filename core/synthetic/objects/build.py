"""`build_object`: one object from its category and a seed, as triangles with materials.

The object's frame: z up, its lowest point at z = 0, the middle of its bounds on the z axis, its front towards +y where
it has one. Metres.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ...errors import InputError
from ..furniture.item import Part
from ..geometry.mesh import Mesh, join
from ..geometry.shapes import refined
from ..materials import textures as T
from ..materials.materials import Material, MaterialTable, any_color, plain
from ..render.solid import Solid
from .catalogue import CATEGORIES, MAKERS, SYNONYMS
from .categories.furniture import Named

OBJECTS_VERSION = 1
"""Raise it whenever a seed would give another object or picture."""

GRID = 3000
"""Triangles of equal size that an object's surface is cut into at least, so that light can be kept per vertex."""
COLLAPSED = 1e-12
"""Twice the area, square metres, up to which a triangle is left out: those at the poles of round solids are lines."""
REPAINTED = 0.4
"""Share of objects whose plain surfaces are painted anew in any colour: white must not mean fridge."""


@dataclass(frozen=True, eq=False)
class ProceduralObject(Solid):
    """One object: V vertices, F triangles, M materials.

    Attributes:
        category: one of `CATEGORIES`.
        seed: what it was made from.
        names: what it may truly be called, the most usual first; the category is among them.
        vertices, normals, tex: [V, 3] float32; see `rooms.mesh.Mesh`.
        faces: [F, 3] int64.
        material: [F] int64 rows of ``materials``.
        part: [F] int64 piece of one material, in the order they were made in.
        side: [F] int64 the texture axis that the face looks along most.
        materials: what it is made of.
    """

    category: str
    seed: int
    names: tuple[str, ...]
    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    tex: NDArray[np.float32]
    faces: NDArray[np.int64]
    material: NDArray[np.int64]
    part: NDArray[np.int64]
    side: NDArray[np.int64]
    materials: tuple[Material, ...]

    def rng(self, stream: int) -> Generator:
        """Random numbers of this object's own; ``stream`` keeps the uses of them apart."""
        return np.random.default_rng([OBJECTS_VERSION, zlib.crc32(self.category.encode()), self.seed, stream])

    @property
    def label(self) -> str:
        """What a person would call it."""
        return self.names[0]

    @cached_property
    def table(self) -> MaterialTable:
        """``materials`` as arrays."""
        return MaterialTable.of(self.materials)


def build_object(category: str, seed: int) -> ProceduralObject:
    """The object of that category and seed.

    Args:
        category: one of `CATEGORIES`.
        seed: any non-negative integer; the same seed always gives the same object.

    Raises:
        InputError: an unknown category or a negative seed.
    """
    if category not in MAKERS:
        raise InputError("category", "one of " + ", ".join(CATEGORIES), repr(category))
    if seed < 0:
        raise InputError("seed", "0 or more", f"{seed}")
    rng = np.random.default_rng([OBJECTS_VERSION, zlib.crc32(category.encode()), seed])
    parts, special = build_parts(category, rng)
    if rng.uniform() < REPAINTED:
        parts = _repainted(rng, parts)
    return _assemble(category, seed, (category, *special, *SYNONYMS[category]), parts)


def build_parts(category: str, rng: Generator) -> tuple[Sequence[Part], tuple[str, ...]]:
    """The parts of one of a category, in the frame they were made in, and the names that it alone has."""
    made = MAKERS[category](rng)
    return (made.parts, made.names) if isinstance(made, Named) else (made, ())


def _repainted(rng: Generator, parts: Sequence[Part]) -> list[Part]:
    """Every plain material that does not shine replaced by paint of any colour, the same for the same."""
    paint: dict[Material, Material] = {}
    for _, material in parts:
        if material.kind == T.PLAIN and not material.glow and material not in paint:
            paint[material] = plain(any_color(rng), material.p[0])
    return [(mesh, paint.get(material, material)) for mesh, material in parts]


def _assemble(category: str, seed: int, names: tuple[str, ...], parts: Sequence[Part]) -> ProceduralObject:
    """The parts as one mesh in the object's frame, cut finely enough for light."""
    whole = join([mesh for mesh, _ in parts])
    low, high = whole.vertices.min(0), whole.vertices.max(0)
    offset = np.array([-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]])
    count = [len(mesh.faces) for mesh, _ in parts]
    rows: dict[Material, int] = {}
    material = np.repeat([rows.setdefault(m, len(rows)) for _, m in parts], count)
    part = np.repeat(np.arange(len(parts)), count)
    a, b, c = (whole.vertices[whole.faces[:, i]] for i in range(3))
    twice = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    area = float(twice.sum() / 2)
    kept = twice > COLLAPSED
    material, part = material[kept], part[kept]
    used, f = np.unique(whole.faces[kept], return_inverse=True)
    t, f = whole.tex[used], f.reshape(-1, 3)
    facing = np.abs(np.cross(t[f[:, 1]] - t[f[:, 0]], t[f[:, 2]] - t[f[:, 0]]))
    side = np.argmax(facing * [1.002, 1.001, 1.0], axis=1)  # as in rooms: no flipping at 45°
    whole = Mesh(whole.vertices[used] + offset, whole.normals[used], t, f)
    whole, origin = refined(whole, 2 * float(np.sqrt(area / GRID)))
    return ProceduralObject(
        category,
        seed,
        names,
        vertices=whole.vertices.astype(np.float32),
        normals=whole.normals.astype(np.float32),
        tex=whole.tex.astype(np.float32),
        faces=whole.faces.astype(np.int64),
        material=material[origin].astype(np.int64),
        part=part[origin].astype(np.int64),
        side=side[origin].astype(np.int64),
        materials=tuple(rows),
    )


def finer(obj: ProceduralObject, longest: float) -> ProceduralObject:
    """The same object with no edge longer than ``longest`` metres, for meshes that carry colours per vertex."""
    v, n, t = (a.astype(np.float64) for a in (obj.vertices, obj.normals, obj.tex))
    mesh, origin = refined(Mesh(v, n, t, obj.faces), longest)
    return replace(
        obj,
        vertices=mesh.vertices.astype(np.float32),
        normals=mesh.normals.astype(np.float32),
        tex=mesh.tex.astype(np.float32),
        faces=mesh.faces,
        material=obj.material[origin],
        part=obj.part[origin],
        side=obj.side[origin],
    )
