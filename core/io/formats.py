"""Table of the file formats of splats and points, and reading and writing by it.

`core.data.scene.PointScene.load`, ``gaussiancross view``, ``query``, ``embed`` and ``export``, and uploads in the
viewer all use this table.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..data.scene import PointScene
from ..errors import InputError
from ..geometry.gaussians import Gaussians, quat_to_rotmat
from ..geometry.normals import estimate_normals
from .mesh_points import sample_mesh
from .pcd import read_pcd
from .ply import is_compressed_ply, is_splat_ply, read_points, read_splat_ply, write_splat_ply
from .point_files import PointColumns, read_npy_points, read_npz_points, read_text_points
from .scans import read_e57, read_las
from .splat import read_splat, write_splat
from .splat_files.compressed_ply import read_compressed_ply, write_compressed_ply
from .splat_files.data import SplatData
from .splat_files.glb import has_splats, read_splat_glb, write_splat_glb
from .splat_files.sog import is_sog_folder, read_sog, write_sog
from .splat_files.spz import read_spz, write_spz

GREY = 128
"""Colour of points without one."""

FAR = 5000.0
"""Largest coordinate, metres, that float32 stores to half a millimetre; beyond it the origin is moved."""


@dataclass(frozen=True)
class SplatFormat:
    """A format of Gaussian splats.

    Attributes:
        name: name for people.
        endings: endings of its files; the first is written.
        read: reads a file, or a folder where `matches` accepts it.
        write: writes a file.
        matches: whether a file with one of the endings, or a folder, is of this format; None for all files.
        keeps: of "harmonics", "features" and "labels", what is written, too.
        up: the axis that points up according to the format; None where it does not say.
    """

    name: str
    endings: tuple[str, ...]
    read: Callable[[Path], SplatData]
    write: Callable[[Path, SplatData], None]
    matches: Callable[[Path], bool] | None = None
    keeps: frozenset[str] = frozenset()
    up: str | None = None


@dataclass(frozen=True)
class PointFormat:
    """A format of points.

    Attributes:
        name: name for people.
        endings: endings of its files.
        read: reads a file.
        up: the axis that points up according to the format; None where it does not say.
    """

    name: str
    endings: tuple[str, ...]
    read: Callable[[Path], PointScene]
    up: str | None = None


def _points(read: Callable[[Path], PointColumns]) -> Callable[[Path], PointScene]:
    """The reader of scenes that belongs to a reader of columns."""

    def scene(path: Path) -> PointScene:
        columns = read(path)
        color, normal = columns.color, columns.normal
        coord = columns.coord.astype(np.float64)
        good = np.asarray(np.isfinite(coord).all(1))
        if not good.any():
            raise InputError(path, "points to read", f"none of {len(good)} with finite coordinates")
        if not good.all():
            warnings.warn(
                f"{path}: dropped {int((~good).sum())} of {len(good)} points with coordinates that are not finite.",
                stacklevel=2,
            )
        coord = coord[good]
        color = np.full(coord.shape, GREY, np.uint8) if color is None else color[good]
        normal = (
            np.zeros(coord.shape, np.float32) if normal is None else np.nan_to_num(normal[good], posinf=0, neginf=0)
        )
        if np.abs(coord).max() > FAR:
            origin = np.round(np.median(coord, 0))
            coord = coord - origin
            shown = ", ".join(f"{x:.0f}" for x in origin)
            warnings.warn(
                f"{path}: coordinates are large, so they are relative to ({shown}) from here on.", stacklevel=2
            )
        return PointScene(path.stem, coord.astype(np.float32), color, normal.astype(np.float32)).validated(str(path))

    return scene


_HARMONICS = frozenset({"harmonics"})
_ALL = frozenset({"harmonics", "features", "labels"})

SPLAT_FORMATS = (
    SplatFormat("INRIA PLY", (".ply",), read_splat_ply, write_splat_ply, is_splat_ply, _ALL),
    SplatFormat(
        "compressed PLY",
        (".compressed.ply", ".ply"),
        read_compressed_ply,
        write_compressed_ply,
        is_compressed_ply,
        _HARMONICS,
    ),
    SplatFormat(
        ".splat", (".splat",), lambda path: SplatData(read_splat(path)), lambda path, d: write_splat(path, d.gaussians)
    ),
    SplatFormat("SPZ", (".spz",), read_spz, write_spz, keeps=_HARMONICS, up="y"),
    SplatFormat("SOG", (".sog",), read_sog, write_sog, keeps=_HARMONICS),
    SplatFormat("glTF splats", (".glb",), read_splat_glb, write_splat_glb, has_splats, _ALL, up="y"),
)
"""All formats of splats that are read and written."""

POINT_FORMATS = (
    PointFormat("PLY", (".ply",), read_points),
    PointFormat("NumPy array", (".npy",), _points(read_npy_points)),
    PointFormat("NumPy archive", (".npz",), _points(read_npz_points)),
    PointFormat("text", (".xyz", ".txt", ".csv"), _points(read_text_points)),
    PointFormat("PCD", (".pcd",), _points(read_pcd)),
    PointFormat("LAS", (".las", ".laz"), _points(read_las), up="z"),
    PointFormat("E57", (".e57",), _points(read_e57), up="z"),
    PointFormat("glTF mesh", (".glb", ".gltf"), _points(sample_mesh), up="y"),
    PointFormat("USD mesh", (".usdz", ".usdc", ".usda", ".usd"), _points(sample_mesh), up="y"),
    PointFormat("mesh", (".obj", ".off", ".stl"), _points(sample_mesh)),
)
"""All formats of points."""

SPLAT_ENDINGS = tuple(dict.fromkeys(e for f in SPLAT_FORMATS for e in f.endings if e.count(".") == 1))
ENDINGS = tuple(dict.fromkeys([*SPLAT_ENDINGS, *(e for f in POINT_FORMATS for e in f.endings)]))
"""Endings of the files that are read as splats or points."""


def find_format(path: Path | str) -> SplatFormat | PointFormat | None:
    """The format of a file or of a folder with a SOG; None for others. What shares an ending is told by its content.

    Files that are missing have the first format of their ending, whose reader says so.
    """
    path = Path(path)
    if path.is_dir() or path.name == "meta.json":
        folder = path if path.is_dir() else path.parent
        return next(f for f in SPLAT_FORMATS if f.name == "SOG") if is_sog_folder(folder) else None
    ending = path.suffix.lower()
    found = [f for f in SPLAT_FORMATS if ending in f.endings]
    others = [f for f in POINT_FORMATS if ending in f.endings]
    for form in found:
        if form.matches is None or form.matches(path) or not (others or path.is_file()):
            return form
    return next(iter((*others, *found)), None)


def read_splats(path: Path | str) -> SplatData:
    """Read a file, or a folder with a SOG, of any format of splats.

    Raises:
        InputError: missing, damaged, of another format, or no usable Gaussian.
    """
    path = Path(path).expanduser()
    form = find_format(path)
    if isinstance(form, SplatFormat):
        return form.read(path)
    if isinstance(form, PointFormat) and path.suffix.lower() in SPLAT_ENDINGS:
        return next(f for f in SPLAT_FORMATS if path.suffix.lower() in f.endings).read(path)  # says what is missing
    raise InputError(path, f"splats as {', '.join(SPLAT_ENDINGS)}", path.suffix or "no ending")


def splat_format_of(path: Path | str) -> SplatFormat:
    """The format that a file to write has by its ending.

    Raises:
        InputError: no format of splats has this ending.
    """
    name = Path(path).name.lower()
    found = [(len(e), f) for f in SPLAT_FORMATS for e in f.endings[:1] if name.endswith(e)]
    if not found:
        endings = ", ".join(f.endings[0] for f in SPLAT_FORMATS)
        raise InputError(path, f"a file name with one of {endings}", Path(path).suffix or "none")
    return max(found, key=lambda item: item[0])[1]


def write_splats(path: Path | str, data: SplatData) -> None:
    """Write a file of splats in the format of its ending; what that format does not keep is left out.

    Raises:
        InputError: another ending, or values that the format cannot store.
    """
    splat_format_of(path).write(Path(path), data)


def read_point_file(path: Path | str) -> PointScene:
    """Read the points of a file of splats or points; see `PointScene.load`."""
    path = Path(path).expanduser()
    form = find_format(path)
    if form is None:
        raise InputError(path, f"a file ending in {', '.join(ENDINGS)}", path.suffix or "no ending")
    if not path.exists() or (path.is_dir() and isinstance(form, PointFormat)):
        raise InputError(path, "a file of points", "a folder" if path.is_dir() else "no such file")
    if isinstance(form, SplatFormat):
        return points_of_gaussians(form.read(path).gaussians, path.stem)
    scene = form.read(path)
    return scene if scene.normal.any() else replace(scene, normal=estimate_normals(scene.coord))


def points_of_gaussians(gaussians: Gaussians, name: str) -> PointScene:
    """Centres and colours of Gaussians; normals are their shortest axes, facing the middle of the scene."""
    g = gaussians.detach().to("cpu")
    axis = quat_to_rotmat(g.quats)[torch.arange(len(g)), :, g.scales.argmin(1)].numpy()  # [N, 3]
    coord = g.means.float().numpy()
    away = ((coord - (coord.min(0) + coord.max(0)) / 2) * axis).sum(1, keepdims=True) > 0
    color = (g.colors.clamp(0, 1) * 255 + 0.5).byte().numpy()
    return PointScene(name, coord, color, np.where(away, -axis, axis).astype(np.float32))
