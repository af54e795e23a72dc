"""`ns-train gaussiancross`: flags, run folder, resume, `ns-eval`, error messages."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.box_room import SMALL, write_box_room

pytest.importorskip("nerfstudio", reason="needs the nerfstudio extra")

import tyro
import yaml
from gaussiancross.app import ns_method
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.io.checkpoint import list_checkpoints
from gaussiancross.trainers.engine.log import read_metrics
from gaussiancross.trainers.ns import trainer as trainer_module
from gaussiancross.trainers.ns.model import from_nerfstudio, to_nerfstudio
from gaussiancross.trainers.ns.trainer import GaussianCrossTrainer, save_pipeline
from gaussiancross.trainers.pretraining.presets import FULL, TINY
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from nerfstudio.configs.method_configs import AnnotatedBaseConfigUnion, all_descriptions, all_methods
from nerfstudio.scripts import train as ns_train

NETWORK = """
    --pipeline.model.input.voxel-size 0.05 --pipeline.model.input.max-points None --pipeline.model.base-channels 8
    --pipeline.model.channels 8 8 8 8 8 8 8 8 --pipeline.model.lattice-cells 512 --pipeline.model.lattice-channels 8
    --pipeline.model.unet-widths 8 8 --pipeline.model.fine-voxel 0.05 --pipeline.model.head.hidden 8
"""
"""Flags that turn `gaussiancross-tiny` into the network of `SMALL`."""
VIEWS = """
    --pipeline.datamanager.width 24 --pipeline.datamanager.height 18 --pipeline.datamanager.views 2
    --pipeline.datamanager.teacher none --pipeline.datamanager.eval-scenes 1 --pipeline.datamanager.eval-views 2
    --optim.lr 1e-2
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ns")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        yield write_box_room(folder / "room")


@pytest.fixture
def flags(room, tmp_path):
    """Arguments of a small run without a viewer, in a folder of its own."""
    outputs = f"--data {room} --output-dir {tmp_path} --timestamp now --experiment-name e --vis tensorboard"
    steps = "--max-num-iterations 6 --steps-per-save 3 --steps-per-eval-image 3 --machine.device-type cpu"
    return ["gaussiancross-tiny", *outputs.split(), *steps.split(), *NETWORK.split(), *VIEWS.split()]


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "e" / "gaussiancross-tiny" / "now"


def parse(arguments):
    return tyro.cli(AnnotatedBaseConfigUnion, args=list(arguments))


def run(arguments):
    """What `ns-train` does, in this process."""
    ns_train.main(parse(arguments))


class TestMethods:
    def test_both_are_listed_with_the_values_of_their_presets(self):
        for name, preset in (("gaussiancross", FULL), ("gaussiancross-tiny", TINY)):
            assert "self-supervised" in all_descriptions[name].lower() or "demo" in all_descriptions[name]
            assert parse([name]).pretrain_config() == preset
            assert all_methods[name].pretrain_config() == preset

    def test_a_broken_install_of_ours_leaves_the_others_alone(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "gaussiancross.trainers.ns.config", None)
        spec = spec_from_file_location("gaussiancross.app.broken_ns_method", ns_method.__file__)
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # where the YAML below finds its classes
        spec.loader.exec_module(module)
        broken = module.gaussiancross
        assert "Not available" in broken.description
        yaml.load(yaml.dump(broken.config), Loader=yaml.Loader)  # ns-train writes it before it builds the trainer
        with pytest.raises(RuntimeError, match="gaussiancross could not be loaded"):
            broken.config.setup(local_rank=0, world_size=1)

    def test_help_explains_our_fields(self, capsys):
        with pytest.raises(SystemExit):
            parse(["gaussiancross-tiny", "--help"])
        text = capsys.readouterr().out
        for flag in ("--pipeline.model.lattice", "--pipeline.datamanager.teacher", "--optim.lr", "--machine.seed"):
            assert flag in text
        assert "Frozen 2D teacher" in text and "mixed-precision" not in text


