"""What a field of Gaussians says at points: the features that a probe or a question reads off a scene."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..geometry.gaussians import Gaussians, quat_to_rotmat

NEIGHBOURS = 8
"""Gaussians that a point listens to: those with the nearest centres."""


def features_at(gaussians: Gaussians, coord: Tensor, neighbours: int = NEIGHBOURS) -> Tensor:
    """[V, F] features at points [V, 3]: means over the nearest Gaussians, weighed by opacity times density there.

    f(x) = Σ_i w_i f_i / Σ_i w_i with w_i = o_i · exp(−½ (x − μ_i)ᵀ Σ_i⁻¹ (x − μ_i)); the weights are compared with the
    largest, so that a point far from all of them listens to the one that is relatively closest.

    Raises:
        InputError: no Gaussians, or Gaussians without features.
    """
    if gaussians.features is None or len(gaussians) == 0:
        raise InputError("Gaussians", "some, with features", f"{len(gaussians)} without" if len(gaussians) else "none")
    from scipy.spatial import KDTree  # slow to import

    k = min(neighbours, len(gaussians))
    tree = KDTree(gaussians.means.detach().cpu().numpy())
    index = np.asarray(tree.query(coord.detach().cpu().numpy(), k)[1]).reshape(len(coord), k)
    near = torch.from_numpy(index).to(coord.device)
    away = coord[:, None] - gaussians.means[near]
    rotation = quat_to_rotmat(gaussians.quats)[near]  # columns are the axes
    along = torch.einsum("vkij,vki->vkj", rotation, away) / gaussians.scales[near]
    log_weight = gaussians.opacities[near].clamp_min(1e-6).log() - 0.5 * (along**2).sum(-1)
    return (log_weight.softmax(1)[..., None] * gaussians.features[near]).sum(1)
