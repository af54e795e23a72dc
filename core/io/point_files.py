"""Point clouds from files of common formats; `core.data.scene.PointScene.load` is the public entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.scene import PointScene
from ..errors import InputError
from ..geometry.gaussians import Gaussians, quat_to_rotmat
from ..geometry.normals import estimate_normals
from .arrays import read_array
from .ply import read_gaussians, read_points
from .splat import read_splat

ENDINGS = (".ply", ".splat", ".npy", ".npz", ".xyz", ".txt", ".csv")


def read_point_file(path: Path | str) -> PointScene:
    """Read the points of a file; see `PointScene.load`."""
    path = Path(path).expanduser()
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(path, f"a file ending in {', '.join(ENDINGS)}", ending or "no ending")
    if not path.is_file():
        raise InputError(path, "a file of points", "a folder" if path.is_dir() else "no such file")
    if ending == ".ply":
        with path.open("rb") as file:
            is_splat = b" f_dc_0" in file.read(1 << 14).partition(b"end_header")[0]
        scene = points_of_gaussians(read_gaussians(path), path.stem) if is_splat else read_points(path)
    elif ending == ".splat":
        scene = points_of_gaussians(read_splat(path), path.stem)
    else:
        scene = _from_columns(path, _table(path, ending))
    return scene if scene.normal.any() else replace(scene, normal=estimate_normals(scene.coord))


def points_of_gaussians(gaussians: Gaussians, name: str) -> PointScene:
    """Centres and colours of Gaussians; normals are their shortest axes, facing the middle of the scene."""
    g = gaussians.detach().to("cpu")
    axis = quat_to_rotmat(g.quats)[torch.arange(len(g)), :, g.scales.argmin(1)].numpy()  # [N, 3]
    coord = g.means.float().numpy()
    away = ((coord - (coord.min(0) + coord.max(0)) / 2) * axis).sum(1, keepdims=True) > 0
    color = (g.colors.clamp(0, 1) * 255 + 0.5).byte().numpy()
    return PointScene(name, coord, color, np.where(away, -axis, axis).astype(np.float32))


def _table(path: Path, ending: str) -> NDArray:
    """Columns of an array file [N, 3], [N, 6] or [N, 9]."""
    if ending == ".npy":
        return read_array(path)
    try:
        if ending == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                names = [n for n in ("coord", "color", "normal") if n in arrays.files]
                if "coord" not in names:
                    raise InputError(path, "an array named coord [N, 3]", f"the arrays {', '.join(arrays.files)}")
                return np.concatenate([np.asarray(arrays[n], np.float64).reshape(-1, 3) for n in names], 1)
        return np.loadtxt(path, delimiter="," if ending == ".csv" else None, comments=("#", "//"), ndmin=2)
    except (ValueError, OSError, BadZipFile) as error:
        raise InputError(path, "rows of numbers x y z [r g b [nx ny nz]]", str(error).splitlines()[0]) from error


def _from_columns(path: Path, table: NDArray) -> PointScene:
    if table.ndim != 2 or table.shape[1] not in (3, 6, 9):
        raise InputError(path, "columns x y z [r g b [nx ny nz]]", f"shape {table.shape}")
    coord = table[:, :3].astype(np.float32)
    color, normal = np.full(coord.shape, 128, np.uint8), np.zeros_like(coord)
    if table.shape[1] > 3:
        rgb = table[:, 3:6]
        if len(rgb) and not (rgb.min() >= 0 and 1 < rgb.max() <= 255):
            raise InputError(path, "colour in 0–255", f"values from {rgb.min():g} to {rgb.max():g}")
        color = (rgb + 0.5).astype(np.uint8)
    if table.shape[1] > 6:
        normal = table[:, 6:9].astype(np.float32)
    return PointScene(path.stem, coord, color, normal).validated(str(path))
