"""Read point clouds preprocessed by Pointcept: ScanNet, ScanNet200 and S3DIS.

    <root>/<split>/<scene>/{coord, color, normal, segment20, segment200, instance}.npy     ScanNet
    <root>/Area_k/<room>/{coord, color, normal, segment, instance}.npy                     S3DIS

Posed frames are read from ``<root>/rgbd/<scene>`` or ``<root>/../rgbd/<scene>`` (`core.datasets.scenes.rgbd`).
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data.classes import S3DIS, SCANNET20, SCANNET200
from ...data.scene import IGNORE, PointScene, PosedFrames
from ...errors import InputError
from ...io.arrays import read_array
from ...io.lru import ArrayCache
from ...io.plain_files import read_text
from ...report import SILENT, Report
from .rgbd import is_rgbd_export, read_rgbd_export
from .splits import read_point_lists, with_labels_at

CLASS_NAMES = {"segment20": SCANNET20, "segment200": SCANNET200, "segment": S3DIS}
"""Label file → class names."""

S3DIS_SPLITS = {"train": "Area_1-2-3-4-6", "val": "Area_5", "test": "Area_5"}
"""Usual splits of S3DIS, with Area 5 held out."""


class PointceptDataset:
    """A split of preprocessed scenes as a `SceneDataset`.

    Args:
        root: folder of the splits or areas.
        split: "train", "val", "test"; for S3DIS also areas, such as "Area_5" or "Area_1-2-3-4-6".
        labels: label file: "segment20", "segment200" or "segment" (S3DIS). By default "segment" for S3DIS, "segment20"
            otherwise.
        rgbd_root: folder of RGB-D exports by scene name; ``rgbd`` in or beside ``root`` by default.
        max_frames: largest number of frames per scene, evenly spaced.
        require_frames: skip scenes without an RGB-D export, with a warning. By default if any scene of the split has
            one.
        scene_list: text file with one scene name per line, to use only these scenes (data-efficient splits).
        point_list: file of `splits.write_point_lists` or of the data-efficient benchmark; only the listed points keep
            their labels.
        report: receives progress and notices of skipped frames and scenes without normals.

    Attributes:
        skipped: number of skipped scenes by reason.

    Raises:
        InputError: no scene found.
    """

    def __init__(
        self,
        root: Path | str,
        split: str = "train",
        labels: str | None = None,
        rgbd_root: Path | str | None = None,
        *,
        max_frames: int = 30,
        require_frames: bool | None = None,
        scene_list: Path | str | None = None,
        point_list: Path | str | None = None,
        report: Report = SILENT,
    ) -> None:
        self.root = Path(root)
        areas = _areas(self.root, split)
        self.labels = labels or ("segment" if areas else "segment20")
        if self.labels not in CLASS_NAMES:
            raise InputError("labels", f"one of {', '.join(CLASS_NAMES)}", repr(labels))
        self.class_names = CLASS_NAMES[self.labels]
        self.max_frames = max_frames
        self.report = report
        self.skipped: dict[str, int] = {}
        folders = [f for part in areas or [split] for f in _scene_folders(self.root / part)]
        if not folders:
            expected = self.root / (areas or [split])[0] / "<scene>" / "coord.npy"
            raise InputError(self.root, f"scenes as {expected}", "0 scenes", "give the folder that holds the splits")
        # rooms of different areas have equal names in S3DIS
        named = {f"{f.parent.name}_{f.name}" if areas else f.name: f for f in folders}
        if scene_list is not None:
            named = _select_scenes(named, Path(scene_list))
        self._point_list = point_list
        self._points = None if point_list is None else read_point_lists(point_list)
        self._rgbd = self._find_rgbd(named, rgbd_root)
        self._skip_frameless(named, require_frames, split)
        self._folders = named
        self.names = tuple(named)
        self._images = ArrayCache()
        self._frames: dict[int, PosedFrames] = {}

    def __len__(self) -> int:
        return len(self.names)

    def scene(self, index: int) -> PointScene:
        name = self.names[index]
        scene = read_pointcept_scene(self._folders[name], self.labels, name, len(self.class_names))
        if not scene.normal.any():
            self.report.notice(f"{self._folders[name]}: no normals (normal.npy)")
        if self._points is None or self._point_list is None:
            return scene
        if name not in self._points:
            raise InputError(self._point_list, f"the labelled points of {name}", "none")
        return with_labels_at(scene, self._points[name], self._point_list)

    def frames(self, index: int) -> PosedFrames | None:
        if index not in self._frames:
            folder = self._rgbd.get(self.names[index])
            if folder is None:
                return None
            self._frames[index] = read_rgbd_export(folder, self.max_frames, self._images, self.report)
        return self._frames[index]

    def _find_rgbd(self, named: dict[str, Path], rgbd_root: Path | str | None) -> dict[str, Path]:
        """Scene name → folder of its RGB-D export, for scenes that have one."""
        if rgbd_root is not None:
            roots = [Path(rgbd_root)]
            if not roots[0].is_dir():
                raise InputError(rgbd_root, "a folder of RGB-D exports, one per scene", "no such folder")
        else:
            roots = [r for r in (self.root / "rgbd", self.root.parent / "rgbd") if r.is_dir()]
        return {n: r / f.name for r in reversed(roots) for n, f in named.items() if is_rgbd_export(r / f.name)}

    def _skip_frameless(self, named: dict[str, Path], require: bool | None, split: str) -> None:
        without = [n for n in named if n not in self._rgbd]
        if require is False or not without or (require is None and not self._rgbd):
            return
        if not self._rgbd:
            raise InputError(
                self.root,
                f"RGB-D frames of the {split} scenes as rgbd/<scene>/color",
                f"none for {len(without)} scenes",
                "export them, or give rgbd_root",
            )
        self.skipped["no RGB-D frames"] = len(without)
        warnings.warn(
            f"{self.root}: {len(without)} of {len(named)} {split} scenes have no RGB-D frames and are left out "
            f"(the first is {without[0]}); require_frames=False keeps them.",
            stacklevel=3,
        )
        for name in without:
            del named[name]


def read_pointcept_scene(
    folder: Path | str, labels: str | None = None, name: str | None = None, num_classes: int | None = None
) -> PointScene:
    """Read one preprocessed scene.

    Args:
        folder: folder of ``coord.npy`` and ``color.npy``; ``normal``, the labels and ``instance`` are optional.
        labels: stem of the label file; by default the first existing one of `CLASS_NAMES`.
        name: name of the scene; that of the folder by default.
        num_classes: number of classes, to check the labels; unchecked by default.

    Raises:
        InputError: a file is missing, damaged, of wrong type or shape; colour in 0–1; coordinates not finite; fewer
            than two points; labels out of range.
    """
    folder = Path(folder)
    if not (folder / "coord.npy").is_file():
        raise InputError(folder, f"a scene with {folder / 'coord.npy'}", "no such file")
    coord = read_array(folder / "coord.npy", np.float32, (-1, 3))
    n = len(coord)
    labels = labels or next((stem for stem in CLASS_NAMES if (folder / f"{stem}.npy").is_file()), "segment")
    color = _color(folder / "color.npy", n)
    normal = np.zeros((n, 3), np.float32)
    if (folder / "normal.npy").is_file():
        normal = read_array(folder / "normal.npy", np.float32, (n, 3))
        normal = np.nan_to_num(normal, nan=0.0, posinf=0.0, neginf=0.0)
    segment = _labels(folder / f"{labels}.npy", n)
    if segment is not None and num_classes is not None and n and segment.max() >= num_classes:
        raise InputError(
            folder / f"{labels}.npy", f"labels in 0–{num_classes - 1} and −1", f"labels up to {segment.max()}"
        )
    instance = _labels(folder / "instance.npy", n)
    return PointScene(name or folder.name, coord, color, normal, segment, instance).validated(str(folder))


def _color(path: Path, n: int) -> NDArray[np.uint8]:
    color = read_array(path, shape=(n, 3))
    if color.dtype == np.uint8:
        return color
    if color.dtype.kind not in "iuf":
        raise InputError(path, "colour in 0–255", f"values of type {color.dtype}")
    low, high = (float(color.min()), float(color.max())) if n else (0.0, 255.0)
    if not (low >= 0 and high <= 255):  # also catches NaN
        raise InputError(path, "colour in 0–255", f"values from {low:g} to {high:g}")
    if color.dtype.kind == "f" and high <= 1:
        raise InputError(path, "colour in 0–255", "colour in 0–1", "multiply it by 255 and store it as uint8")
    return (color + 0.5).astype(np.uint8) if color.dtype.kind == "f" else color.astype(np.uint8)


def _labels(path: Path, n: int) -> NDArray[np.int64] | None:
    """Labels [N] with `IGNORE` for negative ones; None without the file (test splits)."""
    if not path.is_file():
        return None
    array = read_array(path)
    if array.dtype.kind not in "iu" or array.size != n or array.ndim > 2:
        raise InputError(path, f"{n} integer labels, one per point", f"{array.dtype} of shape {array.shape}")
    flat = array.reshape(-1).astype(np.int64)  # older exports hold (N, 1)
    return np.where(flat < 0, IGNORE, flat)


def _areas(root: Path, split: str) -> list[str]:
    """Names of the S3DIS areas of ``split``; empty if this is not a root of S3DIS."""
    if not split.startswith("Area_"):
        if (root / split).is_dir() or not any(root.glob("Area_*")):
            return []
        split = S3DIS_SPLITS.get(split, split)
    match = re.fullmatch(r"Area_(\d+(?:-\d+)*)", split)
    if match is None:
        raise InputError("split", 'areas such as "Area_5" or "Area_1-2-3-4-6"', repr(split))
    return [f"Area_{number}" for number in match.group(1).split("-")]


def _scene_folders(folder: Path) -> list[Path]:
    return [f.parent for f in sorted(folder.glob("*/coord.npy"))]


def _select_scenes(named: dict[str, Path], path: Path) -> dict[str, Path]:
    if not path.is_file():
        raise InputError(path, "a text file with one scene name per line", "no such file")
    listed = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    missing = [name for name in listed if name not in named]
    if missing or not listed:
        found = f"no scene {missing[0]} (and {len(missing) - 1} more)" if missing else "an empty list"
        raise InputError(path, "names of scenes of this split", found)
    return {name: named[name] for name in listed}
