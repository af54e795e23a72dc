"""The command line, end to end on a tiny capture."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from box_room import SMALL, write_box_room
from gaussiancross.app import cli
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.io import read_color, write_gaussians, write_points, write_splat
from rich.console import Console

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_box_room(tmp_path_factory.mktemp("capture") / "box")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    for i in range(12):
        np.save(folder / f"{i:05d}.npy", np.random.default_rng(i).normal(size=(3, 4, 5)).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def config(capture, teacher):
    return replace(SMALL, data=replace(SMALL.data, data=str(capture), teacher=str(teacher)))


@pytest.fixture(scope="module")
def run_dir(config, tmp_path_factory) -> Path:
    """A run of two sittings: stopped by the clock, then continued to its end."""
    from gaussiancross.app.commands.pretrain import Pretrain, run

    folder = tmp_path_factory.mktemp("runs") / "small"
    given = Pretrain(config=config, run_dir=folder, device="cpu", seconds=0.0, view=False)
    assert run(replace(given, config=replace(config, save_every=1), seconds=0.001), QUIET) == 0
    assert run(replace(given, seconds=None), QUIET) == 0
    return folder


class TestMain:
    def test_help_needs_no_torch(self):
        code = (
            "import sys; sys.modules['torch'] = None\n"
            "from gaussiancross.app.cli import main; status = main(['--help'])\n"
            "assert not {'numpy', 'tyro', 'rich', 'viser'} & set(sys.modules); sys.exit(status)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stdout for name in cli.COMMANDS)

    def test_doctor_needs_no_torch(self):
        code = (
            "import sys; sys.modules['torch'] = None; from gaussiancross.app.cli import main\n"
            "sys.exit(main(['doctor', '--json']))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done.stderr
        checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
        assert checks["torch"]["state"] == "fail" and "install" in checks["torch"]["mend"]
        assert checks["viser"]["state"] == "ok"

    @pytest.mark.parametrize("name", cli.COMMANDS)
    def test_every_command_has_help(self, name, capsys):
        try:
            status = cli.main([name, "--help"])
        except SystemExit as end:
            status = end.code
        assert status == 0
        assert f"gaussiancross {name}" in capsys.readouterr().out

    def test_version(self, capsys):
        assert cli.main(["--version"]) == 0
        assert capsys.readouterr().out.startswith("gaussiancross 0.")

    def test_unknown_command(self, capsys):
        assert cli.main(["trian"]) == 2
        out = capsys.readouterr()
        assert out.out == "" and "pretrain" in out.err and out.err.count("\n") == 1

    @pytest.mark.parametrize(
        ("error", "status", "said"),
        [
            (InputError("x.ply", "points", "none"), 2, "x.ply: expected points, found none.\n"),
            (KeyboardInterrupt(), 130, "Interrupted.\n"),
            (ModuleNotFoundError("No module named 'viser'", name="viser"), 2, "doctor"),
        ],
    )
    def test_expected_ends_are_one_sentence(self, error, status, said, monkeypatch, capsys):
        def main(args):
            raise error

        monkeypatch.setattr("gaussiancross.app.doctor.checks.main", main)
        assert cli.main(["doctor"]) == status
        err = capsys.readouterr().err
        assert said in err and "Traceback" not in err and err.count("\n") == 1

    def test_bugs_keep_their_traceback(self, monkeypatch):
        monkeypatch.setattr("gaussiancross.app.doctor.checks.main", lambda args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cli.main(["doctor"])


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


class TestBench:
    def test_lists_what_there_is(self, capsys):
        assert cli.main(["bench"]) == 0
        out = capsys.readouterr().out
        assert all(name in out for name in ("gpu", "tiny_step", "livingroom")) and "_parts" not in out

    def test_unknown_name(self, capsys):
        assert cli.main(["bench", "gpus"]) == 2
        assert "tiny_step" in capsys.readouterr().err

    def test_gpu_without_a_gpu(self, capsys):
        if torch.cuda.is_available():
            pytest.skip("this machine has a CUDA device")
        assert cli.main(["bench", "gpu"]) == 2
        assert "CUDA device" in capsys.readouterr().err

    def test_gpu_report_without_the_gpu(self, config, tmp_path, monkeypatch, capsys):
        """All of `bench gpu` but the device: the training section on the CPU, on the rooms that need no renderer."""
        from gaussiancross.benchmarks import gpu
        from gaussiancross.core.synthetic.render import trace

        monkeypatch.setattr(gpu, "FULL", replace(config, data=replace(config.data, teacher="none")))
        monkeypatch.setattr(gpu, "top_kernels", lambda trainer, batch: {"kernel": 1.0})
        for name in ("synchronize", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.cuda, name, lambda device: None)
        for name in ("max_memory_allocated", "max_memory_reserved"):
            monkeypatch.setattr(torch.cuda, name, lambda device: 2_000_000_000)

        def no_renderer(*args):
            raise InputError("rooms", "the package embreex to cast rays with", "none installed")

        monkeypatch.setattr(trace.Tracer, "__init__", no_renderer)
        boxes = gpu.BoxRooms
        monkeypatch.setattr(gpu, "BoxRooms", lambda count: boxes(count, points=2000, frames=4))
        report: dict = {"environment": {"device": "none"}, "errors": {}}
        given = gpu.Gpu(steps=4, warmup=2, batches=2, batch_size=2, teacher_dim=6)
        rows = dict(gpu.training(given, torch.device("cpu"), report))
        summary = report["training"]
        assert "embreex" in capsys.readouterr().out and rows["data"].startswith("box rooms by formula, 2 scenes")
        assert len(summary["seconds"]) == 4 and len(summary["losses"]) == 6 and summary["finite"]
        assert rows["peak memory"] == "2.0 GB allocated, 2.0 GB reserved"
        assert "splat, backward" in rows and "data: preparing a batch (in a thread, meanwhile)" in rows
        json.dumps(report)

    def test_gpu_report_survives_a_section_that_fails(self, tmp_path, monkeypatch, capsys):
        from gaussiancross.benchmarks import gpu

        def fail(given, device, report):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(gpu, "environment", lambda device: {"date": "today", "device": "H100"})
        monkeypatch.setattr(gpu, "training", fail)
        monkeypatch.setattr(gpu, "TESTS", tmp_path / "none")
        assert cli.main(["bench", "gpu", "--out", str(tmp_path)]) == 1
        report = json.loads((tmp_path / "gpu.json").read_text())
        assert "illegal memory access" in report["errors"]["training"]
        assert report["tests"]["summary"].startswith("not run")
        assert "| training | failed, see gpu.json |" in (tmp_path / "gpu.md").read_text()

    def test_livingroom_measures_a_capture(self, capture, tmp_path, monkeypatch):
        from gaussiancross.benchmarks import livingroom

        small = replace(SMALL, model=replace(SMALL.model, lattice_cells=512))
        monkeypatch.setattr(livingroom, "TINY", small)
        monkeypatch.setattr(livingroom, "CALIBRATION", 3)
        args = ["bench", "livingroom", str(capture), "--seconds", "0.2", "--cells", "512", "--out", str(tmp_path)]
        assert cli.main(args) == 0
        report = json.loads((tmp_path / "livingroom_two_level.json").read_text())
        assert report["frames"] == {"train": 10, "held out": 2}
        assert np.isfinite(report["metrics"]["eval/psnr"])
        assert (tmp_path / "livingroom_two_level.png").is_file()
        assert "| held-out PSNR |" in (tmp_path / "livingroom_two_level.md").read_text()
        assert cli.main(args) == 2  # a second run into the same folder


class TestPartTimer:
    @pytest.mark.parametrize("point_weight", [0.0, 3.0])
    def test_parts_add_up_to_the_step_and_leave_no_trace(self, config, tmp_path, point_weight):
        import time

        from gaussiancross.benchmarks._parts import PartTimer
        from gaussiancross.trainers.pretraining.trainer import Pretrainer

        model = replace(config.model, anchors="two_level", point_weight=point_weight)
        config = replace(config, model=model)
        trainer = Pretrainer(config, tmp_path, device="cpu")
        batch = trainer.data.batch(0)
        trainer.train_step(batch)
        clip = torch.nn.utils.clip_grad_norm_
        with PartTimer(trainer.model, trainer.optimizer, trainer.device) as timer, timer.step():
            started = time.perf_counter()
            trainer.train_step(batch)
            wall = time.perf_counter() - started
        parts = timer.median()
        assert sum(parts.values()) >= wall * 1e3  # nothing of the step is left out
        for part in ("backbone", "dense U-Net", "heads", "splat", "losses"):
            assert parts[part, "forward"] > 0 and parts[part, "backward"] > 0
        assert parts["optimiser", "forward"] > 0
        assert torch.nn.utils.clip_grad_norm_ is clip
        assert "render" not in vars(trainer.model) and "stages" not in vars(trainer.model.backbone)
        assert not trainer.model.backbone._forward_hooks
        trainer.train_step(batch)
        assert len(timer.steps) == 1

    def test_time_goes_to_the_part_that_takes_it(self, config, tmp_path):
        import time

        from gaussiancross.benchmarks._parts import PartTimer
        from gaussiancross.trainers.pretraining.trainer import Pretrainer

        class Slow(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                time.sleep(0.3)
                return x * 1

            @staticmethod
            def backward(ctx, g):
                time.sleep(0.6)
                return g

        trainer = Pretrainer(config, tmp_path, device="cpu")
        batch = trainer.data.batch(0)
        trainer.train_step(batch)
        net = trainer.model.lattice_net
        forward = net.forward
        net.forward = lambda x: Slow.apply(forward(x))
        with PartTimer(trainer.model, trainer.optimizer, trainer.device) as timer, timer.step():
            trainer.train_step(batch)
        parts = timer.median()
        assert parts["dense U-Net", "forward"] >= 299 and parts["dense U-Net", "backward"] >= 599

    @pytest.mark.gpu
    def test_times_a_step_on_cuda(self, config, tmp_path):
        from gaussiancross.benchmarks._parts import PartTimer
        from gaussiancross.trainers.pretraining.trainer import Pretrainer

        trainer = Pretrainer(config, tmp_path, device="cuda")
        batch = trainer.data.batch(0)
        losses = [trainer.train_step(batch)["loss/total"] for _ in range(5)]
        with PartTimer(trainer.model, trainer.optimizer, trainer.device) as timer, timer.step():
            trainer.train_step(batch)
        parts = timer.median()
        assert np.isfinite(losses).all() and losses[-1] < losses[0] and trainer.nan_steps == 0
        assert all(ms >= 0 for ms in parts.values())
        for part in ("backbone", "dense U-Net", "heads", "splat", "losses"):
            assert parts[part, "forward"] > 0 and parts[part, "backward"] > 0


class TestStandIns:
    def test_frames_of_a_box_room_see_its_points(self):
        from gaussiancross.benchmarks._data import ROOM, BoxRooms

        rooms = BoxRooms(2, points=500, frames=4)
        scene = rooms.scene(1).validated()
        assert (np.abs(scene.coord - ROOM / 2) <= ROOM / 2 + 1e-5).all()
        assert np.allclose(np.linalg.norm(scene.normal, axis=1), 1)
        color, depth, cameras = rooms.frames(1).stack([0, 3], 32, 24)
        points = cameras.unproject(depth).reshape(-1, 3).numpy()
        on_wall = np.minimum(np.abs(points), np.abs(points - ROOM)).min(1)
        assert on_wall.max() < 1e-4 and float(color.min()) > 0 and float(color.max()) < 1

    def test_constant_prediction_of_a_teacher(self):
        from types import SimpleNamespace

        from gaussiancross.benchmarks.livingroom import constant_cosine

        common = torch.tensor([1.0, 0.0])
        batch = SimpleNamespace(views=[SimpleNamespace(teacher=common.expand(2, 3, 4, 2))])
        held_out = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [3.0, 0.0]]).reshape(1, 2, 2, 2)
        assert constant_cosine(SimpleNamespace(batch=lambda step: batch), held_out) == pytest.approx(0.75)

    def test_random_teacher_knows_frames_again(self):
        from gaussiancross.benchmarks._data import BoxRooms, RandomTeacher

        teacher = RandomTeacher(6, (3, 4))
        frames = BoxRooms(1, 100, 4).frames(0)
        features = teacher.features("a", frames, [2, 1, 2])
        assert features.shape == (3, 3, 4, 6) and torch.equal(features[0], features[2])
        assert not torch.equal(features[0], features[1])
