"""Features of a whole dataset, computed once: one file per scene, checksummed, resumable.

Layout::

    <folder>/cache.json                    teacher, channels, text tower, storage
    <folder>/<split>/<scene>.safetensors   features of its frames, their names and cameras
    <folder>/SHA256SUMS                    as `sha256sum -c` reads it

Size, for ScanNet as the paper uses it (at most 30 frames of 640×480 per scene, tokens of 16 pixels: 30×40), in GB
(10⁹ bytes) per 1,000 scenes, of which training and validation have 1,513:

======  =======  ====
D       float16  int8
======  =======  ====
512        36.9  18.6
768        55.3  27.8
1024       73.7  37.0
======  =======  ====
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.scene import PosedFrames, SceneDataset
from ..errors import InputError
from ..io.frames import evenly_spaced
from ..io.lru import ArrayCache
from ..query.text import TextEncoder
from .base import ImageTeacher, TeacherInfo
from .families import FAMILIES
from .registry import make_teacher
from .shards import PACKED, ShardFolder, Storage, cosine_error, pack, replace_file, stored_bytes, unpack
from .text import LateText

FORMAT = 1
MANIFEST = "cache.json"
SAME_CAMERA = 1e-3
"""How far world-to-camera matrices of the same frame may be apart: metres, and entries of the rotation."""


class CachedTeacher:
    """Features that `write_cache` stored, as a `Teacher`. Every file's checksum is checked when it is first touched.

    Args:
        folder: that holds ``cache.json``.
        max_bytes: memory for recently used frames.

    Attributes:
        info: of the teacher that computed them.
        channels: names of its channels, or None.
        text: its text tower. Of a checkpoint, loaded when first asked, which needs the checkpoint.
        spec: what makes the teacher again.

    Raises:
        InputError: no such cache, or a damaged one.
    """

    def __init__(self, folder: Path | str, max_bytes: int = 512 << 20) -> None:
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        info = manifest["teacher"]
        resolution = info.pop("resolution")
        self.info = TeacherInfo(**info, resolution=None if resolution is None else tuple(resolution))
        self.channels: tuple[str, ...] | None = tuple(manifest["channels"]) if manifest["channels"] else None
        self.spec, self._splits = str(manifest["spec"]), tuple(manifest["splits"])
        self._shards = ShardFolder(self.folder)
        self._abouts: dict[str, tuple[dict[str, int], NDArray]] = {}
        self._recent = ArrayCache(max_bytes)
        self.text: TextEncoder | None = self._text() if manifest["text"] else None

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        """[C, h, w, D] float32 on the CPU.

        Raises:
            InputError: a frame that is not stored, was stored from another camera, or lies in a damaged file.
        """
        if not index:
            return torch.zeros(0, *(self.info.resolution or (0, 0)), self.info.dim)
        viewmats = frames.cameras.viewmats[index].cpu().numpy()
        maps = [self._frame(scene_name, frames.names[i], pose) for i, pose in zip(index, viewmats, strict=True)]
        return torch.from_numpy(np.stack(maps))

    def _frame(self, scene: str, frame: str, viewmat: NDArray) -> NDArray[np.float32]:
        for split in self._splits:
            name = shard_name(split, scene)
            if name not in self._shards:
                continue
            rows, cameras = self._about(name)
            if frame not in rows:
                continue
            if not np.allclose(cameras[rows[frame]], viewmat, atol=SAME_CAMERA):
                raise InputError(
                    self.folder / name,
                    f"features of frame {frame} from where it was taken",
                    "those of another camera",
                    "the capture has changed: compute them again into another folder",
                )
            return self._row(name, rows[frame])
        known = any(shard_name(split, scene) in self._shards for split in self._splits)
        raise InputError(
            self.folder,
            f"features of frame {frame} of {scene}",
            "only other frames of it" if known else "no such scene",
            "run `gaussiancross features` on this dataset; it makes what is missing",
        )

    def _row(self, name: str, row: int) -> NDArray[np.float32]:
        def read() -> tuple[NDArray, ...]:
            arrays = self._shards.read(name, PACKED, [row])
            return tuple(arrays[key] for key in PACKED if key in arrays)

        return unpack(dict(zip(PACKED, self._recent.get((name, row), read), strict=False)))[0]

    def _about(self, name: str) -> tuple[dict[str, int], NDArray]:
        if name not in self._abouts:
            names = self._shards.about(name)["frames"]
            self._abouts[name] = {n: i for i, n in enumerate(names)}, self._shards.read(name, ("viewmats",))["viewmats"]
        return self._abouts[name]

    def _text(self) -> TextEncoder | None:
        def make() -> TextEncoder | None:
            return getattr(make_teacher(self.spec), "text", None)

        late = LateText(make, self.info.dim, f"teacher {self.spec}, for text")
        if self.spec.partition(":")[0] in FAMILIES:
            return late  # gigabytes, and perhaps not on this machine
        try:
            return make()
        except InputError:
            return late


@dataclass(frozen=True)
class Plan:
    """What `write_cache` would do.

    Attributes:
        scenes: how many there are. missing: how many of them are yet to be made.
        frames: per scene, mean of those looked at.
        tokens: (h, w, D) of a frame.
        nbytes: on the disk when all is done. needed: of them, what is yet to be written.
        free: bytes of the disk.
    """

    scenes: int
    missing: int
    frames: float
    tokens: tuple[int, int, int]
    nbytes: int
    needed: int
    free: int


@dataclass(frozen=True)
class SceneDone:
    """One scene of `write_cache`: its split and name, and the cosine error of its tokens (mean, max)."""

    split: str
    scene: str
    frames: int
    error: tuple[float, float]
    made: bool
    """Whether it was computed now; False if it was there."""


def plan_cache(
    folder: Path, teacher: ImageTeacher, datasets: Mapping[str, SceneDataset], storage: Storage, look_at: int = 4
) -> Plan:
    """Size before the work, from the frames of ``look_at`` scenes per split and one map.

    Raises:
        InputError: no scene with frames.
    """
    shards = ShardFolder(folder)
    counts: list[int] = []
    shape: tuple[int, int, int] | None = None
    for dataset in datasets.values():
        for i in evenly_spaced(list(range(len(dataset))), look_at):
            frames = dataset.frames(i)
            counts.append(0 if frames is None else len(frames))
            if frames is not None and len(frames) and shape is None:
                h, w, d = teacher.features(dataset.names[i], frames, [0]).shape[1:]
                shape = h, w, d
    if shape is None:
        raise InputError(" and ".join(datasets), "scenes with posed frames", "none")
    names = [shard_name(split, scene) for split, dataset in datasets.items() for scene in dataset.names]
    missing = sum(name not in shards for name in names)
    mean = sum(counts) / len(counts)
    per_scene = stored_bytes(1, *shape, storage) * mean + 4096
    free = shutil.disk_usage(_existing(folder)).free
    return Plan(len(names), missing, mean, shape, round(per_scene * len(names)), round(per_scene * missing), free)


def write_cache(
    folder: Path,
    teacher: ImageTeacher,
    spec: str,
    datasets: Mapping[str, SceneDataset],
    storage: Storage = "float16",
    group: int = 8,
) -> Iterator[SceneDone]:
    """Compute and store what is missing, scene by scene; each is on the disk when it is handed out.

    Args:
        folder: of the cache; one teacher's.
        teacher: see `ImageTeacher`.
        spec: what `make_teacher` makes it from.
        datasets: split → scenes.
        storage: see `pack`.
        group: frames at a time.

    Raises:
        InputError: the folder holds other features, the disk is full, or a frame cannot be read.
    """
    manifest = {
        "format": FORMAT,
        "spec": spec,
        "teacher": asdict(teacher.info),
        "channels": getattr(teacher, "channels", None),
        "text": teacher.text is not None,
        "storage": storage,
        "fingerprint": _stored_fingerprint(teacher.fingerprint),
        "splits": sorted(datasets),
    }
    _claim(folder, manifest, [_stored_fingerprint(name) for name in teacher.former_fingerprints])
    shards = ShardFolder(folder)
    for split, dataset in datasets.items():
        for i, scene in enumerate(dataset.names):
            name = shard_name(split, scene)
            if name in shards:
                about = shards.about(name)
                yield SceneDone(split, scene, len(about["frames"]), (about["error"][0], about["error"][1]), False)
                continue
            frames = dataset.frames(i)
            if frames is None or len(frames) == 0:
                continue
            arrays, error = _packed(teacher, scene, frames, storage, group)
            shards.write(name, arrays, {"frames": list(frames.names), "error": error})
            yield SceneDone(split, scene, len(frames), error, True)


def _packed(
    teacher: ImageTeacher, scene: str, frames: PosedFrames, storage: Storage, group: int
) -> tuple[dict[str, NDArray], tuple[float, float]]:
    """Arrays of a scene's shard, and the cosine error (mean, max) of its tokens."""
    packed: list[dict[str, NDArray]] = []
    total, count, worst = 0.0, 0, 0.0
    for k in range(0, len(frames), group):
        features = teacher.features(scene, frames, list(range(k, min(k + group, len(frames)))))
        packed.append(pack(features, storage))
        error = cosine_error(features, unpack(packed[-1]))
        total, count, worst = total + float(error.sum()), count + error.numel(), max(worst, float(error.max()))
    arrays = {key: np.concatenate([p[key] for p in packed]) for key in packed[0]}
    viewmats = frames.cameras.viewmats.float().cpu().numpy()
    return {**arrays, "viewmats": np.ascontiguousarray(viewmats)}, (total / count, worst)


