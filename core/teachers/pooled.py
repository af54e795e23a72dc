"""Whole pictures and phrases → unit vectors of one space: what objects made of Gaussians are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from ..query.text import Encoded
from .base import ImageTeacher, Teacher

BATCH = 16
"""Pictures shown to a teacher at a time."""


def image_vectors(teacher: Teacher | None, images: Tensor | NDArray[np.uint8]) -> Tensor:
    """Pictures as the teacher pools them.

    Args:
        teacher: of `make_teacher`.
        images: [V, H, W, 3] RGB, bytes or in [0, 1].

    Returns:
        [V, D] float32 on the CPU, unit length.

    Raises:
        InputError: a teacher that is no network, pictures of another shape, or features that are not finite.
    """
    if not isinstance(teacher, ImageTeacher):
        raise InputError("teacher", "a network that looks at pictures", _name(teacher))
    given = torch.as_tensor(images)
    if given.ndim != 4 or given.shape[-1] != 3 or 0 in given.shape[1:]:
        raise InputError("pictures", "RGB [V, H, W, 3]", str(tuple(given.shape)))
    scale = 1.0 if given.is_floating_point() else 1 / 255
    rows = [teacher.embed(part.float() * scale).float().cpu() for part in given.split(BATCH)] if len(given) else []
    vectors = torch.cat(rows) if rows else torch.zeros(0, teacher.info.dim)
    length = vectors.norm(dim=-1)
    if not bool((length.isfinite() & (length > 0)).all()):
        raise InputError(f"teacher {teacher.info.name}", "finite features that are not zero", "others")
    return vectors / length[:, None]


def text_vectors(teacher: Teacher | None, phrases: Sequence[str]) -> Encoded:
    """Phrases as the teacher's text tower encodes them.

    Returns:
        Vectors [P, D] float32 on the CPU, unit length, and which phrases are known [P]; those of others are zero.

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
    return Encoded(F.normalize(vectors, dim=-1), known)


def _name(teacher: Teacher | None) -> str:
    return "none" if teacher is None else teacher.info.name
