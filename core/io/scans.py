"""Read LAS, LAZ and E57, the formats of laser scanners, through laspy and pye57 (the extra ``scans``)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .plain_files import check_plain, open_plain
from .point_files import PointColumns


def read_las(path: Path) -> PointColumns:
    """Read the points of a LAS or LAZ file, with colours where its point format has them.

    Raises:
        InputError: damaged, truncated, or laspy is not installed.
    """
    laspy = _package(path, "laspy")
    try:
        _check_records(path)
        with laspy.open(str(path)) as file:
            header = file.header
            needed = header.offset_to_point_data + header.point_count * header.point_format.size
            present = path.stat().st_size
            if path.suffix.lower() == ".las" and present < needed:
                raise InputError(
                    path, f"{needed} bytes for {header.point_count} points", str(present), "the file may be truncated"
                )
            points = file.read()
        coord = np.column_stack([points.x, points.y, points.z]).astype(np.float64)
        if len(coord) != header.point_count:
            raise InputError(path, f"{header.point_count} points", str(len(coord)), "the file may be truncated")
        names = set(header.point_format.dimension_names)
        color = None
        if {"red", "green", "blue"} <= names:
            color = _bytes(np.column_stack([points.red, points.green, points.blue]).astype(np.float64))
    except InputError:
        raise
    except Exception as error:  # its parsers raise almost any exception
        raise InputError(path, "a LAS or LAZ file", f"a damaged one ({_reason(error)})") from error
    return PointColumns(coord, color)


def _check_records(path: Path) -> None:
    """Refuse more variable-length records than the file has room for: laspy reads on beyond its end for each."""
    size = path.stat().st_size
    with open_plain(path) as file:
        head = file.read(247)
    if len(head) < 104:
        return  # laspy refuses it
    header_size, _, count = struct.unpack_from("<HII", head, 94)
    needed = header_size + 54 * count
    if head[25] >= 4 and len(head) == 247:
        start, extended = struct.unpack_from("<QI", head, 235)
        needed = max(needed, start + 60 * extended if extended else 0)
    if needed > size:
        raise InputError(path, f"{needed} bytes for its records", str(size), "the file may be truncated")


def read_e57(path: Path) -> PointColumns:
    """Read the points of all scans of an E57 file, at their poses, with colours where all scans have them.

    Raises:
        InputError: damaged, without points, or pye57 is not installed.
    """
    pye57 = _package(path, "pye57")
    try:
        check_plain(path)
        file = pye57.E57(str(path))
        scans: list[dict[str, Any]] = [
            file.read_scan(i, ignore_missing_fields=True, colors=True, transform=True) for i in range(file.scan_count)
        ]
        file.close()
    except Exception as error:  # its parsers raise almost any exception
        raise InputError(path, "an E57 file", f"a damaged one ({_reason(error)})") from error
    if not scans or "cartesianX" not in scans[0]:
        raise InputError(path, "scans with Cartesian points", f"{len(scans)} scans without")
    names = ("colorRed", "colorGreen", "colorBlue")
    coord = np.concatenate([np.column_stack([s[f"cartesian{axis}"] for axis in "XYZ"]) for s in scans])
    color = None
    if all(set(names) <= set(s) for s in scans):
        color = _bytes(np.concatenate([np.column_stack([s[n] for n in names]) for s in scans]).astype(np.float64))
    return PointColumns(coord.astype(np.float64), color)


def _bytes(rgb: NDArray[np.float64]) -> NDArray[np.uint8] | None:
    """Colours as bytes: 16-bit ones divided by 256; None where all are 0, which stands for no colour."""
    if not rgb.any():
        return None
    return (rgb / (256 if rgb.max() > 255 else 1)).clip(0, 255).astype(np.uint8)


def _package(path: Path, name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        hint = '`pip install "gaussiancross[scans]"` adds it'
        raise InputError(path, f"the package {name} for {path.suffix} files", "none", hint) from error


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
