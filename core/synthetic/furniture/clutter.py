"""Small things and electronics: lamps, cups, books, plants, boxes, screens. All are otherfurniture."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box, superellipsoid, tapered, tube
from ..materials import textures as T
from ..materials.materials import (
    RGB,
    Material,
    Style,
    any_color,
    choose,
    fabric,
    metal,
    mix,
    neutral,
    plain,
    soft,
    vivid,
    wood,
)
from .item import Box, Item, Lamp, Part, make

OTHER = "otherfurniture"
WARM: tuple[RGB, ...] = ((1.0, 0.80, 0.58), (1.0, 0.86, 0.70), (1.0, 0.93, 0.84))
"""Linear colours of lamps, about 2,900 to 4,000 K, half adapted to."""


def table_lamp(rng: Generator, style: Style) -> Item:
    h, r = rng.uniform(0.3, 0.48), rng.uniform(0.09, 0.15)
    shade_h = r * rng.uniform(1.1, 1.6)
    waist = rng.uniform(0.015, 0.06)
    foot = lathe(
        [
            (0, 0),
            (0.06, 0),
            (0.06, 0.015),
            (waist, 0.08),
            (waist * 0.7, h * 0.45),
            (0.012, h * 0.55),
            (0.012, h - shade_h + 0.02),
            (0, h - shade_h + 0.02),
        ]
    )
    return _shaded(
        rng, "table lamp", foot, choose(rng, (style.board(rng), metal(rng), plain(any_color(rng)))), h, r, shade_h, 0.55
    )


def floor_lamp(rng: Generator, style: Style) -> Item:
    h, r = rng.uniform(1.4, 1.75), rng.uniform(0.16, 0.24)
    shade_h = r * rng.uniform(1.0, 1.4)
    if rng.uniform() < 0.5:
        foot = lathe(
            [(0, 0), (0.15, 0), (0.15, 0.02), (0.014, 0.035), (0.012, h - shade_h + 0.03), (0, h - shade_h + 0.03)]
        )
    else:
        legs3 = [
            cylinder(0.013, 0, h - shade_h, 8).turned(0.17, "x", (0, 0, h - shade_h)).turned(a).moved(z=0.02)
            for a in np.arange(3) * 2 * np.pi / 3
        ]
        foot = join([*legs3, cylinder(0.03, h - shade_h - 0.02, h - shade_h + 0.04, 10)])
    return _shaded(rng, "floor lamp", foot, style.frame(rng), h, r, shade_h, 1.0)


def _shaded(
    rng: Generator, label: str, foot: Mesh, material: Material, h: float, r: float, shade_h: float, power: float
) -> Item:
    lit = rng.uniform() < 0.6
    color = choose(rng, WARM)
    cloth = plain(mix((0.97, 0.93, 0.85), any_color(rng), rng.uniform(0, 0.3)), 0.03, glow=1.05 if lit else 0.0)
    top = r * rng.uniform(0.55, 0.95)
    z0 = h - shade_h
    shade = lathe([(r - 0.006, z0), (r, z0), (top, h), (top - 0.006, h)], 24)
    inner = lathe([(top - 0.006, h), (top - 0.008, h - 0.01), (r - 0.006, z0)], 24)  # the inside, facing the bulb
    bulb = superellipsoid((0.06, 0.06, 0.08), 1, 1, 6, 10).moved(z=z0 + shade_h * 0.5)
    lamps = [Lamp((0.0, r, z0 + shade_h / 2), r * 1.35, color, power)] if lit else []
    parts: list[Part] = [(foot.moved(0, r), material), (join([shade, inner, bulb]).moved(0, r), cloth)]
    return make(label, OTHER, parts, lamps=lamps)


def ceiling_lamp(rng: Generator, style: Style, lit: bool, drop: float) -> Item:
    """A lamp under the ceiling; its origin is the point where it hangs. ``drop`` is the cord's length, metres."""
    color = choose(rng, WARM)
    glow = 1.12 if lit else 0.0
    white = plain((0.96, 0.95, 0.91), 0.02, glow)
    parts: list[Part] = []
    kind = rng.choice(["globe", "dome", "panel", "drum"])
    if kind == "panel" or drop < 0.12:
        w, d = rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6)
        if rng.uniform() < 0.5:
            parts.append(
                (lathe([(0, -0.09), (w / 2 - 0.03, -0.09), (w / 2, -0.06), (w / 2, -0.002), (0, -0.002)], 28), white)
            )
        else:
            parts.append((rounded_box((-w / 2, -d / 2, -0.07), (w / 2, d / 2, -0.002), 0.02), white))
        low, r = -0.1, w / 2
    else:
        r = rng.uniform(0.14, 0.26)
        parts.append((cylinder(0.006, -drop, -0.002, 8), plain((0.15, 0.15, 0.15))))
        if kind == "globe":
            parts.append((superellipsoid((2 * r, 2 * r, 2 * r), 1, 1, 12, 24).moved(z=-drop - r), white))
            low = -drop - 2 * r
        else:
            shade = plain(any_color(rng)) if kind == "dome" else fabric(rng)
            a = 0.05 if kind == "dome" else r * 0.9
            parts.append(
                (
                    lathe(
                        [
                            (0, -drop - r * 0.9 + 0.012),
                            (r - 0.012, -drop - r * 0.9 + 0.012),
                            (r, -drop - r * 0.9),
                            (a, -drop),
                            (0, -drop),
                        ],
                        28,
                    ),
                    shade,
                )
            )
            parts.append((cylinder(r - 0.02, -drop - r * 0.9 + 0.002, -drop - r * 0.9 + 0.011, 28), white))
            low = -drop - r * 0.9
    lamps = [Lamp((0.0, 0.0, low - 0.02), r, color, 3.0, down=True)] if lit else []
    return make("ceiling lamp", OTHER, parts, lamps=lamps)


