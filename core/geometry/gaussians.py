"""`Gaussians`: the representation of 3D Gaussians throughout the project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import InputError


@dataclass(frozen=True)
class Gaussians:
    """N anisotropic Gaussians with *activated* values (files store logits and logarithms; `core.io.ply` converts).

    Attributes:
        means: [N, 3] centres, world frame, metres.
        quats: [N, 4] rotations, wxyz; need not be normalised (rasterisers normalise, as gsplat does).
        scales: [N, 3] standard deviations along the rotated axes, metres, > 0.
        opacities: [N] in [0, 1].
        colors: [N, 3] RGB in [0, 1] (no view dependence).
        features: [N, F] any further values to splat, or None.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    features: Tensor | None = None

    def __post_init__(self) -> None:
        n = self.means.shape[0]
        expected = {"means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,), "colors": (n, 3)}
        for name, shape in expected.items():
            if tuple(getattr(self, name).shape) != shape:
                raise InputError(f"Gaussians.{name}", f"shape {shape}", str(tuple(getattr(self, name).shape)))
        if self.features is not None and (self.features.ndim != 2 or self.features.shape[0] != n):
            raise InputError("Gaussians.features", f"shape ({n}, F)", str(tuple(self.features.shape)))

    def __len__(self) -> int:
        return self.means.shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> Gaussians:
        """Apply ``function`` to every tensor."""
        features = None if self.features is None else function(self.features)
        means, quats, scales, opacities, colors = (function(t) for t in self._required())
        return Gaussians(means, quats, scales, opacities, colors, features)

    def _required(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.means, self.quats, self.scales, self.opacities, self.colors

    def __getitem__(self, index: Tensor | slice) -> Gaussians:
        """The selected Gaussians; ``index`` is a mask [N], indices [K] or a slice."""
        return self.map(lambda t: t[index])

    def to(self, device: torch.device | str) -> Gaussians:
        return self.map(lambda t: t.to(device))

    def detach(self) -> Gaussians:
        return self.map(torch.Tensor.detach)

    def split(self, sizes: Sequence[int]) -> list[Gaussians]:
        """Split into consecutive parts of the given sizes; `cat` undoes it."""
        columns = [t.split(list(sizes)) for t in self._required()]
        features = [None] * len(sizes) if self.features is None else self.features.split(list(sizes))
        return [Gaussians(*parts) for parts in zip(*columns, features, strict=True)]

    @staticmethod
    def cat(parts: list[Gaussians]) -> Gaussians:
        """Concatenate; either all parts have features of one width, or none has."""
        features = [p.features for p in parts if p.features is not None]
        if features and len(features) != len(parts):
            raise InputError("Gaussians.cat", "features on every part or on none", "features on some")
        columns = zip(*(p._required() for p in parts), strict=True)
        means, quats, scales, opacities, colors = (torch.cat(c) for c in columns)
        return Gaussians(means, quats, scales, opacities, colors, torch.cat(features) if features else None)


def quat_to_rotmat(quats: Tensor) -> Tensor:
    """Convert quaternions [..., 4] wxyz of any length to rotation matrices [..., 3, 3]."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def quat_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of quaternions [..., 4] wxyz: rotation b followed by a."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    rows = [
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ]
    return torch.stack(rows, -1)


def transform_gaussians(gaussians: Gaussians, quat: Tensor, scale: float, shift: Tensor) -> Gaussians:
    """Apply the similarity x → scale · R x + shift to means, rotations and standard deviations.

    Args:
        quat: [4] wxyz, the rotation R.
        scale: above 0.
        shift: [3] metres.
    """
    g, quat = gaussians, quat.to(gaussians.means)
    means = scale * (g.means @ quat_to_rotmat(quat).T) + shift.to(g.means)
    return replace(g, means=means, quats=quat_multiply(quat.expand_as(g.quats), g.quats), scales=scale * g.scales)
