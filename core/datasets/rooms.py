"""`Rooms`: procedural rooms as a dataset, made when first asked for and kept on the disk.

A room is stored in the layouts of real data, so the same readers serve it:

    <root>/rooms-v<version>-<config>/<split>/<scene>/{coord, color, normal, segment20, instance}.npy
    <root>/rooms-v<version>-<config>/rgbd/<scene>/{color, depth, pose, intrinsic}/

The folder's name carries the generator's version and a digest of the configuration: another generator or another
configuration never reads these files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from ..data.classes import SCANNET20
from ..data.scene import PointScene, PosedFrames
from ..errors import InputError
from ..geometry.cameras import Cameras
from ..io.cache import cache_folder
from ..io.lru import ArrayCache
from ..synthetic.rooms.light import light_room
from ..synthetic.rooms.points import sample_points
from ..synthetic.rooms.render import View, render
from ..synthetic.rooms.room import GENERATOR_VERSION, build_room
from ..synthetic.rooms.walk import walk
from .scenes.pointcept import read_pointcept_scene
from .scenes.rgbd import read_rgbd_export

FIRST_SEED = {"train": 0, "val": 1_000_000, "test": 2_000_000}
"""Seeds of a split: a million from here on."""
MOST = 1_000_000
_DEFAULT_COUNT = {"train": 1000, "val": 20, "test": 20}


@dataclass(frozen=True)
class RoomsConfig:
    """How rooms are recorded."""

    frames: int = 24
    """Posed RGB-D frames per room."""
    width: int = 320
    """Image width, pixels."""
    height: int = 240
    """Image height, pixels."""
    points: int = 100_000
    """Points per room (fewer where the cameras saw little)."""
    depth_noise: float = 0.0
    """Noise of the depth frames as a multiple of a structured-light camera's, whose standard deviation is about
    1.2 mm at 0.4 m and grows with the square of the distance beyond (Nguyen et al. 2012)."""
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
        count: how many rooms; 1,000 for train and 20 for the others by default.
        config: see `RoomsConfig`.
        root: where rooms are kept; `cache_folder` by default. Safe for several processes at once.
        first: number of the first room in the split, which has a million.

    Raises:
        InputError: unknown split, rooms that it has not, or a folder that cannot be written (when a room is made).
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
        if not 1 <= count <= MOST:
            raise InputError("count", f"1 to {MOST:,} rooms", f"{count}")
        if not 0 <= first <= MOST - count:
            raise InputError("first", f"a room from 0 to {MOST - count:,}", f"{first}")
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

    def ready(self, index: int) -> bool:
        """Whether room ``index`` lies on the disk; making it takes some seconds."""
        name = self.names[index]
        return (self.root / self.split / name).is_dir() and (self.root / "rgbd" / name).is_dir()

    def scene(self, index: int) -> PointScene:
        folder, _ = self._folders(index)
        return read_pointcept_scene(folder, "segment20", folder.name, len(SCANNET20))

    def frames(self, index: int) -> PosedFrames:
        if index not in self._frames:
            _, folder = self._folders(index)
            self._frames[index] = read_rgbd_export(folder, cache=self._images)
        return self._frames[index]

    def _folders(self, index: int) -> tuple[Path, Path]:
        """The room's points and frames, made now if they are not there yet."""
        name = self.names[index]
        points, rgbd = self.root / self.split / name, self.root / "rgbd" / name
        if not (points.is_dir() and rgbd.is_dir()):
            try:
                self._make(self.seed(index), name, points, rgbd)
            except OSError as error:
                raise InputError(
                    self.root, "a folder that can be written", str(error), "set GAUSSIANCROSS_CACHE to one that can"
                ) from error
        return points, rgbd

    def _make(self, seed: int, name: str, points: Path, rgbd: Path) -> None:
        """Writes the room beside its place and moves it there: whoever looks finds all of it or nothing."""
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
            _move(work / "rgbd", rgbd)
            _move(work / "points", points)


def _move(source: Path, target: Path) -> None:
    """Renames a folder; when another process was faster, its (equal) folder stays."""
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
    K[:2, 2] -= 0.5  # these files put the first pixel's centre at (0, 0)
    for kind in ("color", "depth"):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{kind}.txt", K, fmt="%.9g")
    for i, view in enumerate(views):
        color, depth = _noisy(view, config, rng)
        Image.fromarray(color).save(folder / "color" / f"{i}.jpg", quality=95, subsampling=0)
        millimetres = np.rint(depth * 1000).clip(0, 65535).astype(np.uint16)
        Image.fromarray(millimetres).save(folder / "depth" / f"{i}.png", compress_level=1)
        np.savetxt(folder / "pose" / f"{i}.txt", c2w[i], fmt="%.9g")


def _noisy(view: View, config: RoomsConfig, rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    color, depth = view.color, view.depth
    if config.color_noise:
        noise = rng.normal(0, config.color_noise, color.shape)
        color = np.rint(color + noise).clip(0, 255).astype(np.uint8)
    if config.depth_noise:
        sigma = config.depth_noise * (0.0012 + 0.0019 * np.maximum(depth - 0.4, 0) ** 2)
        noise = rng.normal(0, 1, depth.shape) * sigma
        depth = np.where(depth > 0, np.maximum(depth + noise, 0.001), 0).astype(np.float32)
    return color, depth
