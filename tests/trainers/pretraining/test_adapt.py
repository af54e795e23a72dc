"""`gaussiancross pretrain` fits voxels to a capture and the schedule to ``--seconds``; a continued run keeps both."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest
import torch
import tyro
from gaussiancross.app import cli
from gaussiancross.app.commands import pretrain
from gaussiancross.benchmarks.livingroom import Livingroom, pretrain_options
from gaussiancross.core.io.checkpoint import latest_checkpoint, load_checkpoint
from gaussiancross.trainers.engine.log import read_metrics
from gaussiancross.trainers.engine.schedule import one_cycle
from gaussiancross.trainers.pretraining import adapt
from gaussiancross.trainers.pretraining import trainer as engine
from gaussiancross.trainers.pretraining.adapt import ADAPTABLE, STEPS, Costs, for_capture
from gaussiancross.trainers.pretraining.presets import FULL, TINY
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from helpers.box_room import SMALL, write_box_room
from rich.console import Console

PEAK = SMALL.optim.lr


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_box_room(tmp_path_factory.mktemp("capture") / "box")


@pytest.fixture(autouse=True)
def small_preset(tmp_path_factory, monkeypatch):
    """`gaussiancross pretrain tiny` with a network that trains in milliseconds, and a cache of this test's own."""
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path_factory.mktemp("cache")))
    config = replace(SMALL, timeline_mb=0, eval_every=50, save_every=50, steps=10_000)
    monkeypatch.setattr(adapt, "TIMED_STEPS", 3)
    preset = tyro.conf.subcommand("tiny", default=pretrain.Pretrain(config=config))
    monkeypatch.setattr(pretrain, "Tiny", Annotated[pretrain.Pretrain, preset])


def command(capture: Path, run_dir: Path, *options: str) -> list[str]:
    line = ["pretrain", "tiny", "--data", str(capture), "--run-dir", str(run_dir), "--device", "cpu", "--no-view"]
    return [*line, *options]


def config_of(run_dir: Path) -> dict:
    return json.loads((run_dir / "config.json").read_text())


def rates_of(run_dir: Path) -> list[float]:
    return [row["lr"] for row in read_metrics(run_dir / "metrics.jsonl") if "lr" in row]


