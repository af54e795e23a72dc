"""AdamW: fused on CUDA, and checkpoints that move between devices."""

from __future__ import annotations

import types

import pytest
import torch
from gaussiancross.trainers.engine.optimizer import adamw, load_optimizer


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("cuda", [False, True])
def test_fused_on_cuda_alone(monkeypatch, groups, cuda):
    made = {}
    monkeypatch.setattr(torch.optim, "AdamW", lambda parameters, **options: made.update(options))
    parameter = types.SimpleNamespace(is_cuda=cuda)
    adamw([{"params": [parameter]}] if groups else [parameter], 0.1, 0.2)  # type: ignore[list-item]
    assert made == {"lr": 0.1, "weight_decay": 0.2, "fused": True if cuda else None}


def test_a_checkpoint_of_a_gpu_does_not_choose_the_kernels_of_the_cpu():
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizers = [adamw([w], 0.1) for w in weights]
    weights[0].grad = torch.ones(3)
    optimizers[0].step()
    state = optimizers[0].state_dict()
    state["param_groups"][0]["fused"] = True
    load_optimizer(optimizers[1], state)
    assert optimizers[1].param_groups[0]["fused"] is None
    assert torch.equal(optimizers[1].state[weights[1]]["exp_avg"], optimizers[0].state[weights[0]]["exp_avg"])


def test_moments_of_a_checkpoint_get_the_strides_of_their_parameters():
    """Fused kernels take both in the order of their memory."""
    weight = torch.nn.Parameter(torch.randn(4, 3, 2, 2, 2).to(memory_format=torch.channels_last_3d))
    optimizer = adamw([weight], 0.1)
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    state = optimizer.state_dict()
    moments = {k: v.contiguous() if v.ndim else v for k, v in state["state"][0].items()}
    load_optimizer(optimizer, {**state, "state": {0: moments}})
    restored = optimizer.state[weight]["exp_avg"]
    assert restored.stride() == weight.stride() and torch.equal(restored, moments["exp_avg"])
