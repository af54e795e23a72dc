"""The rasterisers' interface: backgrounds, precision, picks, errors, threads."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.splat import api, default_backend, pick, rasterize
from helpers.splats import FAST_AND_SLOW, cameras, render, scene


def test_background_per_camera_and_its_gradient() -> None:
    g, c = scene(20), cameras()
    for backend in FAST_AND_SLOW:
        background = torch.rand(2, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        s = render(g, c, backend, background=background)
        plain = render(g, c, backend)
        assert torch.allclose(s.color, plain.color + (1 - plain.alpha) * background[:, None, None], atol=1e-6)
        (gradient,) = torch.autograd.grad(s.color.sum(), background)
        assert torch.allclose(gradient, (1 - plain.alpha).sum((1, 2)).expand(2, 3), rtol=1e-4)


def test_half_precision_and_strided_inputs() -> None:
    g, c = scene(50, features=6), cameras()
    expected = render(g.map(lambda t: t.to(torch.bfloat16)), c, "numba").color
    strided = g.map(lambda t: torch.stack([t, t], -1).float()[..., 0])
    assert torch.equal(render(strided, c, "numba").color, render(g, c, "numba").color)
    with torch.autocast("cpu", torch.bfloat16):
        half = rasterize(
            g.map(lambda t: t.to(torch.bfloat16)), c.viewmats.float(), c.Ks.float(), c.width, c.height, backend="numba"
        )
    assert half.color.dtype == torch.float32 and torch.equal(half.color, expected)


def test_backward_twice_and_inputs_changed_in_place() -> None:
    g, c = scene(40).map(lambda t: t.float()), cameras()
    means = g.means.clone().requires_grad_()
    copy = means * 1.0
    s = render(Gaussians(**{**vars(g), "means": copy}), c, "numba")
    (first,) = torch.autograd.grad(s.color.sum(), means, retain_graph=True)
    (second,) = torch.autograd.grad(s.color.sum(), means, retain_graph=True)
    assert torch.equal(first, second)
    with torch.no_grad():
        copy.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        s.color.sum().backward()


# ---- picking
@pytest.mark.parametrize("backend", FAST_AND_SLOW)
def test_pick_names_the_gaussian_that_one_hot_features_name(backend: str) -> None:
    g, c = scene(40, seed=9), cameras(21, 19)
    one_hot = Gaussians(**{**vars(g), "features": torch.eye(40)})
    weights = render(one_hot, c, "reference", torch.float64).features
    assert weights is not None
    best, expected = weights.max(-1)
    g = g.map(lambda t: t.float())
    index, depth = pick(g, c.viewmats.float(), c.Ks.float(), 21, 19, backend=backend)
    assert index.dtype == torch.int64 and index.shape == (2, 19, 21)
    clear = (weights.topk(2, -1).values.diff(dim=-1)[..., 0].abs() > 1e-5) & (best > 0)
    assert clear.sum() > 200 and torch.equal(index[clear], expected[clear])
    assert torch.equal(index < 0, best == 0) and not depth[index < 0].any()
    z = c.project(g.means.double())[1]
    expected_depth = z.gather(1, index.clamp_min(0).flatten(1)).reshape(index.shape)
    assert torch.allclose(depth.double()[clear], expected_depth[clear], atol=1e-5)


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
def test_pick_in_an_empty_scene(backend: str) -> None:
    c = cameras()
    for g in (scene(5)[:0], Gaussians(**{**vars(scene(5)), "opacities": torch.zeros(5).double()})):
        index, depth = pick(g.map(lambda t: t.float()), c.viewmats.float(), c.Ks.float(), 7, 5, backend=backend)
        assert bool((index == -1).all()) and not depth.any() and index.shape == (2, 5, 7)


# ---- errors
def test_errors_are_sentences() -> None:
    g, c = scene(3).map(lambda t: t.float()), cameras()
    V, K = c.viewmats.float(), c.Ks.float()
    with pytest.raises(InputError, match="C ≥ 1"):
        rasterize(g, V[:0], K[:0], 8, 8)
    with pytest.raises(InputError, match="viewmats"):
        rasterize(g, V[0], K[0], 8, 8)
    with pytest.raises(InputError, match="at least one pixel"):
        rasterize(g, V, K, 0, 8)
    with pytest.raises(InputError, match="0 < near < far"):
        rasterize(g, V, K, 8, 8, near=0.0)
    with pytest.raises(InputError, match="background"):
        rasterize(g, V, K, 8, 8, background=torch.zeros(5, 3))
    with pytest.raises(InputError, match="one of auto"):
        rasterize(g, V, K, 8, 8, backend="vulkan")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Gaussians on cuda"):
        rasterize(g, V, K, 8, 8, backend="gsplat")
    with pytest.raises(InputError, match=r"NaN or infinity in \[1\]"):
        rasterize(g, torch.stack([V[0], V[1] * torch.inf]), K, 8, 8)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_backend("cpu") == "numba"
    monkeypatch.setattr(api, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="the package numba"):
        default_backend("cpu")
    with pytest.raises(InputError, match="the package gsplat"):
        default_backend("cuda")
    with pytest.raises(InputError, match="cpu or cuda"):
        default_backend("mps")


def test_importing_loads_neither_numba_nor_gsplat() -> None:
    code = "import sys, gaussiancross.core.splat; print(sorted({'numba', 'gsplat'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_exp2_of_the_kernels() -> None:
    from gaussiancross.core.splat import simd
    from numba import njit

    @njit
    def apply(x, y):
        for i in range(0, len(x), 16):
            simd.store(y, i, simd.exp2(simd.load(x, i)))

    x = np.linspace(-9.0, 1.0, 160_000, dtype=np.float32)
    y = np.empty_like(x)
    apply(x, y)
    assert np.abs(y / np.exp2(x.astype(np.float64)) - 1.0).max() < 2e-7
    edge = np.array([-np.inf, np.nan, -1e30, 0.0] * 4, np.float32)
    apply(edge, y)
    assert np.all(y[:16] == np.tile(np.float32([2.0**-20] * 3 + [1.0]), 4))


def test_threads_of_torch_stay_as_they_were(monkeypatch):
    """numba starts its threads when it is first asked for their number, and sets OpenMP's, which are torch's, too."""
    from gaussiancross.core.splat import cpu

    before = torch.get_num_threads()

    def starts() -> int:
        torch.set_num_threads(before + 1)
        return 1

    monkeypatch.setattr(cpu, "get_num_threads", starts)
    try:
        render(scene(2, 0), cameras(), "numba")
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)
