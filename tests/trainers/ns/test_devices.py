"""Where nerfstudio's commands run on a machine whose GPU cannot splat."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

pytest.importorskip("nerfstudio", reason="needs the nerfstudio extra")

from gaussiancross.core.cuda import CudaReady, Problem
from gaussiancross.trainers.engine.ranks import Ranks
from gaussiancross.trainers.ns import config as config_module
from gaussiancross.trainers.ns import pipeline as pipeline_module
from gaussiancross.trainers.ns.config import GaussianCrossTrainerConfig
from gaussiancross.trainers.ns.trainer import GaussianCrossTrainer
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


def test_kernels_are_tried_on_the_device_of_the_process(monkeypatch):
    """They run on the current device, which is that of process 0 until it is set."""
    called = []
    monkeypatch.setattr(Ranks, "current", classmethod(lambda cls: cls(1, 2)))
    monkeypatch.setattr(Ranks, "failing_together", lambda self: nullcontext())
    monkeypatch.setattr(torch.cuda, "set_device", called.append)
    monkeypatch.setattr(GaussianCrossTrainerConfig, "validate", lambda self: called.append("try") or 1 / 0)
    config = GaussianCrossTrainerConfig.of("gaussiancross-tiny", TINY)
    config.experiment_name, config.timestamp = "e", "now"
    with pytest.raises(ZeroDivisionError):
        GaussianCrossTrainer(config, local_rank=1, world_size=2).setup()
    assert called == [1, "try"]
