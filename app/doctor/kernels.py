"""Every kernel of ours once, forward and backward, on one device: what `gaussiancross doctor --deep` runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from ...core.geometry.cameras import Cameras, intrinsics, look_at
from ...core.geometry.gaussians import Gaussians
from ...core.nn.spunet import SpUNet
from ...core.splat import rasterize


def run_kernels(device: str) -> dict[str, float]:
    """Seconds per kernel, compilation included. Raises what the kernel raises, or RuntimeError for wrong results: on
    CUDA, results are compared with the CPU's."""
    return {name: _timed(part, device) for name, part in (("splatting", _splat), ("sparse convolution", _sparse))}


def _timed(part: Callable[[str], list[Tensor]], device: str) -> float:
    started = time.perf_counter()
    values = [v.cpu() for v in part(device)]
    seconds = time.perf_counter() - started
    if not all(bool(torch.isfinite(v).all()) for v in values):
        raise RuntimeError("results that are not finite")
    if device != "cpu":
        for mine, theirs in zip(values, part("cpu"), strict=True):
            error = float((mine - theirs).norm() / theirs.norm().clamp_min(1e-9))
            if error > 0.01:
                raise RuntimeError(f"results differ from the CPU's by {error:.1%}")
    return seconds


def _splat(device: str) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    n = 64

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=rng)

    gaussians = Gaussians(
        means=uniform(n, 3) * 2 - 1,
        quats=uniform(n, 4) - 0.5,
        scales=0.05 + 0.1 * uniform(n, 3),
        opacities=0.2 + 0.6 * uniform(n),
        colors=uniform(n, 3),
        features=uniform(n, 8),
    ).map(lambda t: t.to(device).requires_grad_())
    viewmat = look_at(torch.tensor([3.0, 0.5, 0.4]), torch.zeros(3))
    cameras = Cameras(viewmat[None], intrinsics(0.9, 48, 32)[None], 48, 32).to(device)
    splats = rasterize(gaussians, cameras.viewmats, cameras.Ks, cameras.width, cameras.height)
    assert splats.features is not None
    (splats.color.sum() + splats.depth.sum() + splats.features.sum()).backward()
    leaves = [getattr(gaussians, f.name) for f in fields(gaussians)]
    return [splats.color.detach(), splats.depth.detach(), *(t.grad for t in leaves)]


def _sparse(device: str) -> list[Tensor]:
    torch_rng = torch.random.get_rng_state()
    torch.manual_seed(0)
    net = SpUNet(6, 16, (16, 16, 16, 16, 16, 16, 16, 16), (1, 1, 1, 1, 1, 1, 1, 1)).to(device)
    grid = torch.randint(0, 24, (500, 3)).unique(dim=0)
    feat = torch.randn(len(grid), 6)
    torch.random.set_rng_state(torch_rng)
    feat = feat.to(device).requires_grad_()
    out = net(grid.int().to(device), feat, torch.tensor([len(grid)], device=device))
    out.square().mean().backward()
    assert feat.grad is not None
    return [out.detach(), feat.grad]
