"""Labelled scenes for downstream training, and the batches made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from ...core.data.augment import augment_scene, mix3d, sphere_crop, voxelize
from ...core.data.batch import PointBatch, make_points
from ...core.data.scene import IGNORE, PointScene, PosedFrames, SceneDataset
from ...core.datasets import PointceptDataset, open_dataset
from ...core.datasets.scenes.splits import sample_points, sample_scenes, was_sampled, with_labels_at
from ...core.errors import InputError
from ..engine.ranks import Ranks
from .config import LabelConfig, SemanticTraining

CACHED = 32
"""Number of training scenes cached in memory."""


class SceneList:
    """Scenes in memory as a `SceneDataset`.

    Args:
        scenes: labelled scenes.
        class_names: names of their classes.
    """

    def __init__(self, scenes: Sequence[PointScene], class_names: Sequence[str]) -> None:
        self._scenes = list(scenes)
        self.names = tuple(s.name for s in scenes)
        self.class_names = tuple(class_names)

    def __len__(self) -> int:
        return len(self._scenes)

    def scene(self, index: int) -> PointScene:
        return self._scenes[index]

    def frames(self, index: int) -> PosedFrames | None:
        return None


class SceneSubset:
    """A subset of a dataset's scenes, optionally with fewer labels.

    Args:
        inner: the dataset.
        index: indices of its scenes, in order.
        relabel: applied to each scene; None keeps the labels.

    Attributes:
        inner: the dataset.
    """

    def __init__(
        self, inner: SceneDataset, index: Sequence[int], relabel: Callable[[PointScene], PointScene] | None = None
    ) -> None:
        self.inner, self._index, self._relabel = inner, list(index), relabel
        self.names = tuple(inner.names[i] for i in self._index)
        self.class_names = inner.class_names

    def __len__(self) -> int:
        return len(self._index)

    def scene(self, index: int) -> PointScene:
        scene = self.inner.scene(self._index[index])
        return scene if self._relabel is None else self._relabel(scene)

    def frames(self, index: int) -> PosedFrames | None:
        return self.inner.frames(self._index[index])


@dataclass(frozen=True)
class LabelledScenes:
    """Training and test scenes of a downstream run: two datasets with the same classes.

    Raises:
        InputError: an empty dataset, or different classes.
    """

    train: SceneDataset
    val: SceneDataset

    def __post_init__(self) -> None:
        if not len(self.train) or not len(self.val):
            raise InputError("scenes", "at least one to learn from and one to test on", "none")
        if not self.train.class_names or self.train.class_names != self.val.class_names:
            found = f"{len(self.train.class_names)} and {len(self.val.class_names)} classes"
            raise InputError("scenes", "labels of the same classes in both splits", found)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.train.class_names)

    @staticmethod
    def open(config: LabelConfig, seed: int = 0) -> LabelledScenes:
        """Open the scenes of a config.

        Raises:
            InputError: no such data, or scenes in both splits (allowed only through the constructor).
        """
        if not config.data:
            raise InputError("labels.data", '"rooms:COUNT" or a folder of labelled scenes', "nothing")
        train = fewer_labels(_open(config, config.train), config, seed)
        val = _open(config, config.val)
        if config.val_scenes and config.val_scenes < len(val):
            val = SceneSubset(val, range(config.val_scenes))
        if shared := sorted({*train.names} & {*val.names}):
            expected, found = "different scenes", f"{len(shared)} in both, such as {shared[0]}"
            what = f"labels.train {config.train!r} and labels.val {config.val!r}"
            raise InputError(what, expected, found, "test on scenes that are not trained on")
        return LabelledScenes(train, val)

    def check_labels(self) -> None:
        """Check that the first scene of either split has labels; reading all scenes would take long.

        Raises:
            InputError: it has none.
        """
        for dataset, purpose in ((self.train, "to learn from"), (self.val, "to be tested with")):
            scene = dataset.scene(0)
            if scene.segment is None:
                hint = "give scenes with labels, or other labels (labels.classes)"
                raise InputError(scene.name, f"labels {purpose}{_label_file(dataset)}", "none", hint)


def _label_file(dataset: SceneDataset) -> str:
    """Return the name of a scene's label file, in brackets, for errors."""
    while isinstance(dataset, SceneSubset):
        dataset = dataset.inner
    return f" ({dataset.labels}.npy)" if isinstance(dataset, PointceptDataset) else ""


def uses_sampled_labels(config: LabelConfig) -> bool:
    """Whether reduced labels are not the benchmark's: sampled here, or by `gaussiancross prepare`."""
    scenes, points = _lists(config)
    lists = [scenes] * (config.scenes < 100) + [points] * (config.points > 0)
    return any(not path.is_file() or was_sampled(path) for path in lists)


