"""Groups of furniture that belong together: a table with chairs, a desk with its chair, a bed, a sofa, a kitchen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from ..furniture import clutter, decor, seats, storage, surfaces
from ..furniture import kitchen as units
from ..furniture.item import Item, make
from ..geometry.mesh import box
from ..materials.materials import Style, choose, neutral, soft, tiles
from .layout import Layout


def seats_around(
    lay: Layout,
    rng: Generator,
    style: Style,
    centre: tuple[float, float, float],
    w: float,
    d: float,
    count: int,
    seat: Callable[[], Item],
) -> None:
    """Chairs around a w × d table at ``centre`` (x, y, yaw), pushed in or pulled out a little."""
    x0, y0, yaw = centre
    places: list[tuple[float, float, float]] = []  # (x, y) of the chair's seat edge and where it faces, table frame
    n = 2 if w > 1.45 else 1
    for i in range(n):
        x = (i - (n - 1) / 2) * w / n
        places += [(x, d / 2, np.pi), (x, -d / 2, 0.0)]
    places += [(w / 2, 0.0, np.pi / 2), (-w / 2, 0.0, -np.pi / 2)]
    order = rng.permutation(len(places)) if n == 1 else np.concatenate([rng.permutation(4), 4 + rng.permutation(2)])
    for k in order[:count]:
        px, py, face = places[int(k)]
        item = seat()
        pulled = item.depth * rng.uniform(0.5, 0.95)
        turn = face + yaw + rng.normal(0, 0.09)
        out = np.array([np.sin(face), -np.cos(face)])  # away from the table; a chair looks along +y
        sx, sy = np.array([px, py]) + out * pulled
        c, s = np.cos(yaw), np.sin(yaw)
        lay.at(item, x0 + c * sx - s * sy, y0 + s * sx + c * sy, turn, zones=False)


def dining(lay: Layout, rng: Generator, style: Style, small: bool = False, chairs: int | None = None) -> bool:
    """A table with chairs in free space (or with its back to a wall), laid with a few things."""
    item = surfaces.dining_table(rng, style, small)
    w, d = item.width, item.depth
    things = [
        choose(rng, (clutter.vase, clutter.bowl, clutter.cup, clutter.plate, clutter.bottle, clutter.small_thing))(
            rng, style
        )
        for _ in range(int(rng.integers(1, 6)))
    ]
    k = 0.6 if w == d else 0.9
    item = item.with_children(
        surfaces.scatter(rng, things, -w / 2 * k, w / 2 * k, d / 2 * (1 - k) + 0.03, d / 2 * (1 + k) - 0.03, item.top)
    )
    placed = lay.somewhere(item, 0.6) or lay.somewhere(item, 0.35)
    if placed is None:
        at_wall = lay.against(item, front=0.6)
        if at_wall is None:
            return False
        b = at_wall[0].bounds
        x, y, yaw = (b[0] + b[3]) / 2, (b[1] + b[4]) / 2, lay.plan.yaw(at_wall[1])
    else:
        _, x, y, yaw = placed
    state = rng.bit_generator.state  # one set of chairs: every chair is drawn from the same state

    def seat() -> Item:
        own = np.random.default_rng()
        own.bit_generator.state = state
        return seats.chair(own, style)

    single = rng.uniform() < 0.8
    seats_around(
        lay,
        rng,
        style,
        (x, y, yaw),
        w,
        d,
        chairs or int(rng.integers(2, 7)),
        seat if single else lambda: seats.chair(rng, style),
    )
    return True


def workplace(lay: Layout, rng: Generator, style: Style) -> bool:
    """A desk at a wall with a screen or papers on it, a chair before it."""
    item = surfaces.desk(rng, style)
    w, d, h = item.width, item.depth, item.top
    children: list[Item] = []
    taken = []
    r = rng.uniform()
    x = rng.uniform(-0.15, 0.15)
    if r < 0.6:
        for i in range(1 if rng.uniform() < 0.7 or w < 1.35 else 2):
            screen = (
                clutter.monitor(rng)
                .turned(rng.uniform(-0.12, 0.12))
                .moved(x + 0.62 * i - (0.3 if w >= 1.35 else 0), 0.08, h)
            )
            if screen.bounds[3] < w / 2 and screen.bounds[0] > -w / 2:
                children.append(screen)
                taken.append(screen.bounds)
        keys = clutter.keyboard(rng).moved(x, d - 0.24, h)
        children.append(keys)
        taken.append(keys.bounds)
    elif r < 0.85:
        machine = clutter.laptop(rng).turned(rng.uniform(-0.3, 0.3)).moved(x, d * 0.35, h)
        children.append(machine)
        taken.append(machine.bounds)
    things = [
        choose(rng, (clutter.papers, clutter.desk_lamp, clutter.small_thing, clutter.cup, clutter.book_pile))(
            rng, style
        )
        for _ in range(int(rng.integers(1, 6)))
    ]
    children += surfaces.scatter(rng, things, -w / 2 + 0.03, w / 2 - 0.03, 0.03, d - 0.03, h, taken)
    placed = lay.against(item.with_children(children), front=0.7)
    if placed is None:
        return False
    _, wall, s = placed
    seat = seats.office_chair(rng, style) if rng.uniform() < 0.7 else seats.chair(rng, style)
    a, e, _ = lay.plan.wall(wall)
    inward = np.array([-e[1], e[0]])
    for _ in range(8):
        along = s + rng.uniform(-0.15, 0.15) * w
        x, y = a + along * e + inward * (d + rng.uniform(0.28, 0.6))
        if lay.at(seat, float(x), float(y), lay.plan.yaw(wall) + np.pi + rng.normal(0, 0.35), zones=False):
            break
    if rng.uniform() < 0.6:
        lay.against(clutter.bin_(rng, style), [wall], near=s + w * 0.8)
    return True


def bed_group(lay: Layout, rng: Generator, style: Style) -> bool:
    """A bed, what stands beside it, and a picture over it."""
    for width in (None, None, 1.4, 0.9):
        item = seats.bed(rng, style, width)
        walls = lay.doorless(item.width + 0.6)
        middle = lay.plan.wall(walls[0])[2] / 2
        placed = lay.against(item, walls, near=middle, front=0.4) or lay.against(
            item, walls, corner=True, front=0.3, tries=40
        )
        if placed:
            break
    else:
        return False
    _, wall, s = placed
    stand = lambda: storage.nightstand(rng, style) if rng.uniform() < 0.75 else surfaces.side_table(rng, style)  # noqa: E731
    for side in (-1, 1):
        if rng.uniform() < 0.85:
            one = stand()
            lay.against(one, [wall], near=s + side * (item.width / 2 + one.width / 2 + 0.06), tries=3)
    if rng.uniform() < 0.7:
        hang(lay, rng, style, wall, s, rng.uniform(1.35, 1.6), rng.uniform(0.6, min(1.3, item.width + 0.1)))
    if rng.uniform() < 0.6:
        a, e, _ = lay.plan.wall(wall)
        x, y = a + s * e + 0.7 * np.array([-e[1], e[0]])
        lay_rug(lay, rng, style, float(x), float(y), lay.plan.yaw(wall), item.width + rng.uniform(0.8, 1.3), 1.9)
    if rng.uniform() < 0.25:
        a, e, _ = lay.plan.wall(wall)
        x, y = a + s * e + (item.depth + 0.12) * np.array([-e[1], e[0]])
        lay.at(seats.bench(rng, style), float(x), float(y), lay.plan.yaw(wall), zones=False)
    return True


def sofa_group(lay: Layout, rng: Generator, style: Style) -> bool:
    """A sofa, a coffee table on a rug, a television or another seat across."""
    item = seats.sofa(rng, style)
    walls = lay.doorless(item.width + 0.3)
    middle = lay.plan.wall(walls[0])[2] / 2
    placed = lay.against(item, walls, near=middle, front=0.5) or lay.against(item, front=0.4, tries=40)
    if placed is None:
        return False
    _, wall, s = placed
    a, e, _ = lay.plan.wall(wall)
    inward = np.array([-e[1], e[0]])
    yaw = lay.plan.yaw(wall)
    reach = item.depth if len(item.boxes) == 2 else 0.95
    if rng.uniform() < 0.75:
        x, y = a + s * e + 0.55 * inward
        lay_rug(lay, rng, style, float(x), float(y), yaw, item.width + rng.uniform(-0.3, 0.6), rng.uniform(1.5, 2.2))
    if rng.uniform() < 0.88:
        low = surfaces.coffee_table(rng, style)
        k = 0.6 if low.width == low.depth else 0.9
        things = [
            choose(rng, (clutter.book_pile, clutter.bowl, clutter.cup, clutter.vase, clutter.small_thing))(rng, style)
            for _ in range(int(rng.integers(1, 5)))
        ]
        low = low.with_children(
            surfaces.scatter(
                rng,
                things,
                -low.width / 2 * k,
                low.width / 2 * k,
                low.depth / 2 * (1 - k) + 0.02,
                low.depth / 2 * (1 + k) - 0.02,
                low.top,
            )
        )
        shift = rng.uniform(-0.12, 0.12) if len(item.boxes) == 2 else 0.0
        x, y = a + (s + shift) * e + (reach + rng.uniform(0.32, 0.5)) * inward
        lay.at(low, float(x), float(y), yaw, zones=False)
    across = lay.opposite(wall)
    if across and rng.uniform() < 0.8:
        stand = storage.tv_stand(rng, style)
        other = across[0]
        near = float((a + s * e - lay.plan.wall(other)[0]) @ lay.plan.wall(other)[1])
        lay.against(stand, [other], near=near, front=0.5, tries=30)
    for _ in range(int(rng.integers(0, 3))):
        arm = seats.armchair(rng, style)
        side = choose(rng, (-1, 1))
        x, y = a + (s + side * (item.width / 2 + rng.uniform(0.5, 0.9))) * e + rng.uniform(1.0, 1.9) * inward
        lay.at(arm, float(x), float(y), yaw + side * (np.pi / 2 + rng.uniform(-0.2, 0.35)), zones=False)
    for side in (-1, 1):
        thing = choose(rng, (surfaces.side_table, clutter.floor_lamp, clutter.plant, None))
        if thing is not None:
            lay.against(thing(rng, style), [wall], near=s + side * (item.width / 2 + 0.3), tries=4)
    if rng.uniform() < 0.75:
        hang(lay, rng, style, wall, s, rng.uniform(1.25, 1.5), rng.uniform(0.6, 1.3))
    return True


def lay_rug(lay: Layout, rng: Generator, style: Style, x: float, y: float, yaw: float, w: float, d: float) -> None:
    """A rug at that place, cut back until it lies inside the room; furniture may stand on it."""
    for shrink in (1.0, 0.85, 0.7):
        item = decor.rug(rng, style, w * shrink, d * shrink).turned(yaw).moved(x, y)
        if lay.plan.holds(item.bounds) and not any(i.label == "rug" for i in lay.items):
            lay.add(item, solid=False)
            return


def hang(lay: Layout, rng: Generator, style: Style, wall: int, s: float, z: float, w: float | None = None) -> None:
    """One picture, or a row of small ones."""
    if w is not None and w > 0.7 and rng.uniform() < 0.35:
        n = int(rng.integers(2, 4))
        for i in range(n):
            lay.against(
                decor.picture(rng, style, w / n * 0.8),
                [wall],
                z,
                near=s + (i - (n - 1) / 2) * w / n,
                gap=0.002,
                tries=1,
            )
        return
    lay.against(decor.picture(rng, style, w), [wall], z, near=s, gap=0.002, tries=4)


def kitchenette(lay: Layout, rng: Generator, style: Style, width: float) -> bool:
    """Base and wall cabinets with a splashback, and a refrigerator next to them."""
    for w in (width, width * 0.85, width * 0.7, 1.5, 1.2):
        run = units.kitchen_run(rng, style, w)
        placed = lay.against(run, lay.doorless(w), corner=True, front=0.75, gap=0.004, tries=30) or lay.against(
            run, front=0.7, gap=0.004, tries=30
        )
        if placed:
            break
    else:
        return False
    _, wall, s = placed
    fridge = units.refrigerator(rng, style)
    for side in rng.permutation([-1, 1]):
        if lay.against(fridge, [wall], near=s + side * (w / 2 + fridge.width / 2 + 0.02), front=0.5, tries=2):
            break
    else:
        lay.against(fridge, front=0.5, tries=40)
    top = run.bounds[5]
    if rng.uniform() < 0.7:
        size = choose(rng, ((0.1, 0.1), (0.15, 0.075), (0.2, 0.2)))
        splash = make(
            "splashback",
            "wall",
            [(box((-w / 2, 0, 0), (w / 2, 0.006, 0.42)), tiles(rng, choose(rng, (soft, neutral, neutral))(rng), size))],
        )
        lay.against(splash, [wall], top + 0.12, near=s, gap=0.001, tries=1)
    hob = next((c for c in run.children if c.label == "hob"), None)
    z = rng.uniform(1.42, 1.52)
    if hob is not None and rng.uniform() < 0.8:
        b = hob.bounds
        lay.against(units.hood(rng, style), [wall], z + 0.1, near=s + (b[0] + b[3]) / 2, gap=0.004, tries=1)
    unit = w / max(1, round(w / 0.55))
    for i in range(round(w / unit)):
        if rng.uniform() < 0.9:
            lay.against(
                units.wall_cabinets(rng, style, unit - 0.004, run),
                [wall],
                z,
                near=s - w / 2 + (i + 0.5) * unit,
                gap=0.004,
                tries=1,
            )
    return True
