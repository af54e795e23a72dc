"""Loss of the label-free teacher: self-distillation with balanced clusters.

The teacher, a moving average of the student, sees whole crops and assigns their tokens to K clusters of equal size
(Sinkhorn-Knopp; SwAV, arXiv 2006.09882). The student sees part of each crop and predicts

- *masked*: the cluster of each hidden token of the same crop (iBOT, arXiv 2111.07832);
- *across*: the cluster of the same place in the other crop of the pair, of another size, flip and colour.

It uses no labels, captions, depth or poses.
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
    """Options of the self-distillation loss."""

    clusters: int = 256
    """Number of clusters (K)."""
    hidden: int = 256
    """Hidden width of the head between features and clusters."""
    bottleneck: int = 64
    """Dimension of the unit vectors that are compared with the clusters."""
    student_temperature: float = 0.1
    """Temperature of the student's softmax over cosines."""
    teacher_temperature: float = 0.05
    """Temperature of the teacher's balanced assignment."""
    sinkhorn: int = 3
    """Iterations of balancing (Sinkhorn-Knopp)."""
    spread: float = 0.1
    """Weight of the variance and covariance terms against collapse (VICReg, arXiv 2105.04906)."""


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
    """Assign tokens to clusters of equal size by Sinkhorn-Knopp on exp(cos / T).

    Args:
        cosines: [N, K]; a constant per row changes nothing.
        temperature: T.
        rounds: number of iterations, each ending with the rows.

    Returns:
        [N, K] shares; rows sum to 1, columns to about N / K.
    """
    q = ((cosines - cosines.max()) / temperature).exp()
    for _ in range(rounds):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-12)
        q = q / q.sum(1, keepdim=True).clamp_min(1e-12)
    return q


def decorrelation(features: Tensor) -> Tensor:
    """Compute the variance and covariance terms of VICReg on features [N, D].

    Mean hinge of standard deviations at 1, plus D times the mean square of the off-diagonal covariances.
    """
    x = features - features.mean(0)
    n, d = x.shape
    variance = F.relu(1 - (x.var(0) + 1e-4).sqrt()).mean()
    covariance = (x.T @ x) / max(1, n - 1)
    return variance + (covariance.square().sum() - covariance.diagonal().square().sum()) / d


def tokens(maps: Tensor) -> Tensor:
    """Flatten [B, D, h, w] to [B h w, D], float32."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2).float()


def distillation(
    student: Tensor,
    head: ClusterHead,
    target: Tensor,
    teacher_head: ClusterHead,
    pairs: CropPairs,
    config: ObjectiveConfig,
) -> dict[str, Tensor]:
    """Compute the terms "masked", "across" and "spread".

    Args:
        student: [2B, D, t, t] the student's features of the partly hidden crops, with gradients.
        head: the student's head.
        target: [2B, D, t, t] the teacher's features of the whole crops.
        teacher_head: the teacher's head.
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
