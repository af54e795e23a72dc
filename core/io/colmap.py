"""Read COLMAP's sparse models, binary or text: cameras, poses of images, points.

Pixel centres are at half integers and camera axes are OpenCV's, as in `core.geometry.cameras`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .frames import LARGEST, Lens
from .plain_files import read_bytes, read_text
from .point_files import PointColumns

FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "colmap", ".")
"""Folders of a capture that may have the model, the first found counts."""

MODELS = {
    "SIMPLE_PINHOLE": (0, "f cx cy"),
    "PINHOLE": (1, "fx fy cx cy"),
    "SIMPLE_RADIAL": (2, "f cx cy k1"),
    "RADIAL": (3, "f cx cy k1 k2"),
    "OPENCV": (4, "fx fy cx cy k1 k2 p1 p2"),
    "OPENCV_FISHEYE": (5, "fx fy cx cy k1 k2 k3 k4"),
    "SIMPLE_RADIAL_FISHEYE": (8, "f cx cy k1"),
    "RADIAL_FISHEYE": (9, "f cx cy k1 k2"),
}
"""Supported camera models: number in binary files, names of the parameters."""

_NAMES = {number: name for name, (number, _) in MODELS.items()}
_EXPECTED = "a COLMAP model"


@dataclass(frozen=True)
class ColmapImage:
    """One registered image.

    Attributes:
        name: path relative to the folder of images.
        camera: key of the camera in `ColmapModel.cameras`.
        camera_to_world: [4, 4].
    """

    name: str
    camera: int
    camera_to_world: NDArray[np.float64]


@dataclass(frozen=True)
class ColmapModel:
    """A sparse model.

    Attributes:
        cameras: camera → (lens, (width, height)).
        images: registered images by name.
        folder: folder of the files.
    """

    cameras: dict[int, tuple[Lens, tuple[int, int]]]
    images: list[ColmapImage]
    folder: Path


def find_model(capture: Path) -> Path | None:
    """The folder of a capture's sparse model, or None."""
    for name in FOLDERS:
        folder = capture / name
        if any(all((folder / f"{part}{end}").is_file() for part in ("cameras", "images")) for end in (".bin", ".txt")):
            return folder
    return None


def read_model(folder: Path) -> ColmapModel:
    """Read cameras and images of a model; binary files are preferred, as by COLMAP.

    Raises:
        InputError: damaged, truncated, or a camera model that is not supported.
    """
    binary = (folder / "images.bin").is_file() and (folder / "cameras.bin").is_file()
    path = folder / ("images.bin" if binary else "images.txt")
    try:
        cameras = _cameras_bin(folder / "cameras.bin") if binary else _cameras_txt(folder / "cameras.txt")
        rows = _images_bin(path) if binary else _images_txt(path)
    except (struct.error, ValueError, IndexError, OverflowError, OSError, UnicodeDecodeError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, _EXPECTED, f"a damaged one ({error})", "the file may be truncated") from error
    images = []
    for name, camera, pose in rows:
        if camera not in cameras:
            raise InputError(path, "cameras of all images", f"no camera {camera} for {name}")
        images.append(ColmapImage(name, camera, _camera_to_world(pose)))
    return ColmapModel(cameras, sorted(images, key=lambda image: image.name), folder)


def read_sparse_points(folder: Path) -> PointColumns | None:
    """Positions and colours of the model's sparse points; None without any.

    Raises:
        InputError: damaged or truncated.
    """
    path = next((p for p in (folder / "points3D.bin", folder / "points3D.txt") if p.is_file()), None)
    if path is None:
        return None
    try:
        if path.suffix == ".bin":
            rows = _points_bin(path)
        else:
            rows = np.array([line.split()[1:7] for line in _lines(path)], np.float64).reshape(-1, 6)
    except (struct.error, ValueError, OverflowError, OSError) as error:
        raise InputError(path, "COLMAP's points", f"damaged ones ({error})", "the file may be truncated") from error
    rows = rows[np.isfinite(rows).all(1)]
    return PointColumns(rows[:, :3], rows[:, 3:].clip(0, 255).astype(np.uint8)) if len(rows) else None


