"""`pretrain`, `eval` and `view` on a tiny capture."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.app.commands.evaluate import measured
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.io import read_color, write_gaussians, write_points, write_splat
from gaussiancross.core.io.images import write_depth
from helpers.box_room import SMALL, list_in_transforms, small_config, write_box_room, write_random_features
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

    def test_a_missing_device_is_an_input_error(self, capsys, tmp_path):
        if torch.cuda.is_available():
            pytest.skip("this machine has a CUDA device")
        assert cli.main(["pretrain", "tiny", "--device", "cuda", "--run-dir", str(tmp_path)]) == 2
        assert "doctor" in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--data", "--data.data"])
    def test_missing_data_is_an_input_error(self, option, capsys, tmp_path):
        args = ["pretrain", "tiny", option, str(tmp_path / "none"), "--run-dir", str(tmp_path), "--no-view"]
        assert cli.main(args) == 2
        assert "no such folder" in capsys.readouterr().err

    def test_a_run_without_a_teacher_prints_a_warning(self, monkeypatch, tmp_path):
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
        assert "without losses on features" in sentence and "--data.teacher builtin-ssl" in sentence
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
        assert not {"eval/teacher_cosine", "eval/constant_cosine"} & set(summary["metrics"])
        assert len(summary["metrics"]["eval/psnr"]["values"]) == 1

    def test_cosine_of_one_constant_feature(self, run_dir, tmp_path, capsys):
        """Of a teacher that gives all training frames and one of two held-out frames the same feature, and half of the
        other held-out frame's tokens an orthogonal one."""
        common, other = np.eye(5, dtype=np.float32)[:2]
        for i in range(12):
            features = np.tile(common, (3, 4, 1))
            if i == 9:
                features[:, 2:] = 7 * other
            np.save(tmp_path / f"{i:05d}.npy", features)
        out = tmp_path / "out"
        assert cli.main(["eval", str(run_dir), "--teacher", str(tmp_path), "--out", str(out), "--device", "cpu"]) == 0
        metrics = json.loads((out / "metrics.json").read_text())["metrics"]
        assert metrics["eval/constant_cosine"]["values"] == pytest.approx([1.0, 0.5])
        assert metrics["eval/constant_cosine"]["mean"] == pytest.approx(0.75)
        assert len(metrics["eval/teacher_cosine"]["values"]) == 2
        table = capsys.readouterr().out.splitlines()
        teacher, constant = (
            next(i for i, line in enumerate(table) if label in line)
            for label in ("cosine to the teacher", "one constant feature")
        )
        assert constant == teacher + 1 and "0.75" in table[constant]

    def test_no_run(self, tmp_path, capsys):
        assert cli.main(["eval", str(tmp_path)]) == 2
        assert "checkpoint" in capsys.readouterr().err


