"""Rendered views beside their targets, written as PNG files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...core.data.batch import Views
from ...core.io.images import write_color
from ...core.splat import Splats


def save_views(folder: Path, name: str, views: Views, splats: Splats) -> list[Path]:
    """Write one PNG per view: target and rendered colour above measured and rendered depth.

    Args:
        name: prefix of the file names, ``<name>_<view>.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(len(views.cameras)):
        target, depth = views.depth[index], splats.depth[index, ..., 0]
        far = float(target.max()) or float(depth.max()) or 1.0
        rows = [
            torch.cat([views.color[index], splats.color[index]], 1),
            torch.cat([shade(target, far), shade(depth, far)], 1),
        ]
        paths.append(folder / f"{name}_{index:04d}.png")
        write_color(paths[-1], (torch.cat(rows).detach().clamp(0, 1) * 255).round().byte().cpu().numpy())
    return paths


def shade(depth: Tensor, far: float) -> Tensor:
    """Convert depth [H, W] in metres to grey [H, W, 3]: white at the camera, dark at ``far``, black without depth."""
    grey = torch.where(depth > 0, 1 - 0.9 * (depth / far).clamp(0, 1), torch.zeros_like(depth))
    return grey[..., None].expand(*grey.shape, 3)
