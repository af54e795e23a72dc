"""Small labelled scenes with instances: a floor and three coloured cubes, and a ScanNet folder of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.models.pointgroup import ClusterConfig
from gaussiancross.trainers.downstream import LabelledScenes, NetworkConfig, SceneList
from gaussiancross.trainers.downstream.instance_config import INSTANCES

CLASS_NAMES = ("floor", "wall", "box", "crate")


def shelf(seed: int = 0, n: int = 4000) -> PointScene:
    """A floor (class 0, instance 9) and cubes: two red and green boxes (class 2, instances 4 and 0) and a blue crate
    (class 3) without an instance id. The seed moves the cubes."""
    rng = np.random.default_rng(seed)
    part = np.arange(n) % 4
    size = np.array([[3, 3, 0.02], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0.4, 0.4, 0.4]])
    corner = np.array([[0, 0, 0], [0.2, 0.2, 0.1], [1.5, 1.4, 0.1], [2.3, 0.2, 0.1]])
    corner[1:, :2] += rng.uniform(-0.15, 0.15, (3, 2)) if seed else 0
    coord = (rng.uniform(0, 1, (n, 3)) * size[part] + corner[part]).astype(np.float32)
    return PointScene(
        f"shelf{seed}",
        coord,
        color=np.array([[90, 90, 90], [200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)[part],
        normal=np.tile(np.array([0, 0, 1], np.float32), (n, 1)),
        segment=np.array([0, 2, 2, 3])[part],
        instance=np.array([9, 4, 0, -1])[part],
    )


def write_scannet(root: Path, train: int = 2, val: int = 1, instances: bool = True) -> Path:
    """A folder as Pointcept's preprocessing of ScanNet writes it. Boxes are beds (3; 10 of the 200 classes) and crates
    chairs (4; 1), each with its id."""
    classes = {"segment20": np.array([1, -1, 3, 4]), "segment200": np.array([2, -1, 10, 1])}
    for split, seeds in (("train", range(1, 1 + train)), ("val", range(101, 101 + val))):
        for seed in seeds:
            scene = shelf(seed)
            folder = root / split / f"scene{seed:04d}_00"
            folder.mkdir(parents=True)
            assert scene.segment is not None and scene.instance is not None
            arrays = {"coord": scene.coord, "color": scene.color, "normal": scene.normal}
            arrays |= {name: table[scene.segment] for name, table in classes.items()}
            if instances:
                arrays["instance"] = np.where(scene.segment == 3, 7, scene.instance)
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", array)
    return root


NETWORK = NetworkConfig(8, (8, 8, 8, 8, 8, 8, 8, 8), (1,) * 8)

SMALL = replace(
    INSTANCES["rooms"].config,
    network=NETWORK,
    voxel_size=0.08,
    cluster=ClusterConfig(min_points=5, propose_points=10),
    batch_size=2,
    steps=6,
    eval_every=0,
    save_every=100,
)


def shelves(train: int = 4, val: int = 1) -> LabelledScenes:
    """Scenes in which every cube is an instance."""
    scenes = [shelf(seed, 1600) for seed in range(1, 1 + train + val)]
    whole = [replace(s, instance=np.where(s.segment == 3, 7, s.instance)) for s in scenes]
    return LabelledScenes(SceneList(whole[:train], CLASS_NAMES), SceneList(whole[train:], CLASS_NAMES))