def _lens(path: Path, model: str, values: list[float], size: tuple[int, int]) -> tuple[Lens, tuple[int, int]]:
    if model not in MODELS:
        hint = "undistort the images with COLMAP's image_undistorter"
        raise InputError(path, f"a camera model of {', '.join(MODELS)}", model, hint)
    names = MODELS[model][1].split()
    if len(values) != len(names) or not all(abs(v) <= LARGEST for v in values) or min(size) < 1:
        raise InputError(path, f"{len(names)} finite parameters of {model}", f"{values} at {size[0]}×{size[1]}")
    named = dict(zip(names, values, strict=True))
    focal = named.pop("f", None)
    if focal is not None:
        named["fx"] = named["fy"] = focal
    if min(named["fx"], named["fy"]) <= 0:
        raise InputError(path, "positive focal lengths", f"{named['fx']} and {named['fy']}")
    return Lens(**named, fisheye=model.endswith("FISHEYE")), size


def _camera_to_world(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the quaternion (wxyz) and translation of world → camera; not finite for a rotation of zero length."""
    w, x, y, z = pose[:4] / (np.linalg.norm(pose[:4]) or np.nan)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = turn.T, -turn.T @ pose[4:]
    return out


def _cameras_bin(path: Path) -> dict[int, tuple[Lens, tuple[int, int]]]:
    content, at, cameras = read_bytes(path), 8, {}
    for _ in range(struct.unpack_from("<Q", content)[0]):
        key, number, width, height = struct.unpack_from("<IiQQ", content, at)
        if number not in _NAMES:
            _lens(path, f"model {number}", [], (1, 1))  # says which are supported
        count = len(MODELS[_NAMES[number]][1].split())
        values = list(struct.unpack_from(f"<{count}d", content, at + 24))
        cameras[key] = _lens(path, _NAMES[number], values, (width, height))
        at += 24 + 8 * count
    return cameras


def _cameras_txt(path: Path) -> dict[int, tuple[Lens, tuple[int, int]]]:
    cameras = {}
    for line in _lines(path):
        key, model, width, height, *values = line.split()
        cameras[int(key)] = _lens(path, model, [float(v) for v in values], (int(width), int(height)))
    return cameras


def _images_bin(path: Path) -> list[tuple[str, int, NDArray[np.float64]]]:
    content, at, out = read_bytes(path), 8, []
    for _ in range(struct.unpack_from("<Q", content)[0]):
        pose = np.array(struct.unpack_from("<7d", content, at + 4))
        camera = struct.unpack_from("<I", content, at + 60)[0]
        end = content.index(b"\0", at + 64)
        name = content[at + 64 : end].decode("utf-8")
        at = end + 9 + 24 * struct.unpack_from("<Q", content, end + 1)[0]
        if at > len(content):
            raise ValueError(f"{len(content)} bytes, {at} needed")
        out.append((name, camera, pose))
    return out


def _images_txt(path: Path) -> list[tuple[str, int, NDArray[np.float64]]]:
    """Two lines per image; the second, with its points, may be empty."""
    lines = [line for line in read_text(path).splitlines() if not line.startswith("#")]
    out = []
    for line in lines[::2]:
        if line.strip():
            words = line.split(maxsplit=9)
            out.append((words[9], int(words[8]), np.array(words[1:8], np.float64)))
    return out


def _points_bin(path: Path) -> NDArray[np.float64]:
    content, at = read_bytes(path), 8
    count = struct.unpack_from("<Q", content)[0]
    if count > len(content) // 51:  # bytes of a point without track
        raise ValueError(f"{count} points in {len(content)} bytes")
    rows = np.empty((count, 6))
    for i in range(count):
        rows[i] = struct.unpack_from("<3d3B", content, at + 8)
        at += 51 + 8 * struct.unpack_from("<Q", content, at + 43)[0]
    if at > len(content):
        raise ValueError(f"{len(content)} bytes, {at} needed")
    return rows


def _lines(path: Path) -> list[str]:
    return [line for line in read_text(path).splitlines() if line.strip() and line[0] != "#"]
