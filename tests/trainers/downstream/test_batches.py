"""Batches and labels of downstream trainings."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
import torch
from gaussiancross.core.data.batch import PointBatch
from gaussiancross.core.errors import InputError
from gaussiancross.trainers.downstream import LabelConfig, LabelledScenes, SceneList
from gaussiancross.trainers.downstream.scenes import SemanticData, fewer_labels
from gaussiancross.trainers.engine.prefetch import prefetched
from helpers.labelled_scenes import CLASSES, SMALL, labelled_scene


class TestBatches:
    def test_are_functions_of_seed_and_step(self, scenes):
        one, two = (SemanticData(SMALL, scenes) for _ in range(2))
        first, again = one.batch(4), (two.batch(1), two.batch(4))[1]
        assert torch.equal(first.feat, again.feat) and torch.equal(first.segment, again.segment)
        other = SemanticData(replace(SMALL, seed=1), scenes).batch(4)
        assert first.feat.shape != other.feat.shape or not torch.equal(first.feat, other.feat)

    def test_every_scene_comes_once_an_epoch(self, scenes):
        data = SemanticData(SMALL, scenes)
        epoch = [data.scene_index(step, slot) for step in range(2) for slot in range(2)]
        assert sorted(epoch) == [0, 1, 2, 3]

    def test_steps_follow_from_epochs(self, scenes):
        assert SemanticData(replace(SMALL, steps=0, epochs=10, batch_size=2), scenes).steps == 20

    def test_mixed_scenes_are_one_and_no_voxel_occurs_twice(self, scenes):
        batch = SemanticData(replace(SMALL, mix=1.0), scenes).batch(0)
        assert len(batch) == 1
        assert len(torch.unique(batch.grid_coord, dim=0)) == len(batch.grid_coord)
        assert len(SemanticData(replace(SMALL, mix=0.0), scenes).batch(0)) == 2

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
    def test_split_is_the_inverse_of_cat(self, scenes, count):
        batch = SemanticData(replace(SMALL, mix=0.0, batch_size=4), scenes).batch(0)
        parts = batch.split(count)
        sizes = [len(part) for part in parts]
        assert len(parts) == min(count, 4) and max(sizes) - min(sizes) <= 1
        again = PointBatch.cat(parts)
        for name in ("coord", "grid_coord", "feat", "offset", "segment"):
            assert torch.equal(getattr(again, name), getattr(batch, name))

    def test_crops_respect_the_largest_size(self, scenes):
        batch = SemanticData(replace(SMALL, mix=0.0, max_voxels=100), scenes).batch(0)
        assert batch.offset.tolist() == [100, 200]

    def test_few_labels_are_never_lost(self):
        scene = fewer_labels(SceneList([labelled_scene(0)], CLASSES), LabelConfig(data="x", points=9), seed=0).scene(0)
        assert (scene.segment != -1).sum() == 9
        inside = LabelledScenes(SceneList([scene], CLASSES), SceneList([scene], CLASSES))
        data = SemanticData(replace(SMALL, batch_size=1, max_points=600, mix=0), inside)
        kept = [int((data.batch(step).segment != -1).sum()) for step in range(12)]
        assert min(kept) >= 7  # two may share a voxel


class TestLabels:
    def test_smaller_samples_of_labels_are_subsets_of_larger_ones(self):
        dataset = SceneList([labelled_scene(i) for i in range(20)], CLASSES)
        one, five = (fewer_labels(dataset, LabelConfig(data="x", scenes=p), seed=3) for p in (5, 25))
        assert len(one) == 1 and len(five) == 5
        assert set(one.names) <= set(five.names)
        few, many = (
            fewer_labels(dataset, LabelConfig(data="x", points=n), seed=3).scene(2).segment != -1 for n in (5, 50)
        )
        assert few.sum() == 5 and many.sum() == 50 and (few <= many).all()

    def test_all_labels_are_the_dataset_itself(self):
        dataset = SceneList([labelled_scene(0)], CLASSES)
        assert fewer_labels(dataset, LabelConfig(data="x")) is dataset

    def test_other_classes_and_empty_splits_are_refused(self):
        one = SceneList([labelled_scene(0)], CLASSES)
        with pytest.raises(InputError, match="same classes"):
            LabelledScenes(one, SceneList([labelled_scene(0)], CLASSES[:3]))
        with pytest.raises(InputError, match="at least one"):
            LabelledScenes(one, SceneList([], CLASSES))


class TestPrefetched:
    @pytest.mark.parametrize("workers", [1, 3])
    def test_order_and_errors(self, workers):
        def make(step: int) -> int:
            time.sleep(0.002 * (step % 3))  # later ones are done earlier
            if step == 8:
                raise ValueError("eighth")
            return step

        items = prefetched(make, 1, workers)
        assert [next(items) for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
        with pytest.raises(ValueError, match="eighth"):
            next(items)
        assert not _threads()

    def test_closing_ends_the_threads(self):
        items = prefetched(lambda step: step, 0, 2)
        next(items)
        items.close()
        assert not _threads()


def _threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("batches")]
