"""Is the representation collapsing? Two numbers that need no labels."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(features: Tensor) -> float:
    """exp of the entropy of the normalised singular values of the centred features [N, D] (Roy & Vetterli 2007; as
    RankMe). Between 1 (collapsed to a line) and min(N, D); 0 when all features are equal or any is not finite."""
    if not bool(torch.isfinite(features).all()):
        return 0.0
    x = features.double() - features.double().mean(0)
    values = torch.linalg.eigvalsh(x.T @ x).clamp_min(0).sqrt()
    if float(values.sum()) < 1e-12:
        return 0.0
    p = values / values.sum()
    return float(torch.exp(-(p * torch.log(p.clamp_min(1e-30))).sum()))


def feature_spread(features: Tensor) -> float:
    """Mean over channels of the standard deviation of ℓ2-normalised features [N, D] (as in SimSiam): 1/√D when they
    fill the sphere, 0 when they have collapsed to a point."""
    return float(torch.nn.functional.normalize(features, dim=-1).std(0).mean())
