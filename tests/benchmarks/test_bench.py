"""`gaussiancross bench`: its list, its GPU report, a capture."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.app.commands.bench import list_benchmarks
from gaussiancross.core.errors import InputError
from helpers.box_room import SMALL

pytestmark = pytest.mark.usefixtures("own_cache")


class TestBench:
    def test_lists_the_benchmarks(self, capsys):
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
        assert "embreex" in capsys.readouterr().out and rows["data"].startswith("analytic box rooms, 2 scenes")
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
        from typing import Annotated

        import tyro
        from gaussiancross.app.commands import pretrain
        from gaussiancross.trainers.pretraining import adapt

        small = replace(SMALL, model=replace(SMALL.model, lattice_cells=512))
        preset = tyro.conf.subcommand("tiny", default=pretrain.Pretrain(config=small))
        monkeypatch.setattr(pretrain, "Tiny", Annotated[pretrain.Pretrain, preset])
        monkeypatch.setattr(adapt, "TIMED_STEPS", 3)
        args = ["bench", "livingroom", str(capture), "--seconds", "0.2", "--cells", "512", "--out", str(tmp_path)]
        assert cli.main(args) == 0
        report = json.loads((tmp_path / "livingroom_two_level.json").read_text())
        assert report["frames"] == {"train": 10, "held out": 2}
        assert np.isfinite(report["metrics"]["eval/psnr"])
        run = json.loads((tmp_path / "livingroom_two_level" / "config.json").read_text())
        assert run["model"]["input"]["voxel_size"] == 0.025 and run["steps"] == report["schedule"]
        assert (tmp_path / "livingroom_two_level.png").is_file()
        assert "| held-out PSNR |" in (tmp_path / "livingroom_two_level.md").read_text()
        assert cli.main(args) == 2  # a second run into the same folder


@pytest.mark.parametrize("name", sorted(list_benchmarks()))
def test_every_benchmark_has_help(name, capsys):
    """It is printed, and nothing is measured."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", name, "--help"])
    assert ended.value.code == 0 and f"gaussiancross bench {name}" in capsys.readouterr().out
