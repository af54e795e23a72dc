"""Materials: a texture with its colours, and the distributions they are drawn from.

The distributions are broad and shared on purpose. A cabinet, a door, a desk and a floor may all be the same oak, a
sofa and a curtain the same cloth, a fridge and a bathtub the same white: colour alone must not tell a class.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from . import textures as T

RGB = tuple[float, float, float]


def to_linear(rgb: Sequence[float] | NDArray) -> NDArray:
    """sRGB in [0, 1] → linear light (IEC 61966-2-1)."""
    c = np.asarray(rgb, float)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


@dataclass(frozen=True)
class Material:
    """One row of the material table that `textures.albedo` reads.

    Attributes:
        kind: a texture of `textures`.
        colors: three sRGB colours in [0, 1]; what each does depends on the texture.
        p: up to six texture parameters.
        axis: direction of grain or stripes.
        seed: of the texture's noise.
        glow: shown brightness of a thing that shines (1 = white on the screen); 0 for all others.
    """

    kind: int
    colors: tuple[RGB, RGB, RGB]
    p: tuple[float, ...] = ()
    axis: int = 0
    seed: int = 0
    glow: float = 0.0

    def grained(self, axis: int) -> Material:
        """With the grain or stripes along another texture axis."""
        return replace(self, axis=axis)


def hsv(h: float, s: float, v: float) -> RGB:
    return colorsys.hsv_to_rgb(h % 1.0, min(max(s, 0.0), 1.0), min(max(v, 0.0), 1.0))


def mix(a: RGB, b: RGB, t: float) -> RGB:
    return (a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2]))


def _seed(rng: Generator) -> int:
    return int(rng.integers(1, 1 << 20))


def choose(rng: Generator, options: Sequence, p: Sequence[float] | None = None):
    """One of ``options`` (any type; `Generator.choice` would make arrays of them)."""
    return options[int(rng.choice(len(options), p=p))]


# ── colours ──────────────────────────────────────────────────────────────────────────────────────────────────────

WOODS: tuple[RGB, ...] = (
    (0.87, 0.76, 0.60),  # birch
    (0.80, 0.64, 0.44),  # oak
    (0.74, 0.55, 0.36),  # beech
    (0.62, 0.42, 0.26),  # cherry
    (0.47, 0.31, 0.20),  # walnut
    (0.33, 0.22, 0.16),  # wenge
    (0.60, 0.53, 0.45),  # driftwood
    (0.90, 0.86, 0.79),  # whitewashed
)


def wood_color(rng: Generator) -> RGB:
    c = WOODS[int(rng.integers(len(WOODS)))]
    h, s, v = colorsys.rgb_to_hsv(*c)
    return hsv(h + rng.normal(0, 0.008), s * rng.uniform(0.8, 1.15), v * rng.uniform(0.9, 1.06))


def _hue(rng: Generator) -> float:
    """Any hue, but as people choose them for their homes: earth, blue and green more often than magenta."""
    ranges = ((-0.02, 0.05), (0.05, 0.13), (0.13, 0.22), (0.22, 0.42), (0.42, 0.55), (0.55, 0.68), (0.68, 0.98))
    return float(rng.uniform(*ranges[int(rng.choice(7, p=[0.14, 0.2, 0.1, 0.15, 0.12, 0.19, 0.1]))]))


def vivid(rng: Generator) -> RGB:
    """A saturated but liveable colour."""
    h = _hue(rng)
    loud = 0.8 if h > 0.68 else 1.0
    return hsv(h, loud * rng.uniform(0.3, 0.72), rng.uniform(0.35, 0.82))


def soft(rng: Generator) -> RGB:
    """A pastel."""
    return hsv(_hue(rng), rng.uniform(0.05, 0.24), rng.uniform(0.76, 0.96))


def neutral(rng: Generator) -> RGB:
    """White to charcoal, faintly warm or cold."""
    v = choose(rng, (0.95, 0.9, 0.82, 0.7, 0.5, 0.33, 0.2)) * rng.uniform(0.94, 1.04)
    return hsv(choose(rng, (0.09, 0.11, 0.6)), rng.uniform(0.0, 0.1), v)


def any_color(rng: Generator) -> RGB:
    return choose(rng, (vivid, soft, neutral, wood_color))(rng)


# ── materials ────────────────────────────────────────────────────────────────────────────────────────────────────


def plain(color: RGB, variation: float = 0.05, glow: float = 0.0) -> Material:
    return Material(T.PLAIN, (color, color, color), (variation, 2.0), seed=1, glow=glow)


def wood(rng: Generator, color: RGB | None = None, axis: int = 0) -> Material:
    c = wood_color(rng) if color is None else color
    dark = mix(c, (c[0] * 0.62, c[1] * 0.55, c[2] * 0.48), rng.uniform(0.35, 0.8))
    return Material(T.WOOD, (c, dark, c), (rng.uniform(7, 20),), axis, _seed(rng))


def speckle(rng: Generator, base: RGB) -> Material:
    """Granite, terrazzo, chipboard or carpet, by its grain size."""
    tone = 0.55 if sum(base) > 1.2 else 1.7
    other = tuple(min(1.0, x * tone) for x in base)
    return Material(T.SPECKLE, (base, other, mix(base, any_color(rng), 0.5)), (rng.uniform(25, 120),), 0, _seed(rng))  # type: ignore[arg-type]


def marble(rng: Generator, base: RGB | None = None) -> Material:
    c = base or choose(rng, ((0.93, 0.92, 0.90), (0.22, 0.23, 0.24), (0.80, 0.73, 0.64), (0.55, 0.60, 0.57)))
    vein = (0.45, 0.43, 0.42) if sum(c) > 1.5 else (0.75, 0.73, 0.70)
    return Material(T.MARBLE, (c, vein, mix(c, vein, 0.35)), (rng.uniform(0.8, 2.2),), 0, _seed(rng))


def tiles(rng: Generator, base: RGB, size: tuple[float, float], chequered: RGB | None = None) -> Material:
    grout = mix(base, (0.55, 0.54, 0.52), rng.uniform(0.4, 1.0))
    other = chequered or mix(base, (base[0] * 0.8, base[1] * 0.8, base[2] * 0.8), rng.uniform(0.2, 1.0))
    variation = -1.0 if chequered else rng.uniform(0.1, 0.9)
    offset = 0.5 if not chequered and rng.uniform() < 0.4 else 0.0
    return Material(
        T.TILES, (base, grout, other), (size[0], size[1], offset, rng.uniform(0.003, 0.008), variation), 0, _seed(rng)
    )


def planks(rng: Generator, color: RGB | None = None, axis: int = 0) -> Material:
    c = wood_color(rng) if color is None else color
    dark = (c[0] * 0.72, c[1] * 0.66, c[2] * 0.6)
    size = choose(rng, ((0.07, 0.5), (0.12, 1.1), (0.19, 1.6)))
    return Material(T.PLANKS, (c, mix(c, dark, rng.uniform(0.4, 1)), c), (*size, rng.uniform(8, 18)), axis, _seed(rng))


def fabric(rng: Generator, color: RGB | None = None) -> Material:
    """Cloth: plain weave, stripes or checks."""
    c = choose(rng, (vivid, soft, neutral, any_color))(rng) if color is None else color
    second = mix(c, choose(rng, ((0.97, 0.96, 0.93), (0.12, 0.12, 0.15), any_color(rng))), rng.uniform(0.3, 0.8))
    style = rng.uniform()
    if style < 0.62:
        shade = (c[0] * 0.72, c[1] * 0.72, c[2] * 0.72)
        return Material(T.FABRIC, (c, shade, c), (rng.uniform(0.3, 0.9), rng.uniform(0, 0.3)), 0, _seed(rng))
    if style < 0.82:
        p = (rng.uniform(0.05, 0.22), rng.uniform(0.2, 0.55), choose(rng, (0.0, 0.03)))
        return Material(T.STRIPES, (c, second, any_color(rng)), p, int(rng.integers(2)), _seed(rng))
    return Material(
        T.CHECKS, (c, second, any_color(rng)), (rng.uniform(0.06, 0.2), rng.uniform(0.3, 0.5)), 0, _seed(rng)
    )


def metal(rng: Generator) -> Material:
    c = choose(rng, ((0.72, 0.73, 0.74), (0.55, 0.55, 0.56), (0.14, 0.14, 0.15), (0.78, 0.66, 0.42), (0.9, 0.9, 0.9)))
    return plain(c, 0.1)


def ceramic(rng: Generator) -> Material:
    """Sanitary ware: mostly white, now and then pastel, dark or of the seventies."""
    if rng.uniform() < 0.6:
        v = rng.uniform(0.88, 0.97)
        return plain((v, v, v * rng.uniform(0.96, 1.0)), 0.02)
    return plain(choose(rng, (soft, neutral, vivid))(rng), 0.02)


def board(rng: Generator, wood_share: float = 0.5, color: RGB | None = None) -> Material:
    """What flat furniture is made of: wood, paint, stone-like laminate."""
    if color is not None:
        return plain(color)
    r = rng.uniform()
    if r < wood_share:
        return wood(rng, axis=int(rng.choice([0, 2])))
    if r < wood_share + 0.75 * (1 - wood_share):
        return plain(choose(rng, (vivid, soft, neutral, neutral))(rng))
    return choose(rng, (lambda: speckle(rng, any_color(rng)), lambda: marble(rng)))()


@dataclass(frozen=True)
class Style:
    """What the things of one room have in common, so that it looks furnished and not assembled.

    Attributes:
        wood: the room's wood colour.
        accent: its strong colour.
        quiet: its pale or dark neutral.
    """

    wood: RGB
    accent: RGB
    quiet: RGB

    @staticmethod
    def draw(rng: Generator) -> Style:
        return Style(wood_color(rng), vivid(rng), neutral(rng))

    def board(self, rng: Generator) -> Material:
        """The room's wood, its neutral or accent as paint, or anything."""
        r = rng.uniform()
        if r < 0.4:
            return wood(rng, self.wood, axis=int(rng.choice([0, 2])))
        if r < 0.58:
            return plain(self.quiet)
        return plain(self.accent) if r < 0.66 else board(rng)

    def fabric(self, rng: Generator) -> Material:
        """Cloth in the room's accent or neutral, or any."""
        r = rng.uniform()
        return fabric(rng, self.accent if r < 0.3 else self.quiet if r < 0.5 else None)

    def frame(self, rng: Generator) -> Material:
        """Legs and handles: wood or metal."""
        return wood(rng, self.wood, axis=2) if rng.uniform() < 0.5 else metal(rng)


class MaterialTable(NamedTuple):
    """M materials as arrays, for the compiled kernels.

    Attributes:
        kind, axis, seed: [M].
        color: [M, 3, 3] linear RGB.
        p: [M, 6].
        glow: [M].
    """

    kind: NDArray[np.int64]
    axis: NDArray[np.int64]
    seed: NDArray[np.int64]
    color: NDArray[np.float64]
    p: NDArray[np.float64]
    glow: NDArray[np.float64]

    @staticmethod
    def of(materials: Sequence[Material]) -> MaterialTable:
        p = np.zeros((len(materials), 6))
        for row, m in zip(p, materials, strict=True):
            row[: len(m.p)] = m.p
        return MaterialTable(
            np.array([m.kind for m in materials], np.int64),
            np.array([m.axis for m in materials], np.int64),
            np.array([m.seed for m in materials], np.int64),
            to_linear(np.array([m.colors for m in materials], float).reshape(-1, 3, 3)),
            p,
            np.array([m.glow for m in materials], float),
        )
