"""The rooms at the size of the experiment: fewer points, small views, a teacher's tokens, read once and kept.

    <root>/rooms-bench-<digest>/<room>.safetensors             points, labels, views
    <root>/rooms-bench-<digest>/<room>.<teacher>.safetensors   tokens of the views

A training step then costs the network and the splatting, and hardly any reading.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from ...core.data.batch import PointBatch
from ...core.data.scene import Frame, PointScene, PosedFrames, SceneDataset
from ...core.datasets.rooms import Rooms
from ...core.errors import InputError
from ...core.features.lifting import lift
from ...core.geometry.cameras import Cameras
from ...core.io.atomic import atomic_dir
from ...core.io.cache import cache_folder
from ...core.teachers import make_teacher
from ...core.teachers.base import ImageTeacher, TeacherInfo
from ...trainers.downstream.fixed import Source

TOKENS = (30, 40)
"""Rows and columns of tokens that are kept of a view, averaged from its teacher's."""


@dataclass(frozen=True)
class RoomCacheConfig:
    """What is kept of a room."""

    points: int
    """Points of a training room, drawn at random; held-out rooms keep theirs."""
    width: int
    height: int


class SmallRooms:
    """Rooms of one split as a `SceneDataset`, with the frames at one small size.

    Args:
        rooms: the rooms themselves.
        kept: what of them.
        root: where the files are kept; the `cache_folder` unless given.
    """

    def __init__(self, rooms: Rooms, kept: RoomCacheConfig, root: Path | None = None) -> None:
        self.rooms, self.kept = rooms, kept
        self.names, self.class_names = rooms.names, rooms.class_names
        digest = hashlib.sha256(json.dumps([rooms.root.name, rooms.split, asdict(kept)]).encode()).hexdigest()[:8]
        self.folder = (root or cache_folder()) / f"rooms-bench-{digest}"
        self.scene = lru_cache(maxsize=None)(self._scene)
        self.frames = lru_cache(maxsize=None)(self._frames)

    def __len__(self) -> int:
        return len(self.names)

    def _scene(self, index: int) -> PointScene:
        arrays = self._arrays(index)
        label = {k: arrays[k].astype(np.int64) for k in ("segment", "instance")}
        return PointScene(self.names[index], arrays["coord"], arrays["color"], arrays["normal"], **label)

    def _frames(self, index: int) -> PosedFrames:
        arrays, kept = self._arrays(index), self.kept
        images, depths = arrays["images"], arrays["depths"]
        viewmats, Ks = torch.from_numpy(arrays["viewmats"]), torch.from_numpy(arrays["Ks"])
        cameras = Cameras(viewmats, Ks, kept.width, kept.height)

        def read(i: int, width: int, height: int) -> Frame:
            if (width, height) != (kept.width, kept.height):
                expected = f"{kept.width} × {kept.height}, the size that was kept"
                raise InputError(self.names[index], expected, f"{width} × {height}")
            return Frame(images[i].astype(np.float32) / 255, depths[i])

        return PosedFrames(tuple(str(i) for i in range(len(images))), cameras, read)

    def make(self, index: int) -> None:
        """See to it that the room's file is there."""
        if not self._path(index).is_file():
            self._arrays(index)

    def _path(self, index: int) -> Path:
        return self.folder / f"{self.names[index]}.safetensors"

    def _arrays(self, index: int) -> dict[str, NDArray]:
        return load_or_create(self._path(index), lambda: self._make(index))

    def _make(self, index: int) -> dict[str, NDArray]:
        scene, frames = self.rooms.scene(index), self.rooms.frames(index)
        if self.rooms.split == "train" and len(scene) > self.kept.points:
            drawn = np.random.default_rng([self.rooms.seed(index), 11]).permutation(len(scene))
            scene = scene[np.sort(drawn[: self.kept.points])]
        color, depth, cameras = frames.stack(list(range(len(frames))), self.kept.width, self.kept.height)
        assert scene.segment is not None and scene.instance is not None
        return {
            "coord": scene.coord,
            "color": scene.color,
            "normal": scene.normal,
            "segment": scene.segment.astype(np.int16),
            "instance": scene.instance.astype(np.int16),
            "images": (color * 255).round().byte().numpy(),
            "depths": depth.numpy(),
            "viewmats": cameras.viewmats.numpy(),
            "Ks": cameras.Ks.numpy(),
        }


