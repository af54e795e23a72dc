"""Fuse posed RGB-D frames into a point cloud with colours and normals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...data.scene import PointScene, PosedFrames
from ...errors import InputError
from ...io.frames import frames_without_depth
from ...report import SILENT, Report

COLUMNS = 320
"""Approximate number of pixels used per row: one per centimetre at 3 m for common depth cameras."""

STEEPEST = np.tan(np.deg2rad(85.0))
"""Largest slope of a surface, 85°: its neighbouring pixels differ in depth by at most z / f · tan(85°)."""

NOISE = 0.01
"""Additional tolerance of that difference as a share of z, for sensor noise."""

ROWS = 2_000_000
"""Number of partial voxel sums (88 bytes each) above which those of the same voxel are added up."""

BASELINE = 2
"""Distance in pixels to each side for the differences of normals. A distance of one, more sensitive to sensor noise, is
used only where this one crosses an edge."""


def fuse_points(
    frames: PosedFrames,
    index: Sequence[int] | None = None,
    voxel: float = 0.02,
    max_depth: float = 6.0,
    stride: int | None = None,
    min_cover: float = 0.25,
    name: str = "capture",
    report: Report = SILENT,
) -> PointScene:
    """Back-project frames and average the pixels in each voxel.

    Args:
        frames: posed frames with depth.
        index: the frames to use; all by default.
        voxel: edge length of the voxels in metres; each gives one point, at the mean of its pixels.
        max_depth: largest depth used, metres.
        stride: distance of the pixels used in rows and columns; by default about `COLUMNS` columns are used.
        min_cover: voxels whose pixels in all frames cover less than this share of a voxel's face are outliers. Unlike
            a number of pixels, it is independent of resolution and distance.
        name: name of the scene.
        report: receives progress, and notices of frames without valid depth and of unreadable ones, which are left out.

    Returns:
        points in the frames' world, ordered by voxel. ``normal`` is the mean of the normals of the depth images, facing
        the cameras; zero where every pixel is beside a depth edge.

    Raises:
        InputError: no frame, no valid depth in any frame, or no frame that can be read.
    """
    picked = list(range(len(frames)) if index is None else index)
    if not picked:
        raise InputError(name, "at least one frame to fuse", "none")
    width, height = frames.cameras.width, frames.cameras.height
    stride = stride or max(1, round(width / COLUMNS))
    c2ws = np.linalg.inv(frames.cameras.viewmats.double().numpy())
    Ks = frames.cameras.Ks.double().numpy()
    # Read at full size and subsampled here, so that the rays of the pixels are exact.
    thin = (slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    parts: list[tuple[NDArray, NDArray, NDArray]] = []
    stored, limit, empty = 0, ROWS, []
    damaged: list[InputError] = []
    for i in report.steps(f"{name}: fusing depth images", picked):
        try:
            frame, c2w = frames.read(i, width, height), c2ws[i]
        except InputError as error:
            damaged.append(error)
            continue
        K = _subsample_intrinsics(Ks[i], stride)
        points, normals, valid = _surface(frame.depth[thin], K, max_depth)
        if not valid.any():
            empty.append(frames.names[i])
        points, normals = points[valid], normals[valid]
        world = np.einsum("nj,ij->ni", points, c2w[:3, :3]) + c2w[:3, 3]
        cover = (points[:, 2] / voxel) ** 2 / (K[0, 0] * K[1, 1])
        rotated = np.einsum("nj,ij->ni", normals, c2w[:3, :3])
        values = np.column_stack([world, frame.color[thin][valid], rotated, cover])
        parts.append(_sum_by_key(_pack(np.floor(world / voxel).astype(np.int64), name), values))
        stored += len(parts[-1][0])
        if stored > limit:  # long captures see the same voxels repeatedly
            parts = [_merge_sums(parts)]
            stored = len(parts[0][0])
            limit = max(ROWS, 2 * stored)
    if damaged:
        if len(damaged) == len(picked):
            raise damaged[0]
        report.notice(
            f"{name}: {len(damaged)} of {len(picked)} frames are damaged and left out; the first: {damaged[0]}"
        )
    measured = set(empty) - set(frames_without_depth(frames))
    if measured:
        first = next(frame for frame in empty if frame in measured)
        found = f"{len(measured)} of {len(picked)} frames have no depth between 0 and {max_depth:g} m"
        report.notice(f"{name}: {found} (first {first})")
    keys, sums, counts = (np.concatenate(p) for p in zip(*parts, strict=True))
    if len(keys) == 0:
        raise InputError(
            name,
            f"depth between 0 and {max_depth:g} m in some frame",
            f"none in {len(picked)} frames",
            "check the depth images' unit (millimetres) and max_depth",
        )
    keys, sums = _sum_by_key(keys, np.column_stack([sums, counts]))[:2]
    covered = sums[:, 9] >= min_cover
    if not covered.any():
        covered[:] = True  # few pixels: a sparse scene is better than none
    mean = sums[covered, :6] / sums[covered, 10:]
    normal = sums[covered, 6:9]
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.where(length > 1e-6, normal / np.maximum(length, 1e-6), 0)
    color = (mean[:, 3:] * 255 + 0.5).clip(0, 255).astype(np.uint8)
    return PointScene(name, mean[:, :3].astype(np.float32), color, normal.astype(np.float32))


def _surface(
    depth: NDArray[np.float32], K: NDArray[np.float64], max_depth: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Points and normals [H, W, 3] in the camera frame, and validity [H, W] of the points.

    Pixels beside a depth edge are invalid, because sensors interpolate across edges.
    """
    h, w = depth.shape
    z = depth.astype(np.float64)
    valid = (z > 0) & (z < max_depth)
    x = (np.arange(w) + 0.5 - K[0, 2]) / K[0, 0]
    y = (np.arange(h) + 0.5 - K[1, 2]) / K[1, 1]
    points = np.stack([z * x, z * y[:, None], z], -1)
    limit = z * (STEEPEST / min(K[0, 0], K[1, 1]) + NOISE)
    edge = np.zeros_like(valid)
    for axis in (0, 1):
        a, b = _halves(valid, axis, 1), _halves(valid, axis, -1)
        jump = np.abs(z[a] - z[b]) > np.minimum(limit[a], limit[b])
        jump &= valid[a] & valid[b]  # a missing neighbour is not an edge
        edge[a] |= jump
        edge[b] |= jump
    valid &= ~edge

    wide, narrow = (_normals(points, valid, limit, k) for k in (BASELINE, 1))
    return points, np.where(wide.any(-1, keepdims=True), wide, narrow), valid


