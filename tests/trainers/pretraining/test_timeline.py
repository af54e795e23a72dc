"""The time line: half-precision snapshots of a run's weights at spaced steps."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.checkpoint import save_checkpoint
from gaussiancross.trainers.pretraining.timeline import MAX_FRAMES, Timeline, least_missed, list_frames
from helpers.inspector import weights


class TestTimeline:
    def test_matrices_are_halved_and_nothing_else(self, tmp_path: Path):
        value = {
            "w": torch.randn(8, 8),
            "big": torch.full((2, 2), 1e6),
            "b": torch.tensor([1e-9]),
            "n": torch.tensor(5),
        }
        assert Timeline(tmp_path, 10**6).offer(7, lambda: value)
        (frame,) = list_frames(tmp_path)
        read = frame.weights()
        assert frame.step == 7 and read.keys() == value.keys()
        assert torch.allclose(read["w"], value["w"], rtol=1e-3, atol=1e-7) and read["w"].dtype == torch.float32
        assert all(torch.equal(read[k], value[k]) for k in ("big", "b", "n"))

    def test_steps_are_spaced_in_the_logarithm(self, tmp_path: Path):
        timeline = Timeline(tmp_path, 10**9)
        taken = [s for s in range(3000) if timeline.offer(s, lambda: weights(size=2))]
        assert taken[:4] == [0, 5, 10, 15] and len(taken) < 45
        ratios = [b / a for a, b in itertools.pairwise(taken[10:])]
        assert max(ratios) < 1.2 and min(ratios) > 1.1

    def test_budget_holds_and_the_steps_stay_spread(self, tmp_path: Path):
        one = 64 * 64 * 2 + 400
        timeline = Timeline(tmp_path, 8 * one)
        for step in range(5000):
            timeline.offer(step, weights)
            if step % 1000 == 999:
                assert sum(f.stat().st_size for f in (tmp_path / "timeline").iterdir()) <= 8 * one
        steps = [f.step for f in list_frames(tmp_path)]
        assert steps[0] == 0 and steps[-1] > 4000 and 6 <= len(steps) <= 8
        gaps = [math.log((b + 5) / (a + 5)) for a, b in itertools.pairwise(steps)]
        assert max(gaps) < 2.2

    def test_a_budget_of_nothing_or_too_little_writes_nothing(self, tmp_path: Path):
        assert not Timeline(tmp_path, 0).offer(0, weights)
        assert not Timeline(tmp_path, 100).offer(0, weights)
        assert list_frames(tmp_path) == []

    def test_number_of_frames_is_capped(self, tmp_path: Path):
        timeline = Timeline(tmp_path, 10**9)
        step = 0
        for _ in range(MAX_FRAMES + 10):
            timeline.offer(step, lambda: weights(size=2))
            step = int(step * 1.15) + 6
        assert len(list_frames(tmp_path)) == MAX_FRAMES

    def test_a_resumed_run_forgets_the_future(self, tmp_path: Path):
        timeline = Timeline(tmp_path, 10**6)
        for step in (0, 10, 20, 30):
            timeline.offer(step, weights)
        again = Timeline(tmp_path, 10**6, step=20)
        assert [f.step for f in list_frames(tmp_path)] == [0, 10, 20]
        assert not again.due(22) and again.due(25)

    def test_checkpoints_are_frames_and_win(self, tmp_path: Path):
        Timeline(tmp_path, 10**6).offer(10, lambda: weights(0.1))
        save_checkpoint(tmp_path / "checkpoints", 10, weights(0.1), {})
        save_checkpoint(tmp_path / "checkpoints", 20, weights(0.2), {})
        frames = list_frames(tmp_path)
        assert [f.step for f in frames] == [10, 20]
        assert torch.equal(frames[0].weights()["w"], weights(0.1)["w"])  # not rounded to half precision

    def test_damaged_frame_is_a_sentence(self, tmp_path: Path):
        Timeline(tmp_path, 10**6).offer(10, weights)
        (frame,) = list_frames(tmp_path)
        frame.path.write_bytes(frame.path.read_bytes()[:100])
        with pytest.raises(InputError, match="damaged"):
            frame.weights()
        frame.path.unlink()
        with pytest.raises(InputError, match="no such file"):
            frame.weights()

    def test_least_missed(self):
        assert least_missed([0, 5, 10, 1000]) == 1
        assert least_missed([0, 100, 110, 1000]) == 2  # without 110 the step from 100 to 1000 is smaller than 0 to 110
        assert least_missed([0, 5]) == 0
