"""Scenes per second that one core prepares for pre-training at the paper's scale, and the ceiling for more cores."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from ..core.data.batch import Batch
from ..core.data.packed import map_tensors
from ..core.data.scene import PointScene, PosedFrames
from ..core.io.frames import FrameFile, FrameReader
from ..core.io.images import write_depth
from ..core.io.lru import ArrayCache
from ..core.teachers.precomputed import PrecomputedTeacher
from ..trainers.pretraining.data import PretrainData, join
from ..trainers.pretraining.presets import FULL
from ._data import BoxRooms
from ._machine import environment, markdown, write_report

CORES = (2, 8, 16)


@dataclass(frozen=True)
class Feed:
    """Prepare scenes of 150,000 points with five JPEG images of 1296 × 968, depth, and stored features of 30 × 40 × D.

    Files are in the page cache of the system; nothing is kept in memory between scenes.
    """

    points: int = 150_000
    """Points per scene."""
    dim: int = 1280
    """D, width of the teacher's features (RADIO-H: 1280)."""
    frames: int = 10
    """Frames on disk."""
    scenes: int = 12
    """Number of scenes timed."""
    out: Path = Path("bench")
    """Folder for feed.json and feed.md."""


def main() -> int:
    args = tyro.cli(Feed)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(args, Path(folder))
    report["environment"] = environment(torch.device("cpu"))
    rows = [
        ("CPU time per scene, in float32", f"{report['float32']:.3f} s"),
        ("CPU time per scene, in the types of the files", f"{report['packed']:.3f} s"),
        ("joining a batch, per scene", f"{report['joined'] * 1e3:.1f} ms"),
        ("bytes per scene: float32, in the types of the files", f"{report['bytes'][0]} MB, {report['bytes'][1]} MB"),
        ("scenes per second and core: float32, in the types of the files", " and ".join(
            f"{1 / report[kind]:.1f}" for kind in ("float32", "packed"))),
        *((f"ceiling of {n} cores, scenes per second", f"{report['ceilings'][n]:.0f}") for n in CORES),
    ]  # fmt: skip
    write_report(args.out, "feed", report, markdown(("feed", "CPU"), rows))
    return 0


def measure(args: Feed, folder: Path) -> dict:
    """CPU seconds per scene: interleaved, median; and what the process that trains has to do itself."""
    data = stored_scene(args, folder)
    times: dict[bool, list[float]] = {False: [], True: []}
    parts = []
    for packed in times:
        data.slot(0, 0, packed=packed)
    for step in range(args.scenes):
        for packed in times:
            began = time.process_time()
            part = data.slot(step, 0, packed=packed)
            times[packed].append(time.process_time() - began)
            if packed:
                parts = [*parts[-7:], part]
    began = time.process_time()
    join(parts)
    joined = (time.process_time() - began) / len(parts)
    plain, packed = (float(np.median(times[kind])) for kind in (False, True))
    sizes = [_megabytes(data.slot(0, 0, packed=kind)) for kind in (False, True)]
    ceilings = {n: min((n - 1) / packed if n > 1 else 1 / packed, 1 / joined) for n in CORES}
    return {"float32": plain, "packed": packed, "joined": joined, "bytes": sizes, "ceilings": ceilings}


def stored_scene(args: Feed, folder: Path) -> PretrainData:
    """Write one room to disk as a capture with stored features, and open it without caches in memory."""
    rooms = BoxRooms(1, args.points, args.frames)
    frames, rng = rooms.frames(0), np.random.default_rng(0)
    files = []
    for i in range(args.frames):
        image = frames.read(i, 1296, 968).color + rng.normal(scale=0.02, size=(968, 1296, 3))
        color, depth = folder / f"{i}.jpg", folder / f"{i}.png"
        Image.fromarray((255 * image.clip(0, 1)).astype(np.uint8)).save(color, quality=90)
        write_depth(depth, (1000 * frames.read(i, 640, 480).depth).astype(np.uint16))
        np.save(folder / f"{i}.npy", rng.normal(size=(30, 40, args.dim)).astype(np.float16))
        files.append(FrameFile(color, depth))
    reader = FrameReader(tuple(files), ArrayCache(0))
    scene, stored = rooms.scene(0), PosedFrames(frames.names, frames.cameras, reader)
    config = replace(FULL.data, batch_size=1)
    data = OneScene(scene, stored)
    return PretrainData(config, FULL.model.input, 0, data, data, PrecomputedTeacher(folder, max_bytes=0))


class OneScene:
    """A `SceneDataset` of one scene."""

    class_names: tuple[str, ...] = ()

    def __init__(self, scene: PointScene, frames: PosedFrames) -> None:
        self.names, self._scene, self._frames = (scene.name,), scene, frames

    def __len__(self) -> int:
        return 1

    def scene(self, index: int) -> PointScene:
        return self._scene

    def frames(self, index: int) -> PosedFrames:
        return self._frames


def _megabytes(batch: Batch) -> int:
    sizes: list[int] = []
    map_tensors(batch, lambda tensor: sizes.append(tensor.nbytes) or tensor)  # type: ignore[func-returns-value]
    return round(sum(sizes) / 1e6)
