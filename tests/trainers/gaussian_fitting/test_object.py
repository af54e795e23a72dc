"""Gaussians fitted to images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.gaussians import quat_to_rotmat
from gaussiancross.trainers.gaussian_fitting.object import (
    FAST,
    FitConfig,
    any_background,
    fit_gaussians,
    surface_gaussians,
)
from helpers.fitting import VIEWS, ball, ball_pictures


@pytest.fixture(scope="module")
def pictures():
    return ball_pictures()


def test_a_few_steps_find_the_colours_and_the_outline(pictures):
    cameras, color, alpha, truth = pictures
    config = replace(FAST, iterations=60, views=3, held_out=4)
    start = replace(truth, colors=torch.full_like(truth.colors, 0.5), scales=truth.scales * 1.5)
    before = fit_gaussians(start, cameras, color, alpha, replace(config, iterations=0))
    after = fit_gaussians(start, cameras, color, alpha, config)
    assert after.measured == (0, 4, 8) and len(after.psnr) == 3
    assert float(after.psnr.mean()) > float(before.psnr.mean()) + 6
    assert torch.equal(fit_gaussians(start, cameras, color, alpha, config).psnr, after.psnr)


def test_the_truth_is_left_alone(pictures):
    cameras, color, alpha, truth = pictures
    fit = fit_gaussians(truth, cameras, color, alpha, FitConfig(iterations=0, held_out=0))
    assert fit.measured == tuple(range(VIEWS)) and float(fit.psnr.min()) > 45  # 8 bits per channel
    assert len(fit.gaussians) == len(truth)


def test_the_loss_is_the_mean_over_backgrounds():
    g = torch.Generator().manual_seed(0)
    color, alpha = torch.randn(5, 4, 3, generator=g), torch.randn(5, 4, 1, generator=g)
    backgrounds = torch.rand(40_000, 1, 1, 3, generator=g)
    drawn = (color - alpha * backgrounds).square().mean()
    torch.testing.assert_close(any_background(color, alpha), drawn, rtol=0.01, atol=0)


def test_flat_gaussians_lie_on_the_surface():
    coord, color, normal = ball()
    flat = surface_gaussians(coord, color, normal)
    axis = quat_to_rotmat(flat.quats)[:, :, 2]
    torch.testing.assert_close(axis, torch.from_numpy(normal), atol=1e-5, rtol=0)
    assert bool((flat.scales[:, 2] < flat.scales[:, 0]).all())
    assert float(surface_gaussians(coord, color).scales.std(dim=1).max()) == 0
    down_and_up = np.tile(np.array([[0, 0, -1], [0, 0, 1]], np.float32), (len(coord) // 2, 1))
    axis = quat_to_rotmat(surface_gaussians(coord, color, down_and_up).quats)[:, :, 2]
    torch.testing.assert_close(axis, torch.from_numpy(down_and_up), atol=1e-6, rtol=0)


def test_progress_and_refusals(pictures):
    cameras, color, alpha, truth = pictures
    steps = []
    fit_gaussians(truth, cameras, color, alpha, replace(FAST, iterations=2), progress=steps.append)
    assert steps == [1, 2]
    with pytest.raises(InputError, match="pictures"):
        fit_gaussians(truth, cameras, color[:3], alpha)
    with pytest.raises(InputError, match="in which the object is seen"):
        fit_gaussians(truth, cameras, color, np.zeros_like(alpha))
    with pytest.raises(InputError, match="at least 1"):
        fit_gaussians(truth, cameras, color, alpha, replace(FAST, views=0))