def plant(rng: Generator, style: Style, h: float | None = None) -> Item:
    """A pot with leaves on arching stems."""
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
        stems.append(tube(path, 0.004 + 0.003 * h, 5).turned(a))
        size = h * rng.uniform(0.22, 0.36)
        leaf = (
            superellipsoid((size, size * broad, 0.008), 1, 1.2, 4, 10)
            .moved(size / 2)
            .turned(rng.uniform(-0.3, 0.75), "y")
        )
        leaves.append(leaf.moved(reach, 0, pot_h - 0.04 + tall).turned(a))
    c = max(float(np.abs(np.concatenate([m.vertices[:, :2] for m in leaves])).max()), r)
    parts: list[Part] = [
        (
            pot.moved(0, c),
            choose(rng, (plain((0.72, 0.42, 0.30)), plain(neutral(rng)), plain(any_color(rng)), style.board(rng))),
        ),
        (cylinder(r - 0.016, pot_h - 0.029, pot_h - 0.022).moved(0, c), plain((0.2, 0.15, 0.11), 0.6)),
        (join(stems).moved(0, c), plain(mix(green, (0.35, 0.28, 0.18), 0.5))),
        (join(leaves).moved(0, c), plain(green, 0.5)),
    ]
    return make("plant", OTHER, parts)


def small_thing(rng: Generator, style: Style, limit: float = 0.5) -> Item:
    """Something to stand on a shelf or a table, lower than ``limit`` metres."""
    kinds = [cup, book_pile, vase, carton, bowl, clock, picture_frame]
    if limit > 0.3:
        kinds += [plant_pot, bottle]
    for _ in range(8):
        item = choose(rng, kinds)(rng, style)
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
    return make("cup", OTHER, [(join([body, grip]).moved(0, r), plain(any_color(rng), 0.02))])


def bottle(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.03, 0.042), rng.uniform(0.22, 0.32)
    mesh = lathe([(0, 0), (r, 0), (r, h * 0.6), (r * 0.35, h * 0.78), (r * 0.35, h), (0, h)], 16)
    return make("bottle", OTHER, [(mesh.moved(0, r), plain(mix(vivid(rng), (0.1, 0.2, 0.1), 0.4), 0.02))])


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
    return make("vase", OTHER, [(mesh.moved(0, r), choose(rng, (plain(any_color(rng)), wood(rng, axis=2))))])


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
    parts: list[Part] = [(dish.moved(0, r), plain(any_color(rng)))]
    if rng.uniform() < 0.6:
        fruit = plain(choose(rng, ((0.85, 0.3, 0.15), (0.9, 0.65, 0.15), (0.45, 0.65, 0.2), (0.7, 0.15, 0.15))))
        for k in range(5):
            a = 2 * np.pi * k / 4
            rr = 0.0 if k == 4 else r * 0.42
            ball = superellipsoid((0.07, 0.07, 0.066), 1, 1, 8, 12)
            parts.append((ball.moved(rr * np.cos(a), r + rr * np.sin(a), r * 0.45 + (0.035 if k == 4 else 0)), fruit))
    return make("bowl", OTHER, parts)


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
        parts.append((join(cover).turned(turn, "z", (0, d / 2, 0)).moved(0, 0, z), plain(c)))
        pages = box((-w / 2 + 0.004, 0.004, 0.003), (w / 2 - 0.004, d - 0.004, t - 0.003))
        parts.append((pages.turned(turn, "z", (0, d / 2, 0)).moved(0, 0, z), plain((0.92, 0.89, 0.8))))
        z += t + 0.0005
    return make("books", OTHER, parts)


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
    return make("box", OTHER, parts)