class TestView:
    def open(self, what, **options):
        from gaussiancross.app.scenes.open import SceneSpec, open_scene

        return open_scene(SceneSpec(str(what), **options)).source

    def test_run_and_checkpoint(self, run_dir):
        for path in (run_dir, run_dir / "checkpoints" / f"step-{SMALL.steps:09d}"):
            source = self.open(path, device="cpu")
            assert source.step() == SMALL.steps and source.scene_names == ("box",)
            state = source.load(0)
            assert state.gaussians is not None and len(state.gaussians) > 0 and state.frames is not None

    @pytest.mark.parametrize("command", ["view", "query", "eval"])
    def test_the_bundled_model(self, capture, tmp_path, command):
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

    def test_all_sources_take_the_same_scene_option(self):
        import tyro
        from gaussiancross.app.commands import embed, export, query

        for command, words in (
            (embed.Embed, ["x", "--out", "x.npy"]),
            (export.Export, ["x", "x.png"]),
            (query.QueryCommand, ["x", "sofa"]),
        ):
            assert tyro.cli(command, args=[*words, "--index", "2"]).index == 2
        assert tyro.cli(export.Export, args=["x", "x.png", "--scene", "2"]).index == 2  # as it was called before

    COMMANDS_ON_CAPTURES = (
        ["view", "{}"],
        ["view", "{}", "--teacher", "none"],
        ["view", "{}", "--field", "lifted"],
        ["query", "{}", "chair"],
        ["query", "{}", "chair", "--field", "lifted"],
        ["pretrain", "tiny", "--data", "{}", "--data.teacher", "none", "--no-view"],
    )

    @pytest.fixture
    def no_server(self, monkeypatch):
        from gaussiancross.app.commands import view

        def opened(*args, **options):
            raise AssertionError("a page was opened")

        monkeypatch.setattr(view, "Inspector", opened)

    @pytest.mark.parametrize("command", COMMANDS_ON_CAPTURES, ids=" ".join)
    def test_transforms_without_depth_are_refused(self, command, tmp_path, monkeypatch, no_server, capsys):
        folder = list_in_transforms(write_box_room(tmp_path / "capture"))
        monkeypatch.chdir(tmp_path)
        assert cli.main([word.format(folder) for word in command]) == 2
        (sentence,) = capsys.readouterr().err.strip().splitlines()
        assert sentence.startswith(
            f'{folder / "transforms.json"}: expected frames with "depth_file_path", found no depth'
        )
        assert '"ply_file_path"' in sentence
        assert [path.name for path in tmp_path.iterdir()] == ["capture"]

    @pytest.mark.parametrize("options", [[], ["--teacher", "none"], ["--field", "lifted"]], ids=" ".join)
    def test_depth_images_that_measure_nothing_are_refused(self, options, tmp_path, no_server, capsys):
        folder = write_box_room(tmp_path / "capture")
        for path in (folder / "depth").iterdir():
            write_depth(path, np.zeros((72, 96), np.uint16))
        assert cli.main(["view", str(folder), *options]) == 2
        assert "expected depth between 0 and 6 m in some frame, found none" in capsys.readouterr().err

    def test_rgbd_export_without_depth_is_refused(self, tmp_path, no_server, capsys):
        folder = write_box_room(tmp_path / "capture")
        shutil.rmtree(folder / "depth")
        assert cli.main(["view", str(folder), "--teacher", "none"]) == 2
        assert f"{folder}: expected an RGB-D scene" in capsys.readouterr().err

    def test_points_beside_frames_without_depth_are_shown(self, tmp_path, no_server, capsys):
        folder = list_in_transforms(write_box_room(tmp_path / "capture"))
        index = json.loads((folder / "transforms.json").read_text())
        (folder / "transforms.json").write_text(json.dumps(index | {"ply_file_path": "points.ply"}))
        coord = np.random.default_rng(0).random((40, 3), dtype=np.float32)
        write_points(
            folder / "points.ply", PointScene("c", coord, np.full((40, 3), 99, np.uint8), np.zeros_like(coord))
        )
        state = self.open(folder).load(0)
        assert state.gaussians is None and len(state.points) == 40 and len(state.frames) == 2
        assert cli.main(["view", str(folder), "--field", "lifted"]) == 2
        assert "posed frames with depth to lift features from, found no depth" in capsys.readouterr().err

    def test_transforms_with_depth(self, tmp_path):
        state = self.open(list_in_transforms(write_box_room(tmp_path / "box"), with_depth=True)).load(0)
        assert state.points is not None and len(state.points) > 100 and state.gaussians is not None

    @pytest.mark.parametrize("what", ["missing.ply", "missing.splat", "missing", "here.txt"])
    def test_unusable_inputs_are_refused(self, what, tmp_path, capsys):
        (tmp_path / "here.txt").write_text("hello")
        assert cli.main(["view", str(tmp_path / what)]) == 2
        assert what in capsys.readouterr().err


def test_measures_without_a_finite_value_are_null_in_json():
    values = torch.tensor([float("nan"), 1.0, float("inf")])
    assert measured(values) == {"mean": 1.0, "values": [None, 1.0, None]}
    assert json.dumps(measured(values[:1]), allow_nan=False) == '{"mean": null, "values": [null]}'


def test_a_table_of_runs_in_no_folder_is_unusable_input(tmp_path, capsys):
    assert cli.main(["probe", "table", str(tmp_path / "absent")]) == 2
    assert "expected a folder of runs, found no such folder" in capsys.readouterr().err
