"""Things to sit and lie on: chairs, stools, armchairs, office chairs, sofas, beds."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..geometry.mesh import Mesh, box, cylinder, join, lathe, rounded_box, superellipsoid, tapered, tube
from ..materials.materials import Material, Style, board, choose, fabric, metal, neutral, plain
from .item import Box, Item, Part, make


def legs(
    w: float, d: float, height: float, thickness: float, inset: float = 0.02, rounded: bool = False, splay: float = 0.0
) -> Mesh:
    """Four legs under a w × d top that starts at ``height`` (x centred, y from 0)."""
    out = []
    for sx in (-1, 1):
        for sy in (0, 1):
            x = sx * (w / 2 - inset - thickness / 2)
            y = inset + thickness / 2 if sy == 0 else d - inset - thickness / 2
            if rounded:
                leg = tapered(thickness * 0.32, thickness * 0.5, 0, height)
            else:
                leg = box((-thickness / 2, -thickness / 2, 0), (thickness / 2, thickness / 2, height))
            if splay:
                leg = leg.turned(splay * (1 if sy else -1), "x", (0, 0, height)).turned(
                    -splay * sx, "y", (0, 0, height)
                )
                leg = leg.moved(z=0.004)  # a leaning leg's foot would dip into the floor
            out.append(leg.moved(x, y))
    return join(out)


def pillow(rng: Generator, w: float, h: float, material: Material) -> Part:
    """A cushion lying flat, centred at the origin, its underside at z = 0."""
    t = rng.uniform(0.10, 0.16)
    return superellipsoid((w, h, t), 1.0, 0.35).moved(z=t / 2), material


def chair(rng: Generator, style: Style) -> Item:
    """A dining or side chair: four legs or a pedestal; slats, panel, shell or upholstered back."""
    w, d = rng.uniform(0.40, 0.50), rng.uniform(0.40, 0.50)
    seat, back = rng.uniform(0.43, 0.48), rng.uniform(0.78, 1.02)
    frame = style.frame(rng)
    body = choose(rng, (frame, style.board(rng), style.fabric(rng)))
    kind = rng.choice(["slats", "panel", "shell", "upholstered", "ladder"])
    parts: list[Part] = []
    t = 0.035
    if kind == "shell":
        shell = plain(body.colors[0], 0.03)
        parts.append((rounded_box((-w / 2, 0.04, seat - 0.03), (w / 2, d, seat), 0.015), shell))
        parts.append(
            (
                rounded_box((-w / 2 + 0.02, 0.0, seat - 0.01), (w / 2 - 0.02, 0.035, back), 0.016).turned(
                    0.12, "x", (0, 0.02, seat)
                ),
                shell,
            )
        )
        if rng.uniform() < 0.5:
            parts.append((legs(w, d, seat - 0.03, 0.036, 0.05, True, 0.14), frame))
        else:
            parts.append(
                (
                    lathe(
                        [(0, 0), (0.22, 0), (0.22, 0.015), (0.03, 0.05), (0.028, seat - 0.03), (0, seat - 0.03)]
                    ).moved(0, d / 2),
                    frame,
                )
            )
    else:
        parts.append((legs(w, d, seat - 0.04, t, 0.005, bool(rng.uniform() < 0.3)), frame))
        if kind == "upholstered":
            cloth = style.fabric(rng)
            parts.append((rounded_box((-w / 2, 0, seat - 0.05), (w / 2, d, seat + 0.03), 0.03, bulge=0.015), cloth))
            parts.append(
                (
                    rounded_box((-w / 2, 0, seat + 0.02), (w / 2, 0.07, back), 0.03).turned(0.08, "x", (0, 0.03, seat)),
                    cloth,
                )
            )
        else:
            parts.append((box((-w / 2, 0, seat - 0.04), (w / 2, d, seat - 0.012)), frame))
            parts.append((rounded_box((-w / 2, 0.0, seat - 0.012), (w / 2, d, seat + 0.012), 0.012), body))
            rest: list[Mesh] = [
                box((sx * (w / 2 - t / 2) - t / 2, 0, seat), (sx * (w / 2 - t / 2) + t / 2, t, back)) for sx in (-1, 1)
            ]
            inner = w / 2 - t
            if kind == "slats":
                rest.append(box((-inner, 0.004, back - 0.07), (inner, t - 0.004, back)))
                for x in np.linspace(-inner, inner, int(rng.integers(4, 8)))[1:-1]:
                    rest.append(box((x - 0.011, 0.01, seat), (x + 0.011, t - 0.01, back - 0.06)))
            elif kind == "ladder":
                for z in np.linspace(seat + 0.12, back - 0.06, int(rng.integers(2, 5))):
                    rest.append(box((-inner, 0.006, z), (inner, t - 0.006, z + 0.055)))
            else:
                rest.append(box((-inner, 0.008, seat + 0.14), (inner, t - 0.008, back - 0.01)))
            parts.append((join(rest).turned(0.07, "x", (0, t / 2, seat)), frame))
    boxes: list[Box] = [(-w / 2, 0, 0, w / 2, d, seat + 0.03), (-w / 2, -0.09, seat, w / 2, 0.09, back)]
    return make("chair", "chair", parts, boxes)


def stool(rng: Generator, style: Style, height: float | None = None) -> Item:
    """A stool; tall ones stand at counters. ScanNet's annotators call them chairs."""
    h = rng.uniform(0.42, 0.7) if height is None else height
    r = rng.uniform(0.15, 0.2)
    frame = style.frame(rng)
    parts: list[Part] = []
    if rng.uniform() < 0.5:
        parts.append(
            (
                lathe([(0, h - 0.05), (r, h - 0.05), (r + 0.005, h - 0.02), (r - 0.01, h), (0, h)], 24).moved(0, r),
                style.board(rng),
            )
        )
        parts.append((legs(2 * r, 2 * r, h - 0.05, 0.035, 0.05, True, 0.1), frame))
        ring = np.linspace(0, 2 * np.pi, 17)
        parts.append(
            (
                tube(
                    np.stack([(r * 0.82) * np.cos(ring), r + (r * 0.82) * np.sin(ring), np.full(17, h * 0.35)], 1),
                    0.009,
                ),
                frame,
            )
        )
    else:
        parts.append((rounded_box((-r, 0, h - 0.06), (r, 2 * r, h), 0.025, bulge=0.015), style.fabric(rng)))
        parts.append(
            (
                lathe([(0, 0), (0.2, 0), (0.2, 0.012), (0.03, 0.03), (0.025, h - 0.06), (0, h - 0.06)]).moved(0, r),
                metal(rng),
            )
        )
    return make("stool", "chair", parts)


