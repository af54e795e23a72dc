"""`pretrain`, `eval` and `view` on a tiny capture."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.io import read_color, write_gaussians, write_points, write_splat
from helpers.box_room import SMALL, small_config, write_box_room, write_random_features
from rich.console import Console

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_box_room(tmp_path_factory.mktemp("capture") / "box")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    return write_random_features(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def config(capture, teacher):
    return small_config(capture, teacher)


QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def run_dir(config, tmp_path_factory) -> Path:
    """A run of two sittings: stopped by the clock, then continued to its end."""
    from gaussiancross.app.commands.pretrain import Pretrain, run

    folder = tmp_path_factory.mktemp("runs") / "small"
    given = Pretrain(config=config, run_dir=folder, device="cpu", seconds=0.0, view=False)
    assert run(replace(given, config=replace(config, save_every=1), seconds=0.001), QUIET) == 0
    assert run(replace(given, seconds=None), QUIET) == 0
    return folder


class TestPretrain:
    def test_continues_where_it_stopped(self, run_dir, config):
        rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        steps = [row["step"] for row in rows if "loss/total" in row]
        assert steps == list(range(1, config.steps + 1))
        assert (run_dir / "checkpoints" / f"step-{config.steps:09d}").is_dir()

    def test_preset_options_are_the_config_s(self):
        import tyro
        from gaussiancross.app.commands.pretrain import Full, Tiny
        from gaussiancross.trainers.pretraining.presets import FULL, TINY

        line = ["tiny", "--run-dir", "x", "--no-view", "--steps", "7", "--data.views", "3", "--model.head.hidden", "5"]
        given = tyro.cli(Full | Tiny, args=line)
        assert given.run_dir == Path("x") and not given.view and given.config.steps == 7
        assert given.config.data.views == 3 and given.config.model.head.hidden == 5
        assert given.config.model.channels == TINY.model.channels
        assert tyro.cli(Full | Tiny, args=["full"]).config == FULL

    def test_missing_device_is_said(self, capsys, tmp_path):
        if torch.cuda.is_available():
            pytest.skip("this machine has a CUDA device")
        assert cli.main(["pretrain", "tiny", "--device", "cuda", "--run-dir", str(tmp_path)]) == 2
        assert "doctor" in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--data", "--data.data"])
    def test_missing_data_is_said(self, option, capsys, tmp_path):
        args = ["pretrain", "tiny", option, str(tmp_path / "none"), "--run-dir", str(tmp_path), "--no-view"]
        assert cli.main(args) == 2
        assert "no such folder" in capsys.readouterr().err

    def test_a_run_without_a_teacher_says_so(self, monkeypatch, tmp_path):
        from gaussiancross.app.commands import pretrain
        from gaussiancross.trainers.pretraining.presets import FULL, TINY

        class Stopped:
            def __init__(self, config, *args, **options):
                pass

            def resume(self):
                raise KeyboardInterrupt

        def said(config):
            out = io.StringIO()
            with pytest.raises(KeyboardInterrupt):
                pretrain.run(pretrain.Pretrain(config=config, run_dir=tmp_path), Console(file=out, width=40))
            return [line for line in out.getvalue().splitlines() if line.startswith("No teacher")]

        monkeypatch.setattr(pretrain, "Pretrainer", Stopped)
        (sentence,) = said(FULL)
        assert "without the losses of features" in sentence and "--data.teacher builtin-ssl" in sentence
        off = replace(FULL.model, loss_weights=FULL.model.loss_weights | {"feature": 0.0}, point_weight=0.0)
        assert said(TINY) == said(replace(FULL, model=off)) == []


class TestEval:
    def test_writes_numbers_and_pictures(self, run_dir, tmp_path, capsys):
        assert cli.main(["eval", str(run_dir), "--out", str(tmp_path), "--device", "cpu"]) == 0
        assert "PSNR" in capsys.readouterr().out
        summary = json.loads((tmp_path / "metrics.json").read_text())
        assert summary["step"] == SMALL.steps
        quality = summary["metrics"]["eval/psnr"]
        assert len(quality["values"]) == 2 and quality["mean"] == pytest.approx(np.mean(quality["values"]))
        assert "eval/teacher_cosine" in summary["metrics"]
        picture = read_color(tmp_path / "box.png")
        assert picture.shape[1] == 1800 and picture.std() > 10

    def test_default_place_and_other_teacher(self, run_dir):
        checkpoint = run_dir / "checkpoints" / f"step-{SMALL.steps:09d}"
        assert cli.main(["eval", str(checkpoint), "--teacher", "none", "--views", "1", "--device", "cpu"]) == 0
        summary = json.loads((run_dir / "eval" / "metrics.json").read_text())
        assert "eval/teacher_cosine" not in summary["metrics"]
        assert len(summary["metrics"]["eval/psnr"]["values"]) == 1

    def test_no_run(self, tmp_path, capsys):
        assert cli.main(["eval", str(tmp_path)]) == 2
        assert "checkpoint" in capsys.readouterr().err


class TestView:
    def open(self, what, **options):
        from gaussiancross.app.commands.view import View, open_source

        return open_source(View(str(what), **options))

    def test_run_and_checkpoint(self, run_dir):
        for path in (run_dir, run_dir / "checkpoints" / f"step-{SMALL.steps:09d}"):
            source = self.open(path, device="cpu")
            assert source.step() == SMALL.steps and source.scene_names == ("box",)
            state = source.load(0)
            assert state.gaussians is not None and len(state.gaussians) > 0 and state.frames is not None

    @pytest.mark.parametrize("command", ["view", "query", "eval"])
    def test_the_model_that_ships(self, capture, tmp_path, command):
        """By name; its teacher is in its card, the scenes are given."""
        if command == "view":
            state = self.open("builtin", data=str(capture), device="cpu").load(0)
            assert state.gaussians is not None and state.embeddings is not None and state.step is None
        else:
            asked = {"query": ["chair", "wall", "--views", "1", "--width", "120"], "eval": ["--views", "2"]}[command]
            given = [command, "builtin", *asked, "--data", str(capture), "--out", str(tmp_path), "--device", "cpu"]
            assert cli.main(given) == 0
            assert (tmp_path / {"query": "answer.json", "eval": "metrics.json"}[command]).is_file()

    def test_capture(self, capture):
        state = self.open(capture).load(0)
        assert state.points is not None and len(state.points) > 100 and state.frames is not None

    def test_splats_and_points(self, tmp_path):
        n = 20
        gaussians = Gaussians(
            torch.randn(n, 3), torch.randn(n, 4), torch.rand(n, 3) * 0.1 + 0.01, torch.rand(n), torch.rand(n, 3)
        )
        write_gaussians(tmp_path / "a.ply", gaussians)
        write_splat(tmp_path / "b.splat", gaussians)
        coord = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
        write_points(tmp_path / "c.ply", PointScene("c", coord, np.full((n, 3), 99, np.uint8), np.zeros_like(coord)))
        assert len(self.open(tmp_path / "a.ply").load(0).gaussians) == n
        assert len(self.open(tmp_path / "b.splat").load(0).gaussians) == n
        assert len(self.open(tmp_path / "c.ply").load(0).points) == n

    def test_pointcept_scene(self, tmp_path):
        coord = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
        np.save(tmp_path / "coord.npy", coord)
        np.save(tmp_path / "color.npy", np.full((50, 3), 120, np.uint8))
        np.save(tmp_path / "normal.npy", np.zeros((50, 3), np.float32))
        assert len(self.open(tmp_path).load(0).points) == 50

    def test_one_room_by_name(self):
        """As `export` and `embed` open it, too."""
        assert self.open("rooms:test:3", teacher="none").scene_names == ("room_test_000003",)

    def test_which_scene_is_asked_alike(self):
        import tyro
        from gaussiancross.app.commands import embed, export, query

        for command, words in (
            (embed.Embed, ["x", "--out", "x.npy"]),
            (export.Export, ["x", "x.png"]),
            (query.QueryCommand, ["x", "sofa"]),
        ):
            assert tyro.cli(command, args=[*words, "--index", "2"]).index == 2
        assert tyro.cli(export.Export, args=["x", "x.png", "--scene", "2"]).index == 2  # as it was called before

    @pytest.mark.parametrize("what", ["missing.ply", "missing.splat", "missing", "here.txt"])
    def test_what_cannot_be_shown(self, what, tmp_path, capsys):
        (tmp_path / "here.txt").write_text("hello")
        assert cli.main(["view", str(tmp_path / what)]) == 2
        assert what in capsys.readouterr().err
