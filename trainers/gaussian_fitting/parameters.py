"""Gaussians as unconstrained parameters, and their optimiser."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...core.geometry.gaussians import Gaussians

MEANS_FALL = 0.01
"""Final learning rate of the positions, as a share of the initial one."""


@dataclass(frozen=True)
class LearningRates:
    """Learning rates (Adam) of the parameters; the defaults follow 3DGS."""

    means_lr: float = 1.6e-4
    """Learning rate of the positions, in radii of the object or scene; decays to a hundredth."""
    scales_lr: float = 5e-3
    """Learning rate of the logarithmic sizes."""
    quats_lr: float = 1e-3
    """Learning rate of the rotations (quaternions)."""
    opacities_lr: float = 5e-2
    """Learning rate of the opacity logits."""
    colors_lr: float = 5e-3
    """Learning rate of the colours in [0, 1], about 3DGS's for SH coefficients."""
    decay: float = 1.0
    """Final learning rate of all but the positions, as a share of the initial one."""


class GaussianParameters:
    """Gaussians as unconstrained parameters (logarithms of sizes, logits of opacities), and their optimiser.

    Args:
        start: initial values; its ``features`` are not optimised and not kept.
        rates: initial learning rates.
        radius: extent of the scene, in the unit of the means.
    """

    def __init__(self, start: Gaussians, rates: LearningRates, radius: float) -> None:
        self.means = start.means.clone().requires_grad_()
        self.quats = start.quats.clone().requires_grad_()
        self.log_scales = start.scales.log().requires_grad_()
        self.logits = start.opacities.clamp(1e-4, 1 - 1e-4).logit().requires_grad_()
        self.colors = start.colors.clone().requires_grad_()
        self.optimizer = torch.optim.Adam(
            [
                {"params": [self.means], "lr": rates.means_lr * radius},
                {"params": [self.quats], "lr": rates.quats_lr},
                {"params": [self.log_scales], "lr": rates.scales_lr},
                {"params": [self.logits], "lr": rates.opacities_lr},
                {"params": [self.colors], "lr": rates.colors_lr},
            ],
            eps=1e-15,
            fused=True,
        )
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._final_shares = [MEANS_FALL] + 4 * [rates.decay]

    def gaussians(self) -> Gaussians:
        """Return the current Gaussians; colours are clamped to [0, 1] with straight-through gradients."""
        colors = self.colors + (self.colors.clamp(0, 1) - self.colors).detach()
        return Gaussians(self.means, self.quats, self.log_scales.exp(), self.logits.sigmoid(), colors)

    def anneal(self, share: float) -> None:
        """Set the learning rates after ``share`` (0 to 1) of the optimisation."""
        for group, rate, final in zip(self.optimizer.param_groups, self._rates, self._final_shares, strict=True):
            group["lr"] = rate * final**share
