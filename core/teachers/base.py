"""What a teacher is, and how one is named on the command line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from ..data.scene import PosedFrames
from ..query.text import TextEncoder


@dataclass(frozen=True)
class TeacherInfo:
    """What is known of a teacher before it has seen a frame.

    Attributes:
        name: for logs and checkpoints.
        dim: width D of its features.
        licence: of its weights or features.
        resolution: (h, w) of its token grid, which covers the whole image; None where it follows the image.
        label_free: whether it was trained without manual labels (what a "self-supervised" claim needs).
    """

    name: str
    dim: int
    licence: str
    resolution: tuple[int, int] | None
    label_free: bool


class Teacher(Protocol):
    """A frozen 2D network, or what it once computed.

    Attributes:
        info: see `TeacherInfo`.
    """

    info: TeacherInfo

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        """Features of frames ``index`` of a scene: [C, h, w, D] float32 on the CPU, not normalised.

        Token (i, j) covers the image's rows i·H/h … (i+1)·H/h and columns j·W/w … (j+1)·W/w.
        """
        ...


class ImageTeacher(ABC):
    """A frozen 2D network that can be asked about any image: a `Teacher` whose features are computed.

    Subclasses set ``info`` and ``text`` and implement `maps`.

    Attributes:
        info: see `TeacherInfo`.
        text: its text tower into the same space, or None.
        size: (width, height) at which frames are read for it.
    """

    info: TeacherInfo
    text: TextEncoder | None = None
    size: tuple[int, int]

    @abstractmethod
    def maps(self, images: Tensor) -> Tensor:
        """[C, H, W, 3] RGB in [0, 1] → [C, h, w, D] float32 on the CPU, not normalised.

        Token (i, j) covers the image's rows i·H/h … (i+1)·H/h and columns j·W/w … (j+1)·W/w.
        """
        ...

    def embed(self, images: Tensor) -> Tensor:
        """[B, H, W, 3] RGB in [0, 1] → [B, D] float32 on the CPU, unit length: whole pictures, in the space of the
        text tower where there is one. Unless a subclass pools otherwise, the mean of its tokens."""
        return F.normalize(self.maps(images).mean((1, 2)), dim=-1)

    @property
    def fingerprint(self) -> str:
        """Identifies the features on disk: short, usable in a file name, different whenever the features of an image
        differ, and independent of where and when the weights were stored."""
        return self.info.name

    @property
    def former_fingerprints(self) -> tuple[str, ...]:
        """Fingerprints that older versions of this package gave the same teacher; caches that carry one stay valid."""
        return ()

    def frame_size(self, frames: PosedFrames) -> tuple[int, int]:
        """(width, height) at which a scene's frames are read for it: ``size``, unless a subclass follows the frames."""
        return self.size

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        """Features of frames ``index``: [C, h, w, D] float32 on the CPU."""
        return self.maps(frames.stack(index, *self.frame_size(frames))[0])
