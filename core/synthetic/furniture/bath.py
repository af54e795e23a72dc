"""Bathrooms: toilets, sinks, bathtubs, shower curtains, taps and worktops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, box, cloth, cylinder, join, lathe, prism, rounded_box, tube
from ..materials.materials import (
    Material,
    Style,
    any_color,
    board,
    ceramic,
    choose,
    marble,
    metal,
    neutral,
    plain,
    speckle,
)
from . import clutter
from .item import Box, Item, Part, make
from .storage import carcass
from .surfaces import scatter

STEEL = plain((0.74, 0.75, 0.76), 0.08)


def tap(reach: float = 0.12, height: float = 0.16) -> Mesh:
    """A mixer tap whose foot is at the origin and whose spout reaches towards +y."""
    a = np.linspace(0, np.pi, 7)
    arc = np.stack([0 * a, reach / 2 * (1 - np.cos(a)), height * 0.65 + 0.35 * height * np.sin(a)], 1)
    spout = tube(np.concatenate([[[0, 0, 0.02]], arc, [[0, reach, height * 0.55]]]), 0.011)
    lever = tube([(0, 0, height * 0.3), (0.035, 0, height * 0.36), (0.07, 0, height * 0.5)], 0.007)
    return join([cylinder(0.022, 0, 0.03, 12), spout, lever])


def toilet(rng: Generator, style: Style) -> Item:
    """Bowl, seat and lid, and a cistern (or a box in front of the wall)."""
    white = ceramic(rng)
    seat_material = white if rng.uniform() < 0.6 else board(rng)
    w, h = rng.uniform(0.35, 0.39), rng.uniform(0.39, 0.43)
    length = rng.uniform(0.44, 0.5)
    back = rng.uniform(0.14, 0.2)
    hung = rng.uniform() < 0.3
    bowl = lathe(
        [
            (0, h * 0.4),
            (0.28, h * 0.42),
            (0.42, h * 0.7),
            (0.5, h * 0.93),
            (0.5, h),
            (0.36, h),
            (0.3, h - 0.1),
            (0.1, h - 0.18),
            (0, h - 0.18),
        ],
        28,
    )
    parts: list[Part] = [(bowl.scaled(w, length, 1).moved(0, back + length / 2), white)]
    if hung:
        parts.append((rounded_box((-w * 0.4, 0, h * 0.42), (w * 0.4, back + 0.12, h - 0.02), 0.04), white))
        parts.append((box((-0.3, 0, 0), (0.3, back - 0.02, 1.1)), white if rng.uniform() < 0.5 else board(rng, 0.2)))
        parts.append((box((-0.11, back - 0.02, 0.9), (0.11, back - 0.008, 1.04)), metal(rng)))
        boxes: list[Box] = [(-0.3, 0, 0, 0.3, back, 1.1), (-w / 2, 0, 0, w / 2, back + length, 0.9)]
    else:
        foot = lathe([(0, 0), (0.36, 0), (0.3, h * 0.3), (0.34, h * 0.55), (0, h * 0.55)], 24)
        parts.append((foot.scaled(w * 0.9, length * 1.05, 1).moved(0, back + length * 0.45), white))
        parts.append((rounded_box((-w * 0.38, 0.05, h * 0.45), (w * 0.38, back + 0.1, h - 0.005), 0.03), white))
        top = rng.uniform(0.74, 0.84)
        parts.append((rounded_box((-w / 2, 0.01, h - 0.02), (w / 2, back - 0.005, top - 0.03), 0.025), white))
        parts.append(
            (rounded_box((-w / 2 - 0.008, 0.004, top - 0.03), (w / 2 + 0.008, back + 0.002, top), 0.01), white)
        )
        parts.append((cylinder(0.018, top, top + 0.008, 12).moved(0, back / 2), STEEL))
        boxes = [(-w / 2, 0, 0, w / 2, back + length, h + 0.05), (-w / 2, 0, 0, w / 2, back + 0.1, top)]
    open_ = rng.uniform() < 0.35
    lid = lathe([(0, 0), (0.5, 0), (0.5, 0.018), (0.46, 0.026), (0, 0.03)], 28).scaled(w, length, 1)
    if open_:
        parts.append((lid.moved(0, length / 2).turned(1.72, "x").moved(0, back + 0.045, h + 0.022), seat_material))
    ring = lathe([(0.36, 0), (0.5, 0), (0.5, 0.02), (0.36, 0.02), (0.36, 0)], 28).scaled(w, length, 1)
    parts.append((ring.moved(0, back + length / 2, h + 0.001), seat_material))
    if not open_:
        parts.append((lid.moved(0, back + length / 2, h + 0.022), seat_material))
    return make("toilet", "toilet", parts, boxes)


def _basin(w: float, d: float, rim: float, depth: float, round_: bool) -> Mesh:
    """A basin whose rim is at z = ``rim``, centred in x, from y = 0 to d."""
    if round_:
        mesh = lathe(
            [
                (0, rim - depth),
                (0.3, rim - depth),
                (0.46, rim - 0.4 * depth),
                (0.5, rim),
                (0.45, rim),
                (0.4, rim - 0.45 * depth),
                (0.2, rim - depth + 0.02),
                (0, rim - depth + 0.015),
            ],
            28,
        )
        return mesh.scaled(w, d, 1).moved(0, d / 2)
    t, m = 0.025, 0.1
    return join(
        [
            box((-w / 2, 0, rim - depth), (-w / 2 + t, d, rim)),
            box((w / 2 - t, 0, rim - depth), (w / 2, d, rim)),
            box((-w / 2 + t, d - t, rim - depth), (w / 2 - t, d, rim)),
            box((-w / 2 + t, 0, rim - depth), (w / 2 - t, m, rim)),
            box((-w / 2 + t, m, rim - depth), (w / 2 - t, d - t, rim - depth + 0.02)),
        ]
    )


def pedestal_sink(rng: Generator, style: Style) -> Item:
    """A wash basin on a column, or hung on the wall."""
    w, d, h = rng.uniform(0.48, 0.66), rng.uniform(0.38, 0.48), rng.uniform(0.8, 0.88)
    white = ceramic(rng)
    round_ = bool(rng.uniform() < 0.6)
    parts: list[Part] = [(_basin(w, d, h, 0.17, round_), white)]
    if round_:
        parts.append((rounded_box((-w * 0.4, 0, h - 0.12), (w * 0.4, 0.12, h + 0.01), 0.02), white))
    parts.append((tap().moved(0, 0.06, h), STEEL))
    if rng.uniform() < 0.7:
        foot = lathe([(0, 0), (0.12, 0), (0.085, 0.08), (0.075, h * 0.5), (0.11, h - 0.16), (0, h - 0.16)])
        parts.append((foot.moved(0, d * 0.45), white))
    else:
        parts.append(
            (
                tube(
                    [(0, 0.0, h - 0.35), (0, d * 0.35, h - 0.35), (0, d * 0.45, h - 0.3), (0, d * 0.5, h - 0.16)], 0.02
                ),
                STEEL,
            )
        )
    return make("sink", "sink", parts, [(-w / 2, 0, 0, w / 2, d, h + 0.15)])


def vanity(rng: Generator, style: Style) -> Item:
    """A bathroom cabinet with a counter and one or two basins on it."""
    n = 2 if rng.uniform() < 0.2 else 1
    w, d, h = n * rng.uniform(0.62, 0.95), rng.uniform(0.45, 0.54), rng.uniform(0.76, 0.82)
    body = style.board(rng)
    z0 = choose(rng, (0.08, 0.3))
    parts = carcass(
        rng,
        style,
        w,
        d,
        z0,
        h - 0.04,
        max(2, round(w / 0.45)),
        int(rng.integers(1, 3)),
        body,
        body if rng.uniform() < 0.7 else style.board(rng),
    )
    if z0 < 0.1:
        parts.append((box((-w / 2 + 0.02, 0, 0), (w / 2 - 0.02, d - 0.08, z0)), plain((0.15, 0.15, 0.15))))
    top = make(
        "counter", "counter", [(box((-w / 2 - 0.01, 0, h - 0.04), (w / 2 + 0.01, d + 0.01, h)), stone(rng, style))]
    )
    white = ceramic(rng)
    children = [top]
    round_ = bool(rng.uniform() < 0.6)
    taken: list[Box] = []
    for i in range(n):
        x = (i - (n - 1) / 2) * w / n
        sw, sd, sh = 0.42, 0.34, 0.13
        bowl = make(
            "sink",
            "sink",
            [(_basin(sw, sd, h + sh, sh, round_).moved(x, 0.11), white), (tap(0.13, 0.26).moved(x, 0.055, h), STEEL)],
        )
        children.append(bowl)
        taken.append((x - sw / 2, 0, 0, x + sw / 2, d, 0))
    things = [clutter.small_thing(rng, style, 0.25) for _ in range(int(rng.integers(0, 3)))]
    children += scatter(rng, things, -w / 2 + 0.02, w / 2 - 0.02, 0.03, d - 0.02, h, taken)
    return make("vanity", "cabinet", parts, [(-w / 2 - 0.01, 0, 0, w / 2 + 0.01, d + 0.01, h + 0.3)], children)


def bathtub(rng: Generator, style: Style, length: float) -> Item:
    """A tub along the wall (panelled), or free-standing."""
    w, h = rng.uniform(0.7, 0.82), rng.uniform(0.5, 0.6)
    white = ceramic(rng)
    parts: list[Part] = []
    floor_, t = 0.14, 0.07
    outer = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
    free = length < 1.75 and rng.uniform() < 0.25
    if free:
        shell = lathe(
            [
                (0, 0.0),
                (0.36, 0.0),
                (0.4, 0.06),
                (0.46, 0.35),
                (0.5, h - 0.02),
                (0.5, h),
                (0.46, h),
                (0.42, 0.35),
                (0.34, floor_),
                (0, floor_),
            ],
            40,
        )
        parts.append((shell.scaled(length, w, 1).moved(0, w / 2), white))
    else:
        a, b = length / 2, w / 2

        def ring(inset: float, corner: float, z: float) -> np.ndarray:
            out = []
            for k, (sx, sy) in enumerate(outer):
                cx, cy = sx * (a - inset - corner), sy * (b - inset - corner)
                theta = np.pi * (1 + 0.5 * k) + np.linspace(0, np.pi / 2, 6)
                out.append(np.stack([cx + corner * np.cos(theta), cy + corner * np.sin(theta), np.full(6, z)], 1))
            return np.concatenate(out)

        rings = [
            ring(t, 0.16, h),
            ring(t + 0.03, 0.16, h * 0.6),
            ring(t + 0.09, 0.14, floor_ + 0.05),
            ring(t + 0.16, 0.1, floor_),
        ]
        rim_out = ring(0.0, 0.02, h)
        inner: list[Mesh] = [_band(rim_out, rings[0])]
        inner += [_band(p, q) for p, q in pairwise(rings)]
        bottom = prism(rings[-1][:, :2], floor_ - 0.02, floor_)
        panel_material = white if rng.uniform() < 0.6 else choose(rng, (board(rng, 0.3), marble(rng)))
        side = [_band(ring(0.0, 0.02, h - 0.05), rim_out)]
        parts.append((join([*inner, bottom, *side]).moved(0, b), white))
        parts.append(
            (
                join(
                    [
                        _band(ring(0.02, 0.02, 0.0), ring(0.02, 0.02, h - 0.05)),
                        _band(ring(0.02, 0.02, h - 0.05), ring(0.0, 0.02, h - 0.05)),
                    ]
                ).moved(0, b),
                panel_material,
            )
        )
    spout = tap(0.14, 0.2).turned(-np.pi / 2).moved(-length / 2 + 0.05, w / 2, h)
    parts.append((spout, STEEL))
    return make("bathtub", "bathtub", parts, [(-length / 2, 0, 0, length / 2, w, h + 0.05)])


def _band(lower: np.ndarray, upper: np.ndarray) -> Mesh:
    """The strip between two closed rings [K, 3] (counter-clockwise seen from above); it faces outwards going up."""
    p, q = np.concatenate([lower, lower[:1]]), np.concatenate([upper, upper[:1]])
    k = len(p)
    length = float(np.linalg.norm(p - q, axis=1).max())
    rows = max(1, int(np.ceil(length / 0.12)))
    t = np.linspace(0, 1, rows + 1)[:, None, None]
    grid = p * (1 - t) + q * t
    i, j = np.meshgrid(np.arange(rows), np.arange(k - 1), indexing="ij")
    a = (i * k + j).ravel()
    faces = np.stack([np.stack([a, a + 1, a + k + 1], 1), np.stack([a, a + k + 1, a + k], 1)], 1).reshape(-1, 3)
    v = grid.reshape(-1, 3)
    n = np.zeros_like(v)
    fn = np.cross(v[faces[:, 1]] - v[faces[:, 0]], v[faces[:, 2]] - v[faces[:, 0]])
    for c in range(3):
        np.add.at(n, faces[:, c], fn)
    n = n.reshape(rows + 1, k, 3)
    n[:, 0] = n[:, -1] = n[:, 0] + n[:, -1]
    n = n.reshape(-1, 3)
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12)
    return Mesh(v, n, v.copy(), faces)


def shower_curtain(rng: Generator, style: Style, length: float, depth: float) -> Item:
    """A curtain on a rail along the outer edge of a tub (or tray) of that size; partly drawn."""
    z1 = rng.uniform(1.88, 2.02)
    y = depth + 0.025
    share = rng.uniform(0.35, 0.75)
    side = choose(rng, (-1, 1))
    x0 = -length / 2 + 0.03 if side < 0 else length / 2 - 0.03 - share * length
    curve = folds(rng, share * length, rng.uniform(0.09, 0.14), rng.uniform(0.018, 0.03)) + np.array([x0, y])
    material = style.fabric(rng)
    rail = cylinder(0.012, -length / 2, length / 2, 10).turned(np.pi / 2, "y").moved(0, y, z1 + 0.025)
    hem = rng.uniform(0.2, 0.34)
    parts: list[Part] = [(cloth(curve, hem, z1, 0.008), material), (rail, metal(rng))]
    return make(
        "shower curtain", "shower curtain", parts, [(x0, y - 0.02, hem, x0 + share * length, y + 0.035, z1 + 0.04)]
    )


def folds(rng: Generator, width: float, period: float, amplitude: float) -> np.ndarray:
    """[K, 2] plan of a hanging curtain from x = 0 to ``width``, folded about y = 0."""
    n = max(2, round(width / period))
    x = np.linspace(0, width, 8 * n + 1)
    swell = 1 + 0.35 * np.sin(np.linspace(0, rng.uniform(3, 9), len(x)) + rng.uniform(0, 6))
    phase = 2 * np.pi * n * x / width
    return np.stack([x + 0.18 * period * np.sin(2 * phase), amplitude * swell * np.sin(phase)], 1)


def stone(rng: Generator, style: Style) -> Material:
    """A worktop."""
    r = rng.uniform()
    if r < 0.3:
        return marble(rng)
    return speckle(rng, choose(rng, (neutral(rng), any_color(rng)))) if r < 0.6 else style.board(rng)