def fewer_labels(dataset: SceneDataset, config: LabelConfig, seed: int = 0) -> SceneDataset:
    """Return a data-efficient run's part of a training set; all of it for 100 per cent and 0 points.

    With the same seed, smaller samples are subsets of larger ones. Lists in a Pointcept folder's tasks/
    (`core.datasets.scenes.splits`), which the published figures use, take precedence.
    """
    scenes, points = _lists(config)
    index = list(range(len(dataset)))
    if config.scenes < 100 and not scenes.is_file():
        sampled = set(sample_scenes(dataset.names, config.scenes, seed))
        index = [i for i, name in enumerate(dataset.names) if name in sampled]
    if not config.points or points.is_file():
        return dataset if len(index) == len(dataset) else SceneSubset(dataset, index)

    def relabel(scene: PointScene) -> PointScene:
        # The key depends on the name alone, so the sample does not depend on the other scenes.
        return with_labels_at(
            scene, sample_points(labels_of(scene).numpy(), config.points, seed, crc32(scene.name.encode()))
        )

    return SceneSubset(dataset, index, relabel)


def _lists(config: LabelConfig) -> tuple[Path, Path]:
    tasks = Path(config.data).expanduser() / "tasks"
    return tasks / "scenes" / f"{config.scenes}.txt", tasks / "points" / f"points{config.points}"


def _open(config: LabelConfig, split: str) -> SceneDataset:
    train = split == config.train
    if config.data.partition(":")[0] == "rooms":
        return open_dataset(config.data if train else "rooms", split)
    scenes, points = _lists(config)
    return PointceptDataset(
        Path(config.data).expanduser(),
        split,
        None if config.classes == "auto" else config.classes,
        require_frames=False,
        scene_list=scenes if train and config.scenes < 100 and scenes.is_file() else None,
        point_list=points if train and config.points and points.is_file() else None,
    )


class SemanticData:
    """Training batches and held-out scenes.

    Args:
        config: options of voxels, augmentation and batches.
        scenes: training and test scenes.
    """

    def __init__(self, config: SemanticTraining, scenes: LabelledScenes) -> None:
        scenes.check_labels()
        self.config, self.scenes, self._ranks = config, scenes, Ranks.current()
        self.slots = self._ranks.share(config.batch_size, "batch_size")
        self._scene = lru_cache(maxsize=CACHED)(scenes.train.scene)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        config = self.config
        return config.steps or max(1, round(config.epochs * len(self.scenes.train) / config.batch_size))

    def scene_index(self, step: int, slot: int = 0) -> int:
        """Index of the training scene in ``slot`` of the batch of ``step``: each scene once per epoch, shuffled."""
        epoch, position = divmod(step * self.config.batch_size + slot, len(self.scenes.train))
        return int(np.random.default_rng([self.config.seed, 1, epoch]).permutation(len(self.scenes.train))[position])

    def batch(self, step: int) -> PointBatch:
        """Return the training batch of ``step``, on the CPU: a function of the seed and the step.

        In a distributed run these are this rank's scenes of it, which are mixed among themselves.
        """
        scenes = []
        for slot in self.slots:
            rng = np.random.default_rng([self.config.seed, 2, step, slot])
            scenes.append(self.augmented(self._scene(self.scene_index(step, slot)), rng))
        own = [self._ranks.rank] if self._ranks.world > 1 else []
        rng = np.random.default_rng([self.config.seed, 3, step, *own])
        mixed = mix3d(scenes, self.config.mix, rng)
        return PointBatch.cat([make_points(s, self.config.voxel_size, rng)[0] for s in mixed])

    def augmented(self, scene: PointScene, rng: Generator) -> PointScene:
        """Augment a scene; return one point per voxel, at most ``max_voxels`` in a sphere crop, centred."""
        config = self.config
        few = np.flatnonzero(sparse_label_mask(scene))  # never dropped
        if config.max_points and len(scene) > config.max_points:
            scene = scene[np.union1d(few, rng.permutation(len(scene))[: config.max_points])]
        scene = augment_scene(scene, config.augment, rng, keep=sparse_label_mask(scene))
        _, index, inverse = voxelize(scene.coord, config.voxel_size, rng)
        few = np.flatnonzero(sparse_label_mask(scene))
        index[inverse[few]] = few
        scene = scene[index]
        scene = scene[sphere_crop(scene.coord, config.max_voxels, rng)]
        return center_on_voxels(scene, config.voxel_size)

    def held_out(self, index: int) -> tuple[PointBatch, torch.Tensor, torch.Tensor]:
        """Return the voxels of an unaugmented held-out scene, and voxel [N] and label [N] of its points."""
        scene = self.scenes.val.scene(index)
        points, inverse = make_points(scene, self.config.voxel_size)
        return points, inverse, labels_of(scene)


def labels_of(scene: PointScene) -> torch.Tensor:
    """Return classes [N], −1 for points without a label."""
    return torch.full((len(scene),), IGNORE) if scene.segment is None else torch.from_numpy(scene.segment)


def sparse_label_mask(scene: PointScene) -> NDArray[np.bool_]:
    """Return the mask [N] of labelled points if they are fewer than a tenth, else an empty mask."""
    labelled = labels_of(scene).numpy() != IGNORE
    return labelled if labelled.mean() < 0.1 else np.zeros(len(scene), bool)


def center_on_voxels(scene: PointScene, voxel_size: float) -> PointScene:
    """Centre the bounding box in x and y, shifting by whole voxels so that the voxels stay the same."""
    middle = (scene.coord.min(0) + scene.coord.max(0)) / 2
    shift = np.round(middle / voxel_size) * voxel_size * (1, 1, 0)
    return replace(scene, coord=(scene.coord - shift).astype(np.float32))
