"""Read scenes of ScanNet++ (iPhone), ARKitScenes, Matterport3D and Replica as downloaded, and of Stray Scanner.

ScanNet++     iphone/{rgb,depth}/frame_<i>.{jpg,png}, as its toolbox extracts them, iphone/pose_intrinsic_imu.json
ARKitScenes   lowres_wide/, lowres_depth/, lowres_wide_intrinsics/<id>_<time>.{png,png,pincam}, lowres_wide.traj
Matterport3D  undistorted_{color_images,depth_images,camera_parameters}/, depth in 1/4000 m
Replica       results/{frame<i>.jpg,depth<i>.png}, traj.txt, cam_params.json here or in the folder above (NICE-SLAM's)
Stray Scanner rgb/<i>.jpg (frames of rgb.mp4), depth/<i>.png, odometry.csv, camera_matrix.csv

Depth is in millimetres and poses are camera-to-world with OpenCV axes unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.scene import PosedFrames
from ...errors import InputError
from ...io.frames import Lens, SkippedFrames
from ...io.json_files import read_json
from ...io.lru import ArrayCache
from ...io.plain_files import read_text
from ...report import SILENT, Report
from .listed import ListedFrame, pose_from_quaternion, read_listed

_PHONE = "pose_intrinsic_imu.json"
_MATTERPORT = "undistorted_camera_parameters"

ARKIT_APART = 0.05
"""Largest difference in time of an image and its pose, seconds: poses come ten times a second."""


def is_scannetpp(folder: Path) -> bool:
    """Whether a folder is a scene of ScanNet++ with an iPhone recording, or its ``iphone/``."""
    return any((place / _PHONE).is_file() for place in (folder / "iphone", folder))


def is_arkitscenes(folder: Path) -> bool:
    """Whether a folder is a recording of ARKitScenes, of its raw data or of its 3D object detection."""
    return next(_arkit_roots(folder), None) is not None


def is_matterport(folder: Path) -> bool:
    """Whether a folder is a house of Matterport3D with undistorted images."""
    return any(p.is_file() for p in (folder / _MATTERPORT).glob("*.conf"))


def is_replica(folder: Path) -> bool:
    """Whether a folder is a rendered scene of Replica as NICE-SLAM published them."""
    return (folder / "traj.txt").is_file() and next((folder / "results").glob("frame*"), None) is not None


def is_stray(folder: Path) -> bool:
    """Whether a folder is a recording of the app Stray Scanner."""
    return (folder / "odometry.csv").is_file() and (folder / "camera_matrix.csv").is_file()


def read_scannetpp(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the iPhone frames of a scene of ScanNet++, in the world of its laser scan (``aligned_pose``)."""
    root = folder / "iphone" if (folder / "iphone" / _PHONE).is_file() else folder
    if not (root / "rgb").is_dir() or not (root / "depth").is_dir():
        found = ", ".join(sorted(p.name for p in root.iterdir() if p.suffix in (".mkv", ".mp4", ".bin"))) or "neither"
        hint = "extract them with ScanNet++'s toolbox: `python -m iphone.prepare_iphone_data`"
        raise InputError(root, "folders rgb/ and depth/ of images", found, hint)
    entries = _json_object(root / _PHONE)
    skipped, listed = SkippedFrames(), []
    for name in sorted(entries):
        try:
            pose = np.array(entries[name].get("aligned_pose", entries[name]["pose"]), np.float64).reshape(4, 4)
            K = np.array(entries[name]["intrinsic"], np.float64).reshape(3, 3)
        except (KeyError, TypeError, ValueError, AttributeError):
            skipped.add("unreadable pose or intrinsics", name)
            continue
        depth = root / "depth" / f"{name}.png"
        if not depth.is_file():
            skipped.add("no depth image", name)
            continue
        lens = Lens(K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5)
        listed.append(ListedFrame(name, root / "rgb" / f"{name}.jpg", depth, pose, lens))
    return read_listed(folder, listed, 0.001, skipped, max_frames, cache, report)


def read_arkitscenes(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the frames of a recording of ARKitScenes that have depth, intrinsics and a pose within 50 ms."""
    from scipy.spatial.transform import Rotation

    root = next(_arkit_roots(folder))
    path = root / "lowres_wide.traj"
    try:
        rows = np.array(read_text(path).split(), np.float64).reshape(-1, 7)  # time, rotation vector, translation
    except (OSError, ValueError) as error:
        raise InputError(path, "seven numbers per line", f"something else ({error})") from error
    if not len(rows) or not np.isfinite(rows).all():
        raise InputError(path, "finite numbers of at least one pose", f"{len(rows)} poses")
    skipped, listed = SkippedFrames(), []
    for color in sorted((root / "lowres_wide").glob("*.png"), key=_time):
        name, time = color.stem, _time(color)
        row = rows[np.abs(rows[:, 0] - time).argmin()]
        depth = root / "lowres_depth" / color.name
        if not abs(row[0] - time) <= ARKIT_APART:
            skipped.add("no pose", name)
        elif not depth.is_file():
            skipped.add("no depth image", name)
        elif (values := _pincam(root / "lowres_wide_intrinsics", name)) is None:
            skipped.add("no readable intrinsics", name)
        else:
            turn = Rotation.from_rotvec(row[1:4]).as_matrix().T  # the file has world → camera
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = turn, -turn @ row[4:]
            width, height, fx, fy, cx, cy = values
            size = (int(width), int(height))
            listed.append(ListedFrame(name, color, depth, pose, Lens(fx, fy, cx + 0.5, cy + 0.5), size))
    return read_listed(folder, listed, 0.001, skipped, max_frames, cache, report)


def read_matterport(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the undistorted frames of a house of Matterport3D, whose poses have OpenGL axes."""
    files = sorted(p for p in (folder / _MATTERPORT).glob("*.conf") if p.is_file())
    if len(files) != 1:
        raise InputError(folder / _MATTERPORT, "one .conf file", ", ".join(p.name for p in files))
    path, lens = files[0], None
    skipped, listed = SkippedFrames(), []
    try:
        for line in read_text(path).splitlines():
            words = line.split()
            if words[:1] == ["intrinsics_matrix"]:
                K = np.array(words[1:], np.float64).reshape(3, 3)
                lens = Lens(K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5)
            elif words[:1] == ["scan"]:
                if lens is None:
                    raise ValueError("a scan before the first intrinsics_matrix")
                pose = np.array(words[3:], np.float64).reshape(4, 4) @ np.diag([1.0, -1.0, -1.0, 1.0])
                color = folder / "undistorted_color_images" / Path(words[2]).name
                depth = folder / "undistorted_depth_images" / Path(words[1]).name
                listed.append(ListedFrame(color.stem, color, depth, pose, lens))
    except (OSError, ValueError, IndexError) as error:
        raise InputError(path, "lines `intrinsics_matrix` and `scan`", f"something else ({error})") from error
    return read_listed(folder, listed, 1 / 4000, skipped, max_frames, cache, report)


def read_replica(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the frames of a rendered scene of Replica; frame i has the pose of line i."""
    file = next((p for p in (folder, folder.absolute().parent) if (p / "cam_params.json").is_file()), None)
    if file is None:
        raise InputError(folder, "cam_params.json in it or in the folder above", "none", "it is in Replica.zip")
    file = file / "cam_params.json"
    try:
        camera = _json_object(file)["camera"]
        fx, fy, cx, cy, scale = (float(camera[key]) for key in ("fx", "fy", "cx", "cy", "scale"))
        if not 0 < scale < float("inf"):
            raise ValueError(f"a scale of {scale}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(file, '"camera" with fx, fy, cx, cy and scale', f"something else ({error})") from error
    path = folder / "traj.txt"
    try:
        poses = np.array(read_text(path).split(), np.float64).reshape(-1, 4, 4)
    except (OSError, ValueError) as error:
        raise InputError(path, "16 numbers per line", f"something else ({error})") from error
    skipped, listed = SkippedFrames(), []
    lens = Lens(fx, fy, cx + 0.5, cy + 0.5)
    for color in sorted((folder / "results").glob("frame*")):
        number = color.stem.removeprefix("frame")
        if not number.isdecimal() or int(number) >= len(poses):
            skipped.add("no pose", color.stem)
            continue
        depth = color.with_name(f"depth{number}.png")
        if not depth.is_file():
            skipped.add("no depth image", color.stem)
            continue
        listed.append(ListedFrame(color.stem, color, depth, poses[int(number)], lens))
    return read_listed(folder, listed, 1 / scale, skipped, max_frames, cache, report)


def read_stray(
    folder: Path, max_frames: int | None = None, cache: ArrayCache | None = None, report: Report = SILENT
) -> PosedFrames:
    """Read the frames of a recording of Stray Scanner, whose video has been split into images."""
    if not (folder / "rgb").is_dir():
        hint = "split the video: `mkdir rgb && ffmpeg -i rgb.mp4 -start_number 0 -q:v 2 rgb/%06d.jpg`"
        found = "rgb.mp4 alone" if (folder / "rgb.mp4").is_file() else "neither images nor a video"
        raise InputError(folder, "images in rgb/", found, hint)
    path = folder / "camera_matrix.csv"
    try:
        K = np.array(read_text(path).replace(",", " ").split(), np.float64).reshape(3, 3)
    except (OSError, ValueError) as error:
        raise InputError(path, "a 3×3 matrix", f"something else ({error})") from error
    path = folder / "odometry.csv"
    skipped, listed = SkippedFrames(), []
    lens = Lens(K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5)
    try:
        lines = read_text(path).splitlines()[1:]  # time, frame, x, y, z, qx, qy, qz, qw
        rows = [[word.strip() for word in line.split(",")] for line in lines if line.strip()]
        poses = {f"{int(row[1]):06d}": np.array(row[2:9], np.float64) for row in rows}
        if any(pose.shape != (7,) for pose in poses.values()):
            raise ValueError("too few numbers")
    except (OSError, ValueError, IndexError) as error:
        raise InputError(path, "nine numbers per line", f"something else ({error})") from error
    for name, pose in poses.items():
        color, depth = folder / "rgb" / f"{name}.jpg", folder / "depth" / f"{name}.png"
        if not depth.is_file():
            skipped.add("no depth image", name)
            continue
        listed.append(ListedFrame(name, color, depth, pose_from_quaternion(pose[:3], pose[3:]), lens))
    return read_listed(folder, listed, 0.001, skipped, max_frames, cache, report)


def _arkit_roots(folder: Path) -> Iterator[Path]:
    for root in (folder, folder / f"{folder.absolute().name}_frames"):
        if (root / "lowres_wide.traj").is_file() and (root / "lowres_wide").is_dir():
            yield root


def _time(path: Path) -> float:
    """Seconds in a name such as ``41069021_305.377.png``; NaN where there are none."""
    try:
        return float(path.stem.rpartition("_")[2])
    except ValueError:
        return float("nan")


def _pincam(folder: Path, name: str) -> NDArray[np.float64] | None:
    """Width, height, fx, fy, cx and cy of a frame, of the file with its time or one that differs by a millisecond."""
    head, _, time = name.rpartition("_")
    try:
        near = [f"{head}_{float(time) + step:.3f}" for step in (0, -0.001, 0.001)]
        path = next((p for p in (folder / f"{n}.pincam" for n in near) if p.is_file()), None)
        values = np.array([] if path is None else read_text(path).split(), np.float64)
    except (OSError, ValueError):
        return None
    return values if values.shape == (6,) and np.isfinite(values).all() else None


def _json_object(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(path, "a JSON object", f"a damaged file ({error})") from error
    if not isinstance(data, dict):
        raise InputError(path, "a JSON object", f"a JSON {type(data).__name__}")
    return data