def _normals(
    points: NDArray[np.float64], valid: NDArray[np.bool_], limit: NDArray[np.float64], reach: int
) -> NDArray[np.float64]:
    """Unit normals [H, W, 3] facing the camera, from differences over ``reach`` pixels to each side; zero where a pixel
    is missing or on another surface."""
    z, smooth, tangents = points[..., 2], valid.copy(), []
    for axis in (1, 0):
        tangent, inner = np.zeros_like(points), np.zeros_like(valid)
        if z.shape[axis] > 2 * reach:
            ahead, behind = _halves(z, axis, 2 * reach), _halves(z, axis, -2 * reach)
            middle = tuple(slice(reach, -reach) if a == axis else slice(None) for a in (0, 1))
            tangent[middle] = points[ahead] - points[behind]
            close = np.abs(z[ahead] - z[behind]) <= 2 * reach * limit[middle]
            inner[middle] = valid[ahead] & valid[behind] & close
        tangents.append(tangent)
        smooth &= inner
    normals = np.cross(tangents[1], tangents[0])  # y × x points at the camera, which looks along +z
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.where(smooth[..., None] & (length > 0), normals / np.maximum(length, 1e-12), 0)
    return normals * np.where((normals * points).sum(-1, keepdims=True) > 0, -1.0, 1.0)


def _halves(array: NDArray, axis: int, shift: int) -> tuple[slice, ...]:
    """Index of an image without its first (shift > 0) or last (shift < 0) ``|shift|`` entries along ``axis``."""
    part = slice(shift, None) if shift > 0 else slice(None, shift)
    return tuple(part if a == axis else slice(None) for a in range(array.ndim))


def _pack(cells: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """Sortable keys [N] of voxel indices [N, 3] (21 bits per axis: ±20 km at 2 cm)."""
    if len(cells) and np.abs(cells).max() >= 1 << 20:
        raise InputError(
            name, "camera positions within some kilometres of the origin", f"voxel {cells.max(0).tolist()}"
        )
    shifted = cells + (1 << 20)
    return (shifted[:, 0] << 42) | (shifted[:, 1] << 21) | shifted[:, 2]


def _merge_sums(parts: list[tuple[NDArray, NDArray, NDArray]]) -> tuple[NDArray, NDArray, NDArray]:
    """Merge several results of `_sum_by_key`."""
    keys, sums, counts = (np.concatenate(p) for p in zip(*parts, strict=True))
    keys, both = _sum_by_key(keys, np.column_stack([sums, counts]))[:2]
    return keys, both[:, :-1], both[:, -1]


def _sum_by_key(
    keys: NDArray[np.int64], values: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Sorted unique keys [K], the sums of their values [K, D], and their counts [K]."""
    if len(keys) == 0:
        return keys, values, keys
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(values[order], starts), np.diff(starts, append=len(keys))


def _subsample_intrinsics(K: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """Intrinsics of every ``stride``-th pixel from s = ``stride // 2`` on: u = stride · (u' − 0.5) + s + 0.5."""
    K = K.copy()
    K[:2, 2] = (K[:2, 2] - 0.5 - stride // 2) / stride + 0.5
    K[0, 0] /= stride
    K[1, 1] /= stride
    return K
