"""Labelled scenes for downstream training: where they come from, and what a training step sees of them."""

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
from .config import LabelConfig, SemanticTraining

CACHED = 32
"""Training scenes that are kept in memory."""


class SceneList:
    """Scenes in memory as a `SceneDataset`.

    Args:
        scenes: labelled scenes.
        class_names: of their labels.
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
    """Some scenes of a dataset, perhaps with fewer labels.

    Args:
        inner: the dataset.
        index: which of its scenes, in order.
        relabel: called with each scene; None leaves labels alone.

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
    """What a downstream run learns from and is tested on; any two datasets of equal classes do."""

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
        """What the config describes.

        Raises:
            InputError: no such data, or scenes that are both learned from and tested on. Two parts that share scenes on
                purpose can be given to the constructor.
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
            raise InputError(what, expected, found, "a test on scenes that were learned from says nothing")
        return LabelledScenes(train, val)

    def check_labels(self) -> None:
        """Whether the first scene of either part has labels; reading all of them would take long.

        Raises:
            InputError: it has none.
        """
        for dataset, purpose in ((self.train, "to learn from"), (self.val, "to be tested with")):
            scene = dataset.scene(0)
            if scene.segment is None:
                hint = "give scenes with labels, or other labels (labels.classes)"
                raise InputError(scene.name, f"labels {purpose}{_label_file(dataset)}", "none", hint)


def _label_file(dataset: SceneDataset) -> str:
    """Where a scene's labels should be, in brackets, for errors."""
    while isinstance(dataset, SceneSubset):
        dataset = dataset.inner
    return f" ({dataset.labels}.npy)" if isinstance(dataset, PointceptDataset) else ""


def draws_labels(config: LabelConfig) -> bool:
    """Whether a run of few labels has others than the benchmark: drawn here, or by `gaussiancross prepare`."""
    scenes, points = _lists(config)
    lists = [scenes] * (config.scenes < 100) + [points] * (config.points > 0)
    return any(not path.is_file() or was_sampled(path) for path in lists)


def fewer_labels(dataset: SceneDataset, config: LabelConfig, seed: int = 0) -> SceneDataset:
    """The part of a training set that a data-efficient run may see; all of it for 100 per cent and 0 points.

    Smaller draws lie in larger ones of the same seed. Pointcept folders with tasks/ give their own lists
    (`core.datasets.scenes.splits`), which the published figures are made with.
    """
    scenes, points = _lists(config)
    index = list(range(len(dataset)))
    if config.scenes < 100 and not scenes.is_file():
        kept = set(sample_scenes(dataset.names, config.scenes, seed))
        index = [i for i, name in enumerate(dataset.names) if name in kept]
    if not config.points or points.is_file():
        return dataset if len(index) == len(dataset) else SceneSubset(dataset, index)

    def relabel(scene: PointScene) -> PointScene:
        # A key of the name alone: the draw does not depend on which other scenes there are.
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
        config: voxels, augmentation, batch.
        scenes: what to learn from and to test on.
    """

    def __init__(self, config: SemanticTraining, scenes: LabelledScenes) -> None:
        scenes.check_labels()
        self.config, self.scenes = config, scenes
        self._scene = lru_cache(maxsize=CACHED)(scenes.train.scene)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        config = self.config
        return config.steps or max(1, round(config.epochs * len(self.scenes.train) / config.batch_size))

    def scene_index(self, step: int, slot: int = 0) -> int:
        """The training scene in ``slot`` of the batch of ``step``: every scene once an epoch, in random order."""
        epoch, position = divmod(step * self.config.batch_size + slot, len(self.scenes.train))
        return int(np.random.default_rng([self.config.seed, 1, epoch]).permutation(len(self.scenes.train))[position])

    def batch(self, step: int) -> PointBatch:
        """The training batch of ``step``, on the CPU: a function of the seed and the step."""
        scenes = []
        for slot in range(self.config.batch_size):
            rng = np.random.default_rng([self.config.seed, 2, step, slot])
            scenes.append(self.augmented(self._scene(self.scene_index(step, slot)), rng))
        rng = np.random.default_rng([self.config.seed, 3, step])
        mixed = mix3d(scenes, self.config.mix, rng)
        return PointBatch.cat([make_points(s, self.config.voxel_size, rng)[0] for s in mixed])

    def augmented(self, scene: PointScene, rng: Generator) -> PointScene:
        """One point per voxel of the augmented scene, or of a sphere in it, centred."""
        config = self.config
        few = np.flatnonzero(few_labels(scene))  # which must not be lost
        if config.max_points and len(scene) > config.max_points:
            scene = scene[np.union1d(few, rng.permutation(len(scene))[: config.max_points])]
        scene = augment_scene(scene, config.augment, rng, keep=few_labels(scene))
        _, index, inverse = voxelize(scene.coord, config.voxel_size, rng)
        few = np.flatnonzero(few_labels(scene))
        index[inverse[few]] = few
        scene = scene[index]
        scene = scene[sphere_crop(scene.coord, config.max_voxels, rng)]
        return centered(scene, config.voxel_size)

    def held_out(self, index: int) -> tuple[PointBatch, torch.Tensor, torch.Tensor]:
        """A held-out scene as it is: its voxels, the voxel [N] and the label [N] of every point."""
        scene = self.scenes.val.scene(index)
        points, inverse = make_points(scene, self.config.voxel_size)
        return points, inverse, labels_of(scene)


def labels_of(scene: PointScene) -> torch.Tensor:
    """[N] classes, −1 where there is none."""
    return torch.full((len(scene),), IGNORE) if scene.segment is None else torch.from_numpy(scene.segment)


def few_labels(scene: PointScene) -> NDArray[np.bool_]:
    """[N] the labelled points of a scene that has few of them (less than a tenth); nothing elsewhere."""
    labelled = labels_of(scene).numpy() != IGNORE
    return labelled if labelled.mean() < 0.1 else np.zeros(len(scene), bool)


def centered(scene: PointScene, voxel_size: float) -> PointScene:
    """The scene moved in x and y by whole voxels, so that its bounding box is centred and its voxels stay the same."""
    middle = (scene.coord.min(0) + scene.coord.max(0)) / 2
    shift = np.round(middle / voxel_size) * voxel_size * (1, 1, 0)
    return replace(scene, coord=(scene.coord - shift).astype(np.float32))
