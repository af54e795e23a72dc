"""Read and write ``.splat`` files, the format of web viewers: 32 bytes per Gaussian.

f32 x y z, f32 standard deviations (linear), u8 RGBA (alpha = opacity), u8 rotation wxyz as q · 128 + 128.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..geometry.gaussians import Gaussians

_RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def read_splat(path: Path | str) -> Gaussians:
    """Read the Gaussians of a ``.splat`` file, float32 on the CPU. Gaussians that are not finite or flat are dropped.

    Raises:
        InputError: missing, empty, not a multiple of 32 bytes, or no usable Gaussian.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "a .splat file", "no such file")
    try:
        size = path.stat().st_size
        if size == 0 or size % _RECORD.itemsize:
            raise InputError(path, "a whole number of 32-byte Gaussians", f"{size} bytes", "the file may be truncated")
        table = np.fromfile(path, _RECORD)
    except OSError as error:  # it may vanish since the check
        raise InputError(path, "a .splat file", str(error)) from error
    good = np.isfinite(table["mean"]).all(1) & np.isfinite(table["scale"]).all(1) & (table["scale"] > 0).all(1)
    bad = len(table) - int(good.sum())
    if bad == len(table):
        raise InputError(path, "Gaussians with finite positions and positive scales", f"none among {bad}")
    if bad:
        warnings.warn(f"{path}: dropped {bad} of {len(table)} Gaussians that are not finite or flat.", stacklevel=2)
        table = table[good]
    quats = (table["quat"].astype(np.float32) - 128) / 128
    quats[~quats.any(1), 0] = 1.0  # 128, 128, 128, 128: no rotation stored
    rgba = torch.from_numpy(table["rgba"].astype(np.float32) / 255)
    return Gaussians(
        means=torch.from_numpy(table["mean"].astype(np.float32)),
        quats=torch.nn.functional.normalize(torch.from_numpy(quats), dim=-1),
        scales=torch.from_numpy(table["scale"].astype(np.float32)),
        opacities=rgba[:, 3].clone(),
        colors=rgba[:, :3].clone(),
    )


def write_splat(path: Path | str, gaussians: Gaussians) -> None:
    """Write a ``.splat`` file. Colours, opacities and rotations are rounded to 8 bits; features are not stored."""
    g = gaussians.detach().to("cpu")
    table = np.empty(len(g), _RECORD)
    table["mean"], table["scale"] = g.means.float().numpy(), g.scales.float().numpy()
    rgba = torch.cat([g.colors, g.opacities[:, None]], 1).float()
    table["rgba"] = (rgba.clamp(0, 1) * 255).round().byte().numpy()
    quats = torch.nn.functional.normalize(g.quats.float(), dim=-1)
    table["quat"] = (quats * 128 + 128).round().clamp(0, 255).byte().numpy()
    table.tofile(path)