def office_chair(rng: Generator, style: Style) -> Item:
    """A swivel chair on a five-star base."""
    w, d = rng.uniform(0.46, 0.54), rng.uniform(0.46, 0.52)
    seat, back = rng.uniform(0.45, 0.52), rng.uniform(0.9, 1.2)
    cloth = fabric(rng, neutral(rng)) if rng.uniform() < 0.5 else style.fabric(rng)
    dark = choose(rng, (plain((0.12, 0.12, 0.13)), metal(rng)))
    cy = d / 2 + 0.04
    star: list[Mesh] = []
    for a in np.arange(5) * 2 * np.pi / 5 + rng.uniform(0, 1):
        arm = box((0, -0.02, 0.06), (0.28, 0.02, 0.09)).turned(0.06, "y", (0, 0, 0.08)).turned(a)
        wheel = superellipsoid((0.05, 0.035, 0.056), rings=6, segments=10, e1=1, e2=1).moved(0.27, 0, 0.03).turned(a)
        star += [arm.moved(0, cy), wheel.moved(0, cy)]
    star.append(cylinder(0.028, 0.08, seat - 0.06).moved(0, cy))
    parts: list[Part] = [
        (join(star), dark),
        (rounded_box((-w / 2, 0.04, seat - 0.07), (w / 2, 0.04 + d, seat + 0.02), 0.04, bulge=0.015), cloth),
        (
            rounded_box((-w / 2 + 0.02, 0.0, seat + 0.1), (w / 2 - 0.02, 0.07, back), 0.035, bulge=0.01).turned(
                0.12, "x", (0, 0, seat)
            ),
            cloth,
        ),
        (box((-0.035, 0.0, seat - 0.05), (0.035, 0.02, seat + 0.25)).turned(0.1, "x", (0, 0, seat)), dark),
    ]
    if rng.uniform() < 0.7:
        for sx in (-1, 1):
            x = sx * (w / 2 + 0.03)
            post = box((x - 0.015, cy - 0.03, seat - 0.04), (x + 0.015, cy + 0.03, seat + 0.2))
            bar = box((min(x, 0), cy - 0.02, seat - 0.07), (max(x, 0), cy + 0.02, seat - 0.05))
            pad = rounded_box((x - 0.035, cy - 0.13, seat + 0.19), (x + 0.035, cy + 0.12, seat + 0.225), 0.015)
            parts.append((join([post, bar, pad]), dark))
    r = 0.3
    boxes: list[Box] = [
        (-r, cy - r, 0, r, cy + r, 0.12),
        (-w / 2 - 0.07, 0, 0.1, w / 2 + 0.07, d + 0.04, seat + 0.23),
        (-w / 2, -0.14, seat, w / 2, 0.08, back),
    ]
    return make("office chair", "chair", parts, boxes)


