"""Small networks, and comparison of their weights."""

from __future__ import annotations

import torch
from gaussiancross.core.data.batch import InputConfig
from gaussiancross.core.models import GaussianCross, GaussianCrossConfig
from gaussiancross.core.nn.spunet import SpUNet


def weights_of(trainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in trainer.weights().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def assert_same_weights(a, b):
    a, b = a.model.state_dict(), b.model.state_dict()
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []


SMALL = {"base_channels": 8, "channels": (8, 16, 16, 24, 24, 16, 16, 12), "layers": (1, 2, 1, 1, 1, 1, 2, 1)}


def small_model(**changes) -> GaussianCross:
    torch.manual_seed(0)
    given = {"lattice": "cuboid", "lattice_cells": 512, "lattice_channels": 8, "unet_widths": (8, 16)} | SMALL | changes
    return GaussianCross(GaussianCrossConfig(input=InputConfig(voxel_size=0.1), **given)).eval()


def small_backbone(**changes) -> SpUNet:
    torch.manual_seed(0)
    return SpUNet(**SMALL | changes).eval()


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)
