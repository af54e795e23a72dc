"""What objects are made of: one distribution for all categories, because colour must not tell them."""

from __future__ import annotations

from numpy.random import Generator

from .materials import RGB, Material, any_color, board, choose, fabric, metal, mix, neutral, plain, wood

DARK = plain((0.10, 0.10, 0.11))
PALE = plain((0.94, 0.93, 0.90))


def paint(rng: Generator) -> Material:
    """One colour, any."""
    return plain(any_color(rng))


def solid(rng: Generator) -> Material:
    """Paint, wood, metal, cloth or stone."""
    r = rng.uniform()
    if r < 0.5:
        return paint(rng)
    if r < 0.68:
        return wood(rng, axis=int(rng.integers(3)))
    if r < 0.8:
        return metal(rng)
    return fabric(rng) if r < 0.88 else board(rng, 0.0)


def natural(rng: Generator, color: RGB, share: float = 0.3) -> Material:
    """The colour that such a thing has in nature, not more often than ``share``; else whatever toys are made of."""
    return plain(mix(color, any_color(rng), 0.15)) if rng.uniform() < share else solid(rng)


def handle(rng: Generator) -> Material:
    """Wood, rubber or paint."""
    return choose(rng, (wood(rng, axis=int(rng.integers(3))), plain(neutral(rng)), paint(rng)))
