"""Datasets: scenes of labelled points and the posed frames that saw them (`core.data.scene.SceneDataset`).

rooms/        procedural rooms, made on the fly
capture       RGB-D exports and nerfstudio captures; `rgbd` reads frames, `fuse` makes points, `pose_check` doubts
pointcept     ScanNet, ScanNet200 and S3DIS as preprocessed by Pointcept
object_sets   ModelNet40, Objaverse-LVIS, ScanObjectNN and ShapeSplats, as published; few-shot folds
triplets      objects as Gaussians with the embeddings of their captions and renders
scannet, s3dis    their raw downloads → those files; `prepare` runs it, `splits` draws few scenes and points
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data.scene import SceneDataset
from ..errors import InputError
from ..report import SILENT, Report
from .scenes.capture import Capture, find_captures
from .scenes.fuse import fuse_points
from .scenes.pointcept import PointceptDataset, read_pointcept_scene
from .scenes.rgbd import read_rgbd_export

__all__ = [
    "Capture",
    "PointceptDataset",
    "fuse_points",
    "open_dataset",
    "open_scenes",
    "read_pointcept_scene",
    "read_rgbd_export",
]

SPLITS = ("train", "val", "test")


def open_dataset(data: str | Path, split: str = "train", *, report: Report = SILENT, **options: Any) -> SceneDataset:
    """The dataset that ``data`` names, recognised by what is there.

    Args:
        data: "rooms" or "rooms:8" (so many procedural rooms); or a path: a capture (``transforms.json``, or an RGB-D
            export with ``color/`` and ``pose/``), a folder of captures, or a root preprocessed by Pointcept (ScanNet
            splits or S3DIS areas).
        split: "train", "val" or "test". Captures share their scenes and split the *frames*; the others have other
            scenes in each split.
        report: told what reading leaves out and how far it is, except for rooms.
        **options: passed on to `Rooms`, `Capture` or `PointceptDataset`.

    Raises:
        InputError: ``data`` is nothing of the above; says what was looked for.
    """
    text = str(data)
    if text == "rooms" or text.startswith("rooms:"):
        return _rooms(text, split, options)
    path = Path(data).expanduser()
    parts = [*SPLITS, *(area.name for area in path.glob("Area_*"))]
    if text and any(next((path / part).glob("*/coord.npy"), None) for part in parts):
        return PointceptDataset(path, split, report=report, **options)  # before captures: its frames lie in <root>/rgbd
    if text and find_captures(path):
        return Capture(path, split, report=report, **options)
    looked_for = (
        f"rooms, rooms:<count>, or a folder with transforms.json, color/ + depth/ + pose/ (one scene or one per "
        f"subfolder), {split}/<scene>/coord.npy or Area_<k>/<room>/coord.npy"
    )
    found = "found 0 scenes under it" if path.is_dir() else "a file" if path.exists() else "no such folder"
    raise InputError(text, looked_for, found.removeprefix("found "))


def open_scenes(data: str | Path, split: str = "val", report: Report = SILENT) -> SceneDataset:
    """`open_dataset` for who looks or asks: "rooms:val:3" is one room, the fourth that is held out, whatever ``split``
    says. Trainings do not take it: they need other scenes in each split.

    Raises:
        InputError: as `open_dataset`.
    """
    kind, _, rest = str(data).partition(":")
    part, _, number = rest.partition(":")
    if kind == "rooms" and part in SPLITS and number.isdecimal():
        return _rooms(f"{kind}:1", part, {"first": int(number)})
    return open_dataset(data, split, report=report)


def _rooms(text: str, split: str, options: dict[str, Any]) -> SceneDataset:
    count = text.partition(":")[2]
    if ":" in text:
        if not count.isdecimal() or int(count) < 1:
            raise InputError(text, 'a number of rooms, as in "rooms:8"', repr(count))
        options = {**options, "count": int(count)}
    from .rooms import Rooms  # its renderer is compiled when first used

    return Rooms(split, **options)