class TestTime:
    def test_the_schedule_ends_with_the_time(self, capture, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(Pretrainer, "_fit_time_limit", lambda trainer: None)
        monkeypatch.setattr(engine, "TOLERANCE", 20.0)  # the machine may be busy with other things
        assert cli.main(command(capture, tmp_path, "--seconds", "4")) == 0
        steps, rates = config_of(tmp_path)["steps"], rates_of(tmp_path)
        assert len(rates) == steps < 10_000
        assert max(rates) > PEAK / 2 and rates[-1] < PEAK / 1000
        assert rates == [pytest.approx(one_cycle(step, steps, PEAK)) for step in range(steps)]
        assert f"a schedule of {steps} steps for 4 s" in capsys.readouterr().out

    def test_a_schedule_that_is_too_slow_is_shortened(self, capture, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(pretrain, "measure_costs", lambda *args: Costs(0.001))
        line = command(capture, tmp_path, "--seconds", "6")
        monkeypatch.setattr(engine, "TOLERANCE", 3.0)
        assert cli.main(line) == 0
        rates = rates_of(tmp_path)
        assert config_of(tmp_path)["steps"] == 6000 and len(rates) < 2000
        assert rates[-1] == pytest.approx(one_cycle(5999, 6000, PEAK)) and rates[0] == pytest.approx(PEAK / 10)
        assert f"the schedule of 6000 was shortened to {len(rates)}" in capsys.readouterr().out.replace("\n", " ")
        assert cli.main(line) == 0 and rates_of(tmp_path) == rates  # nothing is left to do

    def test_strides_of_a_shortened_schedule(self, capture, tmp_path):
        config = replace(SMALL, data=replace(SMALL.data, data=str(capture)), steps=101)
        run, again = (Pretrainer(config, tmp_path, device="cpu") for _ in range(2))
        run.step = 20
        assert run.position == 20
        run.shorten(41)
        positions = []
        for run.step in range(20, 41):
            positions.append(run.position)
        assert positions == pytest.approx([20 + 4 * k for k in range(21)])
        run.step = 30
        again.load(run.weights(), run.state())
        again.step = 30
        assert again.position == run.position == 60 and again.schedule.steps == 41
        run.shorten(31)
        assert run.position == 100  # the only step that is left has the lowest rate

    def test_steps_on_the_command_line_stay(self, capture, tmp_path, monkeypatch, capsys):
        def forbidden(*args):
            raise AssertionError("nothing is timed")

        monkeypatch.setattr(pretrain, "measure_costs", forbidden)
        assert cli.main(command(capture, tmp_path, "--seconds", "0.0001", "--steps", "40")) == 0
        assert config_of(tmp_path)["steps"] == 40
        assert "The time is over at step 0 of 40" in capsys.readouterr().out

    def test_evaluations_take_their_share(self):
        assert Costs(0.5).steps_within(60, 0) == Costs(0.5).steps_within(60, 100) == 120
        assert Costs(0.5, 10.0).steps_within(60, 100) == 100
        assert Costs(0.5, 10.0).steps_within(0.1, 100) == 1

    def test_a_continued_run_is_the_same_run(self, capture, tmp_path, monkeypatch):
        monkeypatch.setattr(pretrain, "measure_costs", lambda *args: Costs(6.0))
        assert cli.main(command(capture, tmp_path / "straight", "--seconds", "60")) == 0
        with monkeypatch.context() as patch:
            patch.setattr(Pretrainer, "should_stop", lambda run, interrupted, console: run.step == 4)
            assert cli.main(command(capture, tmp_path / "broken", "--seconds", "60")) == 0
        monkeypatch.setattr(pretrain, "measure_costs", lambda *args: Costs(0.1))  # the machine has less to do now
        assert cli.main(command(capture, tmp_path / "broken", "--seconds", "60")) == 0
        assert (
            rates_of(tmp_path / "broken") == rates_of(tmp_path / "straight")
            and len(rates_of(tmp_path / "broken")) == 10
        )
        a, b = (
            load_checkpoint(latest_checkpoint(tmp_path / name / "checkpoints"))[0] for name in ("straight", "broken")
        )
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class TestCapture:
    def test_voxels_of_a_capture(self, capture, tmp_path, capsys):
        assert cli.main(command(capture, tmp_path, "--steps", "1", "--model.input.max-points", "500")) == 0
        model = config_of(tmp_path)["model"]
        assert (model["input"]["voxel_size"], model["fine_voxel"], model["input"]["max_points"]) == (0.025, 0.025, 500)
        assert "For a capture: voxels of 0.025 m" in capsys.readouterr().out

    @pytest.mark.parametrize("option", [["--model.input.voxel-size", "0.05"], ["--model.input.voxel_size=0.05"]])
    def test_a_chosen_voxel_size_stays(self, option, capture, tmp_path):
        assert cli.main(command(capture, tmp_path, "--steps", "1", *option)) == 0
        model = config_of(tmp_path)["model"]
        assert model["input"]["voxel_size"] == 0.05 and model["fine_voxel"] == SMALL.model.fine_voxel

    def test_a_run_that_began_with_other_voxels_is_continued(self, capture, tmp_path):
        config = replace(SMALL, data=replace(SMALL.data, data=str(capture)), steps=1)
        Pretrainer(config, tmp_path, device="cpu").fit(console=Console(quiet=True))
        assert cli.main(command(capture, tmp_path, "--steps", "2")) == 0
        assert config_of(tmp_path)["model"]["input"]["voxel_size"] == SMALL.model.input.voxel_size
        assert len(rates_of(tmp_path)) == 2

    def test_presets(self):
        tiny = for_capture(TINY)
        assert (tiny.model.input.voxel_size, tiny.model.fine_voxel) == (0.025, 0.025)
        assert tiny.model.input.max_points == 100_000
        assert for_capture(FULL) == FULL  # its voxels are finer already
        assert for_capture(TINY, {STEPS}) == TINY

    def test_rooms_keep_the_preset(self, tmp_path):
        given = pretrain.parse(["tiny", "--data", "rooms:1", "--run-dir", str(tmp_path), "--device", "cpu"])
        trainer = pretrain.prepare(given, Console(file=io.StringIO()))
        assert trainer.config.model.input == SMALL.model.input and trainer.config.steps == 10_000


def test_the_benchmark_types_what_a_user_types(capture, tmp_path):
    options = pretrain_options(Livingroom(capture, seconds=60), tmp_path)
    assert options[: options.index("--run-dir")] == [
        "tiny",
        "--data",
        str(capture),
        "--data.teacher",
        "none",
        "--seconds",
        "60",
    ]
    assert pretrain.parse(options).adaptable == frozenset(ADAPTABLE)
    assert STEPS not in pretrain.parse(pretrain_options(Livingroom(capture, steps=9), tmp_path)).adaptable
