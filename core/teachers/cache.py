"""Compute and store the features of a dataset: one file per scene, with checksums, resumable.

Layout::

    <folder>/cache.json                    teacher, channels, text tower, storage
    <folder>/<split>/<scene>.safetensors   features of its frames, their names and cameras
    <folder>/SHA256SUMS                    checksums in the format of `sha256sum -c`; with several writers also
                                           SHA256SUMS.<writer>

Size for ScanNet in the paper's setting (at most 30 frames of 640×480 per scene, tokens of 16 pixels: 30×40), in GB
(10⁹ bytes) per 1,000 scenes (training and validation have 1,513):

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
from ..io.json_files import read_json
from ..io.lru import ArrayCache
from ..query.text import TextEncoder
from .base import ImageTeacher, TeacherFactory, TeacherInfo
from .families import FAMILIES
from .shards import PACKED, ShardFolder, Storage, cosine_error, pack, replace_file, stack_packed, stored_bytes, unpack
from .text import LateText

FORMAT = 1
MANIFEST = "cache.json"
SAME_CAMERA = 1e-3
"""Tolerance between world-to-camera matrices of the same frame: metres, and entries of the rotation."""


class CachedTeacher:
    """A `Teacher` that reads features stored by `write_cache`. Checksums are verified when a file is first read.

    Args:
        folder: folder of ``cache.json``.
        make_teacher: makes the original teacher, for its text tower.
        max_bytes: memory for recently used frames.

    Attributes:
        info: description of the teacher that computed the features.
        channels: names of its channels, or None.
        text: its text tower, or None. That of a checkpoint is loaded on first use.
        spec: argument of `make_teacher` for the original teacher.

    Raises:
        InputError: no cache, or a damaged one.
    """

    def __init__(self, folder: Path | str, make_teacher: TeacherFactory, max_bytes: int = 512 << 20) -> None:
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
        self.text: TextEncoder | None = self._text(make_teacher) if manifest["text"] else None

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> Tensor:
        """[C, h, w, D] float32 on the CPU.

        Raises:
            InputError: a frame that is not stored or was stored with another camera, or a damaged file.
        """
        if not index:
            return torch.zeros(0, *(self.info.resolution or (0, 0)), self.info.dim)
        return torch.from_numpy(np.concatenate([unpack(frame) for frame in self._frames(scene_name, frames, index)]))

    def packed(self, scene_name: str, frames: PosedFrames, index: list[int]) -> tuple[Tensor, Tensor | None]:
        """`features` as they are stored; see `stack_packed`."""
        return stack_packed(self._frames(scene_name, frames, index))

    def _frames(self, scene: str, frames: PosedFrames, index: list[int]) -> list[dict[str, NDArray]]:
        viewmats = frames.cameras.viewmats[index].cpu().numpy()
        return [self._frame(scene, frames.names[i], pose) for i, pose in zip(index, viewmats, strict=True)]

    def _frame(self, scene: str, frame: str, viewmat: NDArray) -> dict[str, NDArray]:
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
                    f"features of frame {frame} for its camera",
                    "those of another camera",
                    "the capture has changed: compute the features again, into another folder",
                )
            return self._row(name, rows[frame])
        has_scene = any(shard_name(split, scene) in self._shards for split in self._splits)
        raise InputError(
            self.folder,
            f"features of frame {frame} of {scene}",
            "only other frames of it" if has_scene else "no such scene",
            "run `gaussiancross features` on this dataset: it computes the missing features",
        )

    def _row(self, name: str, row: int) -> dict[str, NDArray]:
        def read() -> tuple[NDArray, ...]:
            arrays = self._shards.read(name, PACKED, [row])
            return tuple(arrays[key] for key in PACKED if key in arrays)

        return dict(zip(PACKED, self._recent.get((name, row), read), strict=False))

    def _about(self, name: str) -> tuple[dict[str, int], NDArray]:
        if name not in self._abouts:
            names = self._shards.about(name)["frames"]
            self._abouts[name] = {n: i for i, n in enumerate(names)}, self._shards.read(name, ("viewmats",))["viewmats"]
        return self._abouts[name]

    def _text(self, make_teacher: TeacherFactory) -> TextEncoder | None:
        def make() -> TextEncoder | None:
            return getattr(make_teacher(self.spec), "text", None)

        late = LateText(make, self.info.dim, f"teacher {self.spec}, for text")
        if self.spec.partition(":")[0] in FAMILIES:
            return late  # large, and perhaps not on this machine
        try:
            return make()
        except InputError:
            return late


@dataclass(frozen=True)
class Plan:
    """Extent of the work of `write_cache`.

    Attributes:
        scenes: number of scenes.
        missing: number of scenes without stored features.
        frames: mean number of frames of the sampled scenes.
        tokens: (h, w, D) of a frame.
        nbytes: size of the complete cache in bytes.
        needed: bytes yet to be written.
        free: free bytes on the disk.
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
    """Progress of `write_cache`: one stored scene.

    Attributes:
        split, scene: split and name of the scene.
        frames: number of frames.
        error: cosine error of the stored tokens (mean, max).
        made: whether the features were computed now; False if they existed.
    """

    split: str
    scene: str
    frames: int
    error: tuple[float, float]
    made: bool


