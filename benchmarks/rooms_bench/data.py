"""Rooms at the experiment's size: fewer points, small views, teacher tokens, cached on disk and in memory.

    <root>/rooms-bench-<digest>/<room>.safetensors             points, labels, views
    <root>/rooms-bench-<digest>/<room>.<teacher>.safetensors   tokens of the views

A training step then spends its time on the network and the splatting, not on reading.
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
from ...core.features.lifting import lift, spaced_frames
from ...core.geometry.cameras import Cameras
from ...core.io.atomic import atomic_dir
from ...core.io.cache import cache_folder
from ...core.teachers import make_teacher
from ...core.teachers.base import ImageTeacher
from ...core.teachers.shards import pack, unpack
from ...trainers.downstream.fixed import Source


@dataclass(frozen=True)
class RoomCacheConfig:
    """Size of the cached rooms."""

    points: int
    """Number of points sampled from a training room; held-out rooms keep all."""
    width: int
    """Width of the views, pixels."""
    height: int
    """Height of the views, pixels."""
    frames: int = 24
    """Largest number of views per room, evenly spaced."""


class SmallRooms:
    """Rooms of one split as a `SceneDataset`, with all frames at one small size.

    Args:
        rooms: the rooms at full size.
        config: sizes to reduce them to.
        root: folder of the cache; by default `cache_folder`.
    """

    def __init__(self, rooms: Rooms, config: RoomCacheConfig, root: Path | None = None) -> None:
        self.rooms, self.config = rooms, config
        self.names, self.class_names = rooms.names, rooms.class_names
        digest = hashlib.sha256(json.dumps([rooms.root.name, rooms.split, asdict(config)]).encode()).hexdigest()[:8]
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
        arrays, config = self._arrays(index), self.config
        images, depths = arrays["images"], arrays["depths"]
        viewmats, Ks = torch.from_numpy(arrays["viewmats"]), torch.from_numpy(arrays["Ks"])
        cameras = Cameras(viewmats, Ks, config.width, config.height)

        def read(i: int, width: int, height: int) -> Frame:
            if (width, height) != (config.width, config.height):
                expected = f"{config.width} × {config.height}, the cached size"
                raise InputError(self.names[index], expected, f"{width} × {height}")
            return Frame(images[i].astype(np.float32) / 255, depths[i])

        return PosedFrames(tuple(str(i) for i in range(len(images))), cameras, read)

    def index(self, frames: PosedFrames) -> list[int]:
        """Indices of the kept views among a room's frames at full size."""
        return spaced_frames(len(frames), self.config.frames)

    def make(self, index: int) -> None:
        """Create the room's file if it is missing."""
        if not self._path(index).is_file():
            self._arrays(index)

    def _path(self, index: int) -> Path:
        return self.folder / f"{self.names[index]}.safetensors"

    def _arrays(self, index: int) -> dict[str, NDArray]:
        return load_or_create(self._path(index), lambda: self._make(index))

    def _make(self, index: int) -> dict[str, NDArray]:
        scene, frames = self.rooms.scene(index), self.rooms.frames(index)
        if self.rooms.split == "train" and len(scene) > self.config.points:
            order = np.random.default_rng([self.rooms.seed(index), 11]).permutation(len(scene))
            scene = scene[np.sort(order[: self.config.points])]
        color, depth, cameras = frames.stack(self.index(frames), self.config.width, self.config.height)
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
    """A `Teacher` of the views of `SmallRooms`: tokens of their frames at full size, cached as int8.

    Args:
        spec: name of the teacher, see `make_teacher`.
        splits: rooms whose frames it serves.
    """

    def __init__(self, spec: str, *splits: SmallRooms) -> None:
        self._teacher = image_teacher(spec)
        self.info = self._teacher.info
        self._where = {name: (rooms, i) for rooms in splits for i, name in enumerate(rooms.names)}
        self._tokens = lru_cache(maxsize=None)(self._read)

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        arrays = self._tokens(scene_name)
        return torch.from_numpy(unpack({key: array[index] for key, array in arrays.items()}))

    @property
    def fingerprint(self) -> str:
        """Identifier of the stored tokens, valid in a file name."""
        return self._teacher.fingerprint

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its rooms."""
        return tuple(self._where)

    def make(self, name: str) -> None:
        """Compute and store the room's tokens if they are missing."""
        if not self._path(name).is_file():
            self._read(name)

    def _path(self, name: str) -> Path:
        return self._where[name][0].folder / f"{name}.{self._teacher.fingerprint}-int8.safetensors"

    def _read(self, name: str) -> dict[str, NDArray]:
        rooms, index = self._where[name]
        return load_or_create(self._path(name), lambda: self._make(rooms, index))

    def _make(self, small: SmallRooms, index: int) -> dict[str, NDArray]:
        frames = small.rooms.frames(index)
        tokens = self._teacher.features(small.names[index], frames, small.index(frames))
        return pack(tokens, "int8")


def image_teacher(spec: str) -> ImageTeacher:
    """Create a teacher that computes features of any image.

    Raises:
        InputError: no such teacher, or one with precomputed features only.
    """
    teacher = make_teacher(spec)
    if not isinstance(teacher, ImageTeacher):
        raise InputError(f"teacher {spec!r}", "one that computes features of any image", "precomputed features")
    return teacher


def lifted_source(spec: str, voxel_size: float, *splits: SmallRooms) -> Source:
    """Create a source of a teacher's features lifted from every view, cached beside the rooms.

    Args:
        spec: name of the teacher, see `make_teacher`.
        voxel_size: of the voxels to lift onto, metres.
    """
    where = {name: (rooms, i) for rooms in splits for i, name in enumerate(rooms.names)}
    teacher = SmallTeacher(spec, *splits)

    def features(dataset: SceneDataset, index: int, points: PointBatch) -> Tensor:
        name = dataset.names[index]
        small, i = where[name]

        def make() -> dict[str, NDArray]:
            frames = small.rooms.frames(i)  # depth at full size, of the views that have tokens
            frames = frames.subset(small.index(frames))
            return {"lifted": lift(points.coord, frames, teacher, name).features.half().numpy()}

        path = small.folder / f"{name}.lifted-{teacher.fingerprint}-{voxel_size:g}.safetensors"
        return torch.from_numpy(load_or_create(path, make)["lifted"]).float()

    return features


def load_or_create(path: Path, make: Callable[[], dict[str, NDArray]]) -> dict[str, NDArray]:
    """Read the arrays of a file; if it is missing or damaged, create it first, atomically."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):  # not there yet, or cut short by a full disk
        arrays = {k: np.ascontiguousarray(v) for k, v in make().items()}
    with atomic_dir(path.parent) as staging:
        save_file(arrays, staging / path.name)
    return arrays
