"""The time line as a source of scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gaussiancross.app.scenes.source import LiveSource, SceneState
from gaussiancross.app.scenes.timeline import StateCache, TimelineSource, state_bytes
from gaussiancross.core.errors import InputError
from gaussiancross.trainers.engine.live import LiveFeed, Snapshot
from gaussiancross.trainers.pretraining.timeline import Timeline
from helpers.inspector import Boxes, Grey, grey_run


class TestTimelineSource:
    """The network here is a stub of one weight: the grey level of its Gaussians."""

    def grey(self, state: SceneState) -> float:
        assert state.gaussians is not None
        return float(state.gaussians.colors.mean())

    def test_every_step_has_its_weights(self, tmp_path: Path):
        source = grey_run(tmp_path)
        assert source.steps == (0, 10, 20) and source.step() == 20
        for step, grey in ((None, 0.9), (0, 0.1), (10, 0.5), (20, 0.9), (0, 0.1)):
            source.seek(step)
            state = source.load(0)
            assert abs(self.grey(state) - grey) < 1e-3 and state.step == (20 if step is None else step)
        with pytest.raises(InputError, match="step 15"):
            source.seek(15)

    def test_a_twin_has_its_own_position_and_shares_encoded_states(self, tmp_path: Path):
        model = Grey()
        source = grey_run(tmp_path, model)
        twin = source.twin(0)
        assert abs(self.grey(twin.load(0)) - 0.1) < 1e-3 and abs(self.grey(source.load(0)) - 0.9) < 1e-3
        calls = model.calls
        source.seek(0)
        assert abs(self.grey(source.load(0)) - 0.1) < 1e-3
        assert model.calls == calls  # encoded for the twin already

    def test_live_follows_until_scrubbed(self, tmp_path: Path):
        Timeline(tmp_path, 10**6).offer(0, lambda: {"grey": torch.tensor(0.1)})
        feed = LiveFeed()
        live = LiveSource(feed, Boxes(), device="cpu", make_model=Grey)  # type: ignore[arg-type]
        source = TimelineSource(live, tmp_path, live=True)
        assert source.load(0).gaussians is None  # nothing published yet
        feed.publish(Snapshot(7, {"grey": torch.tensor(0.7)}))
        assert source.step() == 7 and abs(self.grey(source.load(0)) - 0.7) < 1e-3
        source.seek(0)
        feed.publish(Snapshot(8, {"grey": torch.tensor(0.8)}))
        assert source.step() == 0 and abs(self.grey(source.load(0)) - 0.1) < 1e-3
        source.seek(None)
        assert source.step() == 8 and abs(self.grey(source.load(0)) - 0.8) < 1e-3

    def test_memory_is_bounded(self, tmp_path: Path):
        state = grey_run(tmp_path).load(0)
        cache = StateCache(3 * state_bytes(state))
        for step in range(10):
            cache.put((0, step), replace(state))
        assert len(cache) == 3 and cache.get((0, 9)) is not None and cache.get((0, 0)) is None
        one = cache.get((0, 9))
        assert cache.get((0, 9)) is one  # two browsers at one step share what is memorised in its state
