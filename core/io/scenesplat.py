"""Read scenes in SceneSplat's layout: one .npy file per attribute of the Gaussians, including language features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..geometry.gaussians import Gaussians
from .arrays import read_array

PARTS = ("coord.npy", "color.npy", "opacity.npy", "quat.npy", "scale.npy")


def is_scenesplat(folder: Path | str) -> bool:
    """Whether a folder contains the files of SceneSplat's layout."""
    return all((Path(folder) / part).is_file() for part in PARTS)


def read_scenesplat(folder: Path | str) -> Gaussians:
    """Read Gaussians from ``{coord, color, opacity, quat, scale}.npy`` and optional features from ``lang_feat.npy``.

    Features have one row per Gaussian, or one per True of ``valid_feat_mask.npy``; Gaussians without a valid feature
    get zeros. Colours are 0–255 (uint8, or floats above 1). Opacities outside [0, 1] are read as logits, scales as
    logarithms if any is ≤ 0.

    Raises:
        InputError: a missing, damaged or wrongly shaped array, or values that are not finite.
    """
    folder = Path(folder)
    coord = read_array(folder / "coord.npy", np.float32, (-1, 3))
    n = len(coord)
    color = read_array(folder / "color.npy", shape=(n, 3))
    if color.dtype.kind not in "iuf":
        raise InputError(folder / "color.npy", "numbers", f"values of type {color.dtype}")
    opacity = read_array(folder / "opacity.npy", np.float32).reshape(-1)
    quat = read_array(folder / "quat.npy", np.float32, (n, 4))
    scale = read_array(folder / "scale.npy", np.float32, (n, 3))
    if len(opacity) != n or n == 0:
        raise InputError(
            folder / "opacity.npy", f"{n} values, one per row of coord.npy, at least one", f"{len(opacity)}"
        )
    parts = {"coord": coord, "opacity": opacity, "quat": quat, "scale": scale, "color": color.astype(np.float32)}
    for name, values in parts.items():
        if not np.isfinite(values).all():
            raise InputError(folder / f"{name}.npy", "finite values", "NaN or inf", "remove those Gaussians")
    shade = color.astype(np.float32) / (255 if color.dtype.kind in "iu" or color.max(initial=0) > 1 else 1)
    if opacity.min() < 0 or opacity.max() > 1:
        opacity = 1 / (1 + np.exp(-opacity))
    if (scale <= 0).any():
        with np.errstate(over="ignore"):
            scale = np.exp(scale)
        if not np.isfinite(scale).all():
            raise InputError(folder / "scale.npy", "logarithms of scales", "one beyond the range of float32")
    features = _features(folder, n)
    mean, turn, size, alpha, color = (
        torch.from_numpy(np.ascontiguousarray(v)) for v in (coord, quat, scale, opacity, shade.clip(0, 1))
    )
    return Gaussians(mean, turn, size, alpha, color, None if features is None else torch.from_numpy(features))


def _features(folder: Path, n: int) -> NDArray[np.float32] | None:
    path = folder / "lang_feat.npy"
    if not path.is_file():
        return None
    rows = read_array(path, np.float32, (-1, -1))
    valid = np.ones(n, bool)
    if (folder / "valid_feat_mask.npy").is_file():
        valid = read_array(folder / "valid_feat_mask.npy").reshape(-1).astype(bool)
    if len(valid) != n or len(rows) not in (n, int(valid.sum())):
        raise InputError(path, f"{n} rows, or one per True of valid_feat_mask.npy", f"{len(rows)}")
    if not np.isfinite(rows).all():
        raise InputError(path, "finite values", "NaN or inf", "compute the features of those Gaussians again")
    features = np.zeros((n, rows.shape[1]), np.float32)
    features[valid] = rows[valid] if len(rows) == n else rows
    return features
