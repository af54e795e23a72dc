"""A tiny RGB-D capture made by formula, and a network small enough to train on it in seconds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gaussiancross.core.data.batch import InputConfig
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.geometry.cameras import look_at
from gaussiancross.core.models import GaussianCrossConfig
from gaussiancross.core.nn.heads import HeadConfig
from gaussiancross.trainers.pretraining.config import DataConfig, OptimConfig, PretrainConfig
from PIL import Image

SIZE = np.array([0.8, 0.7, 0.5])
"""Of the box, metres: small, so that few pixels see every 2 cm of it."""

WIDTH, HEIGHT, FOCAL = 96, 72, 60.0

FRAMES = 12
"""Numbers 3 and 9 are held out by `Capture`."""

SMALL = PretrainConfig(
    model=GaussianCrossConfig(
        input=InputConfig(voxel_size=0.05),
        base_channels=8,
        channels=(8, 8, 8, 8, 8, 8, 8, 8),
        layers=(1, 1, 1, 1, 1, 1, 1, 1),
        lattice="cuboid",
        lattice_cells=512,
        lattice_channels=8,
        unet_widths=(8, 8),
        unet_norm="group",
        anchors="two_level",
        fine_voxel=0.05,
        head=HeadConfig(hidden=8, prune_floor=0.04),
        point_weight=3.0,
    ),
    data=DataConfig(width=24, height=18, views=2, eval_scenes=1, eval_views=2),
    optim=OptimConfig(lr=1e-2),
    steps=6,
    save_every=3,
    eval_every=3,
)


class Walls:
    """A capture whose points carry the wall that they lie on as their class; a tenth of them no class."""

    class_names = ("west", "east", "south", "north", "floor", "ceiling", "never seen")

    def __init__(self, inner) -> None:
        self.inner, self.names, self.frames = inner, inner.names, inner.frames

    def __len__(self) -> int:
        return len(self.inner)

    def scene(self, index: int) -> PointScene:
        scene = self.inner.scene(index)
        segment = np.stack([scene.coord, SIZE - scene.coord], 2).reshape(-1, 6).argmin(1)
        segment[::10] = -1
        return replace(scene, segment=segment)


def write_box_room(folder: Path) -> Path:
    """The inside of a box, seen from its middle all around, in ScanNet's export layout."""
    for part in ("color", "depth", "pose", "intrinsic"):
        (folder / part).mkdir(parents=True)
    K = np.array([[FOCAL, 0, WIDTH / 2 - 0.5, 0], [0, FOCAL, HEIGHT / 2 - 0.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for kind in ("color", "depth"):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{kind}.txt", K)
    v, u = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
    rays = np.stack([(u - K[0, 2]) / FOCAL, (v - K[1, 2]) / FOCAL, np.ones(u.shape)], -1)  # z = 1: length is depth
    for i in range(FRAMES):
        angle = 2 * np.pi * i / FRAMES
        eye = SIZE / 2 + 0.05 * np.array([np.cos(angle), np.sin(angle), 0])
        target = eye + np.array([np.cos(angle), np.sin(angle), -0.2])
        pose = np.linalg.inv(look_at(torch.tensor(eye), torch.tensor(target)).numpy())
        directions = rays @ pose[:3, :3].T
        with np.errstate(divide="ignore"):
            exits = np.where(directions > 0, (SIZE - eye) / directions, -eye / directions)
        depth = exits.min(-1)
        hit = eye + directions * depth[..., None]
        color = 60 + 120 * hit / SIZE + 60 * ((hit // 0.1).sum(-1, keepdims=True) % 2)
        Image.fromarray(color.astype(np.uint8)).save(folder / "color" / f"{i:05d}.png")
        Image.fromarray((depth * 1000).round().astype(np.uint16)).save(folder / "depth" / f"{i:05d}.png")
        np.savetxt(folder / "pose" / f"{i:05d}.txt", pose)
    return folder


def list_in_transforms(folder: Path, with_depth: bool = False) -> Path:
    """Turn `write_box_room`'s folder into a nerfstudio capture: ``transforms.json`` instead of poses and intrinsics."""
    frames = []
    for i in range(FRAMES):
        pose = np.loadtxt(folder / "pose" / f"{i:05d}.txt") @ np.diag([1.0, -1.0, -1.0, 1.0])
        entry = {"file_path": f"color/{i:05d}.png", "transform_matrix": pose.tolist()}
        frames.append(entry | ({"depth_file_path": f"depth/{i:05d}.png"} if with_depth else {}))
    (folder / "transforms.json").write_text(json.dumps({"fl_x": FOCAL, "w": WIDTH, "h": HEIGHT, "frames": frames}))
    for part in ("pose", "intrinsic"):
        shutil.rmtree(folder / part)
    return folder


def write_random_features(folder: Path) -> Path:
    """Write the features of a teacher for every frame: [3, 4, 5] arrays of noise."""
    for i in range(FRAMES):
        np.save(folder / f"{i:05d}.npy", np.random.default_rng(i).normal(size=(3, 4, 5)).astype(np.float32))
    return folder


def small_config(capture: Path, teacher: Path) -> PretrainConfig:
    """``SMALL`` on a capture with stored features."""
    return replace(SMALL, data=replace(SMALL.data, data=str(capture), teacher=str(teacher)))