class SmallTeacher:
    """A `Teacher` of the frames of `SmallRooms`, its tokens averaged to `TOKENS` and kept.

    Args:
        spec: as `make_teacher` takes it.
        splits: whose frames it knows.
    """

    def __init__(self, spec: str, *splits: SmallRooms) -> None:
        self._teacher = image_teacher(spec)
        info = self._teacher.info
        self.info = TeacherInfo(info.name, info.dim, info.licence, TOKENS, info.label_free)
        self._where = {name: (rooms, i) for rooms in splits for i, name in enumerate(rooms.names)}
        self._tokens = lru_cache(maxsize=None)(self._read)

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        return self._tokens(scene_name)[index].float()

    @property
    def names(self) -> tuple[str, ...]:
        """The rooms that it knows."""
        return tuple(self._where)

    def make(self, name: str) -> None:
        """See to it that the room's tokens are there."""
        if not self._path(name).is_file():
            self._read(name)

    def _path(self, name: str) -> Path:
        kept = f"{self._teacher.fingerprint}-{TOKENS[0]}x{TOKENS[1]}"
        return self._where[name][0].folder / f"{name}.{kept}.safetensors"

    def _read(self, name: str) -> Tensor:
        rooms, index = self._where[name]
        return torch.from_numpy(load_or_create(self._path(name), lambda: self._make(rooms.rooms, index))["tokens"])

    def _make(self, rooms: Rooms, index: int) -> dict[str, NDArray]:
        frames = rooms.frames(index)
        tokens = self._teacher.features(rooms.names[index], frames, list(range(len(frames))))
        # Of unit length before the average: a token counts for its direction, which is what the loss compares.
        unit = torch.nn.functional.normalize(tokens, dim=-1).permute(0, 3, 1, 2)
        pooled = torch.nn.functional.adaptive_avg_pool2d(unit, TOKENS).permute(0, 2, 3, 1)
        return {"tokens": pooled.half().contiguous().numpy()}


def image_teacher(spec: str) -> ImageTeacher:
    """The teacher of that name, one that looks at images.

    Raises:
        InputError: there is none, or it only knows features of certain frames.
    """
    teacher = make_teacher(spec)
    if not isinstance(teacher, ImageTeacher):
        raise InputError(f"teacher {spec!r}", "one that computes features of any image", "another")
    return teacher


def lifted_source(teacher: ImageTeacher, voxel_size: float, *splits: SmallRooms) -> Source:
    """The lifting baseline at its best: every frame at the teacher's own resolution, not at the experiment's. Kept
    beside the rooms, for the other seeds.

    Args:
        voxel_size: of the voxels that it will be asked about, metres.
    """
    where = {name: (rooms, i) for rooms in splits for i, name in enumerate(rooms.names)}

    def features(dataset: SceneDataset, index: int, points: PointBatch) -> Tensor:
        name = dataset.names[index]
        small, i = where[name]

        def make() -> dict[str, NDArray]:
            return {"lifted": lift(points.coord, small.rooms.frames(i), teacher, name).features.half().numpy()}

        path = small.folder / f"{name}.lifted-{teacher.fingerprint}-{voxel_size:g}.safetensors"
        return torch.from_numpy(load_or_create(path, make)["lifted"]).float()

    return features


def load_or_create(path: Path, make: Callable[[], dict[str, NDArray]]) -> dict[str, NDArray]:
    """The arrays of a file, which is made first if need be, whole or not at all."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):  # not there yet, or cut short by a full disk
        arrays = {k: np.ascontiguousarray(v) for k, v in make().items()}
    with atomic_dir(path.parent) as staging:
        save_file(arrays, staging / path.name)
    return arrays
