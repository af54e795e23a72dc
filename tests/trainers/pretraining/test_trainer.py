"""The pre-training engine: exact resume, guards, checkpoints, evaluation, viewers."""

from __future__ import annotations

import errno
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussiancross.core.config import to_dict
from gaussiancross.core.errors import InputError, RunError
from gaussiancross.core.io.checkpoint import list_checkpoints, save_checkpoint
from gaussiancross.core.io.pretrained import bundled_folder
from gaussiancross.trainers.engine.live import LiveFeed
from gaussiancross.trainers.engine.log import read_metrics
from gaussiancross.trainers.pretraining.runs import find_checkpoint, load_probe, load_run, run_folder, run_name
from helpers.disk import intercept_writes
from helpers.networks import assert_same_weights


def rows_of(run):
    """The logged rows without what depends on the machine."""
    noise = {"its_per_s", "memory_gb"}
    return [{k: v for k, v in row.items() if k not in noise} for row in read_metrics(run.run_dir / "metrics.jsonl")]


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
        save_checkpoint(run.checkpoint_dir, 3, run.weights(), meta, extra)
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
        with pytest.raises(RunError, match="not finite in 20 consecutive steps"):
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

        def full(path, data, write):
            if run.step in (4, 7) and "partial" in path.parent.name:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(data)

        intercept_writes(monkeypatch, full)
        with pytest.raises(RunError, match=r"disk is full.*step-000000006"):
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
