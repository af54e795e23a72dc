"""Gaussians fitted to pictures of an object: 3D Gaussian splatting from surface points, as CLIP-GS's objects are made.

The points are dense enough that none are split or added: positions, sizes, rotations, opacities and colours (SH degree
0) are optimised. The loss is the squared error over a background of any colour, in expectation: with the errors dC of
the colour over black and dA of the coverage, and a background b uniform in [0, 1], E (dC − b dA)² =
(dC − dA / 2)² + dA² / 12. So the outline is learned with the colours, without the noise of drawing backgrounds.
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

MEANS_FALL = 0.01
"""What the rate of the positions falls to, as a share of itself."""
LOWEST_OPACITY = 1 / 255
"""Gaussians at or below it draw nothing and are left out of the result."""


@dataclass(frozen=True)
class FitConfig:
    """How Gaussians are fitted. Learning rates are 3DGS's unless said otherwise."""

    iterations: int = 5000
    """Optimiser steps (5,000 in the paper)."""
    gaussians: int = 10_000
    """Surface points to start from (10–20 thousand in the paper)."""
    views: int = 1
    """Pictures per step; every one comes once before any comes again."""
    held_out: int = 6
    """Every so-many-th picture is not fitted but measured; 0 measures on the fitted ones."""
    means_lr: float = 1.6e-4
    """In radii of the object; falls to a hundredth of it, as in 3DGS."""
    scales_lr: float = 5e-3
    """On the logarithms."""
    quats_lr: float = 1e-3
    """On the quaternions."""
    opacities_lr: float = 5e-2
    """On the logits."""
    colors_lr: float = 5e-3
    """On the colours (twice 3DGS's on SH coefficients is about the same)."""
    decay: float = 1.0
    """What the other rates fall to, as a share of themselves."""
    thickness: float = 0.3
    """Size along the normal at the start, as a share of the size along the surface."""
    opacity: float = 0.9
    """Opacity at the start: the points lie on the surface already."""
    seed: int = 0
    """Of the order of the views."""


FULL = FitConfig()
"""The published effort."""
FAST = FitConfig(
    iterations=300,
    gaussians=6000,
    means_lr=1e-3,
    scales_lr=2e-2,
    quats_lr=1e-2,
    colors_lr=2e-2,
    decay=0.1,
)
"""Seconds on a CPU: fewer steps and larger ones."""


@dataclass(frozen=True)
class Fit:
    """What came of it.

    Attributes:
        gaussians: in the frame of the cameras, on the CPU.
        psnr: [E] dB of the measured views over white.
        measured: [E] which views those are.
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
    """Optimise Gaussians until they look like the pictures.

    Args:
        start: of `surface_gaussians`.
        cameras: V of them.
        color: [V, H, W, 3] over black: pixels of which the object covers a share hold that share of its colour.
        alpha: [V, H, W] the share.
        progress: called with the number of steps done.

    Raises:
        InputError: pictures that do not fit the cameras, or nothing to fit.
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
    free = _Free(start.to(device), config, radius)
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
        found = free.gaussians().detach()
        rows = list(measured)
        white = torch.ones(3, device=device)
        seen = rasterize(found, viewmats[rows], ks[rows], w, h, background=white).color
        quality = psnr(seen.clamp(0, 1), targets[rows] + (1 - covered[rows]))
    found = found.to("cpu")
    keep = found.opacities > LOWEST_OPACITY
    return Fit(found[keep], quality.cpu(), measured)


def any_background(color: Tensor, alpha: Tensor) -> Tensor:
    """The mean squared error over backgrounds of all colours, from the errors of the colour over black [..., 3] and of
    the coverage [..., 1]."""
    return (color - alpha / 2).square().mean() + alpha.square().mean() / 12


def surface_gaussians(
    coord: NDArray[np.float32],
    color: NDArray[np.uint8],
    normal: NDArray[np.float32] | None = None,
    config: FitConfig = FULL,
) -> Gaussians:
    """Points on a surface [N, 3] with colours 0–255 and unit normals as flat Gaussians lying on it (round ones where
    no normals are known)."""
    round_ones = points_as_gaussians(coord, color.astype(np.float32) / 255)
    opacities = torch.full((len(coord),), config.opacity)
    if normal is None:
        return replace(round_ones, opacities=opacities)
    scales = round_ones.scales.clone()
    scales[:, 2] *= config.thickness
    return replace(
        round_ones, quats=_z_to(torch.from_numpy(np.array(normal, np.float32))), scales=scales, opacities=opacities
    )


def _z_to(normal: Tensor) -> Tensor:
    """Quaternions [N, 4] of the shortest rotations that turn z to the unit vectors [N, 3]."""
    x, y, z = normal.unbind(-1)
    quats = torch.stack([1 + z, -y, x, torch.zeros_like(z)], -1)
    # straight down has no shortest one: half a turn about x
    flipped = quats.norm(dim=-1) < 1e-4
    quats[flipped] = quats.new_tensor([0.0, 1.0, 0.0, 0.0])
    return torch.nn.functional.normalize(quats, dim=-1)


class _Free:
    """Gaussians as parameters without bounds, and their optimiser."""

    def __init__(self, start: Gaussians, config: FitConfig, radius: float) -> None:
        g = start
        self.means = g.means.clone().requires_grad_()
        self.quats = g.quats.clone().requires_grad_()
        self.log_scales = g.scales.log().requires_grad_()
        self.logits = g.opacities.clamp(1e-4, 1 - 1e-4).logit().requires_grad_()
        self.colors = g.colors.clone().requires_grad_()
        self.optimizer = torch.optim.Adam(
            [
                {"params": [self.means], "lr": config.means_lr * radius},
                {"params": [self.quats], "lr": config.quats_lr},
                {"params": [self.log_scales], "lr": config.scales_lr},
                {"params": [self.logits], "lr": config.opacities_lr},
                {"params": [self.colors], "lr": config.colors_lr},
            ],
            eps=1e-15,
            fused=True,
        )
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._falls = [MEANS_FALL] + 4 * [config.decay]

    def gaussians(self) -> Gaussians:
        """As they are now; colours are kept in [0, 1] with gradients that lead back into it."""
        colors = self.colors + (self.colors.clamp(0, 1) - self.colors).detach()
        return Gaussians(self.means, self.quats, self.log_scales.exp(), self.logits.sigmoid(), colors)

    def anneal(self, share: float) -> None:
        """The rates after that share of the steps."""
        for group, rate, fall in zip(self.optimizer.param_groups, self._rates, self._falls, strict=True):
            group["lr"] = rate * fall**share
