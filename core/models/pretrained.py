"""A stored model of whichever class it is."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..io.pretrained import read_pretrained
from ..nn.spunet import SpUNet
from .gaussiancross import GaussianCross


def load_pretrained(where: str | Path, revision: str | None = None) -> GaussianCross | SpUNet:
    """The `GaussianCross` or the `SpUNet` alone that is stored there; either has ``encode(coord, color, normal)``.

    Args:
        where, revision: see `core.io.pretrained.Pretrained.from_pretrained`.
    """
    stored = read_pretrained(where, revision)
    for kind in (GaussianCross, SpUNet):
        if stored.model == kind.__name__:
            return kind.from_stored(stored)
    raise InputError(stored.path, "a GaussianCross or a SpUNet", f"a {stored.model}")
