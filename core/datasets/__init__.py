"""Datasets of scenes (`core.data.scene.SceneDataset`: labelled points and posed frames) and of objects.

scenes/                                    real scenes: captures, data sets preprocessed by Pointcept
prepare/                                   conversion of the raw downloads of ScanNet and S3DIS
objects/                                   files, triplets and published sets of objects
joined                                     several data sets as one
rooms, captioned_rooms                     procedural rooms
procedural_objects, procedural_triplets    procedural objects

`open_dataset` and `open_scenes` open a data set by its name or path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data.scene import SceneDataset
from ..errors import InputError
from ..io.formats import find_format
from ..report import SILENT, Report
from .joined import JoinedDataset, split_sources
from .scenes import (
    LAYOUTS,
    Capture,
    PointceptDataset,
    find_captures,
    fuse_points,
    read_pointcept_scene,
    read_rgbd_export,
)

__all__ = [
    "Capture",
    "JoinedDataset",
    "PointceptDataset",
    "fuse_points",
    "open_dataset",
    "open_scenes",
    "read_pointcept_scene",
    "read_rgbd_export",
]

SPLITS = ("train", "val", "test")


def open_dataset(data: str | Path, split: str = "train", *, report: Report = SILENT, **options: Any) -> SceneDataset:
    """Open a data set by its name or path; its kind is recognised by its files.

    Args:
        data: "rooms" or "rooms:8" (number of procedural rooms); or a path: a capture (``transforms.json``, or an RGB-D
            export with ``color/`` and ``pose/``), a folder of captures, or a root preprocessed by Pointcept (ScanNet
            splits or S3DIS areas). Several, joined by "+", are one data set, "A@2+B" with twice as many training
            scenes of A as of B.
        split: "train", "val" or "test". Captures have the same scenes with different *frames* in each split; others
            have different scenes.
        report: receives progress and notices, except for rooms.
        **options: arguments of `Rooms`, `Capture` or `PointceptDataset`.

    Raises:
        InputError: none of these; lists the accepted forms.
    """
    text = str(data)
    sources = split_sources(text)
    if len(sources) > 1:
        parts = [open_dataset(name, split, report=report, **options) for name, _ in sources]
        return JoinedDataset(parts, [share for _, share in sources])
    if text == "rooms" or text.startswith("rooms:"):
        return _rooms(text, split, options)
    path = Path(data).expanduser()
    parts = [*SPLITS, *(area.name for area in path.glob("Area_*"))]
    if text and any(next((path / part).glob("*/coord.npy"), None) for part in parts):
        return PointceptDataset(path, split, report=report, **options)  # before captures: its frames are in <root>/rgbd
    if text and find_captures(path):
        return Capture(path, split, report=report, **options)
    if path.is_file() and find_format(path) is not None:
        hint = "give the capture that it was made from; `gaussiancross view`, `embed` and `query` take the file itself"
        raise InputError(text, "scenes with posed images", "a file of splats or points", hint)
    expected = (
        "rooms, rooms:<count>, or a folder with transforms.json, color/ + depth/ + pose/, "
        f"{', '.join(layout.files for layout in LAYOUTS)} (one scene or one per subfolder), "
        f"{split}/<scene>/coord.npy or Area_<k>/<room>/coord.npy"
    )
    found = "found 0 scenes under it" if path.is_dir() else "a file" if path.exists() else "no such folder"
    raise InputError(text, expected, found.removeprefix("found "))


def open_scenes(data: str | Path, split: str = "val", report: Report = SILENT) -> SceneDataset:
    """Open scenes for viewing and queries: as `open_dataset`, and "rooms:val:3" for a single room of a split.

    The latter ignores ``split``. Trainings do not accept it, because they need different scenes in each split.

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
    from .rooms import Rooms  # imports the renderer, which is slow

    return Rooms(split, **options)
