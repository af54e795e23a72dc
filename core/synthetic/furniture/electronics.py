"""Televisions, monitors, laptops, keyboards and printers."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import box, join, rounded_box
from ..materials import textures as T
from ..materials.materials import (
    Material,
    any_color,
    choose,
    mix,
    plain,
    soft_color,
    vivid_color,
)
from .item import OTHER, Box, Item, Part, make_item


def screen_material(rng: Generator, w: float, h: float) -> Material:
    if rng.uniform() < 0.45:
        return Material(T.SCREEN, ((0.05, 0.05, 0.06), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), (0.0, w, h), 0, 1)
    colors = (
        choose(rng, (soft_color(rng), (0.13, 0.2, 0.32), vivid_color(rng))),
        (0.94, 0.94, 0.95),
        mix(any_color(rng), (0.3, 0.3, 0.35), 0.5),
    )
    return Material(T.SCREEN, colors, (rng.uniform(1, 3), w, h), 0, int(rng.integers(1, 9999)), glow=0.85)


def _panel(rng: Generator, w: float, h: float, z: float, y: float, t: float, body: Material) -> list[Part]:
    m = 0.012
    face = box((-w / 2 + m, y + t + 0.0005, z + m), (w / 2 - m, y + t + 0.002, z + h - m), 0.2)
    face = face.with_texture(face.vertices - np.array([0, 0, z + m]))
    return [
        (rounded_box((-w / 2, y, z), (w / 2, y + t, z + h), 0.008), body),
        (face, screen_material(rng, w - 2 * m, h - 2 * m)),
    ]


def television(rng: Generator, w: float) -> Item:
    """A television of width ``w`` metres on a foot, its back at y = 0."""
    h = w * 9 / 16
    body = plain(choose(rng, ((0.07, 0.07, 0.08), (0.5, 0.5, 0.52), (0.9, 0.9, 0.9))))
    parts = _panel(rng, w, h, 0.08, 0.05, 0.04, body)
    parts.append(
        (join([box((-w * 0.22, 0.0, 0), (w * 0.22, 0.2, 0.014)), box((-0.04, 0.05, 0.014), (0.04, 0.08, 0.09))]), body)
    )
    return make_item("tv", OTHER, parts)


def monitor(rng: Generator) -> Item:
    w = rng.uniform(0.46, 0.68)
    h = w * rng.uniform(0.52, 0.62)
    body = plain(choose(rng, ((0.08, 0.08, 0.09), (0.68, 0.69, 0.7), (0.92, 0.92, 0.91))))
    parts = _panel(rng, w, h, rng.uniform(0.1, 0.16), 0.08, 0.03, body)
    parts.append(
        (join([box((-0.12, 0.0, 0), (0.12, 0.17, 0.012)), box((-0.025, 0.05, 0.012), (0.025, 0.078, 0.24))]), body)
    )
    return make_item("monitor", OTHER, parts)


def keyboard(rng: Generator) -> Item:
    keys = Material(
        T.TILES,
        ((0.15, 0.15, 0.16) if rng.uniform() < 0.6 else (0.9, 0.9, 0.9), (0.4, 0.4, 0.42), (0.3, 0.3, 0.3)),
        (0.02, 0.02, 0.5, 0.003, 0.1),
        0,
        3,
    )
    return make_item("keyboard", OTHER, [(box((-0.22, 0, 0), (0.22, 0.14, 0.02)), keys)])


def laptop(rng: Generator) -> Item:
    w, d = rng.uniform(0.31, 0.37), rng.uniform(0.22, 0.25)
    body = plain(choose(rng, ((0.7, 0.71, 0.72), (0.12, 0.12, 0.13), (0.9, 0.88, 0.85))))
    lid = [
        (m.rotate(0.3, "x", (0, 0.0, 0)).translate(0, 0.02, 0.016), material)
        for m, material in _panel(rng, w, d, 0.0, -0.012, 0.01, body)
    ]
    base = rounded_box((-w / 2, 0.02, 0), (w / 2, d + 0.02, 0.016), 0.006)
    keys = Material(
        T.TILES, ((0.2, 0.2, 0.21), (0.45, 0.45, 0.46), (0.2, 0.2, 0.2)), (0.019, 0.019, 0.5, 0.003, 0.1), 0, 3
    )
    return make_item(
        "laptop", OTHER, [(base, body), (box((-w / 2 + 0.02, 0.04, 0.0161), (w / 2 - 0.02, 0.14, 0.018)), keys), *lid]
    )


def printer(rng: Generator) -> Item:
    w, d, h = rng.uniform(0.38, 0.46), rng.uniform(0.32, 0.38), rng.uniform(0.16, 0.26)
    body = plain(choose(rng, ((0.9, 0.9, 0.89), (0.15, 0.15, 0.16), (0.6, 0.61, 0.62))))
    boxes: list[Box] = [(-w / 2, 0, 0, w / 2, d, h + 0.01)]
    tray = box((-w / 2 + 0.07, d - 0.01, h * 0.35), (w / 2 - 0.07, d + 0.1, h * 0.35 + 0.012))
    lid = box((-w / 2 + 0.03, 0.03, h), (w / 2 - 0.03, d - 0.1, h + 0.01))
    return make_item(
        "printer",
        OTHER,
        [
            (rounded_box((-w / 2, 0, 0), (w / 2, d, h), 0.02), body),
            (tray, plain((0.95, 0.95, 0.94))),
            (lid, plain((0.3, 0.3, 0.32))),
        ],
        boxes,
    )
