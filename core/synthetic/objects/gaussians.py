"""Gaussians of one object without an optimiser: patches of its surface, each replaced by its moments.

Fitting Gaussians to pictures takes minutes per object on a CPU, which thousands of objects do not have. These have the
position, extent, direction and colour of what they stand for, as fitted ones do: large and flat where the surface is
flat and of one colour, thin along rods, small at edges and patterns, sheer where what they cover has gaps.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from ...errors import InputError
from ...geometry.gaussians import Gaussians
from .build import ProceduralObject
from .light import Lit
from .surface import exposed_areas, surface_points

POINTS = 8
"""Surface points per Gaussian."""
TURN, TINT = 0.25, 0.35
"""How far apart, in radii of the object, two points count as for normals that are at right angles, and for black and
white."""
OVERLAP = 1.5
"""Standard deviations as a multiple of the patch's own, so that neighbours close the surface between them."""
THICKNESS = 0.05
"""Smallest standard deviation, as a share of that of a round patch of average area."""
LEAST, MOST = 0.15, 0.97
"""Opacities."""


def object_gaussians(obj: ProceduralObject | Lit, count: int, seed: int = 0) -> Gaussians:
    """Gaussians that stand for the surface that can be seen from outside.

    Surface points are grouped around those that differ most in position, direction and colour. A point stands for a
    small disc in its tangent plane; a Gaussian has the mean and the covariance of its discs. Its opacity is the share
    of its own ellipse that the discs fill.

    Args:
        obj: an object, with the colours of its materials, or a lit one, with those of its pictures.
        count: how many Gaussians.
        seed: of the surface points.

    Returns:
        ``count`` Gaussians in the object's frame (z up, metres). Axes are in order of falling size; the third points
        outwards where the patch has an outside.

    Raises:
        InputError: fewer than one.
    """
    if count < 1:
        raise InputError("count", "1 or more Gaussians", f"{count}")
    bare = obj if isinstance(obj, ProceduralObject) else obj.obj
    areas = exposed_areas(bare)
    points = surface_points(obj, POINTS * count, seed, areas)
    color = points.color.astype(np.float32) / 255
    place = (points.coord - bare.bounds.mean(0)) / bare.radius
    seen = np.concatenate([place, TURN / np.sqrt(2) * points.normal, TINT / np.sqrt(3) * color], 1, dtype=np.float32)
    owner = _owners(np.ascontiguousarray(seen), count)
    size = np.bincount(owner, minlength=count)

    def mean(values: NDArray) -> NDArray:
        """[count, ...] of each group."""
        flat = values.reshape(len(owner), -1).astype(np.float64)
        sums = np.stack([np.bincount(owner, column, count) for column in flat.T], 1)
        return (sums / size[:, None]).reshape(count, *values.shape[1:])

    center = mean(points.coord)
    apart = points.coord - center[owner]
    disc = float(areas.sum()) / len(owner) / (4 * np.pi)  # variance of a disc of that area along its diameters
    tangent = np.eye(3) - points.normal[:, :, None] * points.normal[:, None, :]
    covariance = mean(apart[:, :, None] * apart[:, None, :] + disc * tangent)
    variance, axes = np.linalg.eigh(covariance)
    scales = np.sqrt(np.maximum(variance[:, ::-1], 0))
    axes = axes[:, :, ::-1].copy()
    inwards = (axes[:, :, 2] * mean(points.normal)).sum(1) < 0
    axes[inwards, :, 2] *= -1
    axes[:, :, 1] = np.cross(axes[:, :, 2], axes[:, :, 0])
    filled = size * disc / np.maximum(scales[:, 0] * scales[:, 1], 1e-20)
    scales = OVERLAP * np.maximum(scales, THICKNESS * np.sqrt(POINTS * disc))
    arrays = (center, _quats(axes), scales, np.clip(filled, LEAST, MOST), mean(color))
    return Gaussians(*(torch.from_numpy(a.astype(np.float32)) for a in arrays))


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc", "contract"})
def _owners(points: NDArray, count: int) -> NDArray:
    """[N] which of ``count`` farthest points each of the points [N, D] is nearest to; every one has itself."""
    n, d = points.shape
    owner = np.zeros(n, np.int64)
    nearest = np.full(n, np.float32(1e10))
    planes = points.T.copy()
    apart = np.empty(n, np.float32)
    pick = 0
    for k in range(count):
        apart[:] = 0
        for j in range(d):
            row, at = planes[j], planes[j, pick]
            for i in range(n):
                apart[i] += (row[i] - at) * (row[i] - at)
        farthest = np.float32(-1)
        for i in range(n):
            if apart[i] < nearest[i]:
                nearest[i] = apart[i]
                owner[i] = k
            if nearest[i] > farthest:
                farthest = nearest[i]
                nxt = i
        pick = nxt
    return owner


def _quats(axes: NDArray) -> NDArray:
    """Rotation matrices [N, 3, 3] → quaternions [N, 4] wxyz."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(axes).as_quat()[:, [3, 0, 1, 2]]
