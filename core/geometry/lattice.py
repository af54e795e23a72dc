"""Cuboid normalisation: the lattice of anchors that a scene is scattered into (GaussianCross §3.2).

The paper discretises a scene that was mapped into a unit cube. Here the lattice stays in the metric world frame of
cameras and depths: cell sizes and centres are those of the normalised lattice mapped back, so only units differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from ..errors import InputError

EPS = 1e-5
"""Margin around the bounding box, metres (PonderV2)."""


@dataclass(frozen=True)
class CuboidLattice:
    """An axis-aligned box of X × Y × Z cells.

    Attributes:
        origin: [3] lowest corner, world, metres.
        pitch: [3] cell size per axis, metres.
        shape: (X, Y, Z) cells per axis.

    Cells are numbered with z fastest: ``flat = (x * Y + y) * Z + z``.
    """

    origin: Tensor
    pitch: Tensor
    shape: tuple[int, int, int]

    @staticmethod
    def ponder(coord: Tensor, shape: tuple[int, int, int] = (128, 128, 32)) -> CuboidLattice:
        """Make PonderV2's lattice, whose axes all span the scene's *largest* extent.

        Cells are anisotropic, and cells above the ceiling stay empty. x and y are centred; the lowest point lies at
        z = −0.5 of the unit cube.

        Args:
            coord: [N, 3] points, z up.
            shape: cells per axis.
        """
        low, high = _bounds(coord)
        extent = (high - low).max()
        center = (low + high) / 2
        origin = torch.stack([center[0] - extent / 2, center[1] - extent / 2, low[2]])
        return CuboidLattice(origin, extent / torch.tensor(shape, dtype=coord.dtype, device=coord.device), shape)

    @staticmethod
    def cuboid(coord: Tensor, cells: int, multiple: int = 8) -> CuboidLattice:
        """Make a lattice whose axes span the scene's extent along each axis, with near-isotropic cells.

        Args:
            coord: [N, 3] points, any up axis.
            cells: approximate number of cells.
            multiple: divisor of the cells per axis (2^levels of the dense U-Net).
        """
        low, high = _bounds(coord)
        extent = (high - low).clamp_min(1e-3)
        sizes = extent.tolist()
        pitch = (math.prod(sizes) / cells) ** (1 / 3)
        counts = [max(1, round(size / pitch / multiple)) * multiple for size in sizes]
        shape = (counts[0], counts[1], counts[2])
        return CuboidLattice(low, extent / torch.tensor(shape, dtype=coord.dtype, device=coord.device), shape)

    @property
    def num_cells(self) -> int:
        return self.shape[0] * self.shape[1] * self.shape[2]

    def centers(self) -> Tensor:
        """[X·Y·Z, 3] cell centres in the world, metres, in flat order."""
        axes = [torch.arange(s, device=self.origin.device, dtype=self.origin.dtype) + 0.5 for s in self.shape]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)  # [X·Y·Z, 3]
        return self.origin + grid * self.pitch

    def cell_index(self, coord: Tensor) -> Tensor:
        """Flat cell number [N] of each point [N, 3]; points outside belong to the nearest border cell."""
        last = torch.tensor(self.shape, device=coord.device) - 1
        xyz = ((coord - self.origin) / self.pitch).floor().long()  # [N, 3]
        x, y, z = torch.minimum(xyz.clamp_min(0), last).unbind(-1)
        return (x * self.shape[1] + y) * self.shape[2] + z

    def normalized(self, coord: Tensor) -> Tensor:
        """Map points [N, 3] to [−1, 1]³ across the lattice (cell *borders* at ±1: ``align_corners=False``)."""
        size = self.pitch * torch.tensor(self.shape, device=coord.device, dtype=coord.dtype)
        return (coord - self.origin) / size * 2 - 1

    def scatter_mean(self, feat: Tensor, coord: Tensor) -> tuple[Tensor, Tensor]:
        """Average features over the points in each cell.

        Args:
            feat: [N, D]; coord: [N, 3].

        Returns:
            volume [D, X, Y, Z] (zero in cells without a point) and count of points [X, Y, Z].
        """
        index = self.cell_index(coord)  # [N]
        exact = torch.promote_types(feat.dtype, torch.float32)  # half-precision sums stop growing at a few hundred
        count = torch.zeros(self.num_cells, device=feat.device, dtype=exact)
        count = count.index_add(0, index, torch.ones_like(index, dtype=exact))
        total = torch.zeros(self.num_cells, feat.shape[1], device=feat.device, dtype=exact)
        total = total.index_add(0, index, feat.to(exact))  # [X·Y·Z, D]
        volume = (total / count.clamp_min(1)[:, None]).to(feat.dtype).T.reshape(-1, *self.shape)
        return volume, count.reshape(self.shape)

    def sample(self, volume: Tensor, coord: Tensor) -> Tensor:
        """Interpolate a volume [D, X, Y, Z] trilinearly at points [N, 3]: [N, D]; clamped at the border."""
        grid = self.normalized(coord).flip(-1)[None, None, None]  # [1, 1, 1, N, 3], last axis first for grid_sample
        out = torch.nn.functional.grid_sample(volume[None], grid, align_corners=False, padding_mode="border")
        return out[0, :, 0, 0].T  # [1, D, 1, 1, N] → [N, D]


def scatter_means(lattices: Sequence[CuboidLattice], feat: Tensor, coord: Tensor, scene: Tensor) -> Tensor:
    """`CuboidLattice.scatter_mean` of several scenes at once.

    Args:
        feat: [N, D] of all scenes; coord: [N, 3]; scene: [N] index into ``lattices``.

    Returns:
        [A, D] means of the cells of all scenes, scene after scene, in flat order.
    """
    origin, pitch = (torch.stack([getattr(lattice, name) for lattice in lattices]) for name in ("origin", "pitch"))
    # Shape per scene, then the number of its first cell: [B, 4].
    starts = [0, *accumulate(lattice.num_cells for lattice in lattices)]
    table = [[*lattice.shape, start] for lattice, start in zip(lattices, starts, strict=False)]
    shape = torch.tensor(table).to(coord.device, non_blocking=True).index_select(0, scene)  # [N, 4]
    xyz = ((coord - origin.index_select(0, scene)) / pitch.index_select(0, scene)).floor().long()  # [N, 3]
    x, y, z = torch.minimum(xyz.clamp_min(0), shape[:, :3] - 1).unbind(-1)
    index = shape[:, 3] + (x * shape[:, 1] + y) * shape[:, 2] + z  # [N]
    exact = torch.promote_types(feat.dtype, torch.float32)  # half-precision sums stop growing at a few hundred
    count = torch.zeros(starts[-1], device=feat.device, dtype=exact)
    count = count.index_add(0, index, torch.ones_like(index, dtype=exact))
    total = torch.zeros(starts[-1], feat.shape[1], device=feat.device, dtype=exact)
    total = total.index_add(0, index, feat.to(exact))  # [cells of all scenes, D]
    return (total / count.clamp_min(1)[:, None]).to(feat.dtype)


def _bounds(coord: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest corner [3] of points [N, 3], with a margin."""
    if coord.ndim != 2 or coord.shape[1] != 3 or len(coord) == 0:
        raise InputError("cuboid lattice", "points of shape [N, 3] with N ≥ 1", str(list(coord.shape)))
    return coord.amin(0) - EPS, coord.amax(0) + EPS
