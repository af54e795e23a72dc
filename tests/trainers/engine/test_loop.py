"""The training loop: schedule, interruption, exact resume, bad batches, memory, disks."""

from __future__ import annotations

import io
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from gaussiancross.core.errors import InputError, RunError
from gaussiancross.core.io.checkpoint import list_checkpoints
from gaussiancross.trainers.engine.interrupt import InterruptFlag
from gaussiancross.trainers.engine.log import read_metrics
from gaussiancross.trainers.engine.loop import MAX_BAD_STEPS, Trainer, TrainSchedule
from helpers.loops import QUIET, Line, LineConfig, one_of_two
from rich.console import Console
from torch import Tensor


def steps_of(trainer: Trainer) -> list[int]:
    return [step for step, _ in list_checkpoints(trainer.checkpoint_dir)]


def test_checkpoints_evaluations_and_curves_come_in_their_rhythm(tmp_path):
    line = Line(tmp_path, eval_every=4)
    assert line.fit(console=QUIET)["val/slope"] == pytest.approx(float(line.model.weight.detach()))
    assert line.finished
    assert line.evaluated == [4, 8, 9]
    assert steps_of(line) == [8, 9]
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [int(row["step"]) for row in rows] == list(range(1, 10))
    assert [int(row["step"]) for row in rows if "val/slope" in row] == [4, 8, 9]
    assert all(row["loss/total"] == pytest.approx(row["loss/square"]) for row in rows)


class Halves(Line):
    """Learns from the halves of a batch, one after the other."""

    def train_step(self, batch: Tensor) -> dict[str, float]:
        error = lambda x: {"square": (self.model(x) - 3 * x).square().mean()}  # noqa: E731
        return self.update(self.model, self.optimizer, [partial(error, x) for x in batch.chunk(2)], self.config.lr)


def test_gradients_of_parts_add_up_to_those_of_the_batch(tmp_path):
    whole, halves = Line(tmp_path / "a"), Halves(tmp_path / "b")
    for line in (whole, halves):
        line.fit(console=QUIET)
    torch.testing.assert_close(halves.weights(), whole.weights())
    for a, b in zip(*(read_metrics(line.run_dir / "metrics.jsonl") for line in (whole, halves)), strict=True):
        assert all(b[k] == pytest.approx(a[k], rel=1e-5) for k in ("loss/total", "loss/square", "grad_norm"))


def test_a_step_without_memory_costs_no_step_before_it(tmp_path):
    def full(step):
        if step == 6:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore")

    line = Line(tmp_path, event=full)
    message = r"cpu ran out of memory in step 7 \(CUDA out of memory. Tried.*GiB.\); a smaller batch needs less\.$"
    with pytest.raises(RunError, match=message):
        line.fit(console=QUIET)
    assert steps_of(line) == [4, 6]
    again, straight = Line(tmp_path), Line(tmp_path / "straight")
    assert again.resume() and again.step == 6
    for run in (again, straight):
        run.fit(console=QUIET)
    torch.testing.assert_close(again.weights(), straight.weights(), rtol=0, atol=0)


def test_a_copy_ahead_without_memory_costs_no_step_before_it(tmp_path, monkeypatch):
    def full(line, step):
        if step == 6:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return original(line, step)

    original = Line.batch
    monkeypatch.setattr(Line, "batch", full)
    line = Line(tmp_path)
    with pytest.raises(RunError, match="ran out of memory in copying a batch"):
        line.fit(console=QUIET)
    assert steps_of(line) == [4, 6]


def test_a_step_without_memory_is_tried_again_with_the_same_batch(tmp_path, monkeypatch):
    tries, freed = [], []

    def full_once(step):
        tries.append(step)
        if tries.count(6) == 1 and step == 6:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(len(tries)))
    line, straight = Line(tmp_path / "full", event=full_once), Line(tmp_path / "straight")
    for run in (line, straight):
        run.fit(console=QUIET)
    assert tries == [*range(7), *range(6, straight.step)] and freed == [7]
    torch.testing.assert_close(line.weights(), straight.weights(), rtol=0, atol=0)