def clock(rng: Generator, style: Style) -> Item:
    r = rng.uniform(0.05, 0.08)
    disc = cylinder(r, 0, 0.04, 20).turned(-np.pi / 2, "x").moved(0, 0.0, r + 0.004)
    face = cylinder(r * 0.85, 0.04, 0.043, 20).turned(-np.pi / 2, "x").moved(0, 0.0, r + 0.004)
    hands = [
        box((-0.003, 0.0435, 0), (0.003, 0.046, r * 0.7)).turned(a, "y").moved(0, 0, r + 0.004)
        for a in rng.uniform(0, 6.2, 2)
    ]
    return make(
        "clock",
        OTHER,
        [(disc, style.board(rng)), (face, plain((0.94, 0.93, 0.9))), (join(hands), plain((0.1, 0.1, 0.1)))],
    )


def picture_frame(rng: Generator, style: Style) -> Item:
    w, h = rng.uniform(0.1, 0.16), rng.uniform(0.14, 0.2)
    photo = Material(
        T.PAINTING,
        (soft(rng), any_color(rng), any_color(rng)),
        (rng.uniform(0, 4), w - 0.02, h - 0.02, 0.006),
        0,
        int(rng.integers(1, 9999)),
    )
    body = box((-w / 2, 0, 0), (w / 2, 0.012, h))
    face = box((-w / 2 + 0.01, 0.0125, 0.01), (w / 2 - 0.01, 0.014, h - 0.01)).moved()
    stand = box((-0.02, -0.05, 0), (0.02, -0.001, 0.004))
    tilt = 0.14
    face = face.textured(face.vertices - np.array([0, 0, 0.01]))
    return make(
        "photo", OTHER, [(join([body.turned(tilt, "x"), stand]), style.frame(rng)), (face.turned(tilt, "x"), photo)]
    )


# ── electronics ──────────────────────────────────────────────────────────────────────────────────────────────────


def screen_material(rng: Generator, w: float, h: float) -> Material:
    if rng.uniform() < 0.45:
        return Material(T.SCREEN, ((0.05, 0.05, 0.06), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), (0.0, w, h), 0, 1)
    colors = (
        choose(rng, (soft(rng), (0.13, 0.2, 0.32), vivid(rng))),
        (0.94, 0.94, 0.95),
        mix(any_color(rng), (0.3, 0.3, 0.35), 0.5),
    )
    return Material(T.SCREEN, colors, (rng.uniform(1, 3), w, h), 0, int(rng.integers(1, 9999)), glow=0.85)


def _panel(rng: Generator, w: float, h: float, z: float, y: float, t: float, body: Material) -> list[Part]:
    m = 0.012
    face = box((-w / 2 + m, y + t + 0.0005, z + m), (w / 2 - m, y + t + 0.002, z + h - m), 0.2)
    face = face.textured(face.vertices - np.array([0, 0, z + m]))
    return [
        (rounded_box((-w / 2, y, z), (w / 2, y + t, z + h), 0.008), body),
        (face, screen_material(rng, w - 2 * m, h - 2 * m)),
    ]


def television(rng: Generator, w: float) -> Item:
    """On a foot, its back at y = 0."""
    h = w * 9 / 16
    body = plain(choose(rng, ((0.07, 0.07, 0.08), (0.5, 0.5, 0.52), (0.9, 0.9, 0.9))))
    parts = _panel(rng, w, h, 0.08, 0.05, 0.04, body)
    parts.append(
        (join([box((-w * 0.22, 0.0, 0), (w * 0.22, 0.2, 0.014)), box((-0.04, 0.05, 0.014), (0.04, 0.08, 0.09))]), body)
    )
    return make("tv", OTHER, parts)


def monitor(rng: Generator) -> Item:
    w = rng.uniform(0.46, 0.68)
    h = w * rng.uniform(0.52, 0.62)
    body = plain(choose(rng, ((0.08, 0.08, 0.09), (0.68, 0.69, 0.7), (0.92, 0.92, 0.91))))
    parts = _panel(rng, w, h, rng.uniform(0.1, 0.16), 0.08, 0.03, body)
    parts.append(
        (join([box((-0.12, 0.0, 0), (0.12, 0.17, 0.012)), box((-0.025, 0.05, 0.012), (0.025, 0.078, 0.24))]), body)
    )
    return make("monitor", OTHER, parts)


def keyboard(rng: Generator) -> Item:
    keys = Material(
        T.TILES,
        ((0.15, 0.15, 0.16) if rng.uniform() < 0.6 else (0.9, 0.9, 0.9), (0.4, 0.4, 0.42), (0.3, 0.3, 0.3)),
        (0.02, 0.02, 0.5, 0.003, 0.1),
        0,
        3,
    )
    return make("keyboard", OTHER, [(box((-0.22, 0, 0), (0.22, 0.14, 0.02)), keys)])


