"""The pre-training engine: schedule, batches, exact resume, guards, checkpoints, logs."""

from __future__ import annotations

import errno
import json
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from box_room import SMALL, write_box_room
from gaussiancross.core.config import to_dict
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import checkpoint as checkpoint_io
from gaussiancross.core.io.checkpoint import list_checkpoints
from gaussiancross.core.io.pretrained import bundled_folder
from gaussiancross.core.teachers import TeacherInfo
from gaussiancross.trainers.engine.interrupt import InterruptFlag
from gaussiancross.trainers.engine.live import LiveFeed
from gaussiancross.trainers.engine.log import MetricLog, read_metrics
from gaussiancross.trainers.engine.schedule import one_cycle
from gaussiancross.trainers.pretraining.data import PretrainData
from gaussiancross.trainers.pretraining.runs import find_checkpoint, load_probe, load_run, run_folder, run_name
from gaussiancross.trainers.pretraining.trainer import Pretrainer


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """`SMALL` on the box room; fused points are cached in a folder of this test's own."""
    folder = tmp_path_factory.mktemp("pretrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        room = write_box_room(folder / "room")
        yield replace(SMALL, data=replace(SMALL.data, data=str(room)))


@pytest.fixture(scope="module")
def data(config):
    return PretrainData(config.data, config.model.input, seed=0)


@pytest.fixture
def make_run(config, data, tmp_path):
    """Pretrainers on the box room, in one run folder unless told otherwise."""

    def make(folder="run", feed=None, **changes):
        return Pretrainer(replace(config, **changes), tmp_path / folder, data=data, device="cpu", feed=feed)

    return make


def rows_of(run):
    """The logged rows without what depends on the machine."""
    noise = {"its_per_s", "memory_gb"}
    return [{k: v for k, v in row.items() if k not in noise} for row in read_metrics(run.run_dir / "metrics.jsonl")]


def assert_same_weights(a, b):
    a, b = a.model.state_dict(), b.model.state_dict()
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


class TestSchedule:
    @pytest.mark.parametrize(("total", "warmup"), [(200, 0.05), (1000, 0.3), (50, 0.1)])
    def test_is_torch_one_cycle(self, total, warmup):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        reference = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 2e-3, total_steps=total, pct_start=warmup, div_factor=10, final_div_factor=1000
        )
        for step in range(total):
            assert one_cycle(step, total, 2e-3, warmup) == pytest.approx(reference.get_last_lr()[0], rel=1e-9)
            optimizer.step()
            reference.step()

    def test_stays_at_the_end_and_survives_one_step(self):
        assert one_cycle(500, 100, 1.0) == one_cycle(99, 100, 1.0) == pytest.approx(1e-4)
        assert all(0 < one_cycle(step, 1, 1.0) <= 1 for step in range(3))


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

    def test_what_is_lifted_as_input_never_comes_from_a_target_frame(self, config):
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


