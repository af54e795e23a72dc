"""Contrastive loss of matching point features in two views."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """PointInfoNCE (PointContrast, Xie et al. 2020): −mean_i log softmax_j(cos(a_i, b_j) / τ)_i, averaged over both
    directions.

    Args:
        first: [P, C] features a.
        second: [P, C] features b; row i matches row i of ``first``.
        temperature: τ.

    Returns:
        A scalar in float32 or wider; 0, with gradients of 0, without a pair.
    """
    if not len(first):
        return first.sum() + second.sum()
    wide = torch.promote_types(first.dtype, torch.float32)
    with torch.autocast(first.device.type, enabled=False):  # bfloat16 cosines divided by τ would be off by tenths
        logits = F.normalize(first.to(wide), dim=1) @ F.normalize(second.to(wide), dim=1).T / temperature  # [P, P]
    here = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, here) + F.cross_entropy(logits.T, here)) / 2
