"""Gaussian heads: from an anchor's feature to the parameters of its Gaussian (GaussianCross §3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..geometry.gaussians import Gaussians


@dataclass(frozen=True)
class HeadConfig:
    """Activations of the Gaussian heads. The paper names them; the ranges are inferred."""

    hidden: int = 64
    """Width of the one hidden layer that the heads share; 0 makes them linear."""
    offset_range: float = 1.0
    """Δ: the farthest a mean moves from its anchor, in lattice pitches per axis (δ = tanh(·) · Δ, starting at 0)."""
    scale_range: tuple[float, float] = (0.1, 3.0)
    """Smallest and largest standard deviation, in pitches; log-uniform under a sigmoid."""
    scale_init: float = 0.5
    """Standard deviation at the start, in pitches."""
    opacity_init: float = 0.5
    """Opacity at the start; above the pruning threshold, so that every anchor is seen at first."""
    feature_dim: int = 32
    """Channels of the semantic embedding f. With RGB and depth, one pass of the rasteriser."""
    prune_threshold: float = 0.3
    """τ: anchors with an opacity at or below it are dropped before rasterisation (0.3 in the paper)."""
    prune_floor: float = 1 / 3
    """Share of the anchors, the most opaque ones, that stay whatever their opacity. Inferred, and needed: a pruned
    anchor gets no gradient, and with too low a floor a lattice prunes itself away (livingroom, 60,000 cells, held-out
    PSNR after 160 steps: 17.6 dB with 1/3, 11.5 dB with 1/30). With finer anchors beside the lattice little will do."""

    def __post_init__(self) -> None:
        if not 0 <= self.prune_floor <= 1:
            raise InputError("prune_floor", "a share of the anchors, from 0 to 1", str(self.prune_floor))


class GaussianHead(nn.Module):
    """MLP from anchor features [A, C] to Gaussians around anchors, pruned by opacity.

    Opacity is decoded first and the rest only for the anchors that stay: pruning pays for itself.
    """

    def __init__(self, in_channels: int, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden or in_channels
        self.hidden = nn.Sequential(nn.Linear(in_channels, width), nn.ReLU()) if config.hidden else nn.Identity()
        self.opacity = nn.Linear(width, 1)
        self.rest = nn.Linear(width, 3 + 4 + 3 + 3 + config.feature_dim)
        low, high = config.scale_range
        with torch.no_grad():
            self.opacity.weight.mul_(0.1)
            self.opacity.bias.fill_(math.log(config.opacity_init / (1 - config.opacity_init)))
            self.rest.weight[:10] = 0  # offset 0, identity rotation and one common scale at the start
            self.rest.bias.zero_()
            self.rest.bias[3] = 1
            start = math.log(config.scale_init / low) / math.log(high / low)
            self.rest.bias[7:10] = math.log(start / (1 - start))

    def forward(
        self,
        feat: Tensor,
        anchors: Tensor,
        pitch: Tensor,
        base_color: Tensor | None = None,
        base_features: Tensor | None = None,
    ) -> Gaussians:
        """
        Args:
            feat: [A, C] anchor features.
            anchors: [A, 3] anchor means ν, metres.
            pitch: [3] distance between anchors per axis, metres.
            base_color: [A, 3] colours in [0, 1] to which a residual in ±0.5 is predicted; None predicts colours.
            base_features: [A, F] embeddings to which a residual is predicted; None predicts embeddings.

        Returns:
            the Gaussians of the anchors that survive pruning.
        """
        c = self.config
        hidden = self.hidden(feat)
        opacities = self.opacity(hidden)[:, 0].float().sigmoid()
        keep = self.keep(opacities.detach())
        out = self.rest(hidden[keep]).float()
        offset, quats, scales, colors, features = out.split([3, 4, 3, 3, c.feature_dim], 1)
        low, high = c.scale_range
        colors = colors.sigmoid()
        if base_color is not None:
            colors = (base_color[keep] + colors - 0.5).clamp(0, 1)
        if base_features is not None:
            features = base_features[keep] + features
        return Gaussians(
            means=anchors[keep] + offset.tanh() * (c.offset_range * pitch),
            quats=quats,
            scales=pitch * (low * torch.exp(math.log(high / low) * scales.sigmoid())),
            opacities=opacities[keep],
            colors=colors,
            features=features,
        )

    def keep(self, opacities: Tensor) -> Tensor:
        """Indices [K] of the anchors that stay, ascending: opacity above τ, and the most opaque up to the floor."""
        kept = opacities > self.config.prune_threshold
        floor = math.ceil(self.config.prune_floor * len(opacities))
        if int(kept.sum()) < floor:
            kept[opacities.topk(floor).indices] = True
        return kept.nonzero()[:, 0]