class TestResume:
    def test_killed_and_continued_equals_uninterrupted(self, make_run, monkeypatch):
        """Killed two steps after a checkpoint: the run falls back to it and ends bit for bit where the other does."""
        straight = make_run("straight")
        straight.fit()
        killed = make_run("killed")
        step_of = killed.train_step

        def die(batch):
            if killed.step == 5:
                raise RuntimeError("killed")
            return step_of(batch)

        monkeypatch.setattr(killed, "train_step", die)
        with pytest.raises(RuntimeError, match="killed"):
            killed.fit()
        assert [row["step"] for row in rows_of(killed)] == [1, 2, 3, 4, 5]
        resumed = make_run("killed")
        assert resumed.resume() and resumed.step == 3
        resumed.fit()
        assert_same_weights(straight, resumed)
        for group in ("exp_avg", "exp_avg_sq"):
            a, b = ([s[group] for s in run.optimizer.state.values()] for run in (straight, resumed))
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        assert rows_of(straight) == rows_of(resumed)
        assert [row["step"] for row in rows_of(resumed)] == [1, 2, 3, 4, 5, 6]

    def test_nothing_to_resume(self, make_run):
        run = make_run()
        assert not run.resume() and run.step == 0

    def test_a_finished_run_is_evaluated_and_left_alone(self, make_run):
        first = make_run()
        done = first.fit()
        again = make_run()
        assert again.resume() and again.step == 6
        assert again.fit() == done
        assert rows_of(again) == rows_of(first) and len(list_checkpoints(again.checkpoint_dir)) == 2

    def test_another_model_is_refused(self, make_run, config):
        make_run(steps=1).fit()
        with pytest.raises(InputError, match="lattice_cells"):
            make_run(model=replace(config.model, lattice_cells=1000)).resume()

    def test_a_checkpoint_from_before_the_shared_loop_continues(self, make_run, data, config):
        """It said neither what kind it is nor what has to match, and kept all of its state at the top."""
        run = make_run("old")
        while run.step < 3:
            run.train_step(data.batch(run.step))
        meta = {"config": to_dict(run.config), "step": 3}
        extra = {"optimizer": run.optimizer.state_dict(), "nan_steps": 2}
        checkpoint_io.save_checkpoint(run.checkpoint_dir, 3, run.weights(), meta, extra)
        again = make_run("old")
        assert again.resume() and (again.step, again.nan_steps) == (3, 2)
        again.fit()
        straight = make_run("straight")
        straight.fit()
        assert_same_weights(straight, again)
        with pytest.raises(InputError, match="another lattice_cells"):
            make_run("other", model=replace(config.model, lattice_cells=1000)).resume(find_checkpoint(run.run_dir, 3))

    def test_load_run_by_folder_or_checkpoint(self, make_run):
        run = make_run()
        run.fit()
        for path in (run.run_dir, run.checkpoint_dir, run.checkpoint_dir / "step-000000006"):
            model, config, step = load_run(path)
            assert (step, config, model.training) == (6, run.config, False)
            assert all(torch.equal(v, run.model.state_dict()[k]) for k, v in model.state_dict().items())
        assert find_checkpoint(run.run_dir, step=3) == run.checkpoint_dir / "step-000000003"
        assert find_checkpoint(run.run_dir, step=4) is None
        with pytest.raises(InputError, match="neither"):
            load_run(run.run_dir / "tensorboard")

    def test_load_run_of_a_saved_model(self, make_run, tmp_path):
        run = make_run()
        saved = run.model.save_pretrained(tmp_path / "saved", {"teacher": "builtin", "data": "rooms:3", "width": 80})
        model, config, step = load_run(saved)
        assert step is None and (config.data.teacher, config.data.data, config.data.width) == ("builtin", "rooms:3", 80)
        assert run_name(saved) == "saved" and run_name(bundled_folder("bundled-rooms")) == "gaussiancross-rooms"
        assert config.model == run.config.model and not model.training
        assert_same_weights(run, SimpleNamespace(model=model))
        assert load_probe(saved) is None and run_folder(saved) == saved
        assert load_run(Path("builtin"))[1].data.teacher == "builtin"
        (saved / "config.json").write_text("{")
        with pytest.raises(InputError, match="readable JSON"):
            load_run(saved)


class TestGuards:
    def test_a_bad_step_changes_nothing(self, make_run, data):
        run = make_run()
        run.train_step(data.batch(0))
        before = {k: v.clone() for k, v in run.model.state_dict().items()}
        batch = data.batch(1)
        batch.points.feat[:] = torch.nan  # spoils activations, hence running statistics, as well as the gradient
        metrics = run.train_step(batch)
        assert np.isnan(metrics["grad_norm"]) and metrics["nan_steps"] == 1 and run.step == 2
        assert all(torch.equal(v, before[k]) for k, v in run.model.state_dict().items())
        assert np.isfinite(run.train_step(data.batch(2))["loss/total"])

    def test_a_run_without_finite_losses_stops(self, make_run, data, monkeypatch):
        bad = data.batch(0)
        bad.views[0].color[:] = torch.nan
        monkeypatch.setattr(data, "batch", lambda step: bad)
        run = make_run(steps=100, save_every=100)
        with pytest.raises(InputError, match="20 steps in a row"):
            run.fit()
        assert run.nan_steps == 20 and not run.checkpoint_dir.exists()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_after_the_step_with_a_checkpoint(self, make_run, monkeypatch, number):
        run = make_run()
        step_of = run.train_step

        def interrupt(batch):
            if run.step == 1:
                signal.raise_signal(number)
            return step_of(batch)

        monkeypatch.setattr(run, "train_step", interrupt)
        handler = signal.getsignal(number)
        run.fit()
        assert run.interrupted == number and signal.getsignal(number) is handler
        assert [step for step, _ in list_checkpoints(run.checkpoint_dir)] == [2]

    def test_a_full_disk_costs_one_checkpoint_not_the_last_good_one(self, make_run, monkeypatch, capsys):
        run = make_run(steps=7, save_every=2, eval_every=0)
        write = checkpoint_io._write

        def full(path, content):
            if run.step in (4, 7):
                raise OSError(errno.ENOSPC, "No space left on device")
            write(path, content)

        monkeypatch.setattr(checkpoint_io, "_write", full)
        with pytest.raises(InputError, match=r"full disk.*step-000000006"):
            run.fit()
        assert "Training goes on" in capsys.readouterr().out
        assert [step for step, _ in list_checkpoints(run.checkpoint_dir)] == [2, 6]
        assert load_run(run.run_dir)[2] == 6

    def test_limits(self, make_run):
        with pytest.raises(InputError, match="at least 1"):
            make_run(steps=0)

    def test_a_time_limit_ends_with_an_evaluation(self, make_run):
        run = make_run()
        assert run.fit(seconds=0)["eval/psnr"] > 0
        assert run.step == 0 and run.interrupted is None and not run.checkpoint_dir.exists()


