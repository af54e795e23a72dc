"""Captures: posed RGB-D frames whose depth is fused into a scene of points.

One capture is a folder in ScanNet's RGB-D layout (`rgbd`), with a nerfstudio ``transforms.json``
(`core.io.transforms`) or in one of the layouts of `layouts`; a folder of such folders (also ``<path>/rgbd/<scene>``)
is a dataset of several. Where there are no depth images, depth is rendered from trained splats (`splat_depth`).
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from ...data.scene import PointScene, PosedFrames
from ...errors import InputError
from ...io.atomic import atomic_file
from ...io.cache import cache_folder
from ...io.colmap import find_model, read_sparse_points
from ...io.frames import has_depth
from ...io.lru import ArrayCache
from ...io.plain_files import check_plain
from ...io.ply import read_points
from ...io.transforms import check_depth, read_transforms, transforms_points
from ...report import SILENT, Report
from .fuse import fuse_points
from .layouts import layout_of
from .pose_check import check_poses
from .rgbd import check_layout, is_rgbd_export, read_rgbd_export
from .splat_depth import TRAINED, find_splats, read_capture_splats, with_splat_depth

Up = Literal["auto", "x", "y", "z", "-x", "-y", "-z"]

_FUSED_VERSION = 1
"""Part of the cache key; increase it when the result of `fuse_points` changes."""


class Capture:
    """One or more captures as a `SceneDataset`. All splits have the same scenes, with different frames.

    Every ``holdout``-th frame (n % holdout == holdout // 2) is held out: ``frames`` returns the others for "train" and
    the held-out ones for "val" and "test". ``scene`` is always fused from the training frames; it is cached in
    `cache_folder`.

    Args:
        path: a capture, ``transforms.json``, or a folder of captures.
        split: "train", "val" or "test".
        holdout: distance between held-out frames; 0 holds none out.
        up_axis: the world axis that points up. Points and cameras are rotated so that it becomes z, as the lattice
            requires. "auto" chooses the axis nearest to the cameras' mean up vector.
        voxel, max_depth: see `fuse_points`, metres.
        max_frames: largest number of frames per capture, evenly spaced; all by default.
        depth_unit: metres per unit of the depth files of a ``transforms.json``.
        report: receives progress and notices of skipped frames, missing depth and estimated normals.

    Raises:
        InputError: no capture under ``path``, or one with neither depth images nor a point cloud.
    """

    class_names: tuple[str, ...] = ()

    def __init__(
        self,
        path: Path | str,
        split: str = "train",
        *,
        holdout: int = 6,
        up_axis: Up = "auto",
        voxel: float = 0.02,
        max_depth: float = 6.0,
        max_frames: int | None = None,
        depth_unit: float = 0.001,
        report: Report = SILENT,
    ) -> None:
        if split not in ("train", "val", "test"):
            raise InputError("split", '"train", "val" or "test"', repr(split))
        if up_axis != "auto" and up_axis not in UP_ROTATIONS:
            raise InputError("up_axis", f"auto or one of {', '.join(UP_ROTATIONS)}", repr(up_axis))
        if holdout < 0 or holdout == 1:
            raise InputError("holdout", "0 (hold none out), or at least 2", str(holdout))
        self.folders = find_captures(path)
        if not self.folders:
            raise InputError(
                path, "a capture (color/ and pose/, or transforms.json) or a folder of captures", "found 0 scenes"
            )
        for folder in self.folders:  # fail now, not in the middle of a training
            if is_rgbd_export(folder):
                check_layout(folder)
            elif is_transforms(folder) and find_splats(folder) is None:
                check_depth(folder)
        self.names = tuple(folder.absolute().name for folder in self.folders)  # the name of Path(".") is empty
        self.split = split
        self.holdout = holdout
        self.up_axis: Up = up_axis
        self.voxel = voxel
        self.max_depth = max_depth
        self.max_frames = max_frames
        self.depth_unit = depth_unit
        self.report = report
        self._images = ArrayCache()
        self._raw: dict[int, PosedFrames] = {}
        self._last: tuple[int, PointScene] | None = None

    def __len__(self) -> int:
        return len(self.folders)

    def scene(self, index: int) -> PointScene:
        last = self._last  # read once: another thread may replace it
        if last is None or last[0] != index:
            last = self._last = (index, self._fused(index))
        return last[1]

    def frames(self, index: int) -> PosedFrames | None:
        """The frames of this split; None if there are none ("val" with one frame or ``holdout=0``)."""
        frames = self._all_frames(index)
        train, held = hold_out(len(frames), self.holdout)
        index_of_split = train if self.split == "train" else held
        return frames.subset(index_of_split) if index_of_split else None

    def rotation(self, index: int) -> Tensor:
        """Rotation [4, 4] from the world of the capture's files to that of this data set (z up)."""
        return _rotation(self._raw_frames(index), self.up_axis)

    def _raw_frames(self, index: int) -> PosedFrames:
        if index not in self._raw:  # a few kilobytes each: names, cameras and paths
            folder = self.folders[index]
            if is_rgbd_export(folder):
                frames = read_rgbd_export(folder, self.max_frames, self._images, self.report)
            elif is_transforms(folder):
                frames = read_transforms(folder, self.depth_unit, self.max_frames, self._images, self.report)
            else:
                layout = layout_of(folder)
                assert layout is not None  # `find_captures` found it
                frames = layout.read(folder, self.max_frames, self._images, self.report)
            self._raw[index] = self._with_depth(folder, frames)
        return self._raw[index]

    def _with_depth(self, folder: Path, frames: PosedFrames) -> PosedFrames:
        """Frames with depth of trained splats where there are no depth images and such splats."""
        if has_depth(frames):
            return frames
        splats = find_splats(folder)
        if splats is None:
            if not is_transforms(folder):
                what = "COLMAP's sparse points are shown" if find_model(folder) else "there are no points"
                self.report.notice(f"{folder}: no depth in any of {len(frames)} frames, {what}; {TRAINED}")
            return frames
        self.report.notice(f"{folder}: depth is rendered from {splats.name}")
        return with_splat_depth(frames, read_capture_splats(splats, folder))

    def _all_frames(self, index: int) -> PosedFrames:
        frames = self._raw_frames(index)
        return replace(frames, cameras=frames.cameras.transformed(_rotation(frames, self.up_axis)))

    def _fused(self, index: int) -> PointScene:
        folder, frames = self.folders[index], self._all_frames(index)
        train, _ = hold_out(len(frames), self.holdout)
        if not has_depth(frames) and (scene := _points_of(folder)) is not None:
            rotation = self.rotation(index)[:3, :3].numpy()
            return replace(scene, coord=scene.coord @ rotation.T, normal=scene.normal @ rotation.T).validated(
                str(folder)
            )
        settings = (_FUSED_VERSION, self.holdout, self.up_axis, self.voxel, self.max_depth, self.depth_unit)
        cached = cache_folder() / "fused" / f"{_fingerprint(folder, (*settings, frames.names))}.safetensors"
        scene = _load(cached, folder.name)
        if scene is None:
            if doubt := check_poses(frames, str(folder)):
                self.report.notice(f"{folder}: {doubt}")
            scene = fuse_points(frames, train, self.voxel, self.max_depth, name=folder.name, report=self.report)
            _store(cached, scene)
        without = int((~scene.normal.any(1)).sum())
        self.report.notice(
            f"{folder}: {len(scene):,} points with normals estimated from depth ({without:,} of them without a normal)"
        )
        return scene.validated(str(folder))


def find_captures(path: Path | str) -> list[Path]:
    """Folders of the captures at ``path`` or one level below it (or ``path/rgbd``), by name."""
    path = Path(path)
    if path.name == "transforms.json":
        path = path.parent
    if _is_capture(path):
        return [path]
    for parent in (path, path / "rgbd"):
        if parent.is_dir() and (captures := [p for p in sorted(parent.iterdir()) if p.is_dir() and _is_capture(p)]):
            return captures
    return []


def hold_out(count: int, every: int) -> tuple[list[int], list[int]]:
    """Split ``count`` frames into indices for training and held-out ones, n % every == every // 2.

    Captures of fewer frames hold out the last one; a single frame is never held out.
    """
    held = [n for n in range(count) if n % every == every // 2] if every else []
    if every and not held and count > 1:
        held = [count - 1]
    return sorted(set(range(count)) - set(held)), held


def guess_up(frames: PosedFrames) -> Up:
    """The world axis nearest to the mean of the cameras' up vectors (−y of the camera)."""
    up = -frames.cameras.viewmats[:, 1, :3].mean(0)  # row 1 of world-to-camera is the camera's y axis in the world
    axis = int(up.abs().argmax())
    return ("x", "y", "z", "-x", "-y", "-z")[axis + (3 if up[axis] < 0 else 0)]


UP_ROTATIONS: dict[str, list[list[int]]] = {
    "z": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "-z": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "y": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "-y": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "x": [[0, 0, -1], [0, 1, 0], [1, 0, 0]],
    "-x": [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
}
"""Axis → rotation that maps it to +z (determinant 1, exact in floating point)."""


def _rotation(frames: PosedFrames, up_axis: Up) -> Tensor:
    rotation = torch.eye(4)
    rotation[:3, :3] = torch.tensor(UP_ROTATIONS[guess_up(frames) if up_axis == "auto" else up_axis])
    return rotation


def _points_of(folder: Path) -> PointScene | None:
    """The points of a capture without depth: those of ``ply_file_path``, or COLMAP's sparse ones.

    Raises:
        InputError: a COLMAP model without points.
    """
    if is_rgbd_export(folder):
        return None
    if is_transforms(folder):
        points = transforms_points(folder)
        return None if points is None else replace(read_points(points), name=folder.name)
    model = find_model(folder)
    if model is None:
        return None
    columns = read_sparse_points(model)
    if columns is None or columns.color is None:
        raise InputError(folder, "depth images, trained splats or sparse points", "none of them", TRAINED)
    coord = columns.coord.astype(np.float32)
    return PointScene(folder.name, coord, columns.color, np.zeros_like(coord))


def is_transforms(folder: Path) -> bool:
    """Whether a folder has a nerfstudio ``transforms.json``."""
    return (folder / "transforms.json").is_file()


def _is_capture(folder: Path) -> bool:
    return is_rgbd_export(folder) or is_transforms(folder) or layout_of(folder) is not None


def _fingerprint(folder: Path, settings: tuple) -> str:
    """Digest of the names, sizes and modification times of all files, and of the settings."""
    digest = hashlib.sha256(repr((str(folder.resolve()), settings)).encode())
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        stat = file.stat()
        digest.update(f"{file.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _load(path: Path, name: str) -> PointScene | None:
    """A fused scene from the cache; None if it is missing or damaged."""
    try:
        check_plain(path)
        arrays = load_file(path)
        return PointScene(name, arrays["coord"], arrays["color"], arrays["normal"])
    except (OSError, SafetensorError, KeyError):
        return None


def _store(path: Path, scene: PointScene) -> None:
    arrays = {k: np.ascontiguousarray(v) for k, v in scene.arrays().items() if v is not None}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as part:
            part.write_bytes(save(arrays))
    except OSError as error:  # optional: without the cache scenes are fused again
        warnings.warn(f"{path.parent}: fused scenes cannot be kept here ({error}).", stacklevel=2)
