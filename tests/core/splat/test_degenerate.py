"""Degenerate input to the rasterisers: empty scenes, extreme scales, values that are not finite, ties in depth."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.geometry.cameras import Cameras, intrinsics
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.splat import pick
from helpers.splats import (
    FAST_AND_SLOW,
    NAMES,
    assert_close,
    assert_same_as_reference,
    cameras,
    outputs,
    render,
    scene,
    with_gradients,
)


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
@pytest.mark.parametrize("case", ["behind", "transparent", "far to the side", "none at all"])
def test_nothing_to_see(backend: str, case: str) -> None:
    """The background, no alpha, and gradients that are zero rather than missing."""
    g, c = scene(), cameras()
    axis = c.viewmats[0, 2, :3]
    if case == "behind":
        g, c = Gaussians(**{**vars(g), "means": g.means - 10.0 * axis}), c[0]
    if case == "far to the side":
        g, c = Gaussians(**{**vars(g), "means": g.means + 50.0 * c.viewmats[0, 0, :3]}), c[0]
    if case == "transparent":
        g = Gaussians(**{**vars(g), "opacities": torch.zeros_like(g.opacities)})
    if case == "none at all":
        g = g[:0]
    background = torch.tensor([0.1, 0.2, 0.3])
    s = render(g, c, backend, background=background)
    assert torch.equal(s.color, background.expand_as(s.color))
    assert not s.alpha.any() and not s.depth.any() and s.features is not None and not s.features.any()
    _, gradients = with_gradients(g, c, backend, torch.float32)
    assert set(gradients) == set(NAMES) and not any(v.any() for v in gradients.values())


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 30.0, 1e5])
def test_extreme_scales(scale: float) -> None:
    g = scene(12, seed=2)
    g = Gaussians(**{**vars(g), "scales": g.scales * scale})
    slow, fast = render(g, cameras(), "reference", torch.float64), render(g, cameras(), "numba")
    for a, b in zip(outputs(fast), outputs(slow), strict=True):
        assert_close(a, b, 1e-3, f"scale {scale}")
    _, gradients = with_gradients(g, cameras(), "numba", torch.float32)
    assert all(bool(v.isfinite().all()) for v in gradients.values())


def test_needles() -> None:
    """Aspect ratios of 1,000: the 2D covariance in float32 would lose its determinant."""
    g = scene(40, seed=7)
    g = Gaussians(**{**vars(g), "scales": torch.tensor([2.0, 2e-3, 2e-3]).double().expand(40, 3)})
    assert_same_as_reference(g, cameras(), 1e-3)


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
@pytest.mark.parametrize("name", NAMES)
def test_values_that_are_not_finite(backend: str, name: str) -> None:
    """Such a Gaussian is left out and gets zero gradient; the others do not notice."""
    g, c = scene(30), cameras()
    bad = [3, 11, 20]
    value = vars(g)[name].clone()
    for i, x in zip(bad, (torch.nan, torch.inf, -torch.inf), strict=True):
        value[i].reshape(-1)[-1] = x
    broken = Gaussians(**{**vars(g), name: value})
    keep = torch.ones(30, dtype=torch.bool)
    keep[bad] = False
    images, gradients = with_gradients(broken, c, backend, torch.float32)
    expected_images, expected = with_gradients(g[keep], c, backend, torch.float32)
    for a, b in zip(images, expected_images, strict=True):
        assert_close(a, b, 1e-5, name)
    for key, gradient in gradients.items():
        assert not gradient[bad].any(), key
        assert_close(gradient[keep], expected[key], 1e-5, key)


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
def test_thousands_on_one_pixel(backend: str) -> None:
    """Pixels stop early: what lies behind gets no gradient, and alpha never passes 0.9999."""
    n = 3000
    means = torch.zeros(n, 3)
    means[:, 2] = torch.linspace(1.0, 2.0, n)
    g = Gaussians(
        means, torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1), torch.full((n, 3), 0.05), torch.full((n,), 0.5),
        torch.rand(n, 3, generator=torch.Generator().manual_seed(0)),
    )  # fmt: skip
    c = Cameras(torch.eye(4)[None], intrinsics(0.6, 9, 9)[None], 9, 9)
    images, gradients = with_gradients(g, c, backend, torch.float32)
    assert 0.999 < images[2].max() <= 0.9999 + 1e-7
    assert gradients["colors"][:8].abs().min() > 0 and not gradients["colors"][1000:].any()


@pytest.mark.parametrize("backend", FAST_AND_SLOW)
def test_ties_in_depth_keep_the_order_of_the_list(backend: str) -> None:
    g = Gaussians(
        torch.tensor([[0.0, 0.0, 1.0]] * 3), torch.tensor([[1.0, 0, 0, 0]] * 3), torch.full((3, 3), 0.3),
        torch.full((3,), 0.9), torch.eye(3),
    )  # fmt: skip
    c = Cameras(torch.eye(4)[None], intrinsics(0.6, 3, 3)[None], 3, 3)
    assert torch.allclose(render(g, c, backend).color[0, 1, 1], torch.tensor([0.9, 0.09, 0.009]), atol=1e-5)
    assert pick(g, c.viewmats, c.Ks, 3, 3, backend=backend)[0].unique().tolist() == [0]


def test_no_gradient_through_a_saturated_alpha() -> None:
    g = Gaussians(
        torch.tensor([[0.0, 0.0, 1.0]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.ones(1, 3),
        torch.ones(1),
        torch.ones(1, 3),
    )
    c = Cameras(torch.eye(4)[None], intrinsics(0.6, 1, 1)[None], 1, 1)
    for backend in FAST_AND_SLOW:
        images, gradients = with_gradients(g, c, backend, torch.float32)
        assert images[2].item() == pytest.approx(0.999)
        assert not gradients["opacities"].any() and gradients["colors"].any()


def test_zero_quaternion_is_harmless() -> None:
    g = scene(5)
    g.quats[2] = 0.0
    assert_same_as_reference(g, cameras())