def _feet(w: float, d: float, h: float, frame: Material, rng: Generator) -> list[Part]:
    if rng.uniform() < 0.3:
        return [(box((-w / 2 + 0.03, 0.03, 0), (w / 2 - 0.03, d - 0.03, h)), plain((0.13, 0.12, 0.12)))]
    return [(legs(w, d, h, 0.05, 0.04, bool(rng.uniform() < 0.6)), frame)]


def armchair(rng: Generator, style: Style) -> Item:
    """An upholstered chair with arms."""
    w, d = rng.uniform(0.68, 0.85), rng.uniform(0.7, 0.85)
    return _couch(rng, style, w, d, 1, "armchair", "chair")


def sofa(rng: Generator, style: Style) -> Item:
    """Two or three seats, sometimes with a chaise."""
    n = int(rng.choice([2, 3, 3]))
    w = n * rng.uniform(0.62, 0.74) + 0.35
    return _couch(
        rng, style, w, rng.uniform(0.82, 0.98), n, "sofa", "sofa", chaise=bool(n == 3 and rng.uniform() < 0.3)
    )


def _couch(
    rng: Generator, style: Style, w: float, d: float, seats: int, label: str, category: str, chaise: bool = False
) -> Item:
    cloth = style.fabric(rng)
    seat, back, arm = rng.uniform(0.38, 0.46), rng.uniform(0.72, 0.95), rng.uniform(0.52, 0.66)
    arm_w = rng.uniform(0.1, 0.22)
    foot = rng.uniform(0.06, 0.14)
    back_d = rng.uniform(0.16, 0.24)
    r = rng.uniform(0.03, 0.09)
    wooden_arms = rng.uniform() < 0.2
    parts = _feet(w, d, foot, style.frame(rng), rng)
    parts.append((rounded_box((-w / 2, 0, foot), (w / 2, d - 0.01, seat - 0.12), 0.03), cloth))
    parts.append((rounded_box((-w / 2, 0, foot + 0.05), (w / 2, back_d, back - 0.04), r), cloth))
    for sx in (-1, 1):
        x0, x1 = sorted((sx * w / 2, sx * (w / 2 - arm_w)))
        if wooden_arms:
            frame = style.frame(rng)
            parts.append((box((x0, 0.1, arm - 0.04), (x1, d, arm)), frame))
            parts.append((box((x0, d - 0.08, seat - 0.13), (x1, d, arm - 0.04)), frame))
        else:
            parts.append((rounded_box((x0, 0, foot + 0.02), (x1, d, arm), r, bulge=0.01), cloth))
    inner = w - 2 * arm_w
    each = inner / seats
    long = d + rng.uniform(0.55, 0.75)
    corner = int(rng.choice([0, seats - 1]))
    boxes: list[Box] = [(-w / 2, 0, 0, w / 2, d, arm), (-w / 2, 0, 0, w / 2, back_d + 0.25, back + 0.05)]
    for i in range(seats):
        x0, x1 = -inner / 2 + i * each + 0.004, -inner / 2 + (i + 1) * each - 0.004
        front = d + 0.02
        if chaise and i == corner:
            front = long
            parts.append((rounded_box((x0, d - 0.05, foot), (x1, long - 0.01, seat - 0.12), 0.03), cloth))
            parts.append((legs(x1 - x0, long - d, foot, 0.05).moved((x0 + x1) / 2, d), style.frame(rng)))
            boxes.append((x0, d, 0, x1, long, seat))
        parts.append((rounded_box((x0, back_d, seat - 0.14), (x1, front, seat), 0.045, bulge=0.02), cloth))
        if rng.uniform() < 0.85:
            rest = rounded_box((x0, 0, 0), (x1, 0.15, back - seat + 0.02), 0.06, bulge=0.03)
            parts.append((rest.turned(0.16, "x").moved(0, back_d + 0.06, seat - 0.01), cloth))
    for _ in range(int(rng.integers(0, 4)) if category == "sofa" else int(rng.integers(0, 2))):
        s = rng.uniform(0.34, 0.46)
        mesh, material = pillow(rng, s, s, style.fabric(rng))
        x = rng.uniform(-inner / 2 + s / 2, max(inner / 2 - s / 2, -inner / 2 + s / 2 + 1e-3))
        leaning = mesh.turned(-1.15, "x").turned(rng.uniform(-0.25, 0.25)).moved(x, back_d + 0.3, seat + s / 2 - 0.02)
        parts.append((leaning, material))
    return make(label, category, parts, boxes)