class TestFlags:
    def test_reach_the_engine(self, flags, room):
        config = parse([*flags, "--machine.seed", "5", "--save-only-latest-checkpoint", "False"]).pretrain_config()
        ns_main_sets_it = replace(config.data, data=str(room))
        assert replace(config, data=ns_main_sets_it) == replace(
            SMALL, data=replace(SMALL.data, data=str(room)), seed=5, keep=0
        )

    def test_any_evaluation_interval_counts(self, flags):
        several = ["--steps-per-eval-image", "0", "--steps-per-eval-batch", "40", "--steps-per-eval-all-images", "7"]
        assert parse([*flags, *several]).pretrain_config().eval_every == 7
        assert parse([*flags, *several[:2]]).pretrain_config().eval_every == 0

    def test_config_yml_brings_everything_back(self, flags):
        config = parse([*flags, "--data", "rooms:3"])
        config.pipeline.datamanager.data = config.data
        again = yaml.load(yaml.dump(config), Loader=yaml.Loader)
        assert again == config and again.pretrain_config() == config.pretrain_config()
        assert again.pipeline.datamanager.data_config().data == "rooms:3"

    @pytest.mark.parametrize(
        ("data", "name"), [("rooms:8", "rooms-8"), ("captures/kitchen.v2", "kitchen.v2"), ("..", "run")]
    )
    def test_experiment_is_named_after_the_data(self, data, name):
        config = parse(["gaussiancross-tiny", "--data", data])
        config.pipeline.datamanager.data = config.data
        assert config.get_base_dir().parts[-3] == name

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            (["--vis", "wandb"], "expected viewer or tensorboard or viewer+tensorboard, found wandb"),
            (["--machine.num-devices", "2"], "one device per run"),
            (["--machine.device-type", "mps"], "expected cpu or cuda"),
            pytest.param(
                ["--machine.device-type", "cuda"],
                "expected a CUDA device",
                marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
            ),
            (["--data", "no/such/place"], "no/such/place"),
            (["--max-num-iterations", "0"], "at least 1"),
            (["--load-dir", "no/such/run"], "no/such/run: expected a run folder with checkpoints"),
            (["--pipeline.datamanager.teacher", "radioo"], "radioo"),
        ],
    )
    def test_impossible_options_are_refused_in_one_sentence(self, flags, bad, words, capsys):
        with pytest.raises(SystemExit) as stop:
            run([*flags, *bad])
        error = capsys.readouterr().err.strip()
        assert stop.value.code == 2 and words in error and len(error.splitlines()) == 1


