"""One training in two processes of `ns-train`, on the CPU (gloo)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.multiprocessing

pytest.importorskip("nerfstudio", reason="needs the nerfstudio extra")

from gaussiancross.core.io.checkpoint import list_checkpoints
from gaussiancross.trainers.ns.config import GaussianCrossTrainerConfig
from helpers.box_room import SMALL, write_box_room
from helpers.ns_processes import work


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path, monkeypatch):
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "cache"))
    two = replace(SMALL, data=replace(SMALL.data, data=str(write_box_room(tmp_path / "room")), batch_size=2))
    config = GaussianCrossTrainerConfig.of("gaussiancross-tiny", two)
    config.output_dir, config.experiment_name, config.timestamp = tmp_path, "e", "now"
    config.vis, config.max_num_iterations, config.steps_per_save = "tensorboard", 2, 2
    config.machine.device_type = "cpu"
    torch.multiprocessing.spawn(work, (config, f"file://{tmp_path}/store"), nprocs=2)
    run = tmp_path / "e" / "gaussiancross-tiny" / "now"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2] and "eval/psnr" in rows[-1]
    assert [step for step, _ in list_checkpoints(run / "checkpoints")] == [2]
    assert len(list((run / "nerfstudio_models").glob("*.ckpt"))) == 1