def laptop(rng: Generator) -> Item:
    w, d = rng.uniform(0.31, 0.37), rng.uniform(0.22, 0.25)
    body = plain(choose(rng, ((0.7, 0.71, 0.72), (0.12, 0.12, 0.13), (0.9, 0.88, 0.85))))
    lid = [
        (m.turned(0.3, "x", (0, 0.0, 0)).moved(0, 0.02, 0.016), material)
        for m, material in _panel(rng, w, d, 0.0, -0.012, 0.01, body)
    ]
    base = rounded_box((-w / 2, 0.02, 0), (w / 2, d + 0.02, 0.016), 0.006)
    keys = Material(
        T.TILES, ((0.2, 0.2, 0.21), (0.45, 0.45, 0.46), (0.2, 0.2, 0.2)), (0.019, 0.019, 0.5, 0.003, 0.1), 0, 3
    )
    return make(
        "laptop", OTHER, [(base, body), (box((-w / 2 + 0.02, 0.04, 0.0161), (w / 2 - 0.02, 0.14, 0.018)), keys), *lid]
    )


def desk_lamp(rng: Generator, style: Style) -> Item:
    color = plain(choose(rng, ((0.1, 0.1, 0.1), (0.85, 0.85, 0.85), vivid(rng))))
    foot = cylinder(0.08, 0, 0.02, 20)
    arm = tube([(0, 0, 0.02), (0, -0.06, 0.16), (0, -0.1, 0.28), (0, 0.0, 0.4), (0, 0.1, 0.44)], 0.007)
    head = tapered(0.07, 0.025, -0.06, 0.03, 16).turned(0.5, "x").moved(0, 0.13, 0.43)
    return make("desk lamp", OTHER, [(join([foot, arm, head]).moved(0, 0.1), color)])


def papers(rng: Generator, style: Style) -> Item:
    parts: list[Part] = []
    for i in range(int(rng.integers(1, 4))):
        sheet = box((-0.105, -0.148, 0), (0.105, 0.148, 0.002)).turned(rng.uniform(-0.4, 0.4))
        parts.append((sheet.moved(rng.uniform(-0.03, 0.03), 0.17, 0.0022 * i), plain((0.95, 0.95, 0.93))))
    return make("papers", OTHER, parts)


def plate(rng: Generator, style: Style) -> Item:
    r = rng.uniform(0.1, 0.14)
    dish = lathe([(0, 0), (r * 0.6, 0), (r, 0.016), (r, 0.02), (r * 0.6, 0.008), (0, 0.008)], 24)
    return make("plate", OTHER, [(dish.moved(0, r), plain(choose(rng, (soft(rng), neutral(rng), (0.95, 0.95, 0.94)))))])


def bin_(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.11, 0.17), rng.uniform(0.26, 0.42)
    if rng.uniform() < 0.6:
        mesh = lathe([(0, 0), (r * 0.85, 0), (r, h), (r - 0.008, h), (r * 0.85 - 0.008, 0.01), (0, 0.01)], 20)
    else:
        mesh = lathe([(0, 0), (r, 0), (r, h * 0.85), (r * 0.8, h * 0.97), (0, h)], 20)
    return make("bin", OTHER, [(mesh.moved(0, r), choose(rng, (metal(rng), plain(any_color(rng)), fabric(rng))))])


def printer(rng: Generator) -> Item:
    w, d, h = rng.uniform(0.38, 0.46), rng.uniform(0.32, 0.38), rng.uniform(0.16, 0.26)
    body = plain(choose(rng, ((0.9, 0.9, 0.89), (0.15, 0.15, 0.16), (0.6, 0.61, 0.62))))
    boxes: list[Box] = [(-w / 2, 0, 0, w / 2, d, h + 0.01)]
    tray = box((-w / 2 + 0.07, d - 0.01, h * 0.35), (w / 2 - 0.07, d + 0.1, h * 0.35 + 0.012))
    lid = box((-w / 2 + 0.03, 0.03, h), (w / 2 - 0.03, d - 0.1, h + 0.01))
    return make(
        "printer",
        OTHER,
        [
            (rounded_box((-w / 2, 0, 0), (w / 2, d, h), 0.02), body),
            (tray, plain((0.95, 0.95, 0.94))),
            (lid, plain((0.3, 0.3, 0.32))),
        ],
        boxes,
    )


def basket(rng: Generator, style: Style) -> Item:
    r, h = rng.uniform(0.18, 0.26), rng.uniform(0.28, 0.5)
    mesh = lathe(
        [(0, 0), (r * 0.85, 0), (r, h * 0.6), (r * 0.96, h), (r * 0.9, h), (r * 0.9, h - 0.06), (0, h - 0.05)], 24
    )
    return make(
        "basket",
        OTHER,
        [(mesh.moved(0, r), choose(rng, (fabric(rng, (0.72, 0.58, 0.4)), fabric(rng), plain(any_color(rng)))))],
    )
