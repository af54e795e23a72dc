"""Read captures in the layouts of COLMAP, TUM RGB-D, 7-Scenes, Polycam and Open3D (Azure Kinect, RealSense).

COLMAP     sparse/0/{cameras,images,points3D}.{bin,txt}, images/…; optional depth/<name>.png (millimetres)
TUM RGB-D  rgb.txt, depth.txt, groundtruth.txt (time, file or pose per line); depth in 1/5000 m
7-Scenes   frame-<i>.{color.jpg|png, depth.png, pose.txt}, also in seq-<n>/; camera-intrinsics.txt (3×3)
Polycam    keyframes/{images,corrected_images}/<t>.jpg, {cameras,corrected_cameras}/<t>.json, depth/<t>.png
Open3D     color/, depth/ (millimetres), intrinsic.json or camera_intrinsic.json, trajectory.log, also in scene/

Those of published data sets and of Stray Scanner are in `published_layouts`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data.scene import PosedFrames
from ...errors import InputError
from ...io.colmap import find_model, read_model
from ...io.frames import Lens, SkippedFrames, has_file
from ...io.json_files import read_json
from ...io.lru import ArrayCache
from ...io.plain_files import read_text
from ...report import SILENT, Report
from . import published_layouts as published
from .listed import ListedFrame, pose_from_quaternion, read_listed

TUM_CAMERAS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
"""Part of the folder's name → fx, fy, cx, cy of the published calibration; others have the sensor's default."""

TUM_DEFAULT = (525.0, 525.0, 319.5, 239.5)
TUM_APART = 0.02
"""Largest difference in time of an image, its depth and its pose, seconds."""

SEVEN_SCENES = (585.0, 585.0, 319.5, 239.5)
"""fx, fy, cx, cy of the published 7-Scenes, which have no file of intrinsics."""


IMAGES = ("images", "input", "color", "resized_images")
"""Folders of a COLMAP capture that may have the images; the last is that of ScanNet++'s DSLR images."""

_Row = tuple[float, tuple[str, ...]]


@dataclass(frozen=True)
class Layout:
    """A layout of captures.

    Attributes:
        name: name for people.
        files: its characteristic files, for messages.
        matches: whether a folder has it.
        read: (folder, max_frames, cache, report) → frames.
    """

    name: str
    files: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, int | None, ArrayCache | None, Report], PosedFrames]


def layout_of(folder: Path) -> Layout | None:
    """The layout of a folder among `LAYOUTS`, or None."""
    return next((layout for layout in LAYOUTS if layout.matches(folder)), None) if folder.is_dir() else None


