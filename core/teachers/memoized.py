"""Compute the features of each frame once during a training, and store them in memory and on disk."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.scene import PosedFrames
from ..errors import InputError
from ..io.lru import ArrayCache
from .base import ImageTeacher, Teacher
from .cache import SAME_CAMERA
from .shards import PACKED, ShardFolder, pack, stack_packed, unpack

SPARE = 5 << 30
"""Free bytes to leave on the disk; with less, features stay in memory only."""


class MemoizingTeacher(ImageTeacher):
    """Store the features of an `ImageTeacher` as float16 (int8 if they overflow).

    Features are computed frame by frame and returned as stored, also the first time, so that they do not depend on the
    order of requests.

    Args:
        teacher: computes missing features.
        data: name of the dataset; each dataset has its own folder.
        root: parent of the folder of features; None stores them in memory only.
        max_bytes: memory for recently used frames.
    """

    def __init__(self, teacher: ImageTeacher, data: str, root: Path | None, max_bytes: int = 512 << 20) -> None:
        self._teacher = teacher
        self.info, self.text, self.size = teacher.info, teacher.text, teacher.size
        self.channels: tuple[str, ...] | None = getattr(teacher, "channels", None)
        self._recent = ArrayCache(max_bytes)
        self._shards: ShardFolder | None = None
        if root is not None:
            path = Path(data).expanduser()
            where = str(path.resolve()) if path.exists() else data
            digest = hashlib.sha256(repr((teacher.fingerprint, where)).encode()).hexdigest()[:16]
            self._shards = ShardFolder(root / f"features-{digest}")

    @property
    def fingerprint(self) -> str:
        return self._teacher.fingerprint

    @property
    def former_fingerprints(self) -> tuple[str, ...]:
        return self._teacher.former_fingerprints

    def frame_size(self, frames: PosedFrames) -> tuple[int, int]:
        return self._teacher.frame_size(frames)

    def maps(self, images: Tensor) -> Tensor:
        """Features of any images, see `ImageTeacher.maps`; they are not stored."""
        return self._teacher.maps(images)

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        if not index:
            return torch.zeros(0, *(self.info.resolution or (0, 0)), self.info.dim)
        stacked = np.concatenate([unpack(self._frame(scene_name, frames, i)) for i in index])
        # Computed features may have other strides than stored ones, and sums over them another order of summation.
        return torch.from_numpy(np.ascontiguousarray(stacked))

    def packed(self, scene_name: str, frames: PosedFrames, index: list[int]) -> tuple[Tensor, Tensor | None]:
        """`features` as they are stored; see `stack_packed`."""
        return stack_packed([self._frame(scene_name, frames, i) for i in index])

    def _frame(self, scene: str, frames: PosedFrames, i: int) -> dict[str, NDArray]:
        viewmat = np.ascontiguousarray(frames.cameras.viewmats[i : i + 1].float().cpu().numpy())
        name = f"{scene}/{frames.names[i]}.safetensors"

        def make() -> tuple[NDArray, ...]:
            arrays = self._stored(name, viewmat)
            if arrays is None:
                features = self._teacher.features(scene, frames, [i])
                fits = bool(features.abs().max() <= 65504)
                arrays = pack(features, "float16" if fits else "int8")
                self._store(name, {**arrays, "viewmats": viewmat})
            return tuple(arrays[key] for key in PACKED if key in arrays)

        packed = self._recent.get((name, viewmat.tobytes()), make)
        return dict(zip(PACKED, packed, strict=False))

    def _stored(self, name: str, viewmat: NDArray) -> dict[str, NDArray] | None:
        if self._shards is None or name not in self._shards:
            return None
        try:
            arrays = self._shards.read(name, (*PACKED, "viewmats"))
        except InputError:  # damaged, or being replaced by another run: compute it again
            return None
        same = np.allclose(arrays.pop("viewmats"), viewmat, atol=SAME_CAMERA)  # False if the capture was exported again
        return arrays if same else None

    def _store(self, name: str, arrays: dict[str, NDArray]) -> None:
        if self._shards is None:
            return
        try:
            folder = self._shards.folder
            folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(folder).free < SPARE:
                raise InputError(folder, f"{SPARE / 1e9:.0f} GB of free disk", "less")
            self._shards.write(name, arrays, {})
        except (InputError, OSError) as error:  # optional: the next run computes them again
            warnings.warn(f"Features of the teacher are kept in memory only: {error}", stacklevel=2)
            self._shards = None


def memoize_features(teacher: Teacher | None, data: str, root: Path | None) -> Teacher | None:
    """Wrap an `ImageTeacher` in a `MemoizingTeacher`; other teachers are returned unchanged."""
    return MemoizingTeacher(teacher, data, root) if isinstance(teacher, ImageTeacher) else teacher