@pytest.mark.parametrize("when", ["optimiser", "after the update", "evaluation"])
def test_weights_are_not_saved_after_a_step_ran_out_of_memory(tmp_path, when):
    def full(*_):
        if line.step + (when == "optimiser") == 6:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return {}

    line = Line(tmp_path, eval_every=6)
    if when == "optimiser":
        line.optimizer.register_step_post_hook(full)
    elif when == "evaluation":
        line.evaluate = full
    else:
        step = line.train_step
        line.train_step = lambda batch: step(batch) | full()
    with pytest.raises(RunError, match="memory in the evaluation" if when == "evaluation" else "memory in step 6"):
        line.fit(console=QUIET)
    assert steps_of(line) == ([4, 6] if when == "evaluation" else [4])


def test_a_step_without_memory_leaves_no_statistics(tmp_path):
    line = Line(tmp_path)
    line.model = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.Linear(1, 1))
    before = {k: v.clone() for k, v in line.model.state_dict().items()}

    def losses():
        line.model(torch.rand(8, 1))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        line.update(line.model, line.optimizer, losses, 0.1)
    torch.testing.assert_close(line.model.state_dict(), before, rtol=0, atol=0)


class Damaged(Line):
    """A line whose held-out data cannot be read; ``seen`` is what lay there when it tried."""

    def evaluate(self) -> dict[str, float]:
        self.seen = steps_of(self)
        raise InputError("scene 3", "points", "none")


def test_an_evaluation_that_fails_costs_no_step(tmp_path):
    for step in (4, 8, 9):  # the same command again gets further each time, and the last step is kept, too
        damaged = Damaged(tmp_path, eval_every=4)
        damaged.resume()
        with pytest.raises(InputError, match="scene 3"):
            damaged.fit(console=QUIET)
        assert damaged.step == step and damaged.seen[-1] == step
    assert [int(row["step"]) for row in read_metrics(tmp_path / "metrics.jsonl")] == list(range(1, 10))
    straight = Line(tmp_path / "straight", eval_every=4)
    straight.fit(console=QUIET)
    mended = Line(tmp_path, eval_every=4)
    assert mended.resume() and mended.finished
    assert mended.fit(console=QUIET) == straight.fit(console=QUIET)


def test_the_last_evaluation_is_logged_once_even_when_it_takes_two_runs(tmp_path):
    with pytest.raises(InputError):
        Damaged(tmp_path).fit(console=QUIET)
    for _ in range(2):
        line = Line(tmp_path)
        line.resume()
        line.fit(console=QUIET)
        rows = read_metrics(tmp_path / "metrics.jsonl")
        assert [int(row["step"]) for row in rows if "val/slope" in row] == [9]


def test_every_checkpoint_is_written_once(tmp_path):
    written = []

    class Counted(Line):
        def save(self) -> Path:
            written.append(self.step)
            return super().save()

    Counted(tmp_path, eval_every=4).fit(console=QUIET)
    assert written == [4, 8, 9]


def test_all_checkpoints_can_be_retained(tmp_path):
    line = Line(tmp_path, save_every=2, keep=0)
    line.fit(console=QUIET)
    assert steps_of(line) == [2, 4, 6, 8, 9]


