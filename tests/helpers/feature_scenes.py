"""A teacher and scenes for tests of stored features, without files or checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gaussiancross.core.data.scene import Frame, PointScene, PosedFrames
from gaussiancross.core.geometry.cameras import Cameras
from gaussiancross.core.query import TextEncoder
from gaussiancross.core.query.text import EncodedPhrases
from gaussiancross.core.teachers import ImageTeacher, TeacherInfo, write_cache

H, W, D = 3, 4, 16


class QueryableFeatures:
    """A text tower of one word."""

    dim = D

    def encode(self, phrases: list[str]) -> EncodedPhrases:
        known = torch.tensor([p == "chair" for p in phrases])
        return EncodedPhrases(known[:, None] * torch.ones(1, D), known)


class Averages(ImageTeacher):
    """A teacher whose features are fixed directions times block means of the image; counts what it computes."""

    info = TeacherInfo("averages", D, "Apache-2.0", (H, W), True)
    text: TextEncoder | None = QueryableFeatures()
    size = (8 * W, 8 * H)
    channels = tuple("abcdefghijklmnop")

    def __init__(self, size: float = 1.0) -> None:
        self.calls, self._scale = 0, size

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += len(images)
        means = images.unflatten(1, (H, -1)).unflatten(3, (W, -1)).mean((2, 4))
        turn = torch.randn(3, D, generator=torch.Generator().manual_seed(0))
        return self._scale * (means - 0.5) @ turn


class Scenes:
    """So many scenes with so many frames of noise. ``splits`` of it share scene names, as captures do."""

    class_names = ()

    def __init__(self, scenes: int = 2, frames: int = 3, seed: int = 0, moved: float = 0.0) -> None:
        self.names = tuple(f"scene{i}" for i in range(scenes))
        self._count, self._seed, self._moved = frames, seed, moved

    def __len__(self) -> int:
        return len(self.names)

    def scene(self, index: int) -> PointScene:
        raise NotImplementedError

    def frames(self, index: int) -> PosedFrames | None:
        viewmats = torch.eye(4).repeat(self._count, 1, 1)
        viewmats[:, 0, 3] = torch.arange(self._count) + self._moved

        def read(frame: int, width: int, height: int) -> Frame:
            rng = np.random.default_rng([self._seed, index, frame])
            return Frame(rng.random((height, width, 3), np.float32), np.zeros((height, width), np.float32))

        names = tuple(f"{self._seed}-{i:03d}" for i in range(self._count))
        return PosedFrames(names, Cameras(viewmats, torch.eye(3).expand(self._count, 3, 3), 8 * W, 8 * H), read)


def fill(folder: Path, storage: str = "float16", **datasets: Scenes) -> list:
    return list(write_cache(folder, Averages(), "averages", datasets or {"train": Scenes()}, storage))  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