class TestEvaluation:
    def test_measures(self, make_run):
        run = make_run()
        run.model.train()
        measures = run.evaluate()
        assert set(measures) == {
            f"eval/{k}" for k in ("psnr", "psnr_gain", "depth_error", "effective_rank", "feature_spread")
        }
        assert 1 <= measures["eval/effective_rank"] <= 8
        assert run.model.training  # as it was
        assert run.evaluate() == measures

    def test_it_learns(self, make_run):
        run = make_run(steps=40, save_every=100, eval_every=0)
        before = run.evaluate()
        after = run.fit()
        first, last = (np.mean([r["loss/total"] for r in part]) for part in (rows_of(run)[:8], rows_of(run)[-8:]))
        assert last < 0.7 * first
        assert after["eval/psnr"] > before["eval/psnr"] + 1 and after["eval/depth_error"] < before["eval/depth_error"]


class TestLog:
    def test_forgets_what_lies_beyond_the_checkpoint_and_half_lines(self, tmp_path):
        lines = [json.dumps({"step": s, "loss/total": float(s)}) for s in (1, 2, 3, 4)]
        (tmp_path / "metrics.jsonl").write_text("\n".join([*lines[:1], "[1]", *lines[1:]]) + '\n{"step": 5, "lo')
        feed = LiveFeed()
        log = MetricLog(tmp_path, 3, feed)
        log(4, {"loss/total": 0.5, "eval/psnr": float("nan")})
        log.close()
        assert read_metrics(tmp_path / "metrics.jsonl") == [
            {"step": s, "loss/total": v} for s, v in ((1, 1.0), (2, 2.0), (3, 3.0), (4, 0.5))
        ]
        assert feed.series() == {"loss/total": [(1, 1.0), (2, 2.0), (3, 3.0), (4, 0.5)]}
        assert list((tmp_path / "tensorboard").glob("events.*"))

    def test_a_full_disk_is_told_once(self, tmp_path, monkeypatch):
        log = MetricLog(tmp_path, 0, None)

        def full(text):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(log, "_file", type("Full", (), {"write": staticmethod(full), "name": "m", "close": int}))
        with pytest.warns(UserWarning, match="No space"):
            log(1, {"loss": 1.0})
        log(2, {"loss": 1.0})
        log.close()


class TestLive:
    def test_a_paused_run_answers_its_viewers(self, make_run):
        feed = LiveFeed()
        feed.pause()
        run = make_run(feed=feed, steps=3, save_every=10, eval_every=0)
        assert feed.config["model"]["lattice_cells"] == 512
        thread = threading.Thread(target=run.fit)
        thread.start()

        def until(done):
            deadline = time.monotonic() + 20
            while not done() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert done()

        until(lambda: feed.snapshot is not None)
        feed.single_step()
        until(lambda: run.step == 1)
        assert feed.snapshot.step == 0  # nobody asked for a newer one
        feed.wants_snapshot.set()
        until(lambda: feed.snapshot.step == 1)
        feed.request_save()
        until(lambda: [step for step, _ in list_checkpoints(run.checkpoint_dir)] == [1])
        weights = feed.snapshot.weights
        kept = {k: v.clone() for k, v in weights.items()}
        feed.pause(False)
        thread.join(30)
        assert not thread.is_alive() and run.step == 3
        assert feed.snapshot.step == 3  # the last state is there for viewers that stay
        assert all(torch.equal(v, kept[k]) for k, v in weights.items())  # nothing is shared with the trainer
        assert [s for s, _ in feed.series()["loss/total"]] == [1, 2, 3]


def test_signals_are_left_alone_outside_the_main_thread():
    handler, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with InterruptFlag() as interrupted:
            seen.append((signal.getsignal(signal.SIGINT) is handler, interrupted()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, None)]
