"""Interpolation of Gaussians' features at points, for probes and queries."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..geometry.gaussians import Gaussians, quat_to_rotmat

NEIGHBOURS = 8
"""Number of nearest Gaussians averaged per query point."""


def features_at(gaussians: Gaussians, coord: Tensor, neighbours: int = NEIGHBOURS) -> Tensor:
    """Interpolate features [V, F] at points [V, 3] from the nearest Gaussians, weighted by opacity and density.

    f(x) = Σ_i w_i f_i / Σ_i w_i with w_i = o_i · exp(−½ (x − μ_i)ᵀ Σ_i⁻¹ (x − μ_i)). The weights are normalised as a
    softmax of logarithms, so a point far from all Gaussians has the features of the relatively closest one.

    Args:
        gaussians: N, with features; metres.
        coord: [V, 3] world, metres.
        neighbours: number of Gaussians per point, by distance to their centres.

    Raises:
        InputError: no Gaussians, or Gaussians without features.
    """
    if gaussians.features is None or len(gaussians) == 0:
        raise InputError("Gaussians", "some, with features", f"{len(gaussians)} without" if len(gaussians) else "none")
    from scipy.spatial import KDTree  # slow to import

    k = min(neighbours, len(gaussians))
    tree = KDTree(gaussians.means.detach().cpu().numpy())
    index = np.asarray(tree.query(coord.detach().cpu().numpy(), k)[1]).reshape(len(coord), k)
    near = torch.from_numpy(index).to(coord.device)  # [V, k]
    offset = coord[:, None] - gaussians.means[near]  # [V, k, 3]
    rotation = quat_to_rotmat(gaussians.quats)[near]  # [V, k, 3, 3], columns are the axes
    along = torch.einsum("vkij,vki->vkj", rotation, offset) / gaussians.scales[near]  # [V, k, 3]
    log_weight = gaussians.opacities[near].clamp_min(1e-6).log() - 0.5 * (along**2).sum(-1)  # [V, k]
    return (log_weight.softmax(1)[..., None] * gaussians.features[near]).sum(1)
