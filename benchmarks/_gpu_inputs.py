"""Inputs of the GPU checks and the CPU's results for them, written beforehand: device time is for the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..core.data.batch import Batch, InputConfig
from ..core.errors import InputError
from ..core.geometry.cameras import Cameras, intrinsics, look_at
from ..core.geometry.gaussians import Gaussians
from ..core.models import GaussianCross
from ..core.nn.spunet import SpUNet
from ..core.splat import rasterize
from ..trainers.pretraining.config import DataConfig
from ..trainers.pretraining.data import PretrainData
from ..trainers.pretraining.presets import TINY
from ._data import BoxRooms, RandomTeacher

CASES = {"colour": (0, 0), "features": (32, 0), "odd": (5, 0), "reflected": (4, 1), "scaled": (4, 2)}
"""Splatting case → number of feature channels, kind of augmented camera."""

SPUNET = {"base_channels": 16, "channels": (16, 32, 32, 48, 48, 32, 32, 32), "layers": (1,) * 8}


def write_inputs(folder: Path, size: str) -> None:
    """Write every file that the sections read; ``size`` is "full" or "small"."""
    folder.mkdir(parents=True, exist_ok=True)
    few = size == "small"
    save_file(splat_results("cpu", torch.float64, 60 if few else 3000, "reference"), folder / "splat.safetensors")
    save_file(sparse_results("cpu", 300 if few else 20_000, None), folder / "sparse.safetensors")
    save_file(step_results("cpu", size), folder / "step.safetensors")


def read_inputs(folder: Path, name: str) -> dict[str, Tensor]:
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(path, "the CPU's results", "none", "write them first: gaussiancross bench gpu --prepare")
    return load_file(path)


def worst_error(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> tuple[float, str]:
    """Largest difference of two results relative to the largest value of each tensor, and where it is."""
    errors = {
        name: float((ours[name].double() - value.double()).abs().max() / value.double().abs().max().clamp_min(1e-6))
        for name, value in theirs.items()
        if value.numel()
    }
    worst = max(errors, key=lambda name: errors[name])
    return errors[worst], worst


def splat_results(device: str, dtype: torch.dtype, count: int, backend: Any = "auto") -> dict[str, Tensor]:
    """Images, and gradients of a fixed functional of them, of every case: name → tensor on the CPU."""
    found = {}
    for case, (features, augmented) in CASES.items():
        rng = torch.Generator().manual_seed(len(case))
        g = Gaussians(
            means=torch.rand(count, 3, generator=rng) - 0.5,
            quats=torch.randn(count, 4, generator=rng),
            scales=torch.exp(torch.rand(count, 3, generator=rng) * 2.5 - 4.0),
            opacities=torch.rand(count, generator=rng),
            colors=torch.rand(count, 3, generator=rng),
            features=torch.rand(count, features, generator=rng) - 0.5 if features else None,
        )
        leaves = {k: v.to(device, dtype).requires_grad_() for k, v in vars(g).items() if v is not None}
        views = torch.stack([look_at(torch.tensor(e), torch.zeros(3)) for e in ((1.5, 0.0, 0.4), (0.8, 1.2, -0.3))])
        cameras = Cameras(views, intrinsics(0.9, 53, 37).expand(2, 3, 3).clone(), 53, 37)
        turn = {0: (1.0, 1.0, 1.0), 1: (1.0, -1.0, 1.0), 2: (1.6, 1.6, 1.6)}[augmented]
        cameras = cameras.transformed(torch.diag(torch.tensor([*turn, 1.0]))).to(device)
        s = rasterize(
            Gaussians(**leaves), cameras.viewmats.to(dtype), cameras.Ks.to(dtype), 53, 37, backend=backend
        )  # fmt: skip
        images = {k: v for k, v in vars(s).items() if v is not None}
        total = torch.stack(
            [(v * torch.cos(torch.arange(v.numel(), device=device)).view_as(v)).sum() for v in images.values()]
        )
        gradients = torch.autograd.grad(total.sum(), list(leaves.values()))
        found |= {f"{case}.{k}": v for k, v in images.items()}
        found |= {f"{case}.gradient of {k}": v for k, v in zip(leaves, gradients, strict=True)}
    return {k: v.detach().float().cpu().contiguous() for k, v in found.items()}


def sparse_results(device: str, count: int, dtype: torch.dtype | None, backend: Any = "auto") -> dict[str, Tensor]:
    """Output and gradients of a small SpUNet on two wavy sheets of about ``count`` voxels each."""
    side = max(8, int(count**0.5))
    a, b = (v.reshape(-1) for v in torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    sheet = torch.stack([a, b, (10 + 5 * torch.sin(a / 7) + 4 * torch.cos(b / 5)).long()], 1)
    coord = torch.cat([sheet, sheet - 500]).to(device)
    torch.manual_seed(0)
    net = SpUNet(6, **SPUNET, backend=backend).to(device)
    feat = torch.randn(len(coord), 6, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
    with torch.autocast(device, dtype or torch.bfloat16, enabled=dtype is not None):
        out = net(coord, feat, torch.tensor([len(sheet), len(coord)], device=device))
    out.float().square().mean().backward()
    assert feat.grad is not None
    found = {"output": out, "gradient of the input": feat.grad}
    found |= {
        n: p.grad for n, p in net.named_parameters() if n.startswith(("conv_input", "dec.0")) and p.grad is not None
    }
    return {k: v.detach().float().cpu().contiguous() for k, v in found.items()}


def small_data(batch_size: int, size: str) -> PretrainData:
    """Analytic rooms in the size of the tiny preset, or smaller, with a random teacher."""
    few = size == "small"
    config = DataConfig(data="box", batch_size=batch_size, views=2, width=48 if few else 160, height=36 if few else 120)
    rooms = BoxRooms(max(2, batch_size), points=1500 if few else 30_000, frames=4)
    return PretrainData(config, InputConfig(voxel_size=0.2 if few else 0.04), 0, rooms, rooms, RandomTeacher(8, (3, 4)))


def small_model(size: str) -> GaussianCross:
    """The tiny preset's network, or a smaller one, with the seed's weights."""
    torch.manual_seed(0)
    few = {"lattice_cells": 512, "unet_widths": (8, 8), "fine_voxel": 0.2, "channels": (8,) * 8, "base_channels": 8}
    changes: dict[str, Any] = few if size == "small" else {}
    return GaussianCross(replace(TINY.model, teacher_dim=8, **changes))


def step_results(device: str, size: str) -> dict[str, Tensor]:
    """Loss, its terms and some gradients of the first step of a batch of four scenes, in float32."""
    batch: Batch = small_data(4, size).batch(0).to(device)
    model = small_model(size).to(device).train()
    total, terms = model.losses(model(batch), batch)
    total.backward()
    found = {"loss": total, **terms}
    names = ("backbone.conv_input", "head.rest", "projection")
    found |= {n: p.grad for n, p in model.named_parameters() if n.startswith(names) and p.grad is not None}
    return {k: v.detach().float().cpu().contiguous() for k, v in found.items()}
