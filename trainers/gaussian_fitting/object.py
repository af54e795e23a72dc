"""Fit Gaussians to renders of an object: 3D Gaussian splatting from surface points, as for CLIP-GS's objects.

The points are dense enough that none are split or added: positions, sizes, rotations, opacities and colours (SH degree
0) are optimised. The loss is the expected squared error over a background of random colour: with the errors dC of the
colour over black and dA of the coverage, and a background b uniform in [0, 1], E (dC − b dA)² =
(dC − dA / 2)² + dA² / 12. It fits the outline together with the colours, without the noise of random backgrounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.data.objects import points_as_gaussians
from ...core.errors import InputError
from ...core.geometry.cameras import Cameras
from ...core.geometry.gaussians import Gaussians
from ...core.metrics.image import psnr
from ...core.splat import rasterize
from .parameters import GaussianParameters, LearningRates

LOWEST_OPACITY = 1 / 255
"""Gaussians with an opacity at or below this are invisible and are removed from the result."""


@dataclass(frozen=True)
class FitConfig(LearningRates):
    """Options of fitting Gaussians to one object."""

    iterations: int = 5000
    """Optimiser steps (5,000 in the paper)."""
    gaussians: int = 10_000
    """Number of initial surface points (10,000 to 20,000 in the paper)."""
    views: int = 1
    """Renders per step; each is used once before any is used again."""
    held_out: int = 6
    """Hold out every n-th render for the quality measure; 0 measures on the fitted ones."""
    thickness: float = 0.3
    """Initial size along the normal, as a share of the size along the surface."""
    opacity: float = 0.9
    """Initial opacity."""
    seed: int = 0
    """Random seed of the order of the renders."""


FULL = FitConfig()
"""The paper's number of steps and points."""
FAST = FitConfig(
    iterations=300,
    gaussians=6000,
    means_lr=1e-3,
    scales_lr=2e-2,
    quats_lr=1e-2,
    colors_lr=2e-2,
    decay=0.1,
)
"""Fewer and larger steps: seconds per object on a CPU."""


@dataclass(frozen=True)
class Fit:
    """Result of `fit_gaussians`.

    Attributes:
        gaussians: in the frame of the cameras, on the CPU.
        psnr: [E] quality of the measured views over white, dB.
        measured: [E] indices of the measured views.
    """

    gaussians: Gaussians
    psnr: Tensor
    measured: tuple[int, ...]


def fit_gaussians(
    start: Gaussians,
    cameras: Cameras,
    color: NDArray[np.uint8],
    alpha: NDArray[np.float32],
    config: FitConfig = FULL,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] | None = None,
) -> Fit:
    """Optimise Gaussians to reproduce renders of an object.

    Args:
        start: initial Gaussians, from `surface_gaussians`.
        cameras: V cameras.
        color: [V, H, W, 3] uint8 colours over black (premultiplied by ``alpha``).
        alpha: [V, H, W] share of each pixel that the object covers.
        progress: called with the number of steps done.

    Raises:
        InputError: renders whose shapes do not fit the cameras, or without the object.
    """
    v, h, w = len(cameras), cameras.height, cameras.width
    if color.shape != (v, h, w, 3) or alpha.shape != (v, h, w):
        raise InputError("pictures", f"colour {(v, h, w, 3)} and alpha {(v, h, w)}", f"{color.shape}, {alpha.shape}")
    if config.iterations < 0 or config.views < 1:
        raise InputError("iterations and views", "0 or more, and at least 1", f"{config.iterations}, {config.views}")
    measured = tuple(range(0, v, config.held_out)) if config.held_out else tuple(range(v))
    fitted = [i for i in range(v) if not config.held_out or i not in measured]
    if not fitted or not float(alpha[fitted].max()) > 0:
        raise InputError("pictures", "some to fit in which the object is seen", f"{len(fitted)} of {v} without it")
    device = torch.device(device)
    targets = torch.from_numpy(color).to(device).float() / 255
    covered = torch.from_numpy(alpha).to(device)[..., None]
    viewmats, ks = cameras.viewmats.to(device).float(), cameras.Ks.to(device).float()
    radius = float((start.means - start.means.mean(0)).norm(dim=1).max())
    free = GaussianParameters(start.to(device), config, radius)
    rng = np.random.default_rng(config.seed)
    order: list[int] = []
    for step in range(config.iterations):
        free.anneal(step / max(1, config.iterations - 1))
        while len(order) < config.views:
            order += rng.permutation(fitted).tolist()
        picked, order = order[: config.views], order[config.views :]
        splats = rasterize(free.gaussians(), viewmats[picked], ks[picked], w, h)
        loss = any_background(splats.color - targets[picked], splats.alpha - covered[picked])
        free.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        free.optimizer.step()
        if progress is not None:
            progress(step + 1)
    with torch.no_grad():
        fitted_gaussians = free.gaussians().detach()
        rows = list(measured)
        white = torch.ones(3, device=device)
        rendered = rasterize(fitted_gaussians, viewmats[rows], ks[rows], w, h, background=white).color
        quality = psnr(rendered.clamp(0, 1), targets[rows] + (1 - covered[rows]))
    fitted_gaussians = fitted_gaussians.to("cpu")
    visible = fitted_gaussians.opacities > LOWEST_OPACITY
    return Fit(fitted_gaussians[visible], quality.cpu(), measured)


def any_background(color: Tensor, alpha: Tensor) -> Tensor:
    """Return the mean squared error, in expectation over the background colour.

    Args:
        color: [..., 3] error of the colour over black.
        alpha: [..., 1] error of the coverage.
    """
    return (color - alpha / 2).square().mean() + alpha.square().mean() / 12


def surface_gaussians(
    coord: NDArray[np.float32],
    color: NDArray[np.uint8],
    normal: NDArray[np.float32] | None = None,
    config: FitConfig = FULL,
) -> Gaussians:
    """Convert surface points [N, 3] with colours 0–255 and unit normals to flat Gaussians on the surface.

    Without normals they are spherical.
    """
    spheres = points_as_gaussians(coord, color.astype(np.float32) / 255)
    opacities = torch.full((len(coord),), config.opacity)
    if normal is None:
        return replace(spheres, opacities=opacities)
    scales = spheres.scales.clone()
    scales[:, 2] *= config.thickness
    return replace(
        spheres, quats=_z_to(torch.from_numpy(np.array(normal, np.float32))), scales=scales, opacities=opacities
    )


def _z_to(normal: Tensor) -> Tensor:
    """Return quaternions [N, 4] of the shortest rotations from z to the unit vectors [N, 3]."""
    x, y, z = normal.unbind(-1)
    quats = torch.stack([1 + z, -y, x, torch.zeros_like(z)], -1)
    # −z has no unique shortest rotation: half a turn about x
    flipped = quats.norm(dim=-1) < 1e-4
    quats[flipped] = quats.new_tensor([0.0, 1.0, 0.0, 0.0])
    return torch.nn.functional.normalize(quats, dim=-1)
