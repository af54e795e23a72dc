"""Metrics of rendered views against their targets."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(color: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio [M] in dB of views [M, H, W, 3] with colours in [0, 1]."""
    mse = (color - target).square().flatten(1).mean(1)
    return -10 * torch.log10(mse.clamp_min(1e-10))


def depth_error(depth: Tensor, target: Tensor) -> Tensor:
    """Median [M] of |d − d*| / d* over the measured pixels (d* > 0) of views [M, H, W] in metres; NaN without any."""
    errors = []
    for d, t in zip(depth, target, strict=True):
        valid = t > 0
        errors.append(((d - t).abs()[valid] / t[valid]).median() if bool(valid.any()) else d.new_tensor(torch.nan))
    return torch.stack(errors)


def token_cosine(projected: Tensor, target: Tensor) -> Tensor:
    """Mean cosine [M] of projected and teacher features [M, h, w, D]."""
    return torch.nn.functional.cosine_similarity(projected, target, dim=-1, eps=1e-6).flatten(1).mean(1)
