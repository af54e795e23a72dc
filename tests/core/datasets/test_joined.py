"""Several data sets as one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.datasets import JoinedDataset, open_dataset
from gaussiancross.core.datasets.joined import split_sources
from gaussiancross.core.errors import InputError
from gaussiancross.trainers.pretraining.data import PretrainData
from gaussiancross.trainers.pretraining.presets import TINY
from helpers.capture import write_export
from helpers.scenes import room


class Named:
    """Rooms of these names; those of a dataset with labels have two classes."""

    def __init__(self, names: tuple[str, ...], class_names: tuple[str, ...] = ()) -> None:
        self.names, self.class_names = names, class_names

    def __len__(self) -> int:
        return len(self.names)

    def scene(self, index: int) -> PointScene:
        return replace(room(100), name=self.names[index])

    def frames(self, index: int) -> None:
        return None


def test_scenes_take_turns_and_equal_names_differ():
    joined = JoinedDataset([Named(("a", "b", "c")), Named(("a",), ("wall", "floor"))], [0.5, 0.5])
    assert joined.names == ("0-a", "1-a", "b", "c") and len(joined) == 4
    assert [joined.scene(i).name for i in range(4)] == list(joined.names)
    assert joined.class_names == ("wall", "floor")


def test_classes_have_to_agree():
    with pytest.raises(InputError, match=r"the same classes .* 1 \(x, …\) and 2 \(y, …\)"):
        JoinedDataset([Named(("a",), ("x",)), Named(("b",), ("y", "z"))], [0.5, 0.5])


def test_training_scenes_are_drawn_by_share():
    joined = JoinedDataset([Named(tuple("abcdefgh")), Named(("i",))], [0.25, 0.75])
    drawn = Counter(joined.draw(np.random.default_rng(step)) for step in range(2000))
    assert 0.72 < drawn[joined.names.index("i")] / 2000 < 0.78 and len(drawn) == 9


def test_sources_and_shares(tmp_path: Path):
    assert split_sources("rooms:4") == [("rooms:4", 1.0)]
    assert split_sources("rooms:4+scan") == [("rooms:4", 0.5), ("scan", 0.5)]
    assert split_sources("rooms:4@3 + scan@1") == [("rooms:4", 0.75), ("scan", 0.25)]
    (tmp_path / "a+b@2").mkdir()
    assert split_sources(str(tmp_path / "a+b@2")) == [(str(tmp_path / "a+b@2"), 1.0)]
    with_plus = tmp_path / "a+b"
    with_plus.mkdir()
    assert split_sources(f"rooms:4@3+{with_plus}") == [("rooms:4", 0.75), (str(with_plus), 0.25)]
    assert split_sources(f"{with_plus}@3+rooms:4") == [(str(with_plus), 0.75), ("rooms:4", 0.25)]
    for bad in ("rooms:4+", "rooms:4@0+scan", "rooms:4@x+scan"):
        with pytest.raises(InputError, match=r"joined by \+"):
            split_sources(bad)


def test_a_batch_of_rooms_and_a_capture(tmp_path: Path):
    """Two captures joined by name: batches hold scenes of both, and evaluation reads the held-out frames of both."""
    first, second = write_export(tmp_path / "one" / "office"), write_export(tmp_path / "two" / "office")
    data = replace(TINY.data, data=f"{first}+{second}@3", teacher="none", batch_size=1, views=1)
    training = PretrainData(data, replace(TINY.model.input, max_points=500))
    assert isinstance(training.train, JoinedDataset) and training.train.names == ("0-office", "1-office")
    assert {training.scene_index(step) for step in range(20)} == {0, 1}
    assert training.scene_index(7) == PretrainData(data, TINY.model.input).scene_index(7)
    batch = training.batch(0)
    assert len(batch.points) == 1 and batch.views[0].color.shape == (1, data.height, data.width, 3)
    assert [name for name, _ in training.held_out()] == ["0-office", "1-office"]
    assert len(open_dataset(f"{first}+{second}", "val")) == 2