def plan_cache(
    folder: Path, teacher: ImageTeacher, datasets: Mapping[str, SceneDataset], storage: Storage, samples: int = 4
) -> Plan:
    """Estimate the size of a cache from ``samples`` scenes per split and the features of one frame.

    Raises:
        InputError: none of the sampled scenes has frames.
    """
    shards = ShardFolder(folder)
    counts: list[int] = []
    shape: tuple[int, int, int] | None = None
    for dataset in datasets.values():
        for i in evenly_spaced(list(range(len(dataset))), samples):
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
    free = shutil.disk_usage(_existing_parent(folder)).free
    return Plan(len(names), missing, mean, shape, round(per_scene * len(names)), round(per_scene * missing), free)


def write_cache(
    folder: Path,
    teacher: ImageTeacher,
    spec: str,
    datasets: Mapping[str, SceneDataset],
    storage: Storage = "float16",
    group: int = 8,
    writer: str = "",
) -> Iterator[SceneDone]:
    """Compute and store missing features, scene by scene; yields each scene once it is stored.

    Args:
        folder: folder of the cache, for the features of one teacher.
        teacher: computes the features.
        spec: argument of `make_teacher` for this teacher.
        datasets: split → scenes.
        storage: see `pack`.
        group: number of frames per pass.
        writer: see `ShardFolder`; of processes that compute other scenes of the same folder.

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
    _write_manifest(folder, manifest, [_stored_fingerprint(name) for name in teacher.former_fingerprints])
    shards = ShardFolder(folder, writer)
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
            arrays, error = _pack_scene(teacher, scene, frames, storage, group)
            shards.write(name, arrays, {"frames": list(frames.names), "error": error})
            yield SceneDone(split, scene, len(frames), error, True)


def _pack_scene(
    teacher: ImageTeacher, scene: str, frames: PosedFrames, storage: Storage, group: int
) -> tuple[dict[str, NDArray], tuple[float, float]]:
    """Arrays of a scene's file, and the cosine error (mean, max) of its tokens."""
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
    """File of a scene, relative to the folder. Splits of captures have the same scenes with different frames."""
    return f"{split}/{scene}.safetensors"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check ``cache.json``.

    Raises:
        InputError: missing, damaged, or of another format.
    """
    path = folder / MANIFEST
    expected = "a feature cache, as `gaussiancross features` writes it"
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        raise InputError(path, expected, "no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(path, expected, f"a damaged file ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(path, f"{expected}, format {FORMAT}", f"{found}")
    keys = {"spec": str, "teacher": dict, "text": bool, "storage": str, "splits": list}
    bad = [k for k, kind in keys.items() if not isinstance(manifest.get(k), kind)]
    if bad or set(manifest["teacher"]) != set(TeacherInfo.__dataclass_fields__) or "channels" not in manifest:
        raise InputError(path, expected, f"no usable {bad[0] if bad else 'teacher'}")
    return manifest


def _stored_fingerprint(fingerprint: str) -> str:
    """Fingerprint of a teacher as stored in the manifest."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()


def _write_manifest(folder: Path, manifest: dict[str, Any], former_fingerprints: Sequence[str]) -> None:
    """Write the manifest. An existing one may only be extended by splits with the same features.

    Args:
        former_fingerprints: stored fingerprints of the same teacher in older versions of this package.

    Raises:
        InputError: the folder has features of another teacher or storage.
    """
    if (folder / MANIFEST).is_file():
        old, new = read_manifest(folder), json.loads(json.dumps(manifest))  # tuples become lists, as in the file
        if old.get("fingerprint") in former_fingerprints:
            old["fingerprint"] = new["fingerprint"]
        differs = [k for k in new if k not in ("splits", "spec") and new[k] != old.get(k)]
        if differs:
            what = "the same teacher, checkpoint and storage"
            found = f"another {' and '.join(differs)}"
            raise InputError(folder, f"features of {what}", found, "give another --out, or delete the folder")
        manifest = {**old, "splits": sorted({*old["splits"], *manifest["splits"]})}
    replace_file(folder / MANIFEST, (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode())


def _existing_parent(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder
