"""Read nerfstudio captures: ``transforms.json`` beside its images.

Poses are OpenGL camera-to-world (x right, y up, z backward) and are converted to OpenCV world-to-camera. cx and cy are
relative to the image corner, with pixel centres at half integers, as in `Cameras`. Distorted images are undistorted
when read (same K, border pixels repeated), so that every camera is a pinhole.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.scene import PosedFrames
from ..errors import InputError
from ..geometry.cameras import Cameras
from ..report import SILENT, Report, skipped_frames
from .frames import (
    LARGEST,
    FrameFile,
    FrameReader,
    Lens,
    SkippedFrames,
    evenly_spaced,
    frames_without_depth,
    has_file,
    no_usable_frame,
    pose_problem,
)
from .images import image_size
from .json_files import read_json
from .lru import ArrayCache

PINHOLE_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE")
"""Supported camera models with radial-tangential distortion."""

FISHEYE_MODELS = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "FISHEYE")
"""Supported camera models with fisheye distortion; the view of a pinhole camera is cut out of the image."""

OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def read_transforms(
    path: Path | str,
    depth_unit: float = 0.001,
    max_frames: int | None = None,
    cache: ArrayCache | None = None,
    report: Report = SILENT,
) -> PosedFrames:
    """Read the usable frames of a capture: image headers now, pixels on demand.

    Args:
        path: ``transforms.json`` or its folder.
        depth_unit: metres per unit of the depth files (nerfstudio's ``depth_unit_scale_factor``).
        max_frames: largest number of frames, evenly spaced; all by default.
        cache: cache of decoded, resized frames.
        report: receives progress and notices of skipped frames and frames without depth.

    Returns:
        frames named by the stem of their image, or by its path if stems repeat. ``skipped`` counts unusable frames:
        missing image or depth file, image size other than ``w`` × ``h``, unusable pose. Frames without
        ``depth_file_path`` have a depth of zeros.

    Raises:
        InputError: unreadable JSON, missing keys, a camera model that is not supported (equirectangular), or no usable
            frame.
    """
    path = transforms_file(path)
    data = _read_json(path)
    entries = data.get("frames")
    if not isinstance(entries, list) or not all(isinstance(e, dict) and "file_path" in e for e in entries):
        raise InputError(path, 'a list "frames" of objects with "file_path"', type(entries).__name__)
    skipped = SkippedFrames()
    usable: list[tuple[str, FrameFile, NDArray, Lens, tuple[int, int]]] = []
    for number, entry in enumerate(report.steps(f"{path.parent.name}: reading image headers", entries)):
        merged = {**{k: v for k, v in data.items() if k != "frames"}, **entry}
        frame = _frame(path, number, merged, depth_unit)
        if isinstance(frame, str):
            skipped.add(frame, str(entry["file_path"]))
        else:
            usable.append(frame)
    sizes = Counter(f[4] for f in usable).most_common(1)
    if sizes:  # one image size per PosedFrames
        others = [f for f in usable if f[4] != sizes[0][0]]
        usable = [f for f in usable if f[4] == sizes[0][0]]
        for frame in others:
            skipped.add("images of another size", frame[0])
    if not usable:
        raise no_usable_frame(path, skipped.counts)
    if skipped.counts:
        report.notice(skipped_frames(path, skipped.counts, skipped.first))
    usable.sort(key=lambda f: str(f[1].color))
    usable = evenly_spaced(usable, max_frames)
    names = [f[0] for f in usable]
    if len(set(names)) < len(names):
        names = [f[1].color.relative_to(path.parent).with_suffix("").as_posix().replace("/", "_") for f in usable]
    width, height = usable[0][4]
    Ks = np.array([[[l.fx, 0, l.cx], [0, l.fy, l.cy], [0, 0, 1]] for l in (f[3] for f in usable)], np.float32)
    viewmats = np.linalg.inv(np.stack([f[2] for f in usable])).astype(np.float32)
    cameras = Cameras(torch.from_numpy(viewmats), torch.from_numpy(Ks), width, height)
    reader = FrameReader(tuple(f[1] for f in usable), cache or ArrayCache())
    frames = PosedFrames(tuple(names), cameras, reader, dict(skipped.counts), skipped.first)
    if bare := frames_without_depth(frames):
        report.notice(f"{path}: {len(bare)} of {len(frames)} frames have no depth file (first {bare[0]})")
    return frames


def transforms_points(path: Path | str) -> Path | None:
    """Path of the point cloud in ``ply_file_path``, or None.

    Raises:
        InputError: the file does not exist.
    """
    path = transforms_file(path)
    name = _read_json(path).get("ply_file_path")
    if not name:
        return None
    points = path.parent / str(name)
    if not has_file(points):
        raise InputError(path, f"the point cloud of ply_file_path, {name}", "no such file")
    return points


def check_depth(path: Path | str) -> None:
    """Raise `InputError` for a capture with neither depth images nor a point cloud.

    Reads only the JSON; an empty or malformed list of frames is left to `read_transforms`.

    Args:
        path: ``transforms.json`` or its folder.
    """
    path = transforms_file(path)
    entries = _read_json(path).get("frames")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        return
    if not any(entry.get("depth_file_path") for entry in entries) and transforms_points(path) is None:
        raise InputError(
            path,
            'frames with "depth_file_path"',
            f"no depth in any of {len(entries)} frames",
            "add depth images (16-bit PNG, millimetres) to the frames, trained splats as .ply in the folder, "
            'or a point cloud as "ply_file_path"',
        )


def transforms_file(path: Path | str) -> Path:
    """``path`` itself if it is a JSON file, or its ``transforms.json``."""
    path = Path(path)
    return path if path.suffix == ".json" else path / "transforms.json"


def _read_json(path: Path) -> dict[str, Any]:
    expected = "a nerfstudio transforms.json"
    try:
        data = read_json(path)
    except FileNotFoundError:
        raise InputError(path, expected, "no such file") from None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(path, expected, f"a damaged file ({error})") from error
    if not isinstance(data, dict):
        raise InputError(path, expected, f"a JSON {type(data).__name__}")
    return data


def _frame(
    path: Path, number: int, entry: dict[str, Any], depth_unit: float
) -> tuple[str, FrameFile, NDArray[np.float64], Lens, tuple[int, int]] | str:
    """One frame (name, files, camera-to-world in OpenCV axes, lens, size), or the reason to skip it."""
    where = f"{path}, frame {number}"
    model = str(entry.get("camera_model", "OPENCV")).upper()
    if model not in (*PINHOLE_MODELS, *FISHEYE_MODELS):
        raise InputError(
            where,
            f"a pinhole or fisheye camera model ({', '.join((*PINHOLE_MODELS, *FISHEYE_MODELS))})",
            model,
            "undistort the images to a pinhole camera first (COLMAP's image_undistorter does)",
        )
    color = _image_path(path.parent, str(entry["file_path"]))
    if color is None:
        return "image missing"
    depth = path.parent / str(entry["depth_file_path"]) if entry.get("depth_file_path") else None
    if depth is not None and not has_file(depth):
        return "depth file missing"
    try:
        c2w = np.array(entry["transform_matrix"], np.float64)
    except KeyError:
        return "no transform_matrix"
    except (TypeError, ValueError):
        return "unreadable transform_matrix"
    if c2w.shape == (3, 4):
        c2w = np.vstack([c2w, [0, 0, 0, 1]])
    if c2w.shape != (4, 4):
        return "unreadable transform_matrix"
    if problem := pose_problem(c2w):
        return problem
    try:
        size = image_size(color)
    except InputError:
        return "unreadable image"
    lens, declared = _lens(where, entry, size)
    if declared != size:
        return f"image of another size than w × h = {declared[0]}×{declared[1]}"
    file = FrameFile(color, depth, depth_unit, lens=None if lens.is_pinhole else lens)
    return color.stem, file, c2w @ OPENGL_TO_OPENCV, lens, size


def _image_path(folder: Path, name: str) -> Path | None:
    """Path of the image in ``file_path``, which Blender-style captures write without a suffix."""
    for candidate in (folder / name, *(folder / (name + suffix) for suffix in (".png", ".jpg", ".jpeg"))):
        if has_file(candidate):
            return candidate
    return None


def _lens(where: str, entry: dict[str, Any], size: tuple[int, int]) -> tuple[Lens, tuple[int, int]]:
    """Intrinsics of one frame and their image size (``size`` if the file has none)."""

    def number(key: str, default: float | None = None) -> float:
        value = entry.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
            raise InputError(where, f'a finite number "{key}"', repr(value))
        return float(value)

    w, h = int(number("w", size[0])), int(number("h", size[1]))
    if "fl_x" in entry:
        fx = number("fl_x")
    elif "camera_angle_x" in entry:
        angle = number("camera_angle_x")
        if not 1e-6 < angle < math.pi:
            raise InputError(where, 'a "camera_angle_x" in radians, between 0 and π', f"{angle}")
        fx = 0.5 * w / math.tan(0.5 * angle)
    else:
        raise InputError(where, 'a focal length ("fl_x" in pixels, or "camera_angle_x" in radians)', "neither")
    fy = number("fl_y", fx)
    if fx <= 0 or fy <= 0:
        raise InputError(where, "positive focal lengths", f"{fx} and {fy}")
    fisheye = str(entry.get("camera_model", "")).upper() in FISHEYE_MODELS
    distortion = {k: number(k, 0.0) for k in ("k1", "k2", "k3", *(("k4",) if fisheye else ("p1", "p2")))}
    return Lens(fx, fy, number("cx", w / 2), number("cy", h / 2), **distortion, fisheye=fisheye), (w, h)
