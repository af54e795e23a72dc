"""Interfaces of teachers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from ..data.scene import PosedFrames
from ..query.text import TextEncoder


@dataclass(frozen=True)
class TeacherInfo:
    """Description of a teacher.

    Attributes:
        name: name in logs and checkpoints.
        dim: width D of the features.
        licence: licence of the weights or features.
        resolution: (h, w) of the token grid, which covers the whole image; None if it depends on the image.
        label_free: whether it was trained without manual labels, as self-supervised pre-training requires.
    """

    name: str
    dim: int
    licence: str
    resolution: tuple[int, int] | None
    label_free: bool


class Teacher(Protocol):
    """Source of 2D features: a frozen network or its stored output.

    Attributes:
        info: see `TeacherInfo`.
    """

    info: TeacherInfo

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        """Features of C frames ``index`` of a scene: [C, h, w, D] float32 on the CPU, not normalised.

        Token (i, j) covers the image's rows i·H/h … (i+1)·H/h and columns j·W/w … (j+1)·W/w.
        """
        ...


TeacherFactory = Callable[[str], "Teacher | None"]
"""Type of `make_teacher`."""


class ImageTeacher(ABC):
    """A `Teacher` that computes features of any image with a frozen network.

    Subclasses set ``info`` and ``text`` and implement `maps`.

    Attributes:
        info: see `TeacherInfo`.
        text: text tower into the same space, or None.
        size: (width, height) at which frames are read, in pixels.
    """

    info: TeacherInfo
    text: TextEncoder | None = None
    size: tuple[int, int]

    @abstractmethod
    def maps(self, images: Tensor) -> Tensor:
        """Dense features of images [C, H, W, 3] RGB in [0, 1]: [C, h, w, D] float32 on the CPU, not normalised.

        Token (i, j) covers the image's rows i·H/h … (i+1)·H/h and columns j·W/w … (j+1)·W/w.
        """
        ...

    def embed(self, images: Tensor) -> Tensor:
        """Features of whole images [B, H, W, 3] RGB in [0, 1]: [B, D] float32 on the CPU, unit length, in the space of
        the text tower if there is one. By default the mean of the tokens."""
        return F.normalize(self.maps(images).mean((1, 2)), dim=-1)

    @property
    def fingerprint(self) -> str:
        """Identifier of stored features: short, valid in a file name, different for different features, and independent
        of the location and time of the weights."""
        return self.info.name

    @property
    def former_fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of the same teacher in older versions of this package, whose caches stay valid."""
        return ()

    def frame_size(self, frames: PosedFrames) -> tuple[int, int]:
        """(width, height) at which a scene's frames are read, in pixels; ``size`` by default."""
        return self.size

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        """Features of frames ``index``: [C, h, w, D] float32 on the CPU."""
        return self.maps(frames.stack(index, *self.frame_size(frames))[0])
