"""Measures of collapse of a representation, without labels."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(features: Tensor) -> float:
    """Effective rank of features [N, D]: exp of the entropy of the normalised singular values after centring.

    Between 1 (collapsed to a line) and min(N, D); 0 when all features are equal or one is not finite (Roy & Vetterli
    2007; RankMe, Garrido et al. 2023).
    """
    if not bool(torch.isfinite(features).all()):
        return 0.0
    x = features.double() - features.double().mean(0)
    values = torch.linalg.eigvalsh(x.T @ x).clamp_min(0).sqrt()
    if float(values.sum()) < 1e-12:
        return 0.0
    p = values / values.sum()
    return float(torch.exp(-(p * torch.log(p.clamp_min(1e-30))).sum()))


def feature_spread(features: Tensor) -> float:
    """Mean standard deviation over the channels of ℓ2-normalised features [N, D] (SimSiam).

    1/√D for features spread over the sphere, 0 for features collapsed to a point.
    """
    return float(torch.nn.functional.normalize(features, dim=-1).std(0).mean())
