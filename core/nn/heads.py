"""Gaussian heads: from an anchor's feature to the parameters of its Gaussian (GaussianCross §3.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..geometry.gaussians import Gaussians


@dataclass(frozen=True)
class HeadConfig:
    """Activations of the Gaussian heads. The paper names them; the ranges are inferred."""

    hidden: int = 64
    """Width of the hidden layer that the outputs share; 0 makes the head linear."""
    offset_range: float = 1.0
    """Δ, largest offset of a mean from its anchor, in pitches per axis (δ = tanh(·) · Δ, 0 at the start)."""
    scale_range: tuple[float, float] = (0.1, 3.0)
    """Smallest and largest standard deviation, in pitches (log-uniform in a sigmoid)."""
    scale_init: float = 0.5
    """Standard deviation at the start, in pitches."""
    opacity_init: float = 0.5
    """Opacity at the start; above the pruning threshold, so that every anchor is rendered at first."""
    feature_dim: int = 32
    """Channels of the semantic embedding f, rendered in one pass with colour and depth."""
    prune_threshold: float = 0.3
    """τ: anchors with an opacity at or below it are dropped before rasterisation (0.3 in the paper)."""
    prune_floor: float = 1 / 3
    """Smallest share of anchors kept, most opaque first; pruned anchors get no gradient. Inferred."""

    def __post_init__(self) -> None:
        if not 0 <= self.prune_floor <= 1:
            raise InputError("prune_floor", "a share of the anchors, from 0 to 1", str(self.prune_floor))


class GaussianHead(nn.Module):
    """MLP from anchor features [A, C] to Gaussians around anchors, pruned by opacity.

    Opacity is decoded first, everything else only for the anchors that are kept.
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
        """Decode the Gaussians of one scene; see `scenes`."""
        return self.scenes(feat, anchors, pitch, [len(feat)], base_color, base_features)[0]

    def scenes(
        self,
        feat: Tensor,
        anchors: Tensor,
        pitch: Tensor,
        sizes: Sequence[int],
        base_color: Tensor | None = None,
        base_features: Tensor | None = None,
    ) -> list[Gaussians]:
        """Decode the Gaussians of the anchors of several scenes that survive pruning.

        Args:
            feat: [A, C] anchor features.
            anchors: [A, 3] anchor means ν, metres.
            pitch: [3] or [A, 3] distance between anchors per axis, metres.
            sizes: number of anchors of each scene, in the order of the rows.
            base_color: [A, 3] colours in [0, 1] to which a residual in ±0.5 is predicted; None predicts colours.
            base_features: [A, F] embeddings to which a residual is predicted; None predicts embeddings.

        Returns:
            per scene K ≤ A Gaussians.
        """
        c = self.config
        hidden = self.hidden(feat)  # [A, hidden]
        opacities = self.opacity(hidden)[:, 0].float().sigmoid()  # [A]
        keep, kept = self.keep(opacities.detach(), sizes)  # [K]
        pitch = pitch if pitch.ndim == 1 else pitch[keep]  # [3] or [K, 3]
        out = self.rest(hidden[keep]).float()  # [K, 13 + F]
        offset, quats, scales, colors, features = out.split([3, 4, 3, 3, c.feature_dim], 1)  # [K, …] each
        low, high = c.scale_range
        colors = colors.sigmoid()  # [K, 3]
        if base_color is not None:
            colors = (base_color[keep] + colors - 0.5).clamp(0, 1)
        if base_features is not None:
            features = base_features[keep] + features  # [K, F]
        gaussians = Gaussians(
            means=anchors[keep] + offset.tanh() * (c.offset_range * pitch),
            quats=quats,
            scales=pitch * (low * torch.exp(math.log(high / low) * scales.sigmoid())),
            opacities=opacities[keep],
            colors=colors,
            features=features,
        )
        return [gaussians] if len(kept) == 1 else gaussians.split(kept)

    def keep(self, opacities: Tensor, sizes: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Indices [K], ascending, of the anchors to keep, and their number per scene.

        Kept are those with an opacity above τ, and at least the ``prune_floor`` most opaque of a scene. The numbers are
        read from the device once for all scenes.
        """
        opacities = opacities.nan_to_num(-1.0)  # topk takes NaN for the highest; the loss finds it, not an index
        above = opacities > self.config.prune_threshold  # [A]
        parts = zip(above.split(list(sizes)), opacities.split(list(sizes)), strict=True)
        counts = torch.stack([part.sum() for part in above.split(list(sizes))]).tolist()
        kept = []
        for (part, opacity), count in zip(parts, counts, strict=True):
            minimum = math.ceil(self.config.prune_floor * len(part))
            if count < minimum:
                part[opacity.topk(minimum).indices] = True
            kept.append(max(count, minimum))
        return _true_rows(above, sum(kept)), kept


def _true_rows(mask: Tensor, count: int) -> Tensor:
    """``mask.nonzero()[:, 0]`` of a mask with ``count`` true rows; only on the CPU is the number read again."""
    return mask.nonzero()[:, 0] if mask.device.type == "cpu" else rows_without_reading(mask, count)


def rows_without_reading(mask: Tensor, count: int) -> Tensor:
    """Rows [count] of a mask [A] with ``count`` true rows, ascending, without reading from its device."""
    slot = torch.where(mask, mask.cumsum(0) - 1, count)  # [A]; the last slot takes the others
    rows = torch.arange(len(mask), device=mask.device)
    return torch.empty(count + 1, dtype=torch.int64, device=mask.device).scatter_(0, slot, rows)[:count]
