"""Captures and Pointcept scenes of a box room by formula: depths, colours and points are known exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from gaussiancross.core.geometry.cameras import look_at
from gaussiancross.core.io import write_color, write_depth
from gaussiancross.core.io.frames import Lens

ROOM = np.array([4.0, 3.0, 2.5])
"""The room spans 0 … ROOM; x, y, z in metres, z up."""

SIZE = (64, 48)

FOCAL = 50.0


def wall_color(points: np.ndarray) -> np.ndarray:
    """Colour of points on the walls: where they are, as RGB."""
    return (points / ROOM * 255).clip(0, 255)


def view(
    w2c: np.ndarray, size: tuple[int, int] = SIZE, f: float = FOCAL, shift: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """What a pinhole camera in the room sees, its principal point ``shift`` pixels off the centre: RGB u8, z u16 mm."""
    w, h = size
    c2w = np.linalg.inv(w2c)
    v, u = np.mgrid[0:h, 0:w] + 0.5
    rays = np.stack([(u - w / 2 - shift) / f, (v - h / 2) / f, np.ones_like(u)], -1) @ c2w[:3, :3].T
    eye = c2w[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        exits = np.where(rays > 0, (ROOM - eye) / rays, np.where(rays < 0, -eye / rays, np.inf))
    z = exits.min(-1)
    color = wall_color(eye + rays * z[..., None])
    return (color + 0.5).astype(np.uint8), (z * 1000 + 0.5).astype(np.uint16)


def poses(count: int) -> list[np.ndarray]:
    """World → camera of cameras that walk around the middle of the room and look at its walls."""
    out = []
    for angle in np.linspace(0, 2 * np.pi, count, endpoint=False):
        eye = torch.tensor([2 + 0.5 * np.cos(angle), 1.5 + 0.5 * np.sin(angle), 1.2], dtype=torch.float64)
        target = eye + torch.tensor([np.cos(angle), np.sin(angle), 0.3 * np.sin(3 * angle) - 0.1])
        out.append(look_at(eye, target).numpy())
    return out


def write_export(folder: Path, count: int = 12, suffix: str = "png", turn: np.ndarray | None = None) -> Path:
    """The room as an RGB-D export; ``turn`` [4, 4] moves its world."""
    for part in ("color", "depth", "pose", "intrinsic"):
        (folder / part).mkdir(parents=True)
    K = np.array([[FOCAL, 0, SIZE[0] / 2 - 0.5, 0], [0, FOCAL, SIZE[1] / 2 - 0.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for which in ("color", "depth"):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{which}.txt", K)
    for i, w2c in enumerate(poses(count)):
        color, depth = view(w2c)
        write_color(folder / "color" / f"{i}.{suffix}", color)
        write_depth(folder / "depth" / f"{i}.png", depth)
        world = np.eye(4) if turn is None else turn
        np.savetxt(folder / "pose" / f"{i}.txt", world @ np.linalg.inv(w2c))
    return folder


def wall_distance(points: np.ndarray) -> np.ndarray:
    """How far points lie from the nearest wall plane."""
    return np.minimum(np.abs(points), np.abs(points - ROOM)).min(1)


FLIP = np.diag([1.0, -1, -1, 1])


def write_transforms(folder: Path, count: int = 12, lens: Lens | None = None, **changes: object) -> Path:
    """The room as a nerfstudio capture; with ``lens``, its images are distorted by looking every pixel up."""
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    frames = []
    for i, w2c in enumerate(poses(count)):
        color, depth = view(w2c)
        write_color(folder / "images" / f"f{i:02d}.png", color)
        write_depth(folder / "depth" / f"f{i:02d}.png", depth)
        c2w = np.linalg.inv(w2c) @ FLIP
        names = {"file_path": f"images/f{i:02d}.png", "depth_file_path": f"depth/f{i:02d}.png"}
        frames.append({**names, "transform_matrix": c2w.tolist()})
    intrinsics = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": SIZE[0] / 2, "cy": SIZE[1] / 2, "w": SIZE[0], "h": SIZE[1]}
    data = {"camera_model": "OPENCV", **intrinsics, "frames": frames, **changes}
    (folder / "transforms.json").write_text(json.dumps({k: v for k, v in data.items() if v is not None}))
    return folder


def edit_frames(folder: Path, edit: Callable[[list[dict]], None]) -> None:
    data = json.loads((folder / "transforms.json").read_text())
    edit(data["frames"])
    (folder / "transforms.json").write_text(json.dumps(data))


def write_pointcept(folder: Path, n: int = 60, labels: str = "segment20", **changes: np.ndarray | None) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "coord": rng.random((n, 3), dtype=np.float32),
        "color": rng.integers(0, 256, (n, 3), dtype=np.uint8),
        "normal": rng.standard_normal((n, 3)).astype(np.float32),
        labels: rng.integers(-1, 13, n),
        "instance": rng.integers(-1, 4, n),
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    return folder
