"""Read features that any network computed beforehand, one array per frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.scene import PosedFrames
from ..errors import InputError
from ..io.arrays import read_array
from ..io.json_files import read_json
from ..io.lru import ArrayCache
from .base import TeacherInfo


class PrecomputedTeacher:
    """Features from ``<folder>/<scene>/<frame>.npy`` or, for a single scene, ``<folder>/<frame>.npy``.

    Each file is an array [h, w, D] float16 or float32 of h × w tokens that cover the whole image. An optional
    ``channels.json`` in the folder lists D channel names.

    Args:
        folder: folder of the arrays.
        licence: licence of the features.
        label_free: whether the network was trained without manual labels.
        max_bytes: memory for recently used files.

    Attributes:
        info: description with the dimensions of the first file.
        channels: D names of the channels, or None.

    Raises:
        InputError: no array in the folder, or a wrong number of channel names.
    """

    def __init__(
        self, folder: Path | str, *, licence: str = "unknown", label_free: bool = False, max_bytes: int = 512 << 20
    ) -> None:
        self.folder = Path(folder)
        first = next(iter(sorted(self.folder.glob("*.npy"))), None)
        first = first or next(self.folder.glob("*/*.npy"), None)
        if first is None:
            found = "none" if self.folder.is_dir() else "no such folder"
            raise InputError(self.folder, "feature arrays as <frame>.npy or <scene>/<frame>.npy", found)
        height, width, dim = self._read_checked(first).shape
        self.info = TeacherInfo(f"precomputed:{self.folder.name}", dim, licence, (height, width), label_free)
        self.channels = _channels(self.folder / "channels.json", dim)
        self._cache = ArrayCache(max_bytes)

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        """Features [C, h, w, D] float32.

        Raises:
            InputError: a missing or damaged file, or one of another shape.
        """
        arrays = self._arrays(scene_name, frames, index)
        shape = (0, *(self.info.resolution or ()), self.info.dim)
        return torch.from_numpy(np.stack(arrays).astype(np.float32)) if arrays else torch.zeros(shape)

    def packed(self, scene_name: str, frames: PosedFrames, index: list[int]) -> tuple[Tensor, Tensor | None]:
        """`features` as they are stored, and None: see `stack_packed`."""
        return torch.from_numpy(np.stack(self._arrays(scene_name, frames, index))), None

    def _arrays(self, scene_name: str, frames: PosedFrames, index: list[int]) -> list[np.ndarray]:
        paths = [self._path(scene_name, frames.names[i]) for i in index]
        return [self._cache.get(path, lambda p=path: (self._load(p),))[0] for path in paths]

    def _path(self, scene: str, frame: str) -> Path:
        for path in (self.folder / scene / f"{frame}.npy", self.folder / f"{frame}.npy"):
            if path.is_file():
                return path
        raise InputError(
            self.folder,
            f"features of frame {frame} as {scene}/{frame}.npy or {frame}.npy",
            "neither",
            "compute the missing features, or leave the frame out",
        )

    def _load(self, path: Path) -> np.ndarray:
        array = self._read_checked(path)
        expected = (*(self.info.resolution or ()), self.info.dim)
        if array.shape != expected:
            raise InputError(path, f"features of shape {expected}, like the first file's", str(array.shape))
        if not np.isfinite(array).all():
            raise InputError(path, "finite features", "NaN or inf")
        return array

    @staticmethod
    def _read_checked(path: Path) -> np.ndarray:
        array = read_array(path, shape=(-1, -1, -1))
        if array.dtype not in (np.float16, np.float32) or array.size == 0:
            raise InputError(path, "features [h, w, D] in float16 or float32", f"{array.dtype} of shape {array.shape}")
        return array


def _channels(path: Path, dim: int) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    try:
        names = read_json(path)
    except (ValueError, OSError) as error:
        raise InputError(path, f"a JSON list of {dim} channel names", f"a damaged file ({error})") from error
    if not isinstance(names, list) or len(names) != dim or not all(isinstance(n, str) for n in names):
        found = f"{len(names)} entries" if isinstance(names, list) else type(names).__name__
        raise InputError(path, f"a JSON list of {dim} channel names", found)
    return tuple(names)