def bed(rng: Generator, style: Style, width: float | None = None) -> Item:
    """A bed with its head at the wall: frame, mattress, blanket, pillows."""
    w = choose(rng, (0.9, 1.2, 1.4, 1.6, 1.8)) if width is None else width
    length = rng.uniform(1.95, 2.1)
    base = rng.uniform(0.22, 0.34)
    head = rng.uniform(0.75, 1.25)
    thick = rng.uniform(0.16, 0.24)
    frame = choose(rng, (style.board(rng), style.board(rng), style.fabric(rng)))
    bw = w + 0.08
    parts: list[Part] = []
    if rng.uniform() < 0.35:  # a box frame down to the floor
        parts.append((box((-bw / 2, 0.05, 0.0), (bw / 2, length + 0.09, base), 0.15), frame))
    else:
        parts.append((legs(bw, length + 0.05, base - 0.14, 0.07, 0.03), style.frame(rng)))
        parts.append((box((-bw / 2, 0.04, base - 0.14), (bw / 2, length + 0.09, base), 0.15), frame))
    headboard = rng.uniform()
    if headboard < 0.4:
        parts.append((box((-bw / 2, 0, 0.05), (bw / 2, 0.05, head)), frame))
    elif headboard < 0.7:
        padded = style.fabric(rng)
        n = int(rng.integers(2, 6))
        for i in range(n):
            x0, x1 = -bw / 2 + i * bw / n, -bw / 2 + (i + 1) * bw / n
            parts.append((rounded_box((x0, 0, 0.08), (x1, 0.09, head), 0.03, bulge=0.012), padded))
    else:
        bars = [
            cylinder(0.014, base, head - 0.03, 8).moved(x, 0.03) for x in np.linspace(-bw / 2 + 0.1, bw / 2 - 0.1, 9)
        ]
        posts = [cylinder(0.025, 0, head, 10).moved(s * (bw / 2 - 0.03), 0.03) for s in (-1, 1)]
        rail = box((-bw / 2 + 0.03, 0.015, head - 0.05), (bw / 2 - 0.03, 0.045, head - 0.02))
        parts.append((join([*bars, *posts, rail]), metal(rng)))
    top = base + thick
    sheet = style.fabric(rng)
    parts.append((rounded_box((-w / 2, 0.09, base), (w / 2, length + 0.06, top), 0.06), sheet))
    cover = style.fabric(rng)
    y0 = rng.uniform(0.5, 1.1)
    drop = rng.uniform(0.12, thick + 0.06)
    parts.append(
        (
            rounded_box((-w / 2 - 0.03, y0, top - drop), (w / 2 + 0.03, length + 0.1, top + 0.045), 0.045, bulge=0.02),
            cover,
        )
    )
    if rng.uniform() < 0.4:  # a throw across the foot end
        parts.append(
            (
                rounded_box(
                    (-w / 2 - 0.045, length - 0.55, top - drop - 0.03), (w / 2 + 0.045, length - 0.1, top + 0.07), 0.04
                ),
                style.fabric(rng),
            )
        )
    n = 1 if w < 1.3 else 2
    linen = style.fabric(rng)
    pw = min(0.72, (w - 0.1) / n)
    for i in range(n):
        mesh, material = pillow(rng, pw, 0.44, linen)
        x = (i - (n - 1) / 2) * (w / n) * 0.96
        lean = rng.uniform(0.1, 0.7)
        parts.append(
            (
                mesh.turned(-lean, "x")
                .turned(rng.uniform(-0.08, 0.08))
                .moved(x, 0.36, top - 0.03 + 0.2 * np.sin(lean)),
                material,
            )
        )
    if rng.uniform() < 0.4:
        mesh, material = pillow(rng, 0.36, 0.36, style.fabric(rng))
        parts.append((mesh.turned(-0.9, "x").moved(rng.uniform(-0.2, 0.2), 0.62, top + 0.13), material))
    boxes: list[Box] = [
        (-w / 2 - 0.05, 0, 0, w / 2 + 0.05, length + 0.11, top + 0.1),
        (-bw / 2, 0, 0, bw / 2, 0.7, max(head, top + 0.35)),
    ]
    return make("bed", "bed", parts, boxes)


def bench(rng: Generator, style: Style) -> Item:
    """A low upholstered or wooden bench (otherfurniture, as an ottoman is)."""
    w, d, h = rng.uniform(0.5, 1.2), rng.uniform(0.35, 0.5), rng.uniform(0.38, 0.46)
    parts = _feet(w, d, h - 0.12, style.frame(rng), rng)
    top = style.fabric(rng) if rng.uniform() < 0.7 else board(rng)
    parts.append((rounded_box((-w / 2, 0, h - 0.12), (w / 2, d, h), 0.035, bulge=0.012), top))
    return make("ottoman", "otherfurniture", parts)
