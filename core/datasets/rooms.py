"""`Rooms`: procedural rooms as a dataset, generated on first access and cached on disk.

A room is stored in the layouts of real datasets, which their readers then open:

    <root>/rooms-v<version>-<config>/<split>/<scene>/{coord, color, normal, segment20, instance}.npy
    <root>/rooms-v<version>-<config>/rgbd/<scene>/{color, depth, pose, intrinsic}/

The folder name holds the generator's version and a digest of the configuration, so a different generator or
configuration never reads these files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from ..data.classes import SCANNET20
from ..data.scene import PointScene, PosedFrames
from ..errors import InputError
from ..geometry.cameras import Cameras
from ..io.atomic import flush_folder_tree
from ..io.cache import cache_folder
from ..io.lru import ArrayCache
from ..synthetic.rooms.light import light_room
from ..synthetic.rooms.points import sample_points
from ..synthetic.rooms.render import View, render
from ..synthetic.rooms.room import GENERATOR_VERSION, build_room
from ..synthetic.rooms.walk import walk
from .scenes.pointcept import read_pointcept_scene
from .scenes.rgbd import read_rgbd_export

R = TypeVar("R")

FIRST_SEED = {"train": 0, "val": 1_000_000, "test": 2_000_000}
"""First of the `SEEDS_PER_SPLIT` seeds of a split."""
SEEDS_PER_SPLIT = 1_000_000
_DEFAULT_COUNT = {"train": 1000, "val": 20, "test": 20}


@dataclass(frozen=True)
class RoomsConfig:
    """Frames, points and noise of recorded rooms."""

    frames: int = 24
    """Posed RGB-D frames per room."""
    width: int = 320
    """Image width, pixels."""
    height: int = 240
    """Image height, pixels."""
    points: int = 100_000
    """Points per room; fewer when the cameras saw too little of it."""
    depth_noise: float = 0.0
    """Depth noise as a multiple of a structured-light camera's: 1.2 mm at 0.4 m, quadratic beyond (Nguyen 2012)."""
    color_noise: float = 0.0
    """Standard deviation of the frames' colour noise, in 8-bit steps."""

    def __post_init__(self) -> None:
        small = [k for k in ("frames", "width", "height") if getattr(self, k) < 1]
        if small or self.points < 100 or self.depth_noise < 0 or self.color_noise < 0:
            raise InputError(
                "RoomsConfig", "at least 1 frame of 1 × 1 pixels, 100 points and noise of 0 or more", str(asdict(self))
            )


