"""Gaussians as files store them: with spherical harmonics and labels, from activated or encoded values."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...geometry.gaussians import Gaussians

SH_C0 = 0.28209479177387814
"""Constant spherical harmonic, 1 / (2 √π): color = 0.5 + SH_C0 · f_dc."""

SH_COUNTS = (0, 3, 8, 15, 24)
"""Number of view-dependent spherical harmonics for degrees 0–4."""

_OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
"""Index of the largest component of a quaternion → indices of the other three."""


@dataclass(frozen=True)
class SplatData:
    """Contents of a splat file, N Gaussians.

    Attributes:
        gaussians: the Gaussians with the constant term of their colour, and ``features`` if the file has some.
        sh: [N, K, 3] coefficients of the K = 3, 8, 15 or 24 view-dependent spherical harmonics, in INRIA's order and
            in the axes of the file; None without. Nothing here renders them; they are kept for writing.
        labels: [N] int64, or None.
    """

    gaussians: Gaussians
    sh: Tensor | None = None
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.gaussians)

    def __getitem__(self, index: Tensor) -> SplatData:
        """The selected Gaussians; ``index`` is a mask [N] or indices [K]."""
        labels = None if self.labels is None else self.labels[index.numpy()]
        return SplatData(self.gaussians[index], None if self.sh is None else self.sh[index], labels)


def splat_data(
    path: Path,
    means: NDArray,
    quats: NDArray,
    scales: NDArray,
    opacities: NDArray,
    colors: NDArray,
    sh: NDArray | None = None,
    features: NDArray | None = None,
    labels: NDArray | None = None,
) -> SplatData:
    """Check the activated values of N Gaussians and drop the unusable ones with a warning.

    Args:
        path: the file to name.
        means, quats, scales, opacities, colors: as in `Gaussians`; colours are clamped to [0, 1].
        sh: [N, K, 3].
        features: [N, F].
        labels: [N].

    Raises:
        InputError: no usable Gaussian.
    """
    good = np.isfinite(means).all(1) & np.isfinite(quats).all(1) & quats.any(1) & np.isfinite(colors).all(1)
    good &= np.isfinite(scales).all(1) & (scales >= 0).all(1) & np.isfinite(opacities)
    for extra in (sh, features):
        if extra is not None:
            good &= np.isfinite(extra).reshape(len(good), -1).all(1)
    bad = len(good) - int(good.sum())
    why = "values that are not finite or a rotation of zero length"
    if bad == len(good):
        raise InputError(path, "Gaussians to read", f"none of {bad} usable: {why}" if bad else "an empty file")
    columns = [means, quats, scales, opacities, colors.clip(0, 1), sh, features]
    if bad:
        warnings.warn(f"{path}: dropped {bad} of {len(good)} Gaussians with {why}.", stacklevel=3)
        columns = [None if c is None else c[good] for c in columns]
        labels = None if labels is None else labels[good]
    tensors = [None if c is None else torch.from_numpy(np.require(c, np.float32, ["C", "W"])) for c in columns]
    m, q, s, o, c, h, f = tensors
    assert m is not None and q is not None and s is not None and o is not None and c is not None
    return SplatData(Gaussians(m, q, s, o, c, f), h, None if labels is None else labels.astype(np.int64))


def check_labels(labels: NDArray, n: int) -> NDArray[np.int32]:
    """Labels [N] as int32; `InputError` for another shape."""
    if np.shape(labels) != (n,):
        raise InputError("labels", f"one per Gaussian, shape ({n},)", str(np.shape(labels)))
    return np.asarray(labels).astype("<i4")


def sigmoid(logits: NDArray) -> NDArray:
    """1 / (1 + e⁻ˣ) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def log_scales(gaussians: Gaussians) -> NDArray[np.float64]:
    """Logarithms [N, 3] of the standard deviations; 0 counts as 10⁻²⁰."""
    return np.log(np.maximum(gaussians.scales.double().numpy(), 1e-20))


def split_smallest_three(quats: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Encode rotations [N, 4] as (index of the largest component [N], the other three [N, 3] in ±√½).

    The rotation is normalised and its sign chosen so that the largest component is positive.
    """
    q = torch.nn.functional.normalize(quats.double(), dim=-1).numpy()
    largest = np.abs(q).argmax(1)
    q = q * np.where(np.take_along_axis(q, largest[:, None], 1) < 0, -1.0, 1.0)
    return largest, np.take_along_axis(q, _OTHERS[largest], 1)


def join_smallest_three(largest: NDArray[np.integer], others: NDArray[np.floating]) -> NDArray[np.float32]:
    """Unit quaternions [N, 4] from what `split_smallest_three` returns, in the same order of components."""
    quats = np.zeros((len(largest), 4), np.float32)
    np.put_along_axis(quats, _OTHERS[largest], others.astype(np.float32), 1)
    rest = np.sqrt(np.maximum(0.0, 1.0 - (others**2).sum(1)))
    np.put_along_axis(quats, largest[:, None].astype(np.int64), rest[:, None].astype(np.float32), 1)
    return quats
