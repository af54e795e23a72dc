"""Where things may stand: placement against walls and in free space without collisions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from ..furniture.item import Box, Item
from .shell import Opening, Plan


def overlap(a: Box, b: Box, slack: float = 2e-3) -> bool:
    """Whether two boxes share more than ``slack`` metres along every axis."""
    return all(a[i] < b[i + 3] - slack and b[i] < a[i + 3] - slack for i in range(3))


class Layout:
    """The things placed so far in one room.

    Attributes:
        plan: the floor plan.
        items: what has been placed, in the world frame.
        solids: the space it fills.
        zones: space to keep free of everything solid: before doors, windows and cupboards.
    """

    def __init__(self, rng: Generator, plan: Plan, openings: Sequence[Opening]) -> None:
        self.rng = rng
        self.plan = plan
        self.openings = list(openings)
        self.items: list[Item] = []
        self.solids: list[Box] = []
        self.zones: list[Box] = []
        for o in openings:
            depth = 0.95 if o.kind == "door" else 0.3
            margin = 0.08 if o.kind == "door" else 0.02
            self.zones.append(self._wall_box(o.wall, o.s0 - margin, o.s1 + margin, 0.0, depth, o.z0, o.z1))

    def _wall_box(self, wall: int, s0: float, s1: float, y0: float, y1: float, z0: float, z1: float) -> Box:
        a, e, _ = self.plan.wall(wall)
        n = np.array([-e[1], e[0]])
        p = np.array([a + s * e + y * n for s in (s0, s1) for y in (y0, y1)])
        (x0, y0_), (x1, y1_) = p.min(0), p.max(0)
        return (float(x0), float(y0_), z0, float(x1), float(y1_), z1)

    def fits(self, item: Item, zones: bool = True) -> bool:
        """Whether the item is inside the room and clear of all that is solid (and of the zones)."""
        taken = self.solids + self.zones if zones else self.solids
        return all(
            self.plan.holds(b) and b[5] <= self.plan.h and not any(overlap(b, s) for s in taken) for b in item.boxes
        )

    def add(self, item: Item, solid: bool = True) -> Item:
        self.items.append(item)
        if solid:
            self.solids += item.boxes
        return item

    def against(
        self,
        item: Item | None,
        walls: Sequence[int] | None = None,
        z: float = 0.0,
        front: float = 0.0,
        near: float | None = None,
        corner: bool = False,
        gap: float = 0.018,
        tries: int = 24,
        solid: bool = True,
    ) -> tuple[Item, int, float] | None:
        """Puts the item with its back to a wall, where it fits; returns it with its wall and its place s there.

        Args:
            walls: the walls to try; all by default.
            z: height of its origin above the floor.
            front: depth in metres to keep free before it.
            near: preferred place along the wall (tried first, then further and further away).
            corner: try the wall's ends first.
            gap: distance from the wall; the skirting needs some.
        """
        if item is None:
            return None
        b = item.bounds
        for k in range(tries):
            wall = int(self.rng.choice(walls if walls is not None else len(self.plan)))
            _, _, length = self.plan.wall(wall)
            lo, hi = -b[0] + gap, length - b[3] - gap
            if hi < lo:
                continue
            if near is not None:
                s = float(np.clip(near + self.rng.normal() * 0.1 * k, lo, hi))
            elif corner and k < tries // 2:
                s = lo if self.rng.uniform() < 0.5 else hi
            else:
                s = float(self.rng.uniform(lo, hi))
            placed = self.plan.at_wall(item, wall, s, gap, z)
            if not self.fits(placed):
                continue
            if front:
                zone = self._wall_box(wall, s + b[0], s + b[3], gap + b[4], gap + b[4] + front, 0.0, 1.8)
                if not self.plan.holds(zone) or any(overlap(zone, solid_) for solid_ in self.solids):
                    continue
                self.zones.append(zone)
            return self.add(placed, solid), wall, s
        return None

    def at(self, item: Item, x: float, y: float, yaw: float, zones: bool = True, solid: bool = True) -> Item | None:
        """Puts the item's origin at (x, y), turned; None when it does not fit."""
        placed = item.turned(yaw).moved(x, y)
        return self.add(placed, solid) if self.fits(placed, zones) else None

    def somewhere(self, item: Item, clearance: float = 0.0, tries: int = 30) -> tuple[Item, float, float, float] | None:
        """Puts the item, centred, into free space with ``clearance`` metres around; returns it with its x, y, yaw."""
        b = item.bounds
        centred = item.moved(-(b[0] + b[3]) / 2, -(b[1] + b[4]) / 2)
        for _ in range(tries):
            yaw = float(self.rng.choice([0.0, np.pi / 2]))
            x, y = float(self.rng.uniform(0, self.plan.w)), float(self.rng.uniform(0, self.plan.d))
            placed = centred.turned(yaw).moved(x, y)
            p = placed.bounds
            around: Box = (p[0] - clearance, p[1] - clearance, 0.0, p[3] + clearance, p[4] + clearance, 1.2)
            if not self.fits(placed) or not self.plan.holds(around):
                continue
            if any(overlap(around, s) for s in self.solids):
                continue
            return self.add(placed), x, y, yaw
        return None

    def opposite(self, wall: int) -> list[int]:
        """Walls that face the given one."""
        _, e, _ = self.plan.wall(wall)
        return [i for i in range(len(self.plan)) if self.plan.wall(i)[1] @ e < -0.9]

    def doorless(self, minimum: float = 0.0) -> list[int]:
        """Walls at least that long without a door; all of that length when there are none."""
        long = [i for i in range(len(self.plan)) if self.plan.wall(i)[2] >= minimum]
        without = [i for i in long if not any(o.wall == i and o.kind == "door" for o in self.openings)]
        return without or long or list(range(len(self.plan)))
