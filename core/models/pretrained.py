"""A stored model of whichever class it is."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..io.pretrained import read_pretrained
from ..nn.spunet import SpUNet
from .gaussiancross import GaussianCross
from .pointgroup import PointGroup


def load_pretrained(where: str | Path, revision: str | None = None) -> GaussianCross | SpUNet:
    """The `GaussianCross` or the `SpUNet` alone that is stored there, or the backbone of a `PointGroup`; either has
    ``encode(coord, color, normal)``.

    Args:
        where, revision: see `core.io.pretrained.Pretrained.from_pretrained`.
    """
    stored = read_pretrained(where, revision)
    for kind in (GaussianCross, SpUNet):
        if stored.model == kind.__name__:
            return kind.from_stored(stored)
    if stored.model == PointGroup.__name__:
        return PointGroup.from_stored(stored).backbone
    raise InputError(stored.path, "a GaussianCross, a SpUNet or a PointGroup", f"a {stored.model}")
