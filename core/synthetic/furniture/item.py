"""`Item`: one thing in a room, as parts with materials, in a frame of its own.

The local frame of everything that furnishes a room: x to the right along the wall and centred, y away from the wall
(the back at y = 0, the front towards +y), z up from the floor. Metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...data.classes import SCANNET20
from ..geometry.mesh import Mesh
from ..materials.materials import RGB, Material

IGNORED = "ignored"
"""Class of what ScanNet has no class for (the ceiling)."""

Part = tuple[Mesh, Material]
Box = tuple[float, float, float, float, float, float]
"""(x0, y0, z0, x1, y1, z1)."""


def class_index(name: str) -> int:
    return -1 if name == IGNORED else SCANNET20.index(name)


@dataclass(frozen=True)
class Lamp:
    """A round light source.

    Attributes:
        center: [3] metres, in the frame of its item.
        radius: of the sphere (or disc) that shines, metres.
        color: linear RGB, brightest channel 1.
        power: relative radiant intensity.
        down: a disc that shines downwards only (a ceiling lamp) instead of a sphere.
    """

    center: tuple[float, float, float]
    radius: float
    color: RGB
    power: float
    down: bool = False


@dataclass(frozen=True)
class Item:
    """One object: it becomes one instance, and each of its children another.

    Attributes:
        label: what a person would call it.
        category: its ScanNet class by name, or `IGNORED`.
        parts: meshes with their materials, as they were made; ``pose`` is not applied to them yet, because most
            places that are tried for an item are refused.
        boxes: the space it fills, for collisions; finer than one box where something fits below or beside.
        children: things that stand on it or in it, in the same frame.
        lamps: light sources.
        pose: (yaw, x, y, z) from the parts' frame to that of the boxes, children and lamps.
    """

    label: str
    category: str
    parts: tuple[Part, ...]
    boxes: tuple[Box, ...]
    children: tuple[Item, ...] = ()
    lamps: tuple[Lamp, ...] = ()
    pose: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Item:
        yaw, px, py, pz = self.pose
        return replace(
            self,
            boxes=tuple((b[0] + x, b[1] + y, b[2] + z, b[3] + x, b[4] + y, b[5] + z) for b in self.boxes),
            children=tuple(c.moved(x, y, z) for c in self.children),
            lamps=tuple(replace(l, center=(l.center[0] + x, l.center[1] + y, l.center[2] + z)) for l in self.lamps),
            pose=(yaw, px + x, py + y, pz + z),
        )

    def turned(self, angle: float) -> Item:
        """Rotated about the z axis; boxes become the bounds of the rotated ones."""
        c, s = math.cos(angle), math.sin(angle)
        yaw, px, py, pz = self.pose

        def at(l: Lamp) -> Lamp:
            x, y, z = l.center
            return replace(l, center=(c * x - s * y, s * x + c * y, z))

        return replace(
            self,
            boxes=tuple(_turned_box(b, c, s) for b in self.boxes),
            children=tuple(child.turned(angle) for child in self.children),
            lamps=tuple(at(l) for l in self.lamps),
            pose=(yaw + angle, c * px - s * py, s * px + c * py, pz),
        )

    def placed_parts(self) -> list[Part]:
        """The parts in the frame of the boxes."""
        yaw, x, y, z = self.pose
        return [((m.turned(yaw) if yaw else m).moved(x, y, z), material) for m, material in self.parts]

    def with_children(self, children: Sequence[Item]) -> Item:
        return replace(self, children=(*self.children, *children))

    @property
    def bounds(self) -> Box:
        """Of the item's own boxes."""
        x0, y0, z0, x1, y1, z1 = zip(*self.boxes, strict=True)
        return min(x0), min(y0), min(z0), max(x1), max(y1), max(z1)

    @property
    def width(self) -> float:
        return self.bounds[3] - self.bounds[0]

    @property
    def depth(self) -> float:
        return self.bounds[4] - self.bounds[1]

    @property
    def top(self) -> float:
        return self.bounds[5]

    def walk(self) -> list[Item]:
        """This item and everything on it."""
        return [self, *(inner for child in self.children for inner in child.walk())]


def make(
    label: str,
    category: str,
    parts: Sequence[Part],
    boxes: Sequence[Box] | None = None,
    children: Sequence[Item] = (),
    lamps: Sequence[Lamp] = (),
) -> Item:
    """An item; without ``boxes`` it fills the bounding box of its parts."""
    if boxes is None:
        lo = np.min([m.vertices.min(0) for m, _ in parts], axis=0)
        hi = np.max([m.vertices.max(0) for m, _ in parts], axis=0)
        boxes = [(*lo.tolist(), *hi.tolist())]
    return Item(label, category, tuple(parts), tuple(boxes), tuple(children), tuple(lamps))


def _turned_box(b: Box, c: float, s: float) -> Box:
    corners = [(c * x - s * y, s * x + c * y) for x in (b[0], b[3]) for y in (b[1], b[4])]
    x, y = zip(*corners, strict=True)
    return min(x), min(y), b[2], max(x), max(y), b[5]
