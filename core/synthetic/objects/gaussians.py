"""Gaussians of one object without optimisation: each has the moments of a patch of the surface.

Fitting Gaussians to pictures takes minutes per object on a CPU. These have the position, extent, orientation and colour
of their patch, as fitted ones do: large and flat on even surfaces, thin along rods, small at edges and patterns, less
opaque where the patch has gaps.
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

POINTS_PER_GAUSSIAN = 8
"""Surface points per Gaussian."""
NORMAL_WEIGHT, COLOR_WEIGHT = 0.25, 0.35
"""Distances, in radii of the object, that perpendicular normals and that black and white count as."""
SCALE_FACTOR = 1.5
"""Factor on the standard deviations of a patch, so that neighbouring Gaussians leave no holes."""
MIN_RELATIVE_SCALE = 0.05
"""Smallest standard deviation, relative to that of a round patch of average area."""
MIN_OPACITY, MAX_OPACITY = 0.15, 0.97
"""Range of opacities."""


def object_gaussians(obj: ProceduralObject | Lit, count: int, seed: int = 0) -> Gaussians:
    """Gaussians that represent the outer surface of an object.

    Surface points are assigned to the nearest of ``count`` farthest points in position, normal and colour. Each point
    represents a small disc in its tangent plane; a Gaussian has the mean and the covariance of its discs. Its opacity
    is the share of its ellipse that the discs cover.

    Args:
        obj: an object, for the colours of its materials, or a lit one, for those of its pictures.
        count: number of Gaussians.
        seed: seed of the surface points.

    Returns:
        ``count`` Gaussians in the object's frame (z up, metres). Axes are sorted by descending size; the third points
        outwards.

    Raises:
        InputError: fewer than one.
    """
    if count < 1:
        raise InputError("count", "1 or more Gaussians", f"{count}")
    solid = obj if isinstance(obj, ProceduralObject) else obj.obj
    areas = exposed_areas(solid)
    points = surface_points(obj, POINTS_PER_GAUSSIAN * count, seed, areas)
    color = points.color.astype(np.float32) / 255
    place = (points.coord - solid.bounds.mean(0)) / solid.radius
    seen = np.concatenate(
        [place, NORMAL_WEIGHT / np.sqrt(2) * points.normal, COLOR_WEIGHT / np.sqrt(3) * color], 1, dtype=np.float32
    )
    owner = nearest_farthest_points(np.ascontiguousarray(seen), count)
    size = np.bincount(owner, minlength=count)

    def mean(values: NDArray) -> NDArray:
        """[count, ...] mean of each group."""
        flat = values.reshape(len(owner), -1).astype(np.float64)
        sums = np.stack([np.bincount(owner, column, count) for column in flat.T], 1)
        return (sums / size[:, None]).reshape(count, *values.shape[1:])

    center = mean(points.coord)
    apart = points.coord - center[owner]
    disc = float(areas.sum()) / len(owner) / (4 * np.pi)  # variance of a disc of that area along a diameter
    tangent = np.eye(3) - points.normal[:, :, None] * points.normal[:, None, :]
    covariance = mean(apart[:, :, None] * apart[:, None, :] + disc * tangent)
    variance, axes = np.linalg.eigh(covariance)
    scales = np.sqrt(np.maximum(variance[:, ::-1], 0))
    axes = axes[:, :, ::-1].copy()
    inwards = (axes[:, :, 2] * mean(points.normal)).sum(1) < 0
    axes[inwards, :, 2] *= -1
    axes[:, :, 1] = np.cross(axes[:, :, 2], axes[:, :, 0])
    filled = size * disc / np.maximum(scales[:, 0] * scales[:, 1], 1e-20)
    scales = SCALE_FACTOR * np.maximum(scales, MIN_RELATIVE_SCALE * np.sqrt(POINTS_PER_GAUSSIAN * disc))
    arrays = (center, _quats(axes), scales, np.clip(filled, MIN_OPACITY, MAX_OPACITY), mean(color))
    return Gaussians(*(torch.from_numpy(a.astype(np.float32)) for a in arrays))


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz", "reassoc", "contract"})
def nearest_farthest_points(points: NDArray, count: int) -> NDArray:
    """[N] index of the nearest of ``count`` farthest points for points [N, D]; each farthest point has itself."""
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
    """Quaternions [N, 4] (wxyz) of rotation matrices [N, 3, 3]."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(axes).as_quat()[:, [3, 0, 1, 2]]
