"""Triplets with point clouds instead of Gaussians, the input of Uni3D."""

from __future__ import annotations

import numpy as np
import torch

from ...data.objects import normalize_object
from ...geometry.gaussians import Gaussians, quat_to_rotmat
from .triplets import Triplets


def sample_surface(gaussians: Gaussians, count: int, rng: np.random.Generator) -> Gaussians:
    """Sample points on the surface that Gaussians represent: in their tangent planes, with their colours, in proportion
    to their areas.

    Args:
        gaussians: Gaussians of one object.
        count: number of points.
        rng: source of random numbers.

    Returns:
        ``count`` opaque isotropic Gaussians of equal size.
    """
    g = gaussians
    wide = g.scales.topk(2, 1).values
    area = (g.opacities * wide.prod(1)).double().numpy()
    share = np.cumsum(np.maximum(area, 1e-20))
    picked = torch.from_numpy(np.minimum(np.searchsorted(share, rng.uniform(0, share[-1], count)), len(g) - 1))
    noise = (
        torch.from_numpy(rng.uniform(-1, 1, (count, 3))).float() * 3**0.5
    )  # bounded, so that no point is far off the surface
    thin = g.scales[picked].argmin(1)
    noise[torch.arange(count), thin] = 0
    offset = torch.einsum("nij,nj->ni", quat_to_rotmat(g.quats[picked]), noise * g.scales[picked])
    means = g.means[picked] + offset
    size = float(np.sqrt(4 * np.pi * area.sum() / count))  # disc with the area of one point
    return Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        scales=torch.full((count, 3), max(size, 1e-6)),
        opacities=torch.ones(count),
        colors=g.colors[picked],
    )


class CloudTriplets(Triplets):
    """`Triplets` whose objects are point clouds, with as many points as Gaussians."""

    def _read(self, index: int) -> Gaussians:
        gaussians = super()._read(index)
        return normalize_object(sample_surface(gaussians, len(gaussians), np.random.default_rng([7, index])))
