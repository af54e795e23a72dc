"""Read and write PLY files of Gaussian splats (INRIA's schema) and of point clouds.

Splats: ``x y z [nx ny nz] f_dc_0..2 [f_rest_*] opacity scale_0..2 rot_0..3 [feat_0 …] [label]`` with the logit of the
opacity, the logarithm of the scales, and rotations as wxyz. Colour is the constant term of the spherical harmonics;
view-dependent terms (``f_rest_*``, degree 1–4) are kept by `read_splat_ply` and `write_splat_ply`. ``feat_*`` and
``label`` are extensions of this package. SuperSplat's compressed PLY is read, too.

Rows that are not finite, which trainers and scanners sometimes write, are dropped with a warning.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.scene import IGNORE, PointScene
from ..errors import InputError
from ..geometry.gaussians import Gaussians
from .plain_files import open_plain
from .ply_table import read_vertices, write_vertices
from .splat_files.compressed_ply import read_compressed_ply
from .splat_files.data import SH_C0, SH_COUNTS, SplatData, check_labels, sigmoid, splat_data

SH_REST = tuple(3 * count for count in SH_COUNTS)
"""Number of ``f_rest_*`` for degrees 0–4; red first, then green, then blue."""

_SPLAT = (
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
_XYZ, _RGB, _NORMAL = ("x", "y", "z"), ("red", "green", "blue"), ("nx", "ny", "nz")


def read_gaussians(path: Path | str) -> Gaussians:
    """Read the Gaussians of a splat PLY: linear scales, opacities in [0, 1], float32 on the CPU; ``feat_*`` → features.

    Raises:
        InputError: missing, damaged, a point cloud (lists the missing properties), a wrong number of ``f_rest_*``, or
            no usable Gaussian.
    """
    return read_splat_ply(path).gaussians


def read_labelled_gaussians(path: Path | str) -> tuple[Gaussians, NDArray[np.int64] | None]:
    """Read the Gaussians as `read_gaussians` and their ``label`` [N] (None if the file has none)."""
    data = read_splat_ply(path)
    return data.gaussians, data.labels


def is_splat_ply(path: Path | str) -> bool:
    """Whether the header of a PLY lists what Gaussian splats have. A missing file is left to the reader."""
    return Path(path).is_file() and b" f_dc_0" in _header(Path(path))


def is_compressed_ply(path: Path | str) -> bool:
    """Whether the header of a PLY is one of SuperSplat's compressed form. A missing file is left to the reader."""
    return Path(path).is_file() and b" packed_position" in _header(Path(path))