class TestRun:
    def test_the_plain_engine_takes_the_same_steps(self, flags, run_dir, room, tmp_path, capsys):
        run(flags)
        (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("No teacher")]
        assert "--pipeline.datamanager.teacher builtin " in said
        config = replace(SMALL, data=replace(SMALL.data, data=str(room)))
        plain = Pretrainer(config, tmp_path / "plain", device="cpu")
        plain.fit()
        noise = {"its_per_s", "memory_gb"}
        rows = [read_metrics(d / "metrics.jsonl") for d in (run_dir, plain.run_dir)]
        a, b = ([{k: v for k, v in row.items() if k not in noise} for row in part] for part in rows)
        assert a == b and len(a) == 6
        names = {p.name for p in run_dir.iterdir()}
        assert {"config.yml", "config.json", "checkpoints", "nerfstudio_models", "tensorboard"} <= names
        assert [p.name for p in (run_dir / "nerfstudio_models").iterdir()] == ["step-000000006.ckpt"]

    def test_resume_continues_exactly(self, flags, run_dir, tmp_path, capsys, monkeypatch):
        """From a checkpoint into a new run folder, and within a run folder that was left in the middle."""
        run(flags)
        expected = torch.load(run_dir / "nerfstudio_models" / "step-000000006.ckpt", weights_only=True)["pipeline"]
        loads = {
            "run": ["--load-dir", run_dir, "--load-step", "3"],
            "checkpoint": ["--load-dir", run_dir / "checkpoints" / "step-000000003"],
            "models": ["--load-dir", run_dir / "nerfstudio_models", "--load-step", "3"],
        }
        for name, load in loads.items():
            run([*flags, "--timestamp", name, *map(str, load)])
            assert "Continuing from step 3" in capsys.readouterr().out
            ended = torch.load(run_dir.with_name(name) / "nerfstudio_models" / "step-000000006.ckpt", weights_only=True)
            assert all(torch.equal(ended["pipeline"][k], v) for k, v in expected.items())

    def test_load_config_goes_on_in_its_own_folder(self, flags, run_dir, capsys):
        run([*flags, "--max-num-iterations", "3"])
        config = (run_dir / "config.yml").read_text()
        (run_dir / "config.yml").write_text(config.replace("max_num_iterations: 3", "max_num_iterations: 5"))
        run(["gaussiancross-tiny", "--load-config", str(run_dir / "config.yml")])
        assert "Continuing from step 3" in capsys.readouterr().out
        assert [row["step"] for row in read_metrics(run_dir / "metrics.jsonl")] == [1, 2, 3, 4, 5]

    def test_a_full_disk_keeps_the_last_good_ones(self, flags, run_dir, monkeypatch, capsys):
        save = trainer_module.save_pipeline

        def full(folder, step, state):
            if step == 6:
                raise InputError(folder, "room", "a full disk")
            return save(folder, step, state)

        monkeypatch.setattr(trainer_module, "save_pipeline", full)
        with pytest.raises(SystemExit) as stop:
            run(flags)
        assert stop.value.code == 2 and "a full disk" in capsys.readouterr().err
        assert [p.name for p in (run_dir / "nerfstudio_models").iterdir()] == ["step-000000003.ckpt"]
        assert [step for step, _ in list_checkpoints(run_dir / "checkpoints")] == [3, 6]

    def test_memory_that_runs_out_ends_with_a_sentence_and_status_1(self, flags, monkeypatch, capsys):
        def full(*_):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

        monkeypatch.setattr("gaussiancross.trainers.pretraining.trainer.Pretrainer.train_step", full)
        with pytest.raises(SystemExit) as stop:
            run(flags)
        error = capsys.readouterr().err
        assert stop.value.code == 1 and "ran out of memory in step 1" in error and "Traceback" not in error

    def test_viewer_opens_stays_and_closes(self, flags, monkeypatch, capsys):
        opened, waited, closed = [], [], []

        class Fake:
            def __init__(self, run, host, port, public):
                opened.append((host, port, run.feed.config["steps"]))
                assert not public  # unless --viewer.make-share-url asks for it

            def close(self):
                closed.append(True)

        monkeypatch.setattr(ns_method, "open_inspector", Fake)
        monkeypatch.setattr(trainer_module, "wait_for_interrupt", lambda: waited.append(not closed))
        run([*flags, "--vis", "viewer+tensorboard", "--max-num-iterations", "1", "--viewer.websocket-port", "7123"])
        assert opened == [("127.0.0.1", 7123, 1)] and waited == closed == [True]
        assert "The viewer stays open" in capsys.readouterr().out
        run([*flags, *["--vis", "viewer", "--timestamp", "b", "--viewer.quit-on-train-completion", "True"]])
        assert opened[1][1] == 7007 and len(closed) == 2 and len(waited) == 1
        assert "The viewer stays open" not in capsys.readouterr().out

    def test_full_size_without_a_gpu_prints_a_warning(self, flags, monkeypatch, capsys):
        config = parse(["gaussiancross", *flags[1:]])
        monkeypatch.setattr(type(config.pipeline), "setup", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit) as stop:
            GaussianCrossTrainer(config).setup()
        error = capsys.readouterr().err
        assert stop.value.code == 130 and "ns-train gaussiancross-tiny" in error and "Interrupted at once" in error


