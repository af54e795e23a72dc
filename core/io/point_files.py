"""Columns of points from text and array files: x y z [r g b [nx ny nz]]."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .arrays import read_array, read_npz
from .plain_files import check_plain

COLUMNS = "rows of numbers x y z [r g b [nx ny nz]]"


@dataclass(frozen=True)
class PointColumns:
    """N points of a file.

    Attributes:
        coord: [N, 3] float32 or float64, in the axes of the file.
        color: [N, 3] uint8, or None if the file has none.
        normal: [N, 3] float32, or None.
    """

    coord: NDArray[np.floating]
    color: NDArray[np.uint8] | None = None
    normal: NDArray[np.float32] | None = None


def read_npy_points(path: Path) -> PointColumns:
    """Read a ``.npy`` array [N, 3], [N, 6] or [N, 9]."""
    return _from_columns(path, read_array(path))


def read_npz_points(path: Path) -> PointColumns:
    """Read an ``.npz`` with ``coord`` and, optionally, ``color`` and ``normal`` [N, 3]."""
    try:
        arrays = read_npz(path)
        names = [n for n in ("coord", "color", "normal") if n in arrays]
        if "coord" not in names:
            raise InputError(path, "an array named coord [N, 3]", f"the arrays {', '.join(arrays)}"[:200])
        return _from_columns(path, np.concatenate([np.asarray(arrays[n], np.float64).reshape(-1, 3) for n in names], 1))
    except (ValueError, TypeError) as error:
        raise _unreadable(path, error) from error


def read_text_points(path: Path) -> PointColumns:
    """Read lines of numbers, separated by spaces, or by commas in a ``.csv``; ``#`` and ``//`` begin comments."""
    separator = "," if path.suffix.lower() == ".csv" else None
    try:
        check_plain(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input contained no data")
            table = np.loadtxt(path, delimiter=separator, comments=("#", "//"), ndmin=2)
        if not table.size:
            raise InputError(path, COLUMNS, "no line of numbers")
        return _from_columns(path, table)
    except (ValueError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return error if isinstance(error, InputError) else InputError(path, COLUMNS, str(error).splitlines()[0][:200])


def _from_columns(path: Path, table: NDArray) -> PointColumns:
    if table.ndim != 2 or table.shape[1] not in (3, 6, 9):
        raise InputError(path, "columns x y z [r g b [nx ny nz]]", f"shape {table.shape}")
    if table.dtype.kind not in "iufb":
        raise InputError(path, "numbers", f"values of type {table.dtype}")
    color = normal = None
    if table.shape[1] > 3:
        rgb = table[:, 3:6]
        if len(rgb) and not (rgb.min() >= 0 and 1 < rgb.max() <= 255):
            raise InputError(path, "colour in 0–255", f"values from {rgb.min():g} to {rgb.max():g}")
        color = (rgb + 0.5).astype(np.uint8)
    if table.shape[1] > 6:
        normal = table[:, 6:9].astype(np.float32)
    return PointColumns(table[:, :3].astype(np.float64), color, normal)
