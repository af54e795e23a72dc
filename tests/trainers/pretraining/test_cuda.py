"""What pre-training sets before the first step on CUDA."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from gaussiancross.core.models import GaussianCross
from gaussiancross.core.sparse.spconv_backend import allow_tf32
from gaussiancross.trainers.pretraining import cuda
from helpers.box_room import SMALL


@pytest.mark.parametrize(("lattice", "amp"), [("ponder", True), ("cuboid", False)])
def test_formats_and_kernels(monkeypatch, lattice, amp):
    """cuDNN compares its algorithms where all volumes have one shape, and only there."""
    allowed = []
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", lattice != "ponder")
    monkeypatch.setattr(cuda, "allow_tf32", allowed.append)
    model = GaussianCross(replace(SMALL.model, lattice=lattice, lattice_shape=(8, 8, 8)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cuda.prepare(model, amp)
    assert torch.backends.cudnn.benchmark == (lattice == "ponder") and allowed == [amp]
    volumes = [p for p in model.lattice_net.parameters() if p.ndim == 5 and p.shape[1] > 1 and p.shape[2] > 1]
    assert volumes and all(p.is_contiguous(memory_format=torch.channels_last_3d) for p in volumes)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_tf32_is_a_switch_of_spconv(monkeypatch):
    package, constants = ModuleType("spconv"), ModuleType("spconv.constants")
    package.constants = constants  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spconv", package)
    monkeypatch.setitem(sys.modules, "spconv.constants", constants)
    for allow in (True, False):
        allow_tf32(allow)
        assert constants.SPCONV_ALLOW_TF32 is allow


def test_the_first_step_says_what_it_waits_for(make_run):
    """On CUDA, gsplat was compiled before the run began."""
    run = make_run()
    assert "kernels are compiled" in run.progress_text({})
    run.device = torch.device("cuda")
    assert "CUDA loads its libraries" in run.progress_text({})
