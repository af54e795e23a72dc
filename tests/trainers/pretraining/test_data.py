"""Batches of pre-training."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.report import Report
from gaussiancross.core.teachers import TeacherInfo
from gaussiancross.trainers.pretraining.data import PretrainData
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from helpers.capture import write_export
from rich.console import Console


class TestData:
    def test_a_batch_depends_on_seed_and_step_alone(self, config, data):
        again = PretrainData(config.data, config.model.input, seed=0)
        for _ in range(2):
            again.batch(7)  # what was asked for before does not matter
        a, b = data.batch(3), again.batch(3)
        assert torch.equal(a.points.feat, b.points.feat) and torch.equal(a.views[0].color, b.views[0].color)
        assert torch.equal(a.views[0].cameras.viewmats, b.views[0].cameras.viewmats)
        other = PretrainData(config.data, config.model.input, seed=1).batch(3)
        assert a.points.coord.shape != other.points.coord.shape or not torch.equal(a.points.coord, other.points.coord)
        assert not torch.equal(a.views[0].cameras.viewmats, data.batch(4).views[0].cameras.viewmats)

    def test_prefetched_batches_are_the_same_and_the_thread_ends(self, data):
        before = threading.active_count()
        batches = data.batches(2)
        for step in (2, 3):
            assert torch.equal(next(batches).points.coord, data.batch(step).points.coord)
        batches.close()
        assert threading.active_count() == before

    def test_an_error_in_the_thread_reaches_the_consumer(self, data, monkeypatch):
        def broken(step):
            raise InputError("frame 7", "a JPEG", "half of one")

        monkeypatch.setattr(data, "batch", broken)
        with pytest.raises(InputError, match="half of one"):
            next(data.batches(0))

    def test_every_scene_once_an_epoch(self, config, data):
        class Five:
            names, class_names = tuple("abcde"), ()
            scene = frames = staticmethod(lambda index: None)

            def __len__(self):
                return 5

        many = PretrainData(replace(config.data, batch_size=2), config.model.input, train=Five(), val=data.val)
        order = [many.scene_index(step, slot) for step in range(5) for slot in range(2)]
        assert sorted(order[:5]) == sorted(order[5:]) == [0, 1, 2, 3, 4]
        assert order[:5] != order[5:]

    def test_held_out_views_were_not_trained_on(self, data):
        trained, held = data.train.frames(0), data.val.frames(0)
        assert set(held.names) == {"00003", "00009"} and not set(held.names) & set(trained.names)
        first, second = (next(data.held_out())[1] for _ in range(2))
        assert torch.equal(first.points.feat, second.points.feat)
        assert first.views[0].color.shape == (2, 18, 24, 3)

    def test_lifted_input_never_uses_a_target_frame(self, config):
        asked: list[tuple[tuple[str, ...], list[int]]] = []

        class Recording:
            info = TeacherInfo("recording", 4, "none", None, True)

            def features(self, scene_name, frames, index):
                asked.append((frames.names, list(index)))
                return torch.ones(len(index), 3, 4, 4)

        given = replace(config.model.input, lifted_frames=3)
        data = PretrainData(config.data, given, seed=0, teacher=Recording())
        counts = []
        for step in range(12):
            asked.clear()
            batch = data.batch(step)
            *sources, targets = [set(index) for _, index in asked]  # a call per lifted frame, then the targets
            assert len(targets) == config.data.views and not targets & set().union(*sources)
            assert (batch.points.lifted is None) == (not sources)
            counts.append(len(sources))
        assert set(counts) == {0, 1, 2, 3}
        asked.clear()
        batch = next(data.held_out())[1]
        *sources, targets = asked
        shown = data.train.frames(0).names  # a capture's training frames show its held-out views
        assert [(names, names[i]) for names, (i,) in sources] == [(shown, name) for name in shown]
        assert targets[0] == data.val.frames(0).names and batch.points.lifted is not None


class TestDamagedFrames:
    @pytest.fixture
    def options(self, config, tmp_path, monkeypatch):
        """Options for a capture of 10 frames to train on, two of which are truncated, and a damaged held-out one."""
        monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "cache"))
        folder = write_export(tmp_path / "box")
        for name in ("color/1.png", "depth/5.png", "depth/9.png"):
            truncate(folder / name)
        return replace(config.data, data=str(folder), teacher="none", views=4)

    def test_they_are_left_out_and_named(self, options, config):
        notices = []
        report = Report()
        report.notice = notices.append
        data = PretrainData(options, replace(config.model.input, lifted_frames=0), report=report)
        data.open_first_scene()
        assert any("2 of 10 frames are damaged and left out; the first: " in n and "1.png" in n for n in notices)
        with pytest.warns(UserWarning, match=r"box: 2 of 10 frames are damaged and left out.*1\.png"):
            batches = [data.batch(step) for step in range(6)]
        assert all(len(batch.views[0].color) == 4 for batch in batches)
        with pytest.warns(UserWarning, match="1 of 2 frames"):
            held = list(data.held_out())
        assert len(held) == 1
        again = PretrainData(options, replace(config.model.input, lifted_frames=0))
        with pytest.warns(UserWarning):
            back = [again.batch(step) for step in reversed(range(6))][::-1]  # whichever damaged frame is met first
        assert all(torch.equal(a.views[0].color, b.views[0].color) for a, b in zip(batches, back, strict=True))

    def test_nothing_but_damaged_frames_is_an_error(self, options, config):
        for file in sorted((Path(options.data) / "color").iterdir()):
            truncate(file)
        with pytest.raises(InputError, match="cannot be decoded"):
            PretrainData(options, config.model.input).batch(0)


def truncate(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def test_three_steps_are_the_same_with_computed_and_with_stored_features(config, tmp_path):
    weights = []
    for run in ("cold", "warm"):
        options = replace(config.data, teacher="builtin", teacher_cache=str(tmp_path / "features"))
        trainer = Pretrainer(replace(config, data=options, steps=3), tmp_path / run, device="cpu")
        if run == "warm":
            assert any((tmp_path / "features").rglob("*.safetensors"))
        trainer.fit(console=Console(quiet=True))
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
