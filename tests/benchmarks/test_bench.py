"""`gaussiancross bench`: its list, its GPU report, a capture."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.app.commands.bench import list_benchmarks
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


@pytest.mark.slow
def test_large_measures_a_building(tmp_path):
    args = ["bench", "large", "--points", "0.02", "0.15", "--rooms", "1", "--only", "view", "embed"]
    assert cli.main([*args, "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "large.json").read_text())["rows"]
    assert [(row["points"], row["command"]) for row in rows] == [
        (0.02, "view"),
        (0.02, "embed"),
        (0.15, "view"),
        (0.15, "embed"),
    ]
    assert all(row["peak_gb"] > 0.1 for row in rows) and (tmp_path / "large.png").is_file()


@pytest.mark.slow
def test_formats_measures_reading_and_writing(tmp_path):
    assert cli.main(["bench", "formats", "--count", "3000", "--formats", "ply", "spz", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "formats.json").read_text())["rows"]
    ours = [(row["format"], row["action"]) for row in rows if row["library"] == "gaussiancross"]
    assert ours == [("ply", "write"), ("ply", "read"), ("spz", "write"), ("spz", "read")]
    assert all(row["seconds"] > 0 for row in rows if row["library"] == "gaussiancross")
    assert "| `.spz` | gaussiancross |" in (tmp_path / "formats.md").read_text()
