"""Nothing is lost or spoilt: damaged checkpoints, unreadable data, numbers that are not finite, two runs at once."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest
import torch
from gaussiancross.core.errors import InputError, RunError
from gaussiancross.core.io.checkpoint import list_checkpoints
from gaussiancross.trainers.engine.interrupt import InterruptFlag
from gaussiancross.trainers.engine.log import read_metrics
from helpers.loops import QUIET, Line
from rich.console import Console
from torch import Tensor


def names(line: Line) -> list[str]:
    return sorted(path.name for path in line.checkpoint_dir.iterdir())


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "config.json"])
def test_the_checkpoint_before_a_damaged_one_is_used_and_the_run_ends_the_same(tmp_path, name):
    straight = Line(tmp_path / "straight")
    straight.fit(console=QUIET)
    stopped = Line(tmp_path / "run", event=lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 5 else None)
    stopped.fit(console=QUIET)
    flip_a_bit(stopped.checkpoint_dir / "step-000000006" / name)
    console = Console(file=io.StringIO(), width=1000, force_terminal=True)
    again = Line(tmp_path / "run")
    assert again.complete(console=console)
    told = console.file.getvalue()
    assert f"step-000000006/{name}: expected a whole checkpoint file, found a damaged" in told
    assert "Training goes on from step 4." in told and "\x1b[33m" in told  # yellow
    torch.testing.assert_close(again.weights(), straight.weights(), rtol=0, atol=0)
    assert names(again) == ["damaged-step-000000006", "step-000000008", "step-000000009"]


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path):
    line = Line(tmp_path)
    line.fit(console=QUIET)
    for _, path in list_checkpoints(line.checkpoint_dir):
        flip_a_bit(path / "model.safetensors")
    with pytest.raises(InputError, match=r"step-000000009/model.safetensors.*SHA-256"):
        Line(tmp_path).resume()


def test_a_folder_renamed_to_a_later_step_is_not_the_latest(tmp_path):
    Line(tmp_path).fit(console=QUIET)
    folder = tmp_path / "checkpoints"
    (folder / "step-000000008").rename(folder / "step-000999999")
    line = Line(tmp_path)
    assert line.resume(console=QUIET) and line.step == 9


class Broken(Line):
    """Has no data for one step."""

    broken_at = 6

    def batch(self, step: int) -> Tensor:
        if step == self.broken_at:
            raise InputError("frame 7", "an image", "a damaged file")
        return super().batch(step)


def test_unreadable_data_costs_no_step_before_it(tmp_path):
    for _ in range(2):  # the same command meets it again
        broken = Broken(tmp_path)
        broken.resume()
        with pytest.raises(InputError, match="frame 7"):
            broken.fit(console=QUIET)
        assert [step for step, _ in list_checkpoints(broken.checkpoint_dir)][-1] == 6


def test_unreadable_data_is_named_even_if_the_steps_cannot_be_saved(tmp_path):
    class Full(Broken):
        broken_at = 2

        def save(self) -> Path:
            raise RunError("the disk is full")

    console = Console(file=io.StringIO(), width=1000)
    with pytest.raises(InputError, match="frame 7"):
        Full(tmp_path).fit(console=console)
    assert "the disk is full. Its steps are lost." in console.file.getvalue()


@pytest.mark.parametrize("where", ["weight", "moment"])
def test_what_is_not_finite_is_never_saved(tmp_path, where):
    def spoil(step: int) -> None:
        if step == 5:
            target = line.model.bias if where == "weight" else line.optimizer.state[line.model.bias]["exp_avg"]
            with torch.no_grad():
                target.fill_(float("nan"))

    line = Line(tmp_path, event=spoil, steps=100)
    message = "training stopped at step 8, .* not finite, nothing was saved; lower the .*last good checkpoint is .*0004"
    with pytest.raises(RunError, match=message):
        line.fit(console=QUIET)
    assert names(line) == ["step-000000004"]


def test_moments_that_are_not_finite_are_not_saved_with_finite_weights(tmp_path):
    line = Line(tmp_path)
    line.fit(console=QUIET)
    line.optimizer.state[line.model.bias]["exp_avg"].fill_(float("nan"))
    with pytest.raises(RunError, match=r"exp_avg not finite, nothing was saved"):
        line.save()


def test_a_second_training_in_the_same_folder_is_refused(tmp_path):
    errors = []

    def second(step: int) -> None:
        if step == 3:
            try:
                Line(tmp_path).fit(console=QUIET)
            except InputError as error:
                errors.append(str(error))

    first = Line(tmp_path, event=second)
    first.fit(console=QUIET)
    assert first.finished
    (error,) = errors
    assert f"no other process trains, found process {os.getpid()} at it" in error
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 9
    Line(tmp_path).fit(console=QUIET)  # the lock ended with the training


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_terminal_that_closes_is_handled_but_not_under_nohup():
    for before, expected in ((signal.SIG_DFL, signal.SIGHUP), (signal.SIG_IGN, None)):
        former = signal.signal(signal.SIGHUP, before)
        try:
            with InterruptFlag() as interrupted:
                os.kill(os.getpid(), signal.SIGHUP)
                assert interrupted() == expected
            assert signal.getsignal(signal.SIGHUP) == before
        finally:
            signal.signal(signal.SIGHUP, former)


def test_damaged_lines_of_metrics_are_skipped(tmp_path):
    lines = [b'{"step": 1, "a": 1}', b'{"step": 2, "a": \xff\xfe}', b"[" * 100_000, b'{"step": 3, "a": 3}', b'{"st']
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 3]
    line = Line(tmp_path)
    line.fit(console=QUIET)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == list(range(1, 10))
