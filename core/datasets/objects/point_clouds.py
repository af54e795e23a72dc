"""Triplets whose objects are point clouds: what Uni3D learns from, before it meets Gaussians."""

from __future__ import annotations

import numpy as np
import torch

from ...data.objects import normalize_object
from ...geometry.gaussians import Gaussians, quat_to_rotmat
from .triplets import Triplets


def draw_points(gaussians: Gaussians, count: int, rng: np.random.Generator) -> Gaussians:
    """Points on the surface that Gaussians stand for: each is drawn from a Gaussian, in its tangent plane, with its
    colour; a Gaussian is drawn as often as it covers area. As opaque round Gaussians of one size.

    Args:
        count: how many points [count].
    """
    g = gaussians
    wide = g.scales.topk(2, 1).values
    area = (g.opacities * wide.prod(1)).double().numpy()
    share = np.cumsum(np.maximum(area, 1e-20))
    picked = torch.from_numpy(np.minimum(np.searchsorted(share, rng.uniform(0, share[-1], count)), len(g) - 1))
    noise = torch.from_numpy(rng.uniform(-1, 1, (count, 3))).float() * 3**0.5  # bounded: no point far off the surface
    thin = g.scales[picked].argmin(1)
    noise[torch.arange(count), thin] = 0
    offset = torch.einsum("nij,nj->ni", quat_to_rotmat(g.quats[picked]), noise * g.scales[picked])
    means = g.means[picked] + offset
    size = float(np.sqrt(4 * np.pi * area.sum() / count))  # of a disc of each point's share
    return Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        scales=torch.full((count, 3), max(size, 1e-6)),
        opacities=torch.ones(count),
        colors=g.colors[picked],
    )


class CloudTriplets(Triplets):
    """The same objects as `Triplets`, as many points each as they have Gaussians."""

    def _read(self, index: int) -> Gaussians:
        found = super()._read(index)
        return normalize_object(draw_points(found, len(found), np.random.default_rng([7, index])))