@pytest.fixture
def default_hangup():
    """SIGHUP with its default action, also in a process that `nohup` started."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("default_hangup")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_finishes_the_step_and_the_run_goes_on_exactly(tmp_path, number):
    straight = Line(tmp_path / "straight")
    straight.fit(console=QUIET)
    before = signal.getsignal(number)
    broken = Line(tmp_path / "broken", event=lambda step: os.kill(os.getpid(), number) if step == 4 else None)
    broken.fit(console=QUIET)
    assert broken.interrupted == number and broken.step == 5 and not broken.finished
    assert signal.getsignal(number) is before
    resumed = Line(tmp_path / "broken")
    assert resumed.resume() and resumed.step == 5
    resumed.fit(console=QUIET)
    assert all(torch.equal(a, b) for a, b in zip(straight.weights().values(), resumed.weights().values(), strict=True))
    assert [int(row["step"]) for row in read_metrics(tmp_path / "broken" / "metrics.jsonl")] == list(range(1, 10))


def test_a_finished_run_only_evaluates(tmp_path):
    Line(tmp_path).fit(console=QUIET)
    again = Line(tmp_path)
    again.resume()
    again.fit(console=QUIET)
    assert again.evaluated == [9] and steps_of(again) == [8, 9]


def test_complete_goes_on_where_an_earlier_call_was_cut_off(tmp_path):
    cut_off = Line(tmp_path, event=lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 4 else None)
    assert not cut_off.complete(console=QUIET)
    console = Console(file=io.StringIO(), width=1000)
    assert Line(tmp_path).complete(console=console)
    assert f"Continuing from step 5 of {tmp_path}." in console.file.getvalue()
    done = Line(tmp_path)
    assert done.complete(console=QUIET) and done.evaluated == []


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    assert not Line(tmp_path).resume()


def test_other_configs_and_kinds_do_not_continue(tmp_path):
    Line(tmp_path).save()
    with pytest.raises(InputError, match="another lr"):
        Line(tmp_path, LineConfig(lr=0.2)).resume()
    other = Line(tmp_path)
    other.kind = "curve"
    with pytest.raises(InputError, match="a run of kind curve"):
        other.resume()


def test_too_many_bad_steps_end_the_run(tmp_path):
    class Bad(Line):
        def batch(self, step: int) -> Tensor:
            return super().batch(step) * float("inf" if step > 2 else 1)

    bad = Bad(tmp_path, steps=100)
    message = f"stopped at step {MAX_BAD_STEPS + 3}, loss or gradient were not finite in {MAX_BAD_STEPS} consecutive"
    with pytest.raises(RunError, match=message):
        bad.fit(console=QUIET)
    assert bad.nan_steps == MAX_BAD_STEPS and bad.step == MAX_BAD_STEPS + 3
    assert all(bool(torch.isfinite(w).all()) for w in bad.weights().values())


def test_errors_of_batches_reach_the_caller(tmp_path):
    class Broken(Line):
        def batch(self, step: int) -> Tensor:
            raise InputError("scene 7", "points", "none")

    with pytest.raises(InputError, match="scene 7"):
        Broken(tmp_path).fit(console=QUIET)


def test_gradients_are_clipped_and_groups_scale_their_rate(tmp_path):
    line = Line(tmp_path)
    line.optimizer = torch.optim.SGD(
        [{"params": [line.model.weight], "lr_scale": 0.0}, {"params": [line.model.bias]}], lr=1.0
    )
    weight, bias = line.model.weight.clone(), line.model.bias.clone()
    error = lambda: {"square": (line.model(torch.ones(4, 1)) - 100).square().mean()}  # noqa: E731
    scalars = line.update(line.model, line.optimizer, error, lr=0.5, grad_clip=1.0)
    assert scalars["grad_norm"] > 1
    assert torch.equal(line.model.weight, weight)
    assert 0 < float((line.model.bias - bias).detach().abs()) <= 0.5


@pytest.mark.parametrize("schedule", [{"steps": 0}, {"save_every": 0}, {"keep": -1}])
def test_impossible_schedules_are_refused(tmp_path, schedule):
    with pytest.raises(InputError, match=r"at least [01], found"):
        Line(tmp_path, **schedule)
    assert replace(TrainSchedule(3), keep=0).steps == 3


@pytest.mark.slow
def test_two_ranks_train_as_one_and_stop_together(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    alone = Line(tmp_path / "alone")
    alone.fit(console=QUIET)
    first, second = (torch.load(tmp_path / f"whole{rank}.pt", weights_only=True) for rank in range(2))
    for name, weight in alone.weights().items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], weight)
    assert [step for step, _ in list_checkpoints(tmp_path / "ended" / "checkpoints")] == [1]
    assert len(read_metrics(tmp_path / "whole" / "metrics.jsonl")) == 9


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("scene 3", "a scene", "none")])
def test_an_evaluation_that_is_cut_off_costs_no_step_since_the_last_checkpoint(tmp_path, error):
    class CutOff(Line):
        def evaluate(self):
            raise error

    with pytest.raises(type(error)):
        CutOff(tmp_path, eval_every=3, save_every=100).fit(console=QUIET)
    resumed = Line(tmp_path)
    assert resumed.resume() and resumed.step == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_an_evaluation_waits_for_its_end_and_costs_no_step(tmp_path, number):
    class Signalled(Line):
        def evaluate(self):
            os.kill(os.getpid(), number)
            return super().evaluate()

    line = Signalled(tmp_path, eval_every=3, save_every=100)
    line.fit(console=QUIET)
    assert line.interrupted == number and line.evaluated == [3] and steps_of(line) == [3]
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["val/slope"]


def test_a_second_ctrl_c_within_a_second_is_the_first_one_forwarded():
    with InterruptFlag() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted() == signal.SIGINT
    flag = InterruptFlag()
    with flag, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        flag._at -= 2
        os.kill(os.getpid(), signal.SIGINT)
