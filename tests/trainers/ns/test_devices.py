"""Where nerfstudio's commands run on a machine whose GPU cannot splat."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("nerfstudio", reason="needs the nerfstudio extra")

from gaussiancross.core.cuda import CudaReady, Problem
from gaussiancross.trainers.ns import config as config_module
from gaussiancross.trainers.ns import pipeline as pipeline_module
from gaussiancross.trainers.ns.config import GaussianCrossTrainerConfig
from gaussiancross.trainers.pretraining.presets import TINY
from helpers.box_room import SMALL, write_box_room


@pytest.fixture(autouse=True)
def gpu_without_gsplat(monkeypatch):
    """torch sees a GPU; gsplat does not run there."""
    from gaussiancross.core import device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        device, "cuda_ready", lambda: CudaReady(Problem("there is no compiler", advice="install one"), None)
    )
    device._splats_on_cuda.cache_clear()
    yield
    device._splats_on_cuda.cache_clear()


def test_importing_the_method_compiles_nothing(monkeypatch):
    """nerfstudio makes the configs of all methods for every command."""
    monkeypatch.setattr(config_module, "default_device", pytest.fail)
    assert GaussianCrossTrainerConfig.of("gaussiancross-tiny", TINY).machine.device_type == "cuda"


def test_training_falls_back_to_the_cpu_and_says_why(caplog):
    config = GaussianCrossTrainerConfig.of("gaussiancross-tiny", TINY)
    config.validate()
    assert config.machine.device_type == "cpu"
    assert [r.getMessage() for r in caplog.records] == [
        "Using the CPU, because there is no compiler; to use the GPU: install one."
    ]


def test_the_pipeline_of_ns_eval_does_too(tmp_path, monkeypatch):
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "cache"))
    config = GaussianCrossTrainerConfig.of("gaussiancross-tiny", SMALL)
    config.pipeline.datamanager.data = write_box_room(tmp_path / "room")
    pipeline = config.pipeline.setup(device=torch.device("cuda"))
    assert isinstance(pipeline, pipeline_module.GaussianCrossPipeline)
    assert {p.device.type for p in pipeline.parameters()} == {"cpu"}