class TestEval:
    def test_ns_eval_reads_the_run(self, flags, run_dir, tmp_path):
        from nerfstudio.scripts.eval import ComputePSNR

        run(flags)
        ComputePSNR(run_dir / "config.yml", tmp_path / "x.json", tmp_path / "pictures").main()
        result = yaml.safe_load((tmp_path / "x.json").read_text())["results"]
        last = read_metrics(run_dir / "metrics.jsonl")[-1]
        measured = {k: v for k, v in last.items() if k.startswith("eval/")}
        assert {k: result[k] for k in measured} == pytest.approx(measured, rel=1e-4)
        assert "eval/psnr_std" in result and "eval/effective_rank_std" not in result  # one scene has no deviation
        assert len(list((tmp_path / "pictures").glob("room_*.png"))) == 2

    def test_nerfstudio_cameras_equal_those_of_the_dataset(self, flags):
        """The scene's views through nerfstudio's cameras are those of the engine."""
        config = parse(flags)
        config.pipeline.datamanager.data = config.data
        pipeline = config.pipeline.setup(device="cpu", test_mode="test").eval()
        batch = next(pipeline.datamanager.source.held_out())[1]
        with torch.no_grad():
            expected = pipeline.model.net(batch)[0].splats
        dataset = pipeline.datamanager.train_dataset
        assert len(dataset) == 2 and torch.equal(dataset[1]["image"], batch.views[0].color[1])
        outputs = pipeline.model.get_outputs_for_camera(dataset.cameras[1:2])
        assert torch.allclose(outputs["rgb"], expected.color[1], atol=1e-4)
        assert outputs["depth"].shape == outputs["accumulation"].shape == (18, 24, 1)
        z = expected.depth[1, ..., 0]
        middle = outputs["depth"][9, 12, 0] / z[9, 12]  # beside the optical axis a ray is as long as its depth
        assert float(middle) == pytest.approx(1, abs=0.01) and bool((outputs["depth"][..., 0] >= z - 1e-5).all())

    def test_cameras_there_and_back(self):
        eye, target = torch.tensor([1.0, 2.0, 1.5]), torch.tensor([0.0, 0.5, 0.2])
        ours = Cameras(look_at(eye, target)[None], intrinsics(1.0, 40, 30)[None], 40, 30)
        theirs = to_nerfstudio(ours)
        assert torch.allclose(theirs.camera_to_worlds[0, :, 3], eye, atol=1e-5)
        forward = torch.nn.functional.normalize(target - eye, dim=0)
        assert torch.allclose(-theirs.camera_to_worlds[0, :, 2], forward, atol=1e-5)  # they look along −z
        back = from_nerfstudio(theirs)
        assert torch.allclose(back.viewmats, ours.viewmats, atol=1e-5) and torch.allclose(back.Ks, ours.Ks)
        assert (back.width, back.height) == (40, 30)


class TestSavePipeline:
    def test_latest_only_and_loadable_without_pickled_classes(self, tmp_path):
        folder = tmp_path / "nerfstudio_models"
        for step in (3, 6):
            save_pipeline(folder, step, {"w": torch.full((2,), float(step))})
        assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["step-000000006.ckpt"]
        loaded = torch.load(folder / "step-000000006.ckpt", weights_only=True)
        assert loaded["step"] == 6 and loaded["pipeline"]["w"].tolist() == [6, 6]

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("PytorchStreamWriter")])
    def test_a_failed_write_leaves_the_old_one(self, tmp_path, monkeypatch, error):
        folder = tmp_path / "nerfstudio_models"
        old = save_pipeline(folder, 3, {"w": torch.zeros(1)})

        def fail(state, file):
            file.write(b"half")
            raise error

        monkeypatch.setattr(torch, "save", fail)
        with pytest.raises(InputError, match="step-000000006"):
            save_pipeline(folder, 6, {"w": torch.zeros(1)})
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == [old]


def test_ctrl_c_in_a_terminal(flags, run_dir):
    """The real program: SIGINT in the middle of training ends with a checkpoint, a sentence and status 130."""
    program = Path(sys.executable).with_name("ns-train")
    arguments = [str(program), *flags, "--max-num-iterations", "100000", "--steps-per-eval-image", "0"]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    try:
        deadline = time.monotonic() + 300  # importing nerfstudio and compiling kernels, on a busy machine
        while len(read_metrics(run_dir / "metrics.jsonl")) < 2 and process.poll() is None:
            assert time.monotonic() < deadline, "no step was taken"
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, error
    steps = [step for step, _ in list_checkpoints(run_dir / "checkpoints")]
    assert f"Interrupted: checkpoint of step {steps[-1]}" in error
    assert "Traceback" not in output + error
    assert len(read_metrics(run_dir / "metrics.jsonl")) == steps[-1]
    assert np.isfinite(read_metrics(run_dir / "metrics.jsonl")[-1]["loss/total"])
