"""Gaussians as unconstrained parameters, and their optimiser."""

from __future__ import annotations

from typing import Protocol

import torch

from ...core.geometry.gaussians import Gaussians

MEANS_FALL = 0.01
"""Final learning rate of the positions, as a share of the initial one."""


class LearningRates(Protocol):
    """Initial learning rates (Adam) of the parameters."""

    @property
    def means_lr(self) -> float:
        """Of the positions, in units of the scene's radius."""
        ...

    @property
    def scales_lr(self) -> float:
        """Of the logarithmic sizes."""
        ...

    @property
    def quats_lr(self) -> float:
        """Of the rotations (quaternions)."""
        ...

    @property
    def opacities_lr(self) -> float:
        """Of the opacity logits."""
        ...

    @property
    def colors_lr(self) -> float:
        """Of the colours in [0, 1]."""
        ...

    @property
    def decay(self) -> float:
        """Final learning rate of all but the positions, as a share of the initial one."""
        ...


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
