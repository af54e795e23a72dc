"""Refine the Gaussians of a scene against its posed frames, by 3D Gaussian splatting (Kerbl et al. 2023).

The number of Gaussians stays what it is, so that values which belong to them (features, labels) stay valid. The loss of
a view is 0.5 · mean |dC| + 2 · mean dC² over the pixels, dC the colour's error over a constant background, plus a
weight times the mean absolute error of the depth (m) where it was measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...core.data.scene import PosedFrames
from ...core.errors import InputError
from ...core.geometry.cameras import Cameras
from ...core.geometry.gaussians import Gaussians
from ...core.metrics.image import psnr
from ...core.splat import Splats, rasterize
from .parameters import GaussianParameters, LearningRates

GREY = 0.5
"""Background that is rendered where no Gaussian covers a pixel."""


RATES = LearningRates(means_lr=2e-4, scales_lr=1e-2, quats_lr=5e-3, opacities_lr=5e-2, colors_lr=1e-2, decay=0.1)


@dataclass(frozen=True)
class RefineConfig:
    """Options of `refine_gaussians`."""

    seconds: float = 120.0
    """Time of the optimisation, seconds; the learning rates fall over it."""
    steps: int | None = None
    """Number of optimiser steps instead of a time, for equal results on every machine."""
    depth_weight: float = 0.05
    """Weight of the depth's error; 0 ignores measured depth."""
    rates: LearningRates = RATES
    """Learning rates; larger than 3DGS's, for hundreds of steps instead of thousands."""
    seed: int = 0
    """Random seed of the order of the frames."""

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise InputError("seconds", "a time above 0", f"{self.seconds:g}")
        if self.steps is not None and self.steps < 1:
            raise InputError("steps", "at least 1", str(self.steps))


@dataclass(frozen=True)
class Refinement:
    """Result of `refine_gaussians`.

    Attributes:
        gaussians: as many as at the start, in the same order, with their features.
        steps: number of optimiser steps.
        interrupted: whether a KeyboardInterrupt ended it early.
    """

    gaussians: Gaussians
    steps: int
    interrupted: bool


@dataclass(frozen=True)
class RefineStep:
    """How far a refinement is.

    Attributes:
        share: share of the time or of the steps that is done, in [0, 1].
        steps: number of optimiser steps.
        gaussians: returns the Gaussians of now, as in `Refinement`.
    """

    share: float
    steps: int
    gaussians: Callable[[], Gaussians]


@dataclass(frozen=True)
class TargetViews:
    """V views to reproduce.

    Attributes:
        cameras: V cameras in the world of the Gaussians.
        color: [V, H, W, 3] float32 RGB in [0, 1].
        depth: [V, H, W] float32 camera depth z in metres; 0 where there is no measurement.
    """

    cameras: Cameras
    color: Tensor
    depth: Tensor

    def __len__(self) -> int:
        return len(self.color)

    def __getitem__(self, index: list[int]) -> TargetViews:
        return TargetViews(self.cameras[index], self.color[index], self.depth[index])

    def to(self, device: torch.device | str) -> TargetViews:
        return TargetViews(self.cameras.to(device), self.color.to(device), self.depth.to(device))


def read_views(frames: PosedFrames, width: int) -> TargetViews:
    """Read all frames at ``width`` pixels, or at their own width if that is smaller; cameras stay in their world."""
    width = min(width, frames.cameras.width)
    height = max(1, round(width * frames.cameras.height / frames.cameras.width))
    images = [frames.read(i, width, height) for i in range(len(frames))]
    color = torch.from_numpy(np.stack([image.color for image in images]))
    depth = torch.from_numpy(np.stack([image.depth for image in images]))
    return TargetViews(frames.cameras.resized(width, height), color.float(), depth.float())


def refine_gaussians(
    start: Gaussians,
    views: TargetViews,
    config: RefineConfig | None = None,
    progress: Callable[[float, int], object] = lambda share, steps: None,
) -> Refinement:
    """Optimise positions, rotations, sizes, opacities and colours of Gaussians to reproduce views of their scene.

    A KeyboardInterrupt ends the optimisation early, with the Gaussians of the last step.

    Args:
        start: initial Gaussians; ``features`` are kept as they are.
        views: on the device of ``start``; each is used once before any is used again.
        progress: called with the share of the time or of the steps that is done, and the number of steps.

    Raises:
        InputError: no Gaussians or no views, or cameras that are not finite.
    """
    done, interrupted, latest = 0, False, lambda: start.detach()
    try:
        for step in refine_steps(start, views, config):
            done, latest = step.steps, step.gaussians
            progress(step.share, done)
    except KeyboardInterrupt:
        interrupted = True
    return Refinement(latest(), done, interrupted)


def refine_steps(start: Gaussians, views: TargetViews, config: RefineConfig | None = None) -> Iterator[RefineStep]:
    """The steps of `refine_gaussians`, one by one: before each optimiser step, and once more at the end."""
    config = config or RefineConfig()
    if len(start) == 0 or len(views) == 0:
        raise InputError("refine", "Gaussians and frames", f"{len(start)} and {len(views)}")
    distance = (start.means - start.means.mean(0)).norm(dim=1)
    radius = float(distance.kthvalue(max(1, round(0.9 * len(start)))).values)
    free = GaussianParameters(replace(start, features=None), config.rates, max(radius, 1e-3))
    order = _endless_order(len(views), config.seed)
    began, done = time.perf_counter(), 0
    while True:
        if done == 1:  # the first step may compile the rasteriser
            began = time.perf_counter()
        share = done / config.steps if config.steps else (time.perf_counter() - began) / config.seconds
        yield RefineStep(min(1.0, share), done, lambda: replace(free.gaussians().detach(), features=start.features))
        if share >= 1:
            return
        free.anneal(share)
        target = views[[next(order)]]
        loss = _loss(render(free.gaussians(), target.cameras), target, config.depth_weight)
        free.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        free.optimizer.step()
        done += 1


def render(gaussians: Gaussians, cameras: Cameras) -> Splats:
    """Render without features, over the background of the loss."""
    background = torch.full((3,), GREY, device=gaussians.means.device)
    plain = replace(gaussians, features=None)
    return rasterize(plain, cameras.viewmats, cameras.Ks, cameras.width, cameras.height, background=background)


@torch.no_grad()
def view_psnr(gaussians: Gaussians, views: TargetViews) -> Tensor:
    """PSNR [V] in dB of rendered views."""
    rendered = [render(gaussians, views.cameras[[i]]).color for i in range(len(views))]
    return psnr(torch.cat(rendered).clamp(0, 1), views.color).cpu()


def _loss(splats: Splats, target: TargetViews, depth_weight: float) -> Tensor:
    error = splats.color - target.color
    loss = 0.5 * error.abs().mean() + 2 * error.square().mean()
    if depth_weight == 0:
        return loss
    return loss + depth_weight * ((splats.depth[..., 0] - target.depth).abs() * (target.depth > 0)).mean()


def _endless_order(count: int, seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(count).tolist()