def read_splat_ply(path: Path | str) -> SplatData:
    """Read a splat PLY in INRIA's schema or in SuperSplat's compressed one, with harmonics, features and labels.

    Raises:
        InputError: as `read_gaussians`.
    """
    path = Path(path)
    if is_compressed_ply(path):
        return read_compressed_ply(path)
    table = read_vertices(path)
    names = table.dtype.names or ()
    missing = [name for name in _SPLAT if name not in names]
    if missing:
        points = {"x", "y", "z"} <= set(names)
        raise InputError(
            path,
            "Gaussian splats in INRIA's schema",
            f"{'a point cloud' if points else 'another PLY'} without {', '.join(missing)}",
            "open it as points, or export the splats again",
        )
    rest = sum(name.startswith("f_rest_") for name in names)
    if rest not in SH_REST or any(f"f_rest_{i}" not in names for i in range(rest)):
        raise InputError(path, f"{', '.join(map(str, SH_REST))} properties f_rest_0, f_rest_1, …", str(rest))
    feats = sorted((n for n in names if n.startswith("feat_") and n[5:].isdecimal()), key=lambda n: int(n[5:]))
    raw = _columns(table, _SPLAT, np.float32)
    opacity, scale = raw[:, 6], raw[:, 7:10]
    if len(scale) and (scale > 0).all():
        # As logarithms they would make every Gaussian larger than a metre: some exporters store linear scales.
        warnings.warn(
            f"{path}: every scale is positive, so they are taken as metres, not as logarithms of metres; "
            "save the file with log-scales to silence this.",
            stacklevel=2,
        )
        if not ((opacity >= 0) & (opacity <= 1)).all():
            opacity = sigmoid(opacity)
    else:
        opacity = sigmoid(opacity)
        with np.errstate(over="ignore"):  # infinite scales are dropped
            scale = np.exp(scale)
    return splat_data(
        path,
        raw[:, :3],
        raw[:, 10:14],
        scale,
        opacity,
        0.5 + SH_C0 * raw[:, 3:6],
        _columns(table, _rest_names(rest), np.float32).reshape(-1, 3, rest // 3).transpose(0, 2, 1) if rest else None,
        _columns(table, tuple(feats), np.float32) if feats else None,
        table["label"] if "label" in names else None,
    )


def write_gaussians(path: Path | str, gaussians: Gaussians, labels: NDArray[np.integer] | None = None) -> None:
    """Write a splat PLY in INRIA's schema, with ``feat_*`` for features and ``label`` for labels [N].

    Opacities are clamped to [1e-6, 1 − 1e-6], because the logits of 0 and 1 are infinite; normals are zeros.
    """
    checked = None if labels is None else check_labels(labels, len(gaussians)).astype(np.int64)
    write_splat_ply(path, SplatData(gaussians.detach().to("cpu"), labels=checked))


def write_splat_ply(path: Path | str, data: SplatData) -> None:
    """Write a splat PLY as `write_gaussians`, with ``f_rest_*`` for view-dependent harmonics."""
    g = data.gaussians
    opacity = g.opacities.double().clamp(1e-6, 1 - 1e-6)
    columns = {
        **_as_columns(_XYZ, g.means),
        **dict.fromkeys(_NORMAL, np.zeros(len(g), np.float32)),
        **_as_columns(("f_dc_0", "f_dc_1", "f_dc_2"), (g.colors.double() - 0.5) / SH_C0),
    }
    if data.sh is not None:
        rest = data.sh.transpose(1, 2).flatten(1)
        columns |= _as_columns(_rest_names(rest.shape[1]), rest)
    columns |= {
        "opacity": torch.logit(opacity).float().numpy(),
        **_as_columns(("scale_0", "scale_1", "scale_2"), g.scales.double().clamp_min(1e-20).log()),
        **_as_columns(("rot_0", "rot_1", "rot_2", "rot_3"), g.quats),
    }
    if g.features is not None:
        columns |= _as_columns(tuple(f"feat_{i}" for i in range(g.features.shape[1])), g.features)
    if data.labels is not None:
        columns["label"] = check_labels(data.labels, len(g))
    write_vertices(path, columns)


def read_points(path: Path | str) -> PointScene:
    """Read a point-cloud PLY: ``x y z [red green blue] [nx ny nz] [label] [instance]``; grey without colours.

    Raises:
        InputError: missing, damaged, no ``x y z``, colour in 0–1, or fewer than two usable points.
    """
    path = Path(path)
    table = read_vertices(path)
    names = table.dtype.names or ()
    missing = [name for name in _XYZ if name not in names]
    if missing:
        raise InputError(path, "points with x, y, z", f"no {', '.join(missing)}")
    coord = _columns(table, _XYZ, np.float32)
    good = np.asarray(np.isfinite(coord).all(1))
    coord = _drop_invalid(path, coord, good, "points", "coordinates that are not finite")
    table = table[good]
    normal = np.zeros_like(coord)
    if set(_NORMAL) <= set(names):
        normal = np.nan_to_num(_columns(table, _NORMAL, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    labels = [table[n].astype(np.int64) if n in names else None for n in ("label", "instance")]
    segment, instance = (None if v is None else np.where(v < 0, IGNORE, v) for v in labels)
    color = _point_colors(path, table) if set(_RGB) <= set(names) else np.full(coord.shape, 128, np.uint8)
    return PointScene(path.stem, coord, color, normal, segment, instance).validated(str(path))


def write_points(path: Path | str, scene: PointScene) -> None:
    """Write a point cloud as binary little-endian PLY, with ``label`` and ``instance`` if the scene has them."""
    columns: dict[str, NDArray] = {
        **{n: scene.coord[:, i].astype("<f4") for i, n in enumerate(_XYZ)},
        **{n: scene.normal[:, i].astype("<f4") for i, n in enumerate(_NORMAL)},
        **{n: scene.color[:, i].astype("u1") for i, n in enumerate(_RGB)},
    }
    for name, values in (("label", scene.segment), ("instance", scene.instance)):
        if values is not None:
            columns[name] = values.astype("<i4")
    write_vertices(path, columns)


def _point_colors(path: Path, table: NDArray) -> NDArray[np.uint8]:
    color = _columns(table, _RGB, np.float32)
    floating = any(table.dtype[n].kind == "f" for n in _RGB)
    if len(color) and not (color.min() >= 0 and color.max() <= 255):
        raise InputError(path, "colour in 0–255", f"values from {color.min():g} to {color.max():g}")
    if floating and len(color) and color.max() <= 1:
        raise InputError(path, "colour in 0–255", "colour in 0–1", "multiply it by 255 and store it as uchar")
    return (color + 0.5).astype(np.uint8)


def _columns(table: NDArray, names: tuple[str, ...], dtype: type) -> NDArray:
    out = np.empty((len(table), len(names)), dtype)
    with np.errstate(over="ignore"):  # doubles beyond float32 become inf and are dropped
        for i, name in enumerate(names):
            out[:, i] = table[name]
    return out


def _drop_invalid(path: Path, rows: NDArray, good: NDArray[np.bool_], what: str, why: str) -> NDArray:
    """The good rows; warns about the number of others.

    Raises:
        InputError: no good row.
    """
    bad = len(rows) - int(good.sum())
    if bad == len(rows):
        found = f"none of {len(rows)} usable: {why}" if len(rows) else "an empty file"
        raise InputError(path, f"{what} to read", found)
    if bad:
        warnings.warn(f"{path}: dropped {bad} of {len(rows)} {what} with {why}.", stacklevel=3)
        rows = rows[good]
    return rows


def _as_columns(names: tuple[str, ...], values: torch.Tensor) -> dict[str, NDArray]:
    array = values.float().numpy()
    return {name: array[:, i] for i, name in enumerate(names)}


def _rest_names(count: int) -> tuple[str, ...]:
    return tuple(f"f_rest_{i}" for i in range(count))


def _header(path: Path) -> bytes:
    """The beginning of a PLY's header."""
    try:
        with open_plain(path) as file:
            return file.read(1 << 14).partition(b"end_header")[0]
    except OSError as error:
        raise InputError(path, "a PLY file", f"one that cannot be read ({error.strerror})") from error
