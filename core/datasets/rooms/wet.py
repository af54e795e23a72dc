"""Bathrooms and kitchens: toilets, sinks, bathtubs, shower curtains, counters, refrigerators, appliances."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.random import Generator

from . import clutter
from .item import Box, Item, Part, make
from .materials import (
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
    soft,
    speckle,
    vivid,
)
from .mesh import Mesh, box, cloth, cylinder, join, lathe, prism, rounded_box, superellipsoid, tube
from .storage import carcass, fronts
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


# ── kitchens ─────────────────────────────────────────────────────────────────────────────────────────────────────


def stone(rng: Generator, style: Style) -> Material:
    """A worktop."""
    r = rng.uniform()
    if r < 0.3:
        return marble(rng)
    return speckle(rng, choose(rng, (neutral(rng), any_color(rng)))) if r < 0.6 else style.board(rng)


def refrigerator(rng: Generator, style: Style) -> Item:
    w, d = rng.uniform(0.56, 0.9), rng.uniform(0.58, 0.7)
    h = choose(rng, (rng.uniform(1.2, 1.45), rng.uniform(1.6, 1.95), rng.uniform(1.7, 1.95)))
    body = choose(
        rng,
        (
            plain((0.93, 0.93, 0.92), 0.02),
            STEEL,
            plain((0.2, 0.2, 0.21)),
            plain(soft(rng)),
            plain(vivid(rng)),
            plain(any_color(rng)),
        ),
    )
    r = rng.uniform(0.006, 0.03)
    parts: list[Part] = [
        (box((-w / 2, 0.02, 0.04), (w / 2, d - 0.07, h), 0.2), body),
        (box((-w / 2 + 0.02, 0.05, 0), (w / 2 - 0.02, d - 0.1, 0.04)), plain((0.1, 0.1, 0.1))),
    ]
    grips: list[Mesh] = []

    def door(x0: float, x1: float, z0: float, z1: float, grip_x: float, grip_z: tuple[float, float]) -> None:
        parts.append((rounded_box((x0 + 0.003, d - 0.068, z0 + 0.003), (x1 - 0.003, d, z1 - 0.003), r, 0.2), body))
        grips.append(rounded_box((grip_x - 0.012, d, grip_z[0]), (grip_x + 0.012, d + 0.04, grip_z[1]), 0.008))

    if w > 0.8:
        door(-w / 2, 0, 0.05, h, -0.035, (h * 0.4, h * 0.75))
        door(0, w / 2, 0.05, h, 0.035, (h * 0.4, h * 0.75))
    else:
        split = h * choose(rng, (0.35, 0.68, 0.72))
        gx = choose(rng, (-1, 1)) * (w / 2 - 0.05)
        door(-w / 2, w / 2, 0.05, split, gx, (split - 0.32, split - 0.05))
        door(-w / 2, w / 2, split, h, gx, (split + 0.04, min(split + 0.3, h - 0.05)))
    parts.append((join(grips), choose(rng, (STEEL, plain((0.12, 0.12, 0.12))))))
    top = [clutter.carton(rng, style, rng.uniform(0.2, 0.3))] if h < 1.6 and rng.uniform() < 0.5 else []
    return make("refrigerator", "refrigerator", parts, children=scatter(rng, top, -w / 2, w / 2, 0.05, d - 0.1, h))


def kitchen_run(rng: Generator, style: Style, width: float) -> Item:
    """Base cabinets under a counter, with a sink, a hob over an oven, and things standing about.

    Cabinets, counter, sink, hob and oven are instances of their own.
    """
    d, h, t = 0.6, rng.uniform(0.86, 0.93), rng.uniform(0.025, 0.045)
    front = style.board(rng)
    body = front if rng.uniform() < 0.5 else plain(neutral(rng))
    kind, grip = str(rng.choice(["flat", "framed"])), str(rng.choice(["bar", "short", "knob"]))
    z0, under = 0.1, h - t
    n = max(2, round(width / rng.uniform(0.45, 0.6)))
    unit = width / n
    oven = int(rng.integers(n)) if width > 1.3 and rng.uniform() < 0.85 else -1
    options = [i for i in range(n) if abs(i - oven) > (1 if n > 3 else 0)]
    wet = choose(rng, options) if options else -1
    sink_w, sink_d = min(0.46, unit * n * 0.4), 0.38
    sx = float(np.clip(-width / 2 + (wet + 0.5) * unit, -width / 2 + sink_w / 2 + 0.04, width / 2 - sink_w / 2 - 0.04))
    ox = -width / 2 + (oven + 0.5) * unit
    plates: list[Mesh] = []
    grips: list[Mesh] = []
    shell: list[Mesh] = []
    for i in range(n):
        x0, x1 = -width / 2 + i * unit, -width / 2 + (i + 1) * unit
        if i == oven:
            continue
        if wet >= 0 and x0 < sx + sink_w / 2 + 0.02 and x1 > sx - sink_w / 2 - 0.02:
            shell.append(box((x0, 0.02, z0), (x1, d - 0.03, under - 0.2), 0.2))
            shell.append(box((x0, d - 0.06, under - 0.2), (x1, d - 0.03, under), 0.2))
        else:
            shell.append(box((x0, 0.02, z0), (x1, d - 0.03, under), 0.2))
        rows = int(rng.choice([1, 1, 3]))
        p, g = fronts(rng, x0, x1, z0, under - 0.01, d - 0.029, 1, rows, kind, grip)
        plates += p
        grips += g
    parts: list[Part] = [(join(shell), body), (join(plates), front), (join(grips), style.frame(rng))]
    parts.append((box((-width / 2, 0.05, 0), (width / 2, d - 0.08, z0), 0.2), plain((0.13, 0.13, 0.13))))
    top_material = stone(rng, style)
    slab: list[Mesh] = []
    y0, y1 = 0.12, 0.12 + sink_d
    front_edge = d + 0.02
    if wet >= 0:
        a, b = sx - sink_w / 2 + 0.01, sx + sink_w / 2 - 0.01
        slab += [box((-width / 2, 0, under), (a, front_edge, h)), box((b, 0, under), (width / 2, front_edge, h))]
        slab += [box((a, 0, under), (b, y0 + 0.01, h)), box((a, y1 - 0.01, under), (b, front_edge, h))]
    else:
        slab.append(box((-width / 2, 0, under), (width / 2, front_edge, h)))
    splash = rng.uniform(0.04, 0.12)
    slab.append(box((-width / 2, 0, h), (width / 2, 0.018, h + splash)))
    children = [make("counter", "counter", [(join(slab), top_material)])]
    taken: list[Box] = []
    if wet >= 0:
        steel = STEEL if rng.uniform() < 0.65 else ceramic(rng)
        rim, deep = h + 0.004, 0.17
        bowl = [
            box((sx - sink_w / 2, y0, rim - deep), (sx - sink_w / 2 + 0.02, y1, rim)),
            box((sx + sink_w / 2 - 0.02, y0, rim - deep), (sx + sink_w / 2, y1, rim)),
            box((sx - sink_w / 2 + 0.02, y0, rim - deep), (sx + sink_w / 2 - 0.02, y0 + 0.02, rim)),
            box((sx - sink_w / 2 + 0.02, y1 - 0.02, rim - deep), (sx + sink_w / 2 - 0.02, y1, rim)),
            box(
                (sx - sink_w / 2 + 0.02, y0 + 0.02, rim - deep), (sx + sink_w / 2 - 0.02, y1 - 0.02, rim - deep + 0.012)
            ),
        ]
        children.append(make("sink", "sink", [(join(bowl), steel), (tap(0.18, 0.28).moved(sx, 0.075, h), STEEL)]))
        taken.append((sx - sink_w / 2, 0, 0, sx + sink_w / 2, d, 0))
    if oven >= 0:
        black = plain((0.06, 0.06, 0.065), 0.02)
        case = choose(rng, (STEEL, plain((0.92, 0.92, 0.91)), plain((0.1, 0.1, 0.1))))
        a, b = ox - unit / 2 + 0.004, ox + unit / 2 - 0.004
        knobs = join(
            [
                cylinder(0.018, 0, 0.025, 10).turned(-np.pi / 2, "x").moved(x, d - 0.008, under - 0.07)
                for x in np.linspace(a + 0.07, b - 0.07, 4)
            ]
        )
        oven_parts: list[Part] = [
            (box((a, 0.02, z0), (b, d - 0.01, under), 0.2), case),
            (box((a + 0.05, d - 0.009, z0 + 0.1), (b - 0.05, d, under - 0.2), 0.2), black),
            (
                join([knobs, box((a + 0.06, d - 0.009, under - 0.16), (b - 0.06, d + 0.03, under - 0.14))]),
                plain((0.5, 0.5, 0.5)),
            ),
        ]
        children.append(make("oven", "otherfurniture", oven_parts))
        hob: list[Part] = [(box((ox - 0.27, 0.07, h), (ox + 0.27, d - 0.06, h + 0.008)), black)]
        plate_color = plain((0.25, 0.25, 0.26))
        hob.append(
            (
                join(
                    [
                        cylinder(r, h + 0.008, h + 0.016, 20).moved(ox + x, y)
                        for x, y, r in ((-0.13, 0.2, 0.08), (0.13, 0.2, 0.1), (-0.13, 0.42, 0.1), (0.13, 0.42, 0.07))
                    ]
                ),
                plate_color,
            )
        )
        children.append(make("hob", "otherfurniture", hob))
        taken.append((ox - 0.28, 0, 0, ox + 0.28, d, 0))
        if rng.uniform() < 0.6:
            children.append(pot(rng, style).moved(ox + choose(rng, (-0.13, 0.13)), 0.42 - 0.11, h + 0.016))
    things = [
        choose(rng, (clutter.small_thing, kettle, microwave, knife_block))(rng, style)
        for _ in range(int(rng.integers(2, 7)))
    ]
    children += scatter(rng, things, -width / 2 + 0.03, width / 2 - 0.03, 0.06, d - 0.05, h, taken)
    return make("kitchen cabinets", "cabinet", parts, [(-width / 2, 0, 0, width / 2, front_edge, h + 0.02)], children)


def wall_cabinets(rng: Generator, style: Style, width: float, like: Item | None = None) -> Item:
    """Cabinets to hang over a counter; with the fronts of ``like`` now and then."""
    d, h = rng.uniform(0.3, 0.37), rng.uniform(0.55, 0.8)
    front = like.parts[1][1] if like is not None and rng.uniform() < 0.7 else style.board(rng)
    n = max(1, round(width / 0.5))
    parts = carcass(rng, style, width, d, 0.0, h, n, 1, front, front)
    return make("wall cabinet", "cabinet", parts)


def hood(rng: Generator, style: Style) -> Item:
    w = 0.6
    material = choose(rng, (STEEL, plain((0.12, 0.12, 0.12)), plain((0.92, 0.92, 0.92))))
    flue = box((-0.13, 0, 0.12), (0.13, 0.26, 0.75), 0.2)
    skirt = (
        lathe([(0, 0), (0.7071, 0), (0.7071, 0.05), (0.2, 0.14), (0, 0.14)], 4, smooth=False)
        .turned(np.pi / 4)
        .scaled(w, 0.46, 1)
        .moved(0, 0.23)
    )
    return make("hood", "otherfurniture", [(join([flue, skirt]), material)])


def pot(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.08, 0.11), rng.uniform(0.09, 0.16)
    mesh = lathe(
        [
            (0, 0),
            (r, 0),
            (r, h),
            (r + 0.006, h),
            (r + 0.006, h + 0.006),
            (0.02, h + 0.03),
            (0.018, h + 0.05),
            (0, h + 0.05),
        ],
        20,
    )
    ears = [
        rounded_box((sx * r - 0.025, -0.03, h * 0.7), (sx * r + 0.025, 0.03, h * 0.7 + 0.014), 0.006) for sx in (-1, 1)
    ]
    return make("pot", "otherfurniture", [(join([mesh, *ears]).moved(0, r), choose(rng, (STEEL, plain(vivid(rng)))))])


def kettle(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.075, 0.09), rng.uniform(0.18, 0.24)
    mesh = lathe([(0, 0), (r, 0), (r, 0.02), (r * 0.72, h * 0.92), (r * 0.2, h), (0, h)], 20)
    a = np.linspace(-1.1, 1.1, 7)
    grip = tube(np.stack([r * 0.75 + 0.05 * np.cos(a), 0 * a, h * 0.55 + 0.075 * np.sin(a)], 1), 0.009, 6)
    return make(
        "kettle", "otherfurniture", [(join([mesh, grip]).moved(0, r), choose(rng, (STEEL, plain(any_color(rng)))))]
    )


def microwave(rng: Generator, style: Style) -> Item:
    w, d, h = rng.uniform(0.44, 0.5), rng.uniform(0.32, 0.36), rng.uniform(0.25, 0.29)
    case = choose(rng, (STEEL, plain((0.93, 0.93, 0.92)), plain((0.12, 0.12, 0.12))))
    glass = box((-w / 2 + 0.03, d, 0.04), (w / 2 - 0.13, d + 0.004, h - 0.04), 0.2)
    bar = box((w / 2 - 0.115, d, 0.04), (w / 2 - 0.1, d + 0.03, h - 0.04), 0.2)
    return make(
        "microwave",
        "otherfurniture",
        [
            (rounded_box((-w / 2, 0, 0), (w / 2, d, h), 0.01), case),
            (glass, plain((0.05, 0.05, 0.06))),
            (bar, metal(rng)),
        ],
    )


def knife_block(rng: Generator, style: Style) -> Item:
    block = box((-0.05, 0, 0), (0.05, 0.1, 0.2))
    grips = [
        superellipsoid((0.018, 0.025, 0.1), 0.6, 0.6, 6, 8).moved(x, y, 0.24)
        for x in (-0.03, 0, 0.03)
        for y in (0.03, 0.07)
    ]
    return make("knife block", "otherfurniture", [(block, board(rng, 0.8)), (join(grips), plain((0.1, 0.1, 0.1)))])