def read_colmap(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the registered images of a COLMAP capture, undistorted; depth from ``depth/``, where there is one."""
    where = find_model(folder)
    if where is None:
        raise InputError(folder, "a COLMAP model in sparse/0", "none")
    model = read_model(where)
    images = next((folder / n for n in IMAGES if (folder / n).is_dir()), folder)
    skipped, listed = SkippedFrames(), []
    for image in model.images:
        if not Path(image.name).name:
            skipped.add("no name of an image", repr(image.name))
            continue
        color = images / image.name
        depth = (folder / "depth" / image.name).with_suffix(".png")
        lens, size = model.cameras[image.camera]
        name = Path(image.name).with_suffix("").as_posix().replace("/", "_")
        pose = image.camera_to_world
        listed.append(ListedFrame(name, color, depth if has_file(depth) else None, pose, lens, size))
    report.notice(f"{folder}: COLMAP models have no scale; one unit is taken as one metre")
    return read_listed(folder, listed, 0.001, skipped, max_frames, cache, report)


def read_tum(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the frames of a TUM RGB-D sequence that have depth and a pose within 20 ms of the image."""
    lists = {"rgb.txt": 2, "depth.txt": 2, "groundtruth.txt": 8}
    colors, depths, poses = (_tum_rows(folder / name, columns) for name, columns in lists.items())
    times = [np.array([time for time, _ in rows]) for rows in (depths, poses)]
    values = next((v for name, v in TUM_CAMERAS.items() if name in folder.absolute().name), TUM_DEFAULT)
    if (folder / "intrinsics.txt").is_file():
        values = _numbers(folder / "intrinsics.txt", 4)
    else:
        report.notice(f"{folder}: no intrinsics.txt (fx fy cx cy); {', '.join(map(str, values))} are taken")
    lens = _whole_pixels(*values)
    skipped, listed = SkippedFrames(), []
    for time, (name,) in colors:
        depth, pose = (_nearest(rows, at, time) for rows, at in zip((depths, poses), times, strict=True))
        if depth is None or pose is None:
            skipped.add("no depth image" if depth is None else "no pose", name)
            continue
        try:
            moved = np.array(pose, np.float64)
        except ValueError:
            skipped.add("unreadable pose", name)
            continue
        c2w = pose_from_quaternion(moved[:3], moved[3:])
        listed.append(ListedFrame(Path(name).stem, folder / name, folder / depth[0], c2w, lens))
    return read_listed(folder, listed, 1 / 5000, skipped, max_frames, cache, report)


def read_seven_scenes(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the frames of a folder in the layout of 7-Scenes, of all its sequences."""
    file = next((p for p in (folder / "camera-intrinsics.txt", folder / "intrinsics.txt") if p.is_file()), None)
    if file is None:
        report.notice(f"{folder}: no camera-intrinsics.txt; those of 7-Scenes are taken")
        lens = _whole_pixels(*SEVEN_SCENES)
    else:
        K = np.array(_numbers(file, 9)).reshape(3, 3)
        lens = _whole_pixels(K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    skipped, listed = SkippedFrames(), []
    for color in sorted(_seven_scenes_images(folder)):
        stem = re.sub(r"\.color$", "", color.stem)
        name = stem if color.parent == folder else f"{color.parent.name}_{stem}"
        depth = color.parent / f"{stem}.depth.png"
        try:
            pose = np.array(read_text(color.parent / f"{stem}.pose.txt").split(), np.float64).reshape(4, 4)
        except (OSError, ValueError):
            skipped.add("no readable pose", name)
            continue
        if not depth.is_file():
            skipped.add("no depth image", name)
            continue
        listed.append(ListedFrame(name, color, depth, pose, lens))
    return read_listed(folder, listed, 0.001, skipped, max_frames, cache, report)


def read_polycam(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the key frames of Polycam's raw export; the corrected poses, where there are some."""
    root = folder / "keyframes" if (folder / "keyframes").is_dir() else folder
    prefix = "corrected_" if (root / "corrected_cameras").is_dir() else ""
    skipped, listed = SkippedFrames(), []
    for file in sorted((root / f"{prefix}cameras").glob("*.json")):
        try:
            data = read_json(file)
            c2w = np.eye(4)
            c2w[:3] = [[float(data[f"t_{i}{j}"]) for j in range(4)] for i in range(3)]
            lens = Lens(float(data["fx"]), float(data["fy"]), float(data["cx"]), float(data["cy"]))
            size = (int(data["width"]), int(data["height"]))
        except (OSError, ValueError, OverflowError, KeyError, TypeError):
            skipped.add("unreadable camera", file.stem)
            continue
        depth = root / "depth" / f"{file.stem}.png"
        color = root / f"{prefix}images" / f"{file.stem}.jpg"
        pose = c2w @ np.diag([1.0, -1.0, -1.0, 1.0])  # ARKit's cameras look along −z, y up
        listed.append(ListedFrame(file.stem, color, depth if depth.is_file() else None, pose, lens, size))
    return read_listed(folder, listed, 0.001, skipped, max_frames, cache, report)


def read_open3d(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the frames of a recording of Azure Kinect or RealSense with the trajectory of Open3D's reconstruction.

    Images and depth images belong together in the order of their names, frame i of the trajectory to the i-th pair.
    """
    file, trajectory = _first(folder, _INTRINSICS), _first(folder, _TRAJECTORIES)
    assert file is not None and trajectory is not None  # the layout has both
    try:
        data = read_json(file)
        K = np.array(data["intrinsic_matrix"], np.float64).reshape(3, 3).T  # stored column by column
        size = (int(data["width"]), int(data["height"]))
    except (OSError, ValueError, OverflowError, KeyError, TypeError) as error:
        raise InputError(file, "width, height and intrinsic_matrix", f"something else ({error})") from error
    if not np.isfinite(K).all() or min(K[0, 0], K[1, 1]) <= 0 or min(size) < 1:
        raise InputError(file, "positive focal lengths", f"{K.tolist()} at {size[0]}×{size[1]}")
    try:
        values = np.array(read_text(trajectory).split(), np.float64).reshape(-1, 19)  # 3 numbers of the frame, 4×4
    except (OSError, ValueError) as error:
        raise InputError(trajectory, "five lines per frame", f"something else ({error})") from error
    colors = sorted(p for p in (folder / "color").iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    depths = sorted((folder / "depth").glob("*.png"))
    if len(colors) != len(depths):
        raise InputError(folder, "as many depth images as colour images", f"{len(depths)} and {len(colors)}")
    lens, skipped, listed = _whole_pixels(K[0, 0], K[1, 1], K[0, 2], K[1, 2]), SkippedFrames(), []
    for color, depth, row in zip(colors, depths, values, strict=False):
        listed.append(ListedFrame(color.stem, color, depth, row[3:].reshape(4, 4), lens, size))
    for color in colors[len(values) :]:
        skipped.add("no pose", color.stem)
    return read_listed(folder, listed, 0.001, skipped, max_frames, cache, report)


LAYOUTS = (
    Layout(  # before COLMAP: its folder has a sparse model, too
        "ScanNet++", "iphone/pose_intrinsic_imu.json", published.is_scannetpp, published.read_scannetpp
    ),
    Layout("COLMAP", "sparse/0/cameras.bin", lambda folder: find_model(folder) is not None, read_colmap),
    Layout(
        "TUM RGB-D",
        "rgb.txt, depth.txt and groundtruth.txt",
        lambda folder: all((folder / f"{name}.txt").is_file() for name in ("rgb", "depth", "groundtruth")),
        read_tum,
    ),
    Layout(
        "7-Scenes",
        "frame-000000.color.png, .depth.png and .pose.txt",
        lambda folder: next(_seven_scenes_images(folder), None) is not None,
        read_seven_scenes,
    ),
    Layout(
        "Polycam",
        "keyframes/cameras/<t>.json",
        lambda folder: any(next((folder / name).glob("*.json"), None) for name in _POLYCAM),
        read_polycam,
    ),
    Layout(
        "Open3D",
        "color/ + depth/ + intrinsic.json + trajectory.log",
        lambda folder: (
            (folder / "color").is_dir()
            and (folder / "depth").is_dir()
            and None not in (_first(folder, _INTRINSICS), _first(folder, _TRAJECTORIES))
        ),
        read_open3d,
    ),
    Layout("ARKitScenes", "lowres_wide.traj", published.is_arkitscenes, published.read_arkitscenes),
    Layout(
        "Matterport3D", "undistorted_camera_parameters/<id>.conf", published.is_matterport, published.read_matterport
    ),
    Layout("Replica", "results/ + traj.txt", published.is_replica, published.read_replica),
    Layout("Stray Scanner", "odometry.csv + camera_matrix.csv", published.is_stray, published.read_stray),
)
"""Layouts besides ScanNet's and nerfstudio's."""

_INTRINSICS = ("intrinsic.json", "camera_intrinsic.json")
_TRAJECTORIES = ("trajectory.log", "scene/trajectory.log")
_POLYCAM = ("keyframes/cameras", "keyframes/corrected_cameras")


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of some files that a folder has."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _seven_scenes_images(folder: Path) -> Iterator[Path]:
    for pattern in ("frame-*.color.*", "seq-*/frame-*.color.*"):
        yield from (p for p in folder.glob(pattern) if p.suffix.lower() in (".png", ".jpg", ".jpeg"))


def _tum_rows(path: Path, columns: int) -> list[_Row]:
    """(time, other words) of the lines of a TUM list, by time."""
    rows = []
    try:
        for line in read_text(path).splitlines():
            words = line.replace(",", " ").split()
            if words and not words[0].startswith("#"):
                if len(words) < columns:
                    raise ValueError(f"the line {line[:60]!r}")
                rows.append((float(words[0]), tuple(words[1:columns])))
    except (OSError, ValueError) as error:
        raise InputError(path, f"lines of a time and {columns - 1} more words", str(error)) from error
    return sorted(rows)


def _nearest(rows: list[_Row], times: NDArray[np.float64], time: float) -> tuple[str, ...] | None:
    """The words of the row nearest in time, at most `TUM_APART` away."""
    if not len(times):
        return None
    index = int(np.abs(times - time).argmin())
    return rows[index][1] if abs(times[index] - time) <= TUM_APART else None


def _numbers(path: Path, count: int) -> tuple[float, ...]:
    """The only numbers of a text file."""
    try:
        values = np.array(read_text(path).replace(",", " ").split(), np.float64)
    except (OSError, ValueError) as error:
        raise InputError(path, f"{count} numbers", f"something else ({error})") from error
    if values.size != count or not np.isfinite(values).all():
        raise InputError(path, f"{count} finite numbers", f"{values.size}")
    return tuple(values.tolist())


def _whole_pixels(fx: float, fy: float, cx: float, cy: float) -> Lens:
    """Intrinsics of files in which the centre of the first pixel is (0, 0)."""
    return Lens(fx, fy, cx + 0.5, cy + 0.5)
