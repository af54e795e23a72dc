"""`build_object`: one object from its category and a seed, as triangles with materials.

Object frame: z up, the lowest point at z = 0, the centre of the bounding box on the z axis, the front (if any) towards
+y. Metres.
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
from ..geometry.shapes import subdivide
from ..materials import textures as T
from ..materials.materials import Material, MaterialTable, any_color, plain
from ..render.solid import Solid
from .catalogue import CATEGORIES, MAKERS, SYNONYMS
from .categories.furniture import NamedParts

OBJECTS_VERSION = 1
"""Version of the output: seeds the random generators and names the cache. Raise it when any output changes."""

MIN_TRIANGLES = 3000
"""Approximate least number of triangles of an object, so that light can be stored per vertex."""
MIN_DOUBLE_AREA = 1e-12
"""Twice the area below which a triangle is dropped, square metres (those at poles of round solids have none)."""
REPAINT_PROBABILITY = 0.4
"""Probability that an object's plain surfaces get random colours, so that colour does not identify a category."""


@dataclass(frozen=True, eq=False)
class ProceduralObject(Solid):
    """One object: V vertices, F triangles, M materials.

    Attributes:
        category: one of `CATEGORIES`.
        seed: seed of the object.
        names: its names, the most usual first; the category is among them.
        vertices, normals, tex: [V, 3] float32; see `geometry.mesh.Mesh`.
        faces: [F, 3] int64.
        material: [F] int64 rows of ``materials``.
        part: [F] int64 part of one material, in the order of the maker.
        side: [F] int64 texture axis closest to the face's normal.
        materials: the materials.
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
        """Random generator of this object; ``stream`` separates independent uses."""
        return np.random.default_rng([OBJECTS_VERSION, zlib.crc32(self.category.encode()), self.seed, stream])

    @property
    def label(self) -> str:
        """Its most usual name."""
        return self.names[0]

    @cached_property
    def table(self) -> MaterialTable:
        """The materials as arrays."""
        return MaterialTable.of(self.materials)


def build_object(category: str, seed: int) -> ProceduralObject:
    """Build the object of a category and seed.

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
    if rng.uniform() < REPAINT_PROBABILITY:
        parts = _repaint(rng, parts)
    return _merge_parts(category, seed, (category, *special, *SYNONYMS[category]), parts)


def build_parts(category: str, rng: Generator) -> tuple[Sequence[Part], tuple[str, ...]]:
    """Parts of a random object of a category, in the maker's frame, and names of this instance alone."""
    made = MAKERS[category](rng)
    return (made.parts, made.names) if isinstance(made, NamedParts) else (made, ())


def _repaint(rng: Generator, parts: Sequence[Part]) -> list[Part]:
    """Replace every plain, non-emissive material by paint of a random colour."""
    paint: dict[Material, Material] = {}
    for _, material in parts:
        if material.kind == T.PLAIN and not material.glow and material not in paint:
            paint[material] = plain(any_color(rng), material.p[0])
    return [(mesh, paint.get(material, material)) for mesh, material in parts]


def _merge_parts(category: str, seed: int, names: tuple[str, ...], parts: Sequence[Part]) -> ProceduralObject:
    """Merge the parts into one mesh in the object frame, subdivided for light per vertex."""
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
    valid = twice > MIN_DOUBLE_AREA
    material, part = material[valid], part[valid]
    used, f = np.unique(whole.faces[valid], return_inverse=True)
    t, f = whole.tex[used], f.reshape(-1, 3)
    facing = np.abs(np.cross(t[f[:, 1]] - t[f[:, 0]], t[f[:, 2]] - t[f[:, 0]]))
    side = np.argmax(facing * [1.002, 1.001, 1.0], axis=1)  # prefer the first axes at 45°
    whole = Mesh(whole.vertices[used] + offset, whole.normals[used], t, f)
    whole, origin = subdivide(whole, 2 * float(np.sqrt(area / MIN_TRIANGLES)))
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


def subdivide_object(obj: ProceduralObject, longest: float) -> ProceduralObject:
    """Subdivide an object until no edge is longer than ``longest`` metres, for meshes with colours per vertex."""
    v, n, t = (a.astype(np.float64) for a in (obj.vertices, obj.normals, obj.tex))
    mesh, origin = subdivide(Mesh(v, n, t, obj.faces), longest)
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