def shard_name(split: str, scene: str) -> str:
    """File of a scene, relative to the folder. Captures have the same scenes in every split, with other frames."""
    return f"{split}/{scene}.safetensors"


def read_manifest(folder: Path) -> dict[str, Any]:
    """``cache.json``, checked."""
    path = folder / MANIFEST
    wanted = "a feature cache, as `gaussiancross features` writes it"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(path, wanted, "no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(path, wanted, f"a damaged file ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(path, f"{wanted}, format {FORMAT}", f"{found}")
    keys = {"spec": str, "teacher": dict, "text": bool, "storage": str, "splits": list}
    bad = [k for k, kind in keys.items() if not isinstance(manifest.get(k), kind)]
    if bad or set(manifest["teacher"]) != set(TeacherInfo.__dataclass_fields__) or "channels" not in manifest:
        raise InputError(path, wanted, f"no usable {bad[0] if bad else 'teacher'}")
    return manifest


def _stored_fingerprint(fingerprint: str) -> str:
    """A teacher's fingerprint as the manifest keeps it."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()


def _claim(folder: Path, manifest: dict[str, Any], former_fingerprints: Sequence[str]) -> None:
    """Write the manifest; a folder that has one may only get further splits of the same features.

    Args:
        former_fingerprints: of the same teacher, as manifests of older versions keep them.
    """
    if (folder / MANIFEST).is_file():
        old, new = read_manifest(folder), json.loads(json.dumps(manifest))  # tuples as JSON gives them back
        if old.get("fingerprint") in former_fingerprints:
            old["fingerprint"] = new["fingerprint"]
        differs = [k for k in new if k not in ("splits", "spec") and new[k] != old.get(k)]
        if differs:
            what = "the same teacher, checkpoint and storage"
            found = f"another {' and '.join(differs)}"
            raise InputError(folder, f"features of {what}", found, "give another --out, or delete the folder")
        manifest = {**old, "splits": sorted({*old["splits"], *manifest["splits"]})}
    replace_file(folder / MANIFEST, (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode())


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder
