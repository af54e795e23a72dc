"""`refine_gaussians`: Gaussians of a scene fitted to views of known ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.trainers.gaussian_fitting import RefineConfig, TargetViews, refine_gaussians
from gaussiancross.trainers.gaussian_fitting.scene import RATES, render, view_psnr
from helpers.splats import cameras, scene

CONFIG = RefineConfig(steps=60, rates=replace(RATES, means_lr=1e-3, colors_lr=5e-2))


@pytest.fixture(scope="module")
def views() -> TargetViews:
    shown = cameras(count=3)
    splats = render(scene(), shown)
    return TargetViews(shown, splats.color, splats.depth[..., 0])


@pytest.fixture(scope="module")
def start() -> Gaussians:
    """The known Gaussians with other colours, moved and smaller."""
    known = scene()
    noise = torch.randn(known.means.shape, generator=torch.Generator().manual_seed(1))
    return replace(known, means=known.means + 0.02 * noise, scales=0.8 * known.scales, colors=1 - known.colors)


def test_it_reproduces_the_views_and_keeps_features(start, views):
    refined = refine_gaussians(start, views, CONFIG).gaussians
    assert float((view_psnr(refined, views) - view_psnr(start, views)).min()) > 8
    assert refined.features is start.features and len(refined) == len(start)
    assert not refined.means.requires_grad
    again = refine_gaussians(start, views, CONFIG).gaussians
    assert all(torch.equal(getattr(refined, k), getattr(again, k)) for k in ("means", "quats", "scales", "colors"))


def test_ctrl_c_returns_what_is_there(start, views):
    def interrupt(share: float, steps: int) -> None:
        if steps == 5:
            raise KeyboardInterrupt

    result = refine_gaussians(start, views, CONFIG, interrupt)
    assert (result.steps, result.interrupted) == (5, True)
    five = result.gaussians
    assert not torch.equal(five.colors, start.colors) and bool(five.means.isfinite().all())


def test_a_time_limit_ends_it(start, views):
    shares: list[float] = []
    refine_gaussians(start, views, RefineConfig(seconds=0.1), lambda share, steps: shares.append(share))
    assert shares[0] < 0.01 and shares[-1] == 1


def test_impossible_options_are_refused(start, views):
    for options in ({"seconds": 0.0}, {"seconds": float("nan")}, {"steps": 0}):
        with pytest.raises(InputError, match="expected"):
            RefineConfig(**options)
    with pytest.raises(InputError, match="Gaussians and frames"):
        refine_gaussians(start[:0], views, CONFIG)
