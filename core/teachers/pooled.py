"""Unit vectors of whole images and of phrases in the space of a teacher, to compare objects with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..query.text import EncodedPhrases
from .base import ImageTeacher, Teacher

BATCH = 16
"""Number of images per pass."""


def image_vectors(teacher: Teacher | None, images: Tensor | NDArray[np.uint8]) -> Tensor:
    """Encode whole images with a teacher.

    Args:
        teacher: an `ImageTeacher`.
        images: [V, H, W, 3] RGB, uint8 or floating point in [0, 1].

    Returns:
        [V, D] float32 on the CPU, unit length.

    Raises:
        InputError: a teacher that does not compute features, images of another shape, or features that are zero or not
            finite.
    """
    if not isinstance(teacher, ImageTeacher):
        raise InputError("teacher", "a network that encodes images", _name(teacher))
    pixels = torch.as_tensor(images)
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or 0 in pixels.shape[1:]:
        raise InputError("images", "RGB [V, H, W, 3]", str(tuple(pixels.shape)))
    scale = 1.0 if pixels.is_floating_point() else 1 / 255
    rows = [teacher.embed(part.float() * scale).float().cpu() for part in pixels.split(BATCH)] if len(pixels) else []
    vectors = torch.cat(rows) if rows else torch.zeros(0, teacher.info.dim)
    length = vectors.norm(dim=-1)
    if not bool((length.isfinite() & (length > 0)).all()):
        raise InputError(f"teacher {teacher.info.name}", "finite features that are not zero", "others")
    return vectors / length[:, None]


def text_vectors(teacher: Teacher | None, phrases: Sequence[str]) -> EncodedPhrases:
    """Encode phrases with the text tower of a teacher.

    Returns:
        vectors [P, D] float32 on the CPU, of unit length or zero for unknown phrases, and known [P] bool.

    Raises:
        InputError: a teacher without a text tower.
    """
    tower = getattr(teacher, "text", None)
    if tower is None:
        raise InputError("teacher", "one with a text tower", _name(teacher))
    vectors, known = tower.encode(list(phrases))
    vectors = vectors.float().cpu()
    known = known.cpu() & vectors.isfinite().all(-1) & (vectors.norm(dim=-1) > 0)
    vectors = torch.where(known[:, None], vectors, 0.0)
    return EncodedPhrases(F.normalize(vectors, dim=-1), known)


def _name(teacher: Teacher | None) -> str:
    return "none" if teacher is None else teacher.info.name
