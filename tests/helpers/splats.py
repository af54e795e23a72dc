"""Random splat scenes, gsplat's golden vectors, and comparison of the rasterisers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.splat import Splats, rasterize
from torch import Tensor

from helpers.paths import SHARED_DATA

GOLDEN = SHARED_DATA / "golden"

NAMES = ("means", "quats", "scales", "opacities", "colors", "features")

FAST_AND_SLOW = ["reference", "numba"]


def golden(name: str) -> tuple[dict[str, np.ndarray], dict]:
    if not (GOLDEN / f"{name}.npz").exists():
        pytest.skip(f"golden vectors are not here ({name}.npz)")
    with np.load(GOLDEN / f"{name}.npz") as data:
        return dict(data), json.loads((GOLDEN / f"{name}.json").read_text())


def scene(n: int = 120, features: int = 5, seed: int = 0, spread: float = 1.0) -> Gaussians:
    """n Gaussians of very different sizes and opacities around the origin (float64)."""
    g = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    return Gaussians(
        means=(rand(n, 3) - 0.5) * spread,
        quats=torch.randn(n, 4, generator=g, dtype=torch.float64),
        scales=torch.exp(rand(n, 3) * 3.0 - 4.5),
        opacities=rand(n),
        colors=rand(n, 3),
        features=rand(n, features) - 0.5 if features else None,
    )


def cameras(width: int = 37, height: int = 29, count: int = 2) -> Cameras:
    """Cameras on an arc, looking at the origin from 1.5 m."""
    angles = torch.linspace(0.0, 1.2, count, dtype=torch.float64)
    eyes = torch.stack([1.5 * angles.cos(), 1.5 * angles.sin(), 0.4 + 0.0 * angles], -1)
    views = torch.stack([look_at(e, torch.zeros(3, dtype=torch.float64)) for e in eyes])
    K = intrinsics(0.9, width, height).double()
    K[0, 2] += 2.3  # the principal point need not be central
    return Cameras(views, K.expand(count, 3, 3).clone(), width, height)


def render(g: Gaussians, c: Cameras, backend: str, dtype: torch.dtype = torch.float32, **options) -> Splats:
    g = g.map(lambda t: t.to(dtype))
    return rasterize(g, c.viewmats.to(dtype), c.Ks.to(dtype), c.width, c.height, backend=backend, **options)


def outputs(s: Splats) -> list[Tensor]:
    return [t for t in (s.color, s.depth, s.alpha, s.features) if t is not None]


def with_gradients(
    g: Gaussians, c: Cameras, backend: str, dtype: torch.dtype, which: tuple[int, ...] = (0, 1, 2, 3), **options
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs, and the gradients of a fixed random functional of the outputs named in ``which``."""
    leaves = {k: v.detach().to(dtype).requires_grad_() for k, v in vars(g).items() if v is not None}
    images = outputs(
        rasterize(
            Gaussians(**leaves), c.viewmats.to(dtype), c.Ks.to(dtype), c.width, c.height, backend=backend, **options
        )
    )
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(dtype) for t in images]
    loss = torch.stack([(images[i] * weights[i]).sum() for i in which if i < len(images)]).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return [t.detach() for t in images], {k: v for k, v in zip(leaves, gradients, strict=True) if v is not None}


def assert_close(ours: Tensor, theirs: Tensor, relative: float, what: str) -> None:
    ours, theirs = ours.double(), theirs.double()
    assert ours.shape == theirs.shape and bool(ours.isfinite().all()), what
    error, scale = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    assert error <= relative * max(scale, 1e-6), f"{what}: {error:.2e} of {scale:.2e}"


def assert_same_as_reference(g: Gaussians, c: Cameras, relative: float = 1e-4, **options) -> None:
    slow, slow_gradients = with_gradients(g, c, "reference", torch.float64, **options)
    fast, fast_gradients = with_gradients(g, c, "numba", torch.float32, **options)
    for name, a, b in zip(("color", "depth", "alpha", "features"), fast, slow, strict=False):
        assert_close(a, b, relative, name)
    for name, b in slow_gradients.items():
        a = fast_gradients.get(name, torch.zeros_like(b))  # an output without a gradient is no part of the graph
        assert_close(a, b, relative, f"gradient of {name}")
