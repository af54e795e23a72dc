"""Small objects for tables, shelves and floors: plants, tableware, books, boxes, clocks, photos, bins."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, box, cylinder, join, lathe, superellipsoid, tube
from ..materials import textures as T
from ..materials.materials import (
    Material,
    Style,
    any_color,
    choose,
    fabric,
    metal,
    mix,
    neutral_color,
    plain,
    soft_color,
    vivid_color,
    wood,
)
from .item import OTHER, Item, Part, make_item


def plant(rng: Generator, style: Style, h: float | None = None) -> Item:
    """A potted plant with leaves on arching stems."""
    h = rng.uniform(0.5, 1.4) if h is None else h
    r = 0.05 + 0.12 * min(h, 1.0)
    pot_h = r * rng.uniform(1.3, 1.9)
    pot = lathe([(0, 0), (r * 0.7, 0), (r, pot_h), (r - 0.012, pot_h), (r - 0.014, pot_h - 0.03), (0, pot_h - 0.03)])
    green = mix((0.16, 0.36, 0.13), (0.45, 0.55, 0.2), rng.uniform())
    leaves: list[Mesh] = []
    stems: list[Mesh] = []
    n = int(rng.integers(8, 16))
    broad = rng.uniform(0.16, 0.5)
    spread = rng.uniform(0.14, 0.26) * h
    for i in range(n):
        a = 2.4 * i + rng.uniform(-0.3, 0.3)
        tall = h * rng.uniform(0.55, 1.0) - pot_h
        reach = spread * rng.uniform(0.4, 1.0)
        t = np.linspace(0, 1, 5)
        path = np.stack([reach * t**2, 0 * t, pot_h - 0.04 + tall * t * (1.25 - 0.25 * t)], 1)
        stems.append(tube(path, 0.004 + 0.003 * h, 5).rotate(a))
        size = h * rng.uniform(0.22, 0.36)
        leaf = (
            superellipsoid((size, size * broad, 0.008), 1, 1.2, 4, 10)
            .translate(size / 2)
            .rotate(rng.uniform(-0.3, 0.75), "y")
        )
        leaves.append(leaf.translate(reach, 0, pot_h - 0.04 + tall).rotate(a))
    c = max(float(np.abs(np.concatenate([m.vertices[:, :2] for m in leaves])).max()), r)
    parts: list[Part] = [
        (
            pot.translate(0, c),
            choose(
                rng, (plain((0.72, 0.42, 0.30)), plain(neutral_color(rng)), plain(any_color(rng)), style.board(rng))
            ),
        ),
        (cylinder(r - 0.016, pot_h - 0.029, pot_h - 0.022).translate(0, c), plain((0.2, 0.15, 0.11), 0.6)),
        (join(stems).translate(0, c), plain(mix(green, (0.35, 0.28, 0.18), 0.5))),
        (join(leaves).translate(0, c), plain(green, 0.5)),
    ]
    return make_item("plant", OTHER, parts)


def small_object(rng: Generator, style: Style, limit: float = 0.5) -> Item:
    """A random object for a shelf or table, lower than ``limit`` metres."""
    makers = [cup, book_pile, vase, carton, bowl, clock, picture_frame]
    if limit > 0.3:
        makers += [plant_pot, bottle]
    for _ in range(8):
        item = choose(rng, makers)(rng, style)
        if item.top < limit:
            return item
    return cup(rng, style)


def plant_pot(rng: Generator, style: Style) -> Item:
    return plant(rng, style, rng.uniform(0.2, 0.36))


def cup(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.033, 0.045), rng.uniform(0.08, 0.11)
    body = lathe([(0, 0), (r * 0.85, 0), (r, 0.02), (r, h), (r - 0.005, h), (r - 0.006, 0.02), (0, 0.015)], 16)
    a = np.linspace(-1.2, 1.2, 7)
    grip = tube(np.stack([r + 0.022 * np.cos(a) - 0.006, 0 * a, h / 2 + 0.028 * np.sin(a)], 1), 0.005, 6)
    return make_item("cup", OTHER, [(join([body, grip]).translate(0, r), plain(any_color(rng), 0.02))])


def bottle(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.03, 0.042), rng.uniform(0.22, 0.32)
    mesh = lathe([(0, 0), (r, 0), (r, h * 0.6), (r * 0.35, h * 0.78), (r * 0.35, h), (0, h)], 16)
    return make_item(
        "bottle", OTHER, [(mesh.translate(0, r), plain(mix(vivid_color(rng), (0.1, 0.2, 0.1), 0.4), 0.02))]
    )


def vase(rng: Generator, style: Style) -> Item:
    h, r = rng.uniform(0.14, 0.3), rng.uniform(0.05, 0.09)
    belly = rng.uniform(0.3, 0.6)
    mesh = lathe(
        [
            (0, 0),
            (r * 0.6, 0),
            (r * 0.9, h * belly * 0.5),
            (r, h * belly),
            (r * 0.75, h * (belly + 0.2)),
            (r * 0.4, h * 0.92),
            (r * 0.5, h),
            (r * 0.42, h),
            (r * 0.34, h * 0.9),
            (0, h * 0.88),
        ],
        20,
    )
    return make_item("vase", OTHER, [(mesh.translate(0, r), choose(rng, (plain(any_color(rng)), wood(rng, axis=2))))])


def bowl(rng: Generator, style: Style) -> Item:
    r = rng.uniform(0.09, 0.15)
    dish = lathe(
        [
            (0, 0),
            (r * 0.45, 0),
            (r * 0.85, r * 0.35),
            (r, r * 0.6),
            (r - 0.008, r * 0.6),
            (r * 0.8, r * 0.38),
            (r * 0.4, 0.015),
            (0, 0.012),
        ],
        20,
    )
    parts: list[Part] = [(dish.translate(0, r), plain(any_color(rng)))]
    if rng.uniform() < 0.6:
        fruit = plain(choose(rng, ((0.85, 0.3, 0.15), (0.9, 0.65, 0.15), (0.45, 0.65, 0.2), (0.7, 0.15, 0.15))))
        for k in range(5):
            a = 2 * np.pi * k / 4
            rr = 0.0 if k == 4 else r * 0.42
            ball = superellipsoid((0.07, 0.07, 0.066), 1, 1, 8, 12)
            parts.append(
                (ball.translate(rr * np.cos(a), r + rr * np.sin(a), r * 0.45 + (0.035 if k == 4 else 0)), fruit)
            )
    return make_item("bowl", OTHER, parts)


def book_pile(rng: Generator, style: Style) -> Item:
    parts: list[Part] = []
    z = 0.0
    for _ in range(int(rng.integers(1, 5))):
        w, d, t = rng.uniform(0.13, 0.17), rng.uniform(0.19, 0.25), rng.uniform(0.015, 0.04)
        c = any_color(rng)
        turn = rng.uniform(-0.2, 0.2)
        cover = [
            box((-w / 2, 0, 0), (w / 2, d, 0.003)),
            box((-w / 2, 0, t - 0.003), (w / 2, d, t)),
            box((-w / 2, 0, 0.003), (-w / 2 + 0.004, d, t - 0.003)),
        ]
        parts.append((join(cover).rotate(turn, "z", (0, d / 2, 0)).translate(0, 0, z), plain(c)))
        pages = box((-w / 2 + 0.004, 0.004, 0.003), (w / 2 - 0.004, d - 0.004, t - 0.003))
        parts.append((pages.rotate(turn, "z", (0, d / 2, 0)).translate(0, 0, z), plain((0.92, 0.89, 0.8))))
        z += t + 0.0005
    return make_item("books", OTHER, parts)


def carton(rng: Generator, style: Style, size: float | None = None) -> Item:
    s = rng.uniform(0.12, 0.28) if size is None else size
    w, d, h = s * rng.uniform(0.8, 1.3), s * rng.uniform(0.7, 1.0), s * rng.uniform(0.5, 0.9)
    card = choose(rng, (plain((0.70, 0.54, 0.36), 0.08), plain(any_color(rng)), fabric(rng)))
    parts: list[Part] = [(box((-w / 2, 0, 0), (w / 2, d, h)), card)]
    if rng.uniform() < 0.6:
        parts.append(
            (
                box((-w / 2 - 0.004, -0.004, h * 0.78), (w / 2 + 0.004, d + 0.004, h + 0.004)),
                card if rng.uniform() < 0.5 else plain(any_color(rng)),
            )
        )
    return make_item("box", OTHER, parts)


def clock(rng: Generator, style: Style) -> Item:
    r = rng.uniform(0.05, 0.08)
    disc = cylinder(r, 0, 0.04, 20).rotate(-np.pi / 2, "x").translate(0, 0.0, r + 0.004)
    face = cylinder(r * 0.85, 0.04, 0.043, 20).rotate(-np.pi / 2, "x").translate(0, 0.0, r + 0.004)
    hands = [
        box((-0.003, 0.0435, 0), (0.003, 0.046, r * 0.7)).rotate(a, "y").translate(0, 0, r + 0.004)
        for a in rng.uniform(0, 6.2, 2)
    ]
    return make_item(
        "clock",
        OTHER,
        [(disc, style.board(rng)), (face, plain((0.94, 0.93, 0.9))), (join(hands), plain((0.1, 0.1, 0.1)))],
    )


def picture_frame(rng: Generator, style: Style) -> Item:
    w, h = rng.uniform(0.1, 0.16), rng.uniform(0.14, 0.2)
    photo = Material(
        T.PAINTING,
        (soft_color(rng), any_color(rng), any_color(rng)),
        (rng.uniform(0, 4), w - 0.02, h - 0.02, 0.006),
        0,
        int(rng.integers(1, 9999)),
    )
    body = box((-w / 2, 0, 0), (w / 2, 0.012, h))
    face = box((-w / 2 + 0.01, 0.0125, 0.01), (w / 2 - 0.01, 0.014, h - 0.01)).translate()
    stand = box((-0.02, -0.05, 0), (0.02, -0.001, 0.004))
    tilt = 0.14
    face = face.with_texture(face.vertices - np.array([0, 0, 0.01]))
    return make_item(
        "photo", OTHER, [(join([body.rotate(tilt, "x"), stand]), style.frame(rng)), (face.rotate(tilt, "x"), photo)]
    )


def papers(rng: Generator, style: Style) -> Item:
    parts: list[Part] = []
    for i in range(int(rng.integers(1, 4))):
        sheet = box((-0.105, -0.148, 0), (0.105, 0.148, 0.002)).rotate(rng.uniform(-0.4, 0.4))
        parts.append((sheet.translate(rng.uniform(-0.03, 0.03), 0.17, 0.0022 * i), plain((0.95, 0.95, 0.93))))
    return make_item("papers", OTHER, parts)


def plate(rng: Generator, style: Style) -> Item:
    r = rng.uniform(0.1, 0.14)
    dish = lathe([(0, 0), (r * 0.6, 0), (r, 0.016), (r, 0.02), (r * 0.6, 0.008), (0, 0.008)], 24)
    return make_item(
        "plate",
        OTHER,
        [(dish.translate(0, r), plain(choose(rng, (soft_color(rng), neutral_color(rng), (0.95, 0.95, 0.94)))))],
    )


def waste_bin(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.11, 0.17), rng.uniform(0.26, 0.42)
    if rng.uniform() < 0.6:
        mesh = lathe([(0, 0), (r * 0.85, 0), (r, h), (r - 0.008, h), (r * 0.85 - 0.008, 0.01), (0, 0.01)], 20)
    else:
        mesh = lathe([(0, 0), (r, 0), (r, h * 0.85), (r * 0.8, h * 0.97), (0, h)], 20)
    return make_item(
        "bin", OTHER, [(mesh.translate(0, r), choose(rng, (metal(rng), plain(any_color(rng)), fabric(rng))))]
    )


def basket(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.18, 0.26), rng.uniform(0.28, 0.5)
    mesh = lathe(
        [(0, 0), (r * 0.85, 0), (r, h * 0.6), (r * 0.96, h), (r * 0.9, h), (r * 0.9, h - 0.06), (0, h - 0.05)], 24
    )
    return make_item(
        "basket",
        OTHER,
        [(mesh.translate(0, r), choose(rng, (fabric(rng, (0.72, 0.58, 0.4)), fabric(rng), plain(any_color(rng)))))],
    )
