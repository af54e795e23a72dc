"""Batches of pre-training. A batch is a pure function of (seed, step): resuming needs no sampler state, and prefetching
in threads changes nothing."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...core.data.batch import Batch, InputConfig, PointBatch, SceneInput, ViewPair, Views, make_input
from ...core.data.packed import PackedViews
from ...core.data.scene import PointScene, PosedFrames, SceneDataset
from ...core.data.view_pairs import make_view_pair
from ...core.datasets import JoinedDataset, open_dataset
from ...core.errors import InputError
from ...core.features.lifting import lift_voxels
from ...core.io.cache import cache_folder
from ...core.report import SILENT, Report
from ...core.teachers import Teacher, make_teacher, memoize_features
from ..engine.prefetch import prefetched
from ..engine.ranks import Ranks
from .config import DataConfig


class PretrainData:
    """Training batches and held-out views of one dataset.

    Args:
        config: scenes, views and teacher.
        input_config: conversion of points to network input (the model's own config).
        seed: random seed.
        train, val, teacher: by default opened from ``config``.
        report: receives notices and progress of reading the scenes.
        ranks: processes that share the batches; by default those that this one trains with.
    """

    def __init__(
        self,
        config: DataConfig,
        input_config: InputConfig,
        seed: int = 0,
        train: SceneDataset | None = None,
        val: SceneDataset | None = None,
        teacher: Teacher | None = None,
        report: Report = SILENT,
        ranks: Ranks | None = None,
    ) -> None:
        self.config, self.input, self.seed = config, input_config, seed
        self.train = open_dataset(config.data, "train", report=report) if train is None else train
        self.val = open_dataset(config.data, "val", report=report) if val is None else val
        self.teacher = _teacher(config) if teacher is None else teacher
        if len(self.train) == 0:
            raise InputError(config.data, "at least one scene to train on", "none")
        self.slots = (ranks or Ranks.current()).share(config.batch_size, "data.batch_size")
        self._damaged: set[tuple[str, str]] = set()  # scene and frame
        self._lock = threading.Lock()  # of ``_damaged``: several threads prepare batches
        self._train_scene = lru_cache(maxsize=16)(self.train.scene)
        self._train_frames = lru_cache(maxsize=64)(self.train.frames)

    def open_first_scene(self) -> None:
        """Read the first training scene and its frames now instead of in the first step."""
        self._train_scene(0)
        self._train_frames(0)

    @property
    def teacher_dim(self) -> int:
        """Width of the teacher's features; 0 without a teacher."""
        return 0 if self.teacher is None else self.teacher.info.dim

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the training scenes' classes; empty without labels."""
        return tuple(self.train.class_names)

    def scene_index(self, step: int, slot: int = 0) -> int:
        """Index of the training scene in ``slot`` of the batch of ``step``: each scene once per epoch, shuffled; of
        joined data sets, a random one by their shares."""
        if isinstance(self.train, JoinedDataset):
            return self.train.draw(np.random.default_rng([self.seed, 4, step, slot]))
        epoch, position = divmod(step * self.config.batch_size + slot, len(self.train))
        return int(np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.train))[position])

    def batch(self, step: int) -> Batch:
        """Return the training batch of ``step``, on the CPU; in a distributed run this rank's scenes of it."""
        return join([self.slot(step, slot) for slot in self.slots])

    def slot(self, step: int, slot: int, packed: bool = False) -> Batch:
        """Return one scene of the batch of ``step``, a function of both numbers alone.

        Args:
            packed: leave images and features in the types of their files (`PackedViews`).
        """
        scene = self._train_scene(self.scene_index(step, slot))
        frames = _required(self._train_frames(self.scene_index(step, slot)), scene.name)
        try:
            return self._slot(step, slot, scene, frames, packed)
        except InputError:
            if not self._drop_damaged(scene.name, frames):
                raise
        return self._slot(step, slot, scene, frames, packed)

    def _slot(self, step: int, slot: int, scene: PointScene, frames: PosedFrames, packed: bool) -> Batch:
        rng = np.random.default_rng([self.seed, 2, step, slot])
        network_input = make_input(scene, self.input, rng, self.config.augment)
        picked = rng.choice(len(frames), self.config.views, replace=len(frames) < self.config.views).tolist()
        picked = self._readable(scene.name, frames, picked, np.random.default_rng([self.seed, 5, step, slot]))
        points = self._lifted(scene, network_input, frames, rng, picked)
        make = self._packed_views if packed else self._views
        views = make(scene.name, frames, picked, network_input.transform)
        pairs = [self._pair(scene, np.random.default_rng([self.seed, 3, step, slot]))] if self.input.pairs else []
        return Batch(points, [views], pairs)  # type: ignore[list-item]  # packed ones until `Batch.to`

    def _readable(self, name: str, frames: PosedFrames, picked: list[int], rng: np.random.Generator) -> list[int]:
        """``picked`` with known damaged frames replaced by others, drawn by ``rng`` alone."""
        if not any((name, frames.names[i]) in self._damaged for i in picked):
            return picked
        good = [i for i in rng.permutation(len(frames)).tolist() if (name, frames.names[i]) not in self._damaged]
        if not good:
            return picked
        spare = cycle([*(i for i in good if i not in picked), *(i for i in good if i in picked)])
        return [next(spare) if (name, frames.names[i]) in self._damaged else i for i in picked]

    def _drop_damaged(self, name: str, frames: PosedFrames) -> bool:
        """Look for damaged frames among all of a scene, and say once how many there are.

        All of them, so that batches do not depend on which was met first.

        Returns:
            whether there are damaged frames, and others are left.
        """
        found = frames.unreadable(range(len(frames)), self.config.width, self.config.height)
        if not found or len(found) == len(frames):
            return False
        with self._lock:
            before = len(self._damaged)
            self._damaged |= {(name, frames.names[i]) for i in found}
            is_new = len(self._damaged) > before
        if is_new:
            few = f"{name}: {len(found)} of {len(frames)} frames are damaged and left out"
            warnings.warn(f"{few}; the first: {next(iter(found.values()))}", stacklevel=2)
        return True

    def batches(self, start: int) -> Generator[Batch, None, None]:
        """Yield the batches from step ``start`` on, prepared ahead in a thread."""
        return prefetched(self.batch, start)

    @cached_property
    def mean_color(self) -> Tensor:
        """[3] mean colour of some training views: the trivial prediction to compare renders with."""
        batches = [self.batch(step) for step in range(min(4, len(self.train)))]
        return torch.cat([v.color.flatten(0, 2) for b in batches for v in b.views]).mean(0)

    def held_out(self) -> Iterator[tuple[str, Batch]]:
        """Yield (scene name, batch of one scene) per evaluated scene: all points, unmasked, and its held-out views."""
        for index in range(min(self.config.eval_scenes, len(self.val))):
            scene = self.val.scene(index)
            frames = _required(self.val.frames(index), scene.name)
            network_input = make_input(scene, self.input)
            size = self.config.width, self.config.height
            count = min(self.config.eval_views, len(frames))
            picked = np.linspace(0, len(frames) - 1, count).round().astype(int).tolist()
            if frames.unreadable(picked, *size):
                self._drop_damaged(scene.name, frames)
            picked = self._readable(scene.name, frames, picked, np.random.default_rng([self.seed, 6, index]))
            is_capture = scene.name in self.train.names  # its training frames are no targets here
            sources = self._train_frames(list(self.train.names).index(scene.name)) if is_capture else frames
            targets = [] if is_capture else picked
            points = self._lifted(scene, network_input, _required(sources, scene.name), None, targets)
            yield scene.name, Batch(points, [self._views(scene.name, frames, picked, network_input.transform)])

    def _lifted(
        self,
        scene: PointScene,
        network_input: SceneInput,
        frames: PosedFrames,
        rng: np.random.Generator | None,
        targets: Sequence[int],
    ) -> PointBatch:
        """Add features lifted from frames other than the targets to the input.

        All frames are used, or with ``rng`` a random number from 0 to ``lifted_frames`` of them, so that the network
        also works without any.
        """
        if not self.input.lifted_frames or self.teacher is None:
            return network_input.points
        others = np.setdiff1d(np.arange(len(frames)), targets)
        if rng is not None:
            others = rng.permutation(others)[: int(rng.integers(self.input.lifted_frames + 1))]
        others = np.array([i for i in others if (scene.name, frames.names[i]) not in self._damaged], int)
        if len(others) == 0:
            return network_input.points
        return lift_voxels(scene, network_input, frames, self.teacher, others.tolist())

    def _pair(self, scene: PointScene, rng: np.random.Generator) -> ViewPair:
        config = self.input
        if config.max_points is not None and len(scene) > config.max_points:
            scene = scene[rng.permutation(len(scene))[: config.max_points]]
        ratio, block = config.pair_mask_ratio, config.pair_mask_block
        return make_view_pair(scene, config.voxel_size, ratio, config.pairs, rng, mask_block=block)

    def _views(self, name: str, frames: PosedFrames, index: list[int], transform: Tensor) -> Views:
        color, depth, cameras = frames.stack(index, self.config.width, self.config.height)
        teacher = None if self.teacher is None else self.teacher.features(name, frames, index)
        return Views(cameras.transformed(transform), color, depth, teacher)

    def _packed_views(self, name: str, frames: PosedFrames, index: list[int], transform: Tensor) -> PackedViews:
        size = self.config.width, self.config.height
        color, depth, unit = frames.packed(index, *size)
        cameras = frames.cameras[index].resized(*size).transformed(transform)
        if self.teacher is None:
            return PackedViews(cameras, color, depth, unit)
        if hasattr(self.teacher, "packed"):
            return PackedViews(cameras, color, depth, unit, *self.teacher.packed(name, frames, index))  # type: ignore[attr-defined]
        return PackedViews(cameras, color, depth, unit, self.teacher.features(name, frames, index))


def join(parts: Sequence[Batch]) -> Batch:
    """Join batches, scene after scene."""
    points = PointBatch.cat([part.points for part in parts])
    return Batch(points, [v for part in parts for v in part.views], [p for part in parts for p in part.pairs])


def _teacher(config: DataConfig) -> Teacher | None:
    where = {"auto": cache_folder(), "memory": None}.get(config.teacher_cache, Path(config.teacher_cache).expanduser())
    return memoize_features(make_teacher(config.teacher), config.data, where)


def _required(frames: PosedFrames | None, name: str) -> PosedFrames:
    if frames is None or len(frames) == 0:
        raise InputError(name, "posed RGB-D frames to learn from", "none", "give the RGB-D exports beside the points")
    return frames
