"""Open a stored model whose class is not known in advance."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..io.pretrained import bundled_folder, read_pretrained
from ..nn.spunet import SpUNet
from .clipgs import ClipGS
from .clipgs_files import is_clipgs
from .gaussiancross import GaussianCross
from .pointgroup import PointGroup


def load(spec: str | Path, revision: str | None = None) -> GaussianCross | ClipGS:
    """Open a trained model, on the CPU and in eval mode.

    Args:
        spec: "bundled-rooms", "bundled-field" or "bundled-clipgs"; a run folder, its ``checkpoints/`` or one checkpoint
            of pre-training or of CLIP-GS; a folder that `save_pretrained` or `gaussiancross convert` wrote; or
            "owner/name" on the Hugging Face hub.
        revision: branch, tag or commit on the hub.

    Raises:
        InputError: nothing there, damaged, or a model of another class, such as a backbone alone.
    """
    if bundled_folder(spec) is None and is_clipgs(spec):
        return ClipGS.from_pretrained(spec)
    return GaussianCross.from_pretrained(spec, revision)


def load_pretrained(where: str | Path, revision: str | None = None) -> GaussianCross | SpUNet:
    """Load a stored model with ``encode(coord, color, normal)``.

    Args:
        where, revision: see `core.io.pretrained.Pretrained.from_pretrained`.

    Returns:
        The stored `GaussianCross` or `SpUNet`, or the backbone of a stored `PointGroup`.

    Raises:
        InputError: nothing there, damaged, or of another class.
    """
    stored = read_pretrained(where, revision)
    for kind in (GaussianCross, SpUNet):
        if stored.model == kind.__name__:
            return kind.from_stored(stored)
    if stored.model == PointGroup.__name__:
        return PointGroup.from_stored(stored).backbone
    raise InputError(stored.path, "a GaussianCross, a SpUNet or a PointGroup", f"a {stored.model}")
