"""Read and write PLY files of Gaussian splats (INRIA's schema) and of point clouds.

Splats: ``x y z [nx ny nz] f_dc_0..2 [f_rest_*] opacity scale_0..2 rot_0..3 [feat_0 …] [label]`` with the logit of the
opacity, the logarithm of the scales, and rotations as wxyz. Colour is the constant term of the spherical harmonics;
view-dependent terms (``f_rest_*``, degree 1–3) are ignored. ``feat_*`` and ``label`` are extensions of this package.

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
from .ply_table import read_vertices, write_vertices

SH_C0 = 0.28209479177387814
"""Constant spherical harmonic, 1 / (2 √π): color = 0.5 + SH_C0 · f_dc."""

SH_REST = (0, 9, 24, 45)
"""Number of ``f_rest_*`` for degrees 0–3."""

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
    return read_labelled_gaussians(path)[0]


def read_labelled_gaussians(path: Path | str) -> tuple[Gaussians, NDArray[np.int64] | None]:
    """Read the Gaussians as `read_gaussians` and their ``label`` [N] (None if the file has none)."""
    path = Path(path)
    table = read_vertices(path)
    names = table.dtype.names or ()
    missing = [name for name in _SPLAT if name not in names]
    if missing:
        points = {"x", "y", "z"} <= set(names)
        raise InputError(
            path,
            "Gaussian splats in INRIA's schema",
            f"{'a point cloud' if points else 'another PLY'} without {', '.join(missing)}",
            "open it as points, or export the splats uncompressed",
        )
    rest = sum(name.startswith("f_rest_") for name in names)
    if rest not in SH_REST:
        raise InputError(path, f"{', '.join(map(str, SH_REST))} properties f_rest_*", str(rest))
    feats = sorted((n for n in names if n.startswith("feat_") and n[5:].isdecimal()), key=lambda n: int(n[5:]))
    raw = _columns(table, (*_SPLAT, *feats), np.float32)
    good = np.isfinite(raw).all(1) & (np.abs(raw[:, 10:14]).max(1, initial=0) > 0)
    raw = _drop_invalid(path, raw, good, "Gaussians", "values that are not finite or a rotation of zero length")
    label = table["label"][good].astype(np.int64) if "label" in names else None

    opacity, scale = raw[:, 6], raw[:, 7:10]
    if (scale > 0).all():
        # As logarithms they would make every Gaussian larger than a metre: some exporters store linear scales.
        warnings.warn(
            f"{path}: every scale is positive, so they are taken as metres, not as logarithms of metres; "
            "save the file with log-scales to silence this.",
            stacklevel=2,
        )
        if ((opacity >= 0) & (opacity <= 1)).all():
            opacity = np.log(opacity.clip(1e-6, 1 - 1e-6) / (1 - opacity.clip(1e-6, 1 - 1e-6)))
        scale = np.log(scale)
    tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in (raw[:, :3], raw[:, 3:6], opacity, scale)]
    means, dc, logit, log_scale = tensors
    gaussians = Gaussians(
        means=means,
        quats=torch.from_numpy(np.ascontiguousarray(raw[:, 10:14])),
        scales=log_scale.exp(),
        opacities=logit.sigmoid(),
        colors=(0.5 + SH_C0 * dc).clamp(0, 1),
        features=torch.from_numpy(np.ascontiguousarray(raw[:, 14:])) if feats else None,
    )
    return gaussians, label


def write_gaussians(path: Path | str, gaussians: Gaussians, labels: NDArray[np.integer] | None = None) -> None:
    """Write a splat PLY in INRIA's schema, with ``feat_*`` for features and ``label`` for labels [N].

    Opacities are clamped to [1e-6, 1 − 1e-6], because the logits of 0 and 1 are infinite; normals are zeros.
    """
    g = gaussians.detach().to("cpu")
    opacity = g.opacities.double().clamp(1e-6, 1 - 1e-6)
    columns = {
        **_as_columns(_XYZ, g.means),
        **dict.fromkeys(_NORMAL, np.zeros(len(g), np.float32)),
        **_as_columns(("f_dc_0", "f_dc_1", "f_dc_2"), (g.colors.double() - 0.5) / SH_C0),
        "opacity": torch.logit(opacity).float().numpy(),
        **_as_columns(("scale_0", "scale_1", "scale_2"), g.scales.double().clamp_min(1e-20).log()),
        **_as_columns(("rot_0", "rot_1", "rot_2", "rot_3"), g.quats),
    }
    if g.features is not None:
        columns |= _as_columns(tuple(f"feat_{i}" for i in range(g.features.shape[1])), g.features)
    if labels is not None:
        columns["label"] = _check_labels("labels", labels, len(g))
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


def _check_labels(name: str, labels: NDArray, n: int) -> NDArray[np.int32]:
    if np.shape(labels) != (n,):
        raise InputError(name, f"one per Gaussian, shape ({n},)", str(np.shape(labels)))
    return np.asarray(labels).astype("<i4")
