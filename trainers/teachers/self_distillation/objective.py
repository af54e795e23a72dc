"""Self-distillation with balanced clusters: what the student must tell of what it does not see.

A teacher, the moving average of the student, sees whole crops and sorts their tokens into K clusters of equal size
(Sinkhorn-Knopp; SwAV, arXiv 2006.09882). The student sees a part of each crop and must name

- *masked*: the cluster of every token of the same crop that is hidden from it (iBOT, arXiv 2111.07832);
- *across*: the cluster of the same place in the other crop of the pair, of another size, side and colour.

No label, no caption, no depth and no pose enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....core.nn.tokens import CELL, STRIDE
from .crops import CropPairs


@dataclass(frozen=True)
class ObjectiveConfig:
    """Clusters and temperatures."""

    clusters: int = 256
    """K."""
    hidden: int = 256
    """Width of the head between features and clusters."""
    bottleneck: int = 64
    """Dimensions of the sphere on which clusters are directions."""
    student_temperature: float = 0.1
    """Of the student's softmax over cosines."""
    teacher_temperature: float = 0.05
    """Of the teacher's balanced assignment."""
    sinkhorn: int = 3
    """Rounds of balancing."""
    spread: float = 0.1
    """Weight of the term that keeps the features' channels uncorrelated and alive (VICReg, arXiv 2105.04906)."""


class ClusterHead(nn.Module):
    """Features [N, D] → cosines to the K clusters [N, K]."""

    def __init__(self, dim: int, config: ObjectiveConfig) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(dim, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.bottleneck),
        )
        self.clusters = nn.Parameter(F.normalize(torch.randn(config.clusters, config.bottleneck), dim=-1))

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.project(features), dim=-1) @ F.normalize(self.clusters, dim=-1).T


@torch.no_grad()
def balanced_assignment(cosines: Tensor, temperature: float, rounds: int) -> Tensor:
    """Shares [N, K] of tokens in clusters: rows sum to 1, columns to about N / K (Sinkhorn-Knopp on exp(cos / T)).

    Args:
        cosines: [N, K]; a constant per row changes nothing.
        temperature: T. rounds: of balancing; each ends with the rows.
    """
    q = ((cosines - cosines.max()) / temperature).exp()
    for _ in range(rounds):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-12)
        q = q / q.sum(1, keepdim=True).clamp_min(1e-12)
    return q


def decorrelation(features: Tensor) -> Tensor:
    """Variance and covariance terms of VICReg on features [N, D]: mean hinge of standard deviations at 1, plus the mean
    square of the off-diagonal covariances times D."""
    x = features - features.mean(0)
    n, d = x.shape
    variance = F.relu(1 - (x.var(0) + 1e-4).sqrt()).mean()
    covariance = (x.T @ x) / max(1, n - 1)
    return variance + (covariance.square().sum() - covariance.diagonal().square().sum()) / d


def tokens(maps: Tensor) -> Tensor:
    """[B, D, h, w] → [B h w, D] float32."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2).float()


def distillation(
    student: Tensor,
    head: ClusterHead,
    target: Tensor,
    teacher_head: ClusterHead,
    pairs: CropPairs,
    config: ObjectiveConfig,
) -> dict[str, Tensor]:
    """The terms "masked", "across" and "spread".

    Args:
        student: [2B, D, t, t] features of the partly hidden crops, with gradients. head: its clusters.
        target: [2B, D, t, t] the teacher's features of the whole crops. teacher_head: its clusters.
        pairs: the crops.
    """
    n, _, h, w = student.shape
    seen = tokens(student)
    log_p = F.log_softmax(head(seen) / config.student_temperature, dim=-1)
    with torch.no_grad():
        q = balanced_assignment(teacher_head(tokens(target)), config.teacher_temperature, config.sinkhorn)
        partner = q.view(n // 2, 2, h, w, -1).flip(1).reshape(n, h, w, -1).permute(0, 3, 1, 2)
        across = F.grid_sample(partner, pairs.place, mode="bilinear", padding_mode="border", align_corners=False)
        across = across.permute(0, 2, 3, 1).reshape(n * h * w, -1)
        inside = (pairs.place.abs().amax(-1) < 1 - 1 / w).flatten()
        hidden = pairs.hide.repeat_interleave(CELL // STRIDE, 1).repeat_interleave(CELL // STRIDE, 2).flatten()

    def mean(values: Tensor, where: Tensor) -> Tensor:
        return (values * where).sum() / where.sum().clamp_min(1)

    return {
        "masked": mean(-(q * log_p).sum(-1), hidden),
        "across": mean(-(across * log_p).sum(-1), inside),
        "spread": config.spread * decorrelation(seen),
    }
