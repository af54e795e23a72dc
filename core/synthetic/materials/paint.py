"""Random materials of objects: one distribution for all categories, so that colour does not identify a category."""

from __future__ import annotations

from numpy.random import Generator

from .materials import RGB, Material, any_color, board, choose, fabric, metal, mix, neutral_color, plain, wood

DARK = plain((0.10, 0.10, 0.11))
PALE = plain((0.94, 0.93, 0.90))
"""Paint of details that have the same colour in all objects, such as eyes."""


def random_paint(rng: Generator) -> Material:
    """Paint of any colour."""
    return plain(any_color(rng))


def random_material(rng: Generator) -> Material:
    """Paint, wood, metal, cloth or stone."""
    r = rng.uniform()
    if r < 0.5:
        return random_paint(rng)
    if r < 0.68:
        return wood(rng, axis=int(rng.integers(3)))
    if r < 0.8:
        return metal(rng)
    return fabric(rng) if r < 0.88 else board(rng, 0.0)


def natural_material(rng: Generator, color: RGB, share: float = 0.3) -> Material:
    """Paint near the natural ``color`` with probability ``share``, else any material."""
    return plain(mix(color, any_color(rng), 0.15)) if rng.uniform() < share else random_material(rng)


def handle_material(rng: Generator) -> Material:
    """Random material of handles: wood, rubber or paint."""
    return choose(rng, (wood(rng, axis=int(rng.integers(3))), plain(neutral_color(rng)), random_paint(rng)))
