"""A power cut at any moment of a run leaves a state from which it goes on, with all that was said to be saved."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.teachers.shards import ShardFolder
from gaussiancross.trainers.engine.log import read_metrics
from gaussiancross.trainers.pretraining.timeline import Timeline, list_frames
from helpers.loops import QUIET, Line
from helpers.power_cut import Recording, recorded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the names of open files")


def program(root: Path, recording: Recording) -> None:
    """A training with a time line and stored features."""
    shards = ShardFolder(root / "features")
    timeline = Timeline(root / "run", 10**6)

    class Saved(Line):
        def save(self) -> Path:
            path = super().save()
            recording.marks["step"] = self.step
            return path

        def train_step(self, batch):
            metrics = super().train_step(batch)
            timeline.offer(self.step, self.weights)
            shards.write(f"s/{self.step}.safetensors", {"features": np.full((2, 3), self.step, np.float16)}, {})
            recording.marks["features"] = self.step
            return metrics

    Saved(root / "run", save_every=2, keep=2).fit(console=QUIET)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    root = tmp_path_factory.mktemp("recorded")
    with recorded(root) as recording:
        program(root, recording)
    return recording


@pytest.mark.parametrize("cuts", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_cut_at_any_moment_loses_nothing_that_was_saved(recording, tmp_path, cuts):
    assert len(recording) > 100
    rng = random.Random(cuts)
    for _ in range(cuts):
        root = tmp_path / "left"
        claimed = recording.after_a_power_cut(root, rng)
        line = Line(root / "run")
        found = line.resume()
        assert not line._damaged, "a checkpoint in its place is whole"
        assert found or "step" not in claimed
        assert line.step >= claimed.get("step", 0)
        rows = [int(row["step"]) for row in read_metrics(root / "run" / "metrics.jsonl")]
        assert rows[: line.step - 1] == list(range(1, line.step)) or line.step == 0
        for frame in list_frames(root / "run"):
            frame.weights()
        shards = ShardFolder(root / "features")
        for step in range(1, claimed.get("features", 0) + 1):
            name = f"s/{step}.safetensors"
            assert shards.read(name, ["features"])["features"][0, 0] == step
        assert all(error is None for _, error in shards.verify())


def test_the_model_notices_a_missing_flush(tmp_path, monkeypatch):
    """Without flushes, some of the cuts leave half of a checkpoint: the test above shows something."""
    monkeypatch.setattr("gaussiancross.core.io.atomic._fsync", lambda path, flags: None)
    with recorded(tmp_path / "r") as recording:
        os.makedirs(tmp_path / "r", exist_ok=True)
        program(tmp_path / "r", recording)
    rng, lost = random.Random(0), 0
    for _ in range(40):
        claimed = recording.after_a_power_cut(tmp_path / "left", rng)
        line = Line(tmp_path / "left" / "run")
        try:
            lost += line.step < claimed.get("step", 0) if line.resume(console=QUIET) else "step" in claimed
        except ValueError:
            lost += 1
    assert lost > 0
