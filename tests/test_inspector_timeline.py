"""The time line: what a run keeps of its past, and the inspector looking at it."""

from __future__ import annotations

import io
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app.export.files import finish
from gaussiancross.app.render.compare import Comparison, PartnerRenderer, steps_work
from gaussiancross.app.render.renderer import Renderer, RenderOptions
from gaussiancross.app.render.video import Pose
from gaussiancross.app.scenes.source import LiveSource, ModelSource, SceneState, SplatsSource
from gaussiancross.app.scenes.timeline import StateCache, TimelineSource, state_bytes
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.checkpoint import save_checkpoint
from gaussiancross.trainers.engine.live import LiveFeed, Snapshot
from gaussiancross.trainers.pretraining.timeline import MAX_FRAMES, Timeline, least_missed, list_frames
from PIL import Image
from test_inspector import Boxes, StubModel, as_gaussians, box_room, free_camera


class Grey(StubModel):
    """Its Gaussians share no memory with its weights, as those of a real network."""

    def gaussians(self, points, features=None):
        return [g.map(torch.clone) for g in super().gaussians(points, features)]


def weights(value: float = 1.0, size: int = 64) -> dict[str, torch.Tensor]:
    return {"w": torch.full((size, size), value), "b": torch.full((3,), 1e-7), "n": torch.tensor(5)}


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


class TestTimelineSource:
    """The network here is a stub of one weight: the grey level of its Gaussians."""

    def source(self, folder: Path) -> TimelineSource:
        timeline = Timeline(folder, 10**6)
        for step, grey in ((0, 0.1), (10, 0.5), (20, 0.9)):
            timeline.offer(step, lambda grey=grey: {"grey": torch.tensor(grey)})
        return TimelineSource(ModelSource(Grey(), Boxes(), title="run"), folder)  # type: ignore[arg-type]

    def grey(self, state: SceneState) -> float:
        assert state.gaussians is not None
        return float(state.gaussians.colors.mean())

    def test_every_step_has_its_weights(self, tmp_path: Path):
        source = self.source(tmp_path)
        assert source.steps == (0, 10, 20) and source.step() == 20
        for step, grey in ((None, 0.9), (0, 0.1), (10, 0.5), (20, 0.9), (0, 0.1)):
            source.seek(step)
            state = source.load(0)
            assert abs(self.grey(state) - grey) < 1e-3 and state.step == (20 if step is None else step)
        with pytest.raises(InputError, match="step 15"):
            source.seek(15)

    def test_a_twin_has_its_own_position_and_shares_what_is_encoded(self, tmp_path: Path):
        source = self.source(tmp_path)
        twin = source.twin(0)
        assert abs(self.grey(twin.load(0)) - 0.1) < 1e-3 and abs(self.grey(source.load(0)) - 0.9) < 1e-3
        calls = source.base._model.calls
        source.seek(0)
        assert abs(self.grey(source.load(0)) - 0.1) < 1e-3
        assert source.base._model.calls == calls  # encoded for the twin already

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
        state = self.source(tmp_path).load(0)
        cache = StateCache(3 * state_bytes(state))
        for step in range(10):
            cache.put((0, step), replace(state))
        assert len(cache) == 3 and cache.get((0, 9)) is not None and cache.get((0, 0)) is None
        one = cache.get((0, 9))
        assert cache.get((0, 9)) is one  # two browsers at one step share what is memorised in its state


class TestComparison:
    def test_left_and_right(self, tmp_path: Path):
        source = TestTimelineSource().source(tmp_path)
        renderer = Renderer(source)
        renderer.load(0)
        comparison = Comparison(renderer, source.twin(0))
        image = comparison.draw(0, RenderOptions(at=0.5), free_camera(120, 90)).image
        alone = renderer.draw(0, RenderOptions(), free_camera(120, 90)).image
        assert comparison.names() == ("step 20", "step 0") and comparison.same_run
        assert np.abs(image[40:, :50].astype(int) - alone[40:, :50]).max() < 12
        assert image[40:, 70:].mean() < 60 < alone[40:, 70:].mean()
        for at in (0.0, 1.0):
            assert comparison.draw(0, RenderOptions(at=at), free_camera(120, 90)).image.shape == (90, 120, 3)

    def test_other_runs_wear_similar_colours_for_the_same_things(self):
        scene = box_room(12)
        gaussians = as_gaussians(scene)
        truth = torch.cat([torch.from_numpy(scene.coord), torch.from_numpy(scene.normal)], 1)
        stretch = torch.tensor([0.7, 1.2, 4.0, 1, 1, 1])  # another order of the principal axes
        mixed = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))[0]
        one = Renderer(SplatsSource(replace(gaussians, features=truth), "box", device="cpu"))
        state = one.load(0)
        other = SplatsSource(
            replace(gaussians, features=torch.cat([truth * stretch @ mixed, truth[:, :1] * 0], 1)), "box"
        )
        partner = PartnerRenderer(other, one)
        wanted, _ = one.embedding_colors(0, state)
        plain = Renderer(SplatsSource(replace(gaussians, features=other.load(0).embeddings), "box", device="cpu"))
        got, loose = partner.embedding_colors(0, partner.load(0))[0], plain.embedding_colors(0, plain.load(0))[0]
        assert wanted is not None and got is not None and loose is not None
        off, off_alone = ((c.cpu() - wanted).abs().mean() for c in (got, loose))
        assert off < 0.1 and off < 0.4 * off_alone

    def test_a_video_over_the_steps(self, tmp_path: Path):
        source = TestTimelineSource().source(tmp_path)
        renderer = Renderer(source)
        renderer.load(0)
        pose = Pose(np.array([2.0, 1.5, 1.2]), np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), 1.0)
        movie = Image.open(
            io.BytesIO(finish(steps_work(renderer, source, 0, RenderOptions(), pose, (96, 72), "GIF", "v")).content)
        )
        levels = []
        for i in range(movie.n_frames):
            movie.seek(i)
            levels.append(np.asarray(movie.convert("L"))[30:].mean())
        assert levels[0] < levels[1] < levels[2] and np.allclose(levels[2:], levels[2], atol=1)
        assert source.position is None  # what the browsers see has not moved