class Rooms:
    """Procedural rooms as a `SceneDataset` with the 20 classes of ScanNet.

    Room ``i`` of a split is always the same room. Splits never share a seed.

    Args:
        split: "train", "val" or "test".
        count: number of rooms; by default 1,000 for train and 20 for the others.
        config: see `RoomsConfig`.
        root: cache folder; `cache_folder` by default. Several processes may use it at once.
        first: index of the first room within the split's million.

    Raises:
        InputError: unknown split, rooms outside it, or (when a room is generated) a folder that is not writable.
    """

    def __init__(
        self,
        split: str = "train",
        count: int | None = None,
        config: RoomsConfig | None = None,
        root: Path | str | None = None,
        first: int = 0,
    ) -> None:
        if split not in FIRST_SEED:
            raise InputError("split", "train, val or test", repr(split))
        count = _DEFAULT_COUNT[split] if count is None else count
        if not 1 <= count <= SEEDS_PER_SPLIT:
            raise InputError("count", f"1 to {SEEDS_PER_SPLIT:,} rooms", f"{count}")
        if not 0 <= first <= SEEDS_PER_SPLIT - count:
            raise InputError("first", f"a room from 0 to {SEEDS_PER_SPLIT - count:,}", f"{first}")
        self.split, self.first = split, first
        self.config = config or RoomsConfig()
        digest = hashlib.sha256(json.dumps(asdict(self.config), sort_keys=True).encode()).hexdigest()[:8]
        self.root = Path(root or cache_folder()).expanduser() / f"rooms-v{GENERATOR_VERSION}-{digest}"
        self.names = tuple(f"room_{split}_{i:06d}" for i in range(first, first + count))
        self.class_names = SCANNET20
        self._images = ArrayCache()
        self._frames: dict[int, PosedFrames] = {}

    def __len__(self) -> int:
        return len(self.names)

    def seed(self, index: int) -> int:
        """The seed of room ``index`` for `build_room`."""
        return FIRST_SEED[self.split] + self.first + range(len(self))[index]

    def is_cached(self, index: int) -> bool:
        """Whether room ``index`` is on disk; generating it takes some seconds."""
        return all(folder.is_dir() for folder in self._paths(index))

    def scene(self, index: int) -> PointScene:
        """Point cloud of room ``index``."""
        return self._read(index, self._read_points)

    def frames(self, index: int) -> PosedFrames:
        """Posed RGB-D frames of room ``index``."""
        if index not in self._frames:
            self._frames[index] = self._read(index, self._read_frames)
        return self._frames[index]

    def _read_points(self, points: Path, rgbd: Path) -> PointScene:
        return read_pointcept_scene(points, "segment20", points.name, len(SCANNET20))

    def _read_frames(self, points: Path, rgbd: Path) -> PosedFrames:
        frames = read_rgbd_export(rgbd, cache=self._images)
        if len(frames.names) != self.config.frames:
            raise InputError(rgbd, f"{self.config.frames} frames", f"{len(frames.names)} that are readable")
        return frames

    def _read(self, index: int, read: Callable[[Path, Path], R]) -> R:
        """Read the cached folders of a room; a damaged room is generated again, once."""
        try:
            return read(*self._folders(index))
        except InputError as error:
            damaged = [folder for folder in self._paths(index) if folder.is_dir()]
            if len(damaged) < 2:  # it could not be generated at all
                raise
            warnings.warn(f"{error} The room is generated again.", stacklevel=2)
            for folder in damaged:
                shutil.rmtree(folder, ignore_errors=True)
            return read(*self._folders(index))

    def _paths(self, index: int) -> tuple[Path, Path]:
        """Folders of the room's points and frames."""
        name = self.names[index]
        return self.root / self.split / name, self.root / "rgbd" / name

    def _folders(self, index: int) -> tuple[Path, Path]:
        """Folders of the room's points and frames, generated if missing."""
        name, (points, rgbd) = self.names[index], self._paths(index)
        if not (points.is_dir() and rgbd.is_dir()):
            try:
                self._generate(self.seed(index), name, points, rgbd)
            except OSError as error:
                raise InputError(
                    self.root, "a folder that can be written", str(error), "set GAUSSIANCROSS_CACHE to one that can"
                ) from error
        return points, rgbd

    def _generate(self, seed: int, name: str, points: Path, rgbd: Path) -> None:
        """Generate the room in a temporary folder, then rename it, so that readers see all of it or nothing."""
        lit = light_room(build_room(seed))
        cameras = walk(lit, self.config.frames, self.config.width, self.config.height)
        views = [render(lit, cameras, i) for i in range(len(cameras))]
        scene = sample_points(lit, cameras, views, self.config.points, name)
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=self.root, ignore_cleanup_errors=True) as temporary:
            work = Path(temporary)
            _write_frames(
                work / "rgbd", cameras, views, self.config, np.random.default_rng([GENERATOR_VERSION, seed, 3])
            )
            _write_points(work / "points", scene)
            flush_folder_tree(work)
            _rename_folder(work / "rgbd", rgbd)
            _rename_folder(work / "points", points)


def _rename_folder(source: Path, target: Path) -> None:
    """Rename a folder; when another process was faster, keep its (equal) folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(source)


def _write_points(folder: Path, scene: PointScene) -> None:
    folder.mkdir()
    for name, array in scene.arrays().items():
        assert array is not None
        np.save(folder / f"{'segment20' if name == 'segment' else name}.npy", array, allow_pickle=False)


def _write_frames(folder: Path, cameras: Cameras, views: list[View], config: RoomsConfig, rng: Generator) -> None:
    for part in ("color", "depth", "pose", "intrinsic"):
        (folder / part).mkdir(parents=True)
    c2w = cameras.camera_to_worlds.numpy()
    K = np.eye(4)
    K[:3, :3] = cameras.Ks[0].numpy()
    K[:2, 2] -= 0.5  # this format puts the centre of the first pixel at (0, 0)
    for kind in ("color", "depth"):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{kind}.txt", K, fmt="%.9g")
    for i, view in enumerate(views):
        color, depth = add_sensor_noise(view, config, rng)
        Image.fromarray(color).save(folder / "color" / f"{i}.jpg", quality=95, subsampling=0)
        millimetres = np.rint(depth * 1000).clip(0, 65535).astype(np.uint16)
        Image.fromarray(millimetres).save(folder / "depth" / f"{i}.png", compress_level=1)
        np.savetxt(folder / "pose" / f"{i}.txt", c2w[i], fmt="%.9g")


def add_sensor_noise(view: View, config: RoomsConfig, rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    color, depth = view.color, view.depth
    if config.color_noise:
        noise = rng.normal(0, config.color_noise, color.shape)
        color = np.rint(color + noise).clip(0, 255).astype(np.uint8)
    if config.depth_noise:
        sigma = config.depth_noise * (0.0012 + 0.0019 * np.maximum(depth - 0.4, 0) ** 2)
        noise = rng.normal(0, 1, depth.shape) * sigma
        depth = np.where(depth > 0, np.maximum(depth + noise, 0.001), 0).astype(np.float32)
    return color, depth
