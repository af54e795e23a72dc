"""Placement of items at walls and in free space, without collisions."""

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
    """The items placed in one room so far.

    Attributes:
        plan: the floor plan.
        openings: doors and windows.
        items: the placed items, in the world frame.
        solids: boxes that they occupy.
        zones: boxes to keep free of solids, in front of doors, windows and cabinets.
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
        """Whether an item is inside the room and overlaps no solid and, with ``zones``, no zone."""
        taken = self.solids + self.zones if zones else self.solids
        return all(
            self.plan.contains(b) and b[5] <= self.plan.h and not any(overlap(b, s) for s in taken) for b in item.boxes
        )

    def add(self, item: Item, solid: bool = True) -> Item:
        """Add a placed item without checks; ``solid`` items block others."""
        self.items.append(item)
        if solid:
            self.solids += item.boxes
        return item

    def place_at_wall(
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
        """Place an item with its back to a wall; returns it, its wall and its position along the wall, or None.

        Args:
            item: the item; None places nothing.
            walls: walls to try; all by default.
            z: height of the item's origin above the floor, metres.
            front: depth of the zone to keep free in front of it, metres.
            near: preferred position along the wall, metres; later attempts are further away.
            corner: try the ends of the wall first.
            gap: distance from the wall, metres; leaves room for the skirting board.
            tries: number of attempts.
            solid: whether it blocks other items.
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
                if not self.plan.contains(zone) or any(overlap(zone, solid_) for solid_ in self.solids):
                    continue
                self.zones.append(zone)
            return self.add(placed, solid), wall, s
        return None

    def place_at(
        self, item: Item, x: float, y: float, yaw: float, zones: bool = True, solid: bool = True
    ) -> Item | None:
        """Place an item with its origin at (x, y), rotated by ``yaw``; None when it does not fit."""
        placed = item.rotate(yaw).translate(x, y)
        return self.add(placed, solid) if self.fits(placed, zones) else None

    def place_in_free_space(
        self, item: Item, clearance: float = 0.0, tries: int = 30
    ) -> tuple[Item, float, float, float] | None:
        """Place an item with ``clearance`` metres of free space around; returns it and its x, y, yaw, or None."""
        b = item.bounds
        centred = item.translate(-(b[0] + b[3]) / 2, -(b[1] + b[4]) / 2)
        for _ in range(tries):
            yaw = float(self.rng.choice([0.0, np.pi / 2]))
            x, y = float(self.rng.uniform(0, self.plan.w)), float(self.rng.uniform(0, self.plan.d))
            placed = centred.rotate(yaw).translate(x, y)
            p = placed.bounds
            around: Box = (p[0] - clearance, p[1] - clearance, 0.0, p[3] + clearance, p[4] + clearance, 1.2)
            if not self.fits(placed) or not self.plan.contains(around):
                continue
            if any(overlap(around, s) for s in self.solids):
                continue
            return self.add(placed), x, y, yaw
        return None

    def walls_opposite(self, wall: int) -> list[int]:
        """Walls that face wall ``wall``."""
        _, e, _ = self.plan.wall(wall)
        return [i for i in range(len(self.plan)) if self.plan.wall(i)[1] @ e < -0.9]

    def walls_without_door(self, minimum: float = 0.0) -> list[int]:
        """Walls without a door, at least ``minimum`` metres long; else all of that length; else all walls."""
        long = [i for i in range(len(self.plan)) if self.plan.wall(i)[2] >= minimum]
        without = [i for i in long if not any(o.wall == i and o.kind == "door" for o in self.openings)]
        return without or long or list(range(len(self.plan)))
