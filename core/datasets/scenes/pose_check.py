"""Check that the poses of a capture agree with its depth images, to detect confused conventions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...data.scene import PosedFrames
from ...errors import InputError

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])

MIX_UPS = {
    "world-to-camera matrices instead of camera-to-world": np.linalg.inv,
    "the other camera convention (OpenGL and OpenCV swapped)": lambda c2w: c2w @ _FLIP,
    "world-to-camera matrices in the other camera convention": lambda c2w: np.linalg.inv(c2w) @ _FLIP,
}
"""Actual convention of the poses → conversion to camera-to-world with OpenCV axes."""

UNITS = {
    "positions of the poses in millimetres": 0.001,
    "positions of the poses in centimetres": 0.01,
    "depth in 1/5000 m": 5.0,
    "depth in 1/4000 m": 4.0,
}
"""Unit that was not expected → factor of the positions that makes them fit the depth as it was read."""

POOR = 0.1
"""Share of agreeing pixels below which poses and depth images are doubted."""

EVIDENCE = 0.1
"""Lowest share of agreeing pixels under another convention for an error."""

CLEARLY = 0.6
"""Largest ratio of the share under the assumed convention to that share for an error."""


def check_poses(frames: PosedFrames, where: str, pairs: int = 8, width: int = 64) -> str | None:
    """Compare the agreement of poses and depth images under several pose conventions.

    Pixels of a frame are projected into a later one; a pixel agrees if its depth is within 5 % of the measured one.
    Captures with little motion agree under every convention and pass.

    Args:
        frames: posed frames with depth.
        where: path of the capture, for the error.
        pairs: number of frame pairs.
        width: width of the resized depth images, pixels.

    Returns:
        a doubt to show, about the unit of the poses or about poses that do not fit at all; None without one.

    Raises:
        InputError: another convention agrees clearly better than the assumed one.
    """
    count = len(frames)
    if count < 2:
        return None
    height = max(1, round(width * frames.cameras.height / frames.cameras.width))
    K = frames.cameras.resized(width, height).Ks.double().numpy()
    c2w = np.linalg.inv(frames.cameras.viewmats.double().numpy())
    first = np.unique(np.linspace(0, count - 2, pairs).round().astype(int))
    chosen = [(i, min(count - 1, i + step)) for i, step in zip(first, np.resize([1, 2, 4], len(first)), strict=True)]
    needed = {int(i) for pair in chosen for i in pair}
    damaged = frames.unreadable(needed, width, height)
    chosen = [(i, j) for i, j in chosen if int(i) not in damaged and int(j) not in damaged]
    if not chosen:
        return None
    depths = {i: frames.read(i, width, height).depth for i in needed if i not in damaged}

    def agreement(poses: NDArray[np.float64]) -> float:
        shares = [_agreement(depths[i], depths[j], K[i], K[j], np.linalg.inv(poses[j]) @ poses[i]) for i, j in chosen]
        return float(np.mean(shares))

    assumed = agreement(c2w)
    scores = {name: agreement(convert(c2w)) for name, convert in MIX_UPS.items()}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] >= EVIDENCE and assumed < CLEARLY * scores[best]:
        raise InputError(
            where,
            f"poses that fit the depth images (they agree on {assumed:.0%} of the pixels)",
            f"{best} ({scores[best]:.0%} when read so)",
            "convert the poses",
        )
    units = {name: agreement(_scaled(c2w, factor)) for name, factor in UNITS.items()}
    unit = max(units, key=lambda name: units[name])
    if units[unit] >= EVIDENCE and assumed < CLEARLY * units[unit]:
        return (
            f"the numbers look like {unit}: poses and depth images agree on {assumed:.0%} of the pixels, "
            f"and would on {units[unit]:.0%}"
        )
    if assumed < POOR and any((depth > 0).any() for depth in depths.values()):
        return (
            f"poses and depth images agree on {assumed:.0%} of the pixels: the frames see different places, or poses, "
            "intrinsics or the unit of depth are wrong"
        )
    return None


def _scaled(c2w: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Poses [F, 4, 4] with their positions times ``factor``."""
    out = c2w.copy()
    out[:, :3, 3] *= factor
    return out


def _agreement(
    depth: NDArray[np.float32],
    other: NDArray[np.float32],
    K: NDArray[np.float64],
    other_K: NDArray[np.float64],
    motion: NDArray[np.float64],
) -> float:
    """Share of the valid pixels of ``depth`` [H, W] that agree with ``other`` [H, W] after ``motion`` [4, 4]."""
    h, w = depth.shape
    v, u = np.nonzero(depth > 0)
    if len(v) == 0:
        return 0.0
    z = depth[v, u].astype(np.float64)
    points = np.stack([(u + 0.5 - K[0, 2]) / K[0, 0] * z, (v + 0.5 - K[1, 2]) / K[1, 1] * z, z])
    x, y, z = motion[:3, :3] @ points + motion[:3, 3:]
    front = z > 1e-3
    x, y, z = x[front], y[front], z[front]
    iu = np.floor(other_K[0, 0] * x / z + other_K[0, 2]).astype(np.int64)
    iv = np.floor(other_K[1, 1] * y / z + other_K[1, 2]).astype(np.int64)
    inside = (iu >= 0) & (iu < w) & (iv >= 0) & (iv < h)
    measured = other[iv[inside], iu[inside]]
    return float((np.abs(measured - z[inside]) < 0.05 * z[inside]).sum() / len(v))
