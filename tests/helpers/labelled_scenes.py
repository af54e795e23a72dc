"""Small labelled scenes whose classes differ in shape and colour, and a network that learns them in seconds."""

from __future__ import annotations

import numpy as np
import torch
from gaussiancross.core.data.augment import SceneAugmentConfig
from gaussiancross.core.data.scene import PointScene
from gaussiancross.trainers.downstream import (
    LabelConfig,
    LabelledScenes,
    NetworkConfig,
    OptimConfig,
    SceneList,
    SemanticTraining,
    TestConfig,
)

CLASSES = ("floor", "wall", "box", "never seen")

COLORS = np.array([[180, 150, 120], [120, 160, 220], [230, 60, 60]])

NETWORK = NetworkConfig(8, (8,) * 8, (1,) * 8)

SMALL = SemanticTraining(
    network=NETWORK,
    labels=LabelConfig(data="scenes"),
    voxel_size=0.08,
    batch_size=2,
    steps=6,
    eval_every=3,
    save_every=3,
    optim=OptimConfig(lr=1e-2),
    augment=SceneAugmentConfig(elastic=((0.2, 0.04),)),
    test=TestConfig("one", fragments=False),
)


def labelled_scene(seed: int, points: int = 1500) -> PointScene:
    """A floor, two walls and a box of 1.6 m, 5 % of the points unlabelled."""
    rng = np.random.default_rng(seed)
    segment = rng.choice(3, points, p=(0.4, 0.4, 0.2))
    coord, normal = rng.uniform(0, 1.6, (points, 3)), np.zeros((points, 3))
    coord[segment == 0, 2] = 0
    normal[segment == 0, 2] = 1
    walls = np.flatnonzero(segment == 1)
    coord[walls, walls % 2] = 0
    normal[walls, walls % 2] = 1
    box = segment == 2
    coord[box] = rng.uniform(0.4, 0.9, 3) + 0.4 * (coord[box] / 1.6 - 0.5)
    color = COLORS[segment] + rng.normal(0, 20, (points, 3))
    segment = np.where(rng.random(points) < 0.05, -1, segment)
    return PointScene(
        f"scene{seed:04d}",
        coord.astype(np.float32),
        color.clip(0, 255).astype(np.uint8),
        normal.astype(np.float32),
        segment.astype(np.int64),
    )


def labelled_scenes(train: int = 4, val: int = 2) -> LabelledScenes:
    scenes = [labelled_scene(i) for i in range(train + val)]
    return LabelledScenes(SceneList(scenes[:train], CLASSES), SceneList(scenes[train:], CLASSES))


def by_color_of(scene: PointScene) -> torch.Tensor:
    color = torch.from_numpy(scene.color).float()
    return (-torch.cdist((color / 127.5 - 1 + 1) * 127.5, torch.tensor(COLORS).float())).argmax(1)
