"""A contact sheet of rooms: pictures, depth, labels, and the room from above."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ...data.classes import SCANNET20
from ...errors import InputError
from ...geometry.cameras import Cameras, look_at
from .light import LitRoom, light_room
from .render import render
from .room import build_room
from .walk import walk


def palette() -> NDArray[np.uint8]:
    """[21, 3] RGB of the ScanNet-20 classes; the last row is that of −1."""
    data = json.loads(files("gaussiancross.assets").joinpath("scannet20.json").read_text(encoding="utf-8"))
    colors = dict(zip(data["names"], data["palette"], strict=True))
    return np.array([*(colors[name] for name in SCANNET20), data["ignore"]], np.uint8)


def depth_image(depth: NDArray[np.float32], farthest: float = 5.0) -> NDArray[np.uint8]:
    """[H, W] metres → [H, W, 3] from yellow (near) over violet to black (far); unmeasured is grey."""
    t = np.clip(depth / farthest, 0, 1)[..., None]
    stops = np.array([[253, 231, 120], [240, 132, 78], [150, 50, 120], [50, 20, 80], [8, 6, 20]], float)
    at = t[..., 0] * (len(stops) - 1)
    low = np.clip(at.astype(int), 0, len(stops) - 2)
    color = stops[low] + (at - low)[..., None] * (stops[low + 1] - stops[low])
    return np.where(depth[..., None] > 0, color, 128).astype(np.uint8)


def from_above(lit: LitRoom, width: int, height: int) -> NDArray[np.uint8]:
    """[H, W, 3] the room seen through its ceiling, which is cut away."""
    plan = lit.room.plan
    up = 1.18 * max(plan.w, plan.d * width / height)
    eye = torch.tensor([plan.w / 2, plan.d / 2 - 1e-3, plan.h + up], dtype=torch.float64)
    target = torch.tensor([plan.w / 2, plan.d / 2, 0.0], dtype=torch.float64)
    viewmat = look_at(eye, target, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    focal = 0.9 * width * (up + 0.35) / max(plan.w, plan.d * width / height)
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    cameras = Cameras(viewmat[None].float(), K[None], width, height)
    view = render(lit, cameras, 0, near=up + 0.35)
    return np.where(view.depth[..., None] > 0, view.color, 245).astype(np.uint8)


def contact_sheet(
    seeds: Sequence[int], views: int = 4, width: int = 320, height: int = 240, kind: str | None = None
) -> Image.Image:
    """One row per seed: ``views`` pictures of the walk, depth and labels of the first, the room from above."""
    rows = []
    colors = palette()
    for seed in seeds:
        lit = light_room(build_room(seed, kind))
        cameras = walk(lit, 24, width, height)
        shown = [render(lit, cameras, int(i)) for i in np.linspace(0, 23, views).round()]
        cells = [v.color for v in shown]
        cells += [depth_image(shown[0].depth), colors[shown[0].segment], from_above(lit, width, height)]
        row = Image.fromarray(np.concatenate(cells, 1))
        ImageDraw.Draw(row).text(
            (6, 4), f"{lit.room.kind}, seed {seed}", fill="white", stroke_width=2, stroke_fill="black"
        )
        rows.append(np.asarray(row))
    return Image.fromarray(np.concatenate(rows, 0))


def save_sheet(seeds: Sequence[int], path: Path | str, views: int = 4, kind: str | None = None) -> None:
    """Writes `contact_sheet` as an image of the suffix's format.

    Raises:
        InputError: a seed or kind that `build_room` refuses, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError(path, "an image file: .png, .jpg or .webp", f"the suffix {path.suffix!r}")
    sheet = contact_sheet(seeds, views, kind=kind)
    try:
        sheet.save(path)
    except OSError as error:
        raise InputError(path, "a file that can be written", str(error)) from error
