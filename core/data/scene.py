"""Contents of a dataset: labelled point clouds and the posed RGB-D frames that observe them.

Both are numpy arrays on the CPU until a batch is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..geometry.cameras import Cameras

IGNORE = -1
"""Label of points without a class or instance."""


@dataclass(frozen=True)
class PointScene:
    """N points of one scene (Pointcept's nouns).

    Attributes:
        name: unique within its dataset; file-system safe.
        coord: [N, 3] float32, metres, world.
        color: [N, 3] uint8 RGB.
        normal: [N, 3] float32 unit vectors (zero where unknown).
        segment: [N] int64 class index, −1 = ignore; None without labels.
        instance: [N] int64 instance id, −1 = none; None without labels.
    """

    name: str
    coord: NDArray[np.float32]
    color: NDArray[np.uint8]
    normal: NDArray[np.float32]
    segment: NDArray[np.int64] | None = None
    instance: NDArray[np.int64] | None = None

    @staticmethod
    def load(path: Path | str) -> PointScene:
        """Read a file of points. Normals are estimated where the file has none; without colour, points are grey.

        Args:
            path: a file in any format of `core.io.formats`: points (``.ply``, ``.pcd``, ``.las``, ``.laz``, ``.e57``;
                ``.npy``, ``.xyz``, ``.txt`` or ``.csv`` with the columns x y z [r g b [nx ny nz]]; ``.npz`` with
                ``coord``, ``color``, ``normal``), a mesh (points on its surface), or splats (their centres). Metres;
                colour in 0–255. Coordinates stay in the axes of the file; the networks expect z up.

        Raises:
            InputError: missing, damaged, of another format, or values out of range.
        """
        from ..io.formats import read_point_file

        return read_point_file(path)

    def __len__(self) -> int:
        return len(self.coord)

    def __getitem__(self, index: NDArray | slice) -> PointScene:
        """The selected points; ``index`` is a mask [N], indices [K] or a slice."""
        pick = {k: None if v is None else v[index] for k, v in self.arrays().items()}
        return replace(self, **pick)

    def arrays(self) -> dict[str, NDArray | None]:
        """The per-point arrays by name."""
        return {k: getattr(self, k) for k in ("coord", "color", "normal", "segment", "instance")}

    def validated(self, where: str | None = None, minimum: int = 2) -> PointScene:
        """Return this scene after checking shapes, types and values; call once where data comes in.

        Normals that are not finite become zeros, which stand for unknown ones.

        Args:
            where: the file or folder to name in the error; the scene's name by default.
            minimum: smallest number of points.

        Raises:
            InputError: too few points, shapes that do not match, coordinates that are not finite, colours that are not
                uint8 in 0–255.
        """
        where = where or self.name
        n = len(self.coord)
        if self.coord.ndim != 2 or self.coord.shape[1:] != (3,):
            raise InputError(where, "coord of shape (N, 3)", str(self.coord.shape))
        if n < minimum:
            raise InputError(where, f"at least {minimum} points", f"{n}", "give a scene with points, or leave it out")
        bad = int((~np.isfinite(self.coord)).any(1).sum())
        if bad:
            raise InputError(where, "finite coordinates", f"{bad} of {n} points with NaN or inf", "remove those points")
        if self.color.dtype != np.uint8:
            raise InputError(
                where, "color as uint8 in 0–255", f"{self.color.dtype}", "multiply colours in 0–1 by 255 and cast"
            )
        if n >= 100 and self.color.max() == 1:
            raise InputError(where, "color in 0–255", "only 0 and 1", "multiply colours in 0–1 by 255 before the cast")
        for name, array in self.arrays().items():
            shape = (n, 3) if name in ("color", "normal") else (n,)
            if array is not None and name != "coord" and array.shape != shape:
                raise InputError(where, f"{name} of shape {shape} to match coord", str(array.shape))
        known = np.isfinite(self.normal).all(1, keepdims=True)
        return self if known.all() else replace(self, normal=np.where(known, self.normal, 0).astype(self.normal.dtype))


@dataclass(frozen=True)
class Frame:
    """One posed RGB-D image.

    Attributes:
        color: [H, W, 3] float32 RGB in [0, 1].
        depth: [H, W] float32 camera depth z in metres; 0 where there is no measurement.
    """

    color: NDArray[np.float32]
    depth: NDArray[np.float32]


@dataclass(frozen=True)
class PosedFrames:
    """F posed RGB-D frames of one scene, read lazily.

    Attributes:
        names: [F] frame names in capture order; keys of precomputed teacher features.
        cameras: F cameras at the frames' full size.
        read: (index, width, height) → `Frame` of that size. Colour is box-filtered; depth is sampled, because an
            average across an edge is the depth of no surface.
        skipped: reason → number of frames of the folder that were left out for it.
        first_skipped: reason → name of the first frame left out for it.
    """

    names: tuple[str, ...]
    cameras: Cameras
    read: Callable[[int, int, int], Frame]
    skipped: dict[str, int] = field(default_factory=dict)
    first_skipped: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, index: list[int]) -> PosedFrames:
        """The frames at ``index``, in that order."""
        picked = list(index)
        return replace(
            self,
            names=tuple(self.names[i] for i in picked),
            cameras=self.cameras[picked],
            read=SubsetReader(self.read, tuple(picked)),
        )

    def unreadable(self, index: Iterable[int], width: int, height: int) -> dict[int, InputError]:
        """Frames of ``index`` whose files cannot be read, such as truncated images, with the errors."""
        found = {}
        for i in index:
            try:
                self.read(i, width, height)
            except InputError as error:
                found[i] = error
        return found

    def stack(self, index: list[int], width: int, height: int) -> tuple[Tensor, Tensor, Cameras]:
        """Read frames as color [C, H, W, 3] in [0, 1], depth [C, H, W] in metres, and cameras at that size."""
        frames = [self.read(i, width, height) for i in index]
        color = torch.from_numpy(np.stack([f.color for f in frames]))
        depth = torch.from_numpy(np.stack([f.depth for f in frames]))
        return color, depth, self.cameras[list(index)].resized(width, height)

    def packed(self, index: list[int], width: int, height: int) -> tuple[Tensor, Tensor, float]:
        """Read frames in the types of their files: the numbers of `stack`, in a third of the bytes.

        Returns:
            color [C, H, W, 3], uint8 if the reader has it so, else float32 in [0, 1]; depth [C, H, W], uint16 or
            float32; and metres per unit of the depth.
        """
        read = self.read
        while isinstance(read, SubsetReader):
            read, index = read.read, [read.index[i] for i in index]
        if not hasattr(read, "packed"):
            frames = [read(i, width, height) for i in index]
            return torch.from_numpy(np.stack([f.color for f in frames])), _stacked([f.depth for f in frames]), 1.0
        parts = [read.packed(i, width, height) for i in index]  # type: ignore[attr-defined]
        units = {unit if depth.dtype == np.uint16 else None for _, depth, unit in parts}
        color, unit = torch.from_numpy(np.stack([part[0] for part in parts])), units.pop() if len(units) == 1 else None
        if unit is not None:
            return color, _stacked([depth for _, depth, _ in parts]), unit
        return color, _stacked([read(i, width, height).depth for i in index]), 1.0


@dataclass(frozen=True)
class SubsetReader:
    """`PosedFrames.read` of some frames of another reader.

    Attributes:
        read: the other reader.
        index: its frame for each of this one's.
    """

    read: Callable[[int, int, int], Frame]
    index: tuple[int, ...]

    def __call__(self, i: int, width: int, height: int) -> Frame:
        return self.read(self.index[i], width, height)


def _stacked(arrays: list[NDArray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


class SceneDataset(Protocol):
    """Scenes by index. Implementations are cheap to construct, read lazily and keep no open files.

    Attributes:
        names: scene names of this split, in order.
        class_names: names of the classes that ``segment`` indexes; empty without labels.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    def scene(self, index: int) -> PointScene:
        """The points of scene ``index``, validated."""
        ...

    def frames(self, index: int) -> PosedFrames | None:
        """The posed frames of scene ``index``, or None when the dataset has none."""
        ...
