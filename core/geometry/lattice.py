"""Cuboid normalisation: the lattice of anchors that a scene is scattered into (GaussianCross §3.2).

The paper maps a scene into a unit cube and discretises that. Here the lattice stays in the metric world frame, where
cameras and depths live: cell size and cell centres are those of the normalised lattice mapped back, so nothing but
units changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError

EPS = 1e-5
"""Margin around the bounding box, in metres (PonderV2)."""


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
        """PonderV2's lattice: every axis spans the scene's *largest* extent, so cells are anisotropic and the cells
        above the ceiling stay empty. x and y are centred, the floor lies at z = −0.5 of the unit cube.

        Args:
            coord: [N, 3] points, z up.
        """
        low, high = _bounds(coord)
        extent = (high - low).max()
        center = (low + high) / 2
        origin = torch.stack([center[0] - extent / 2, center[1] - extent / 2, low[2]])
        return CuboidLattice(origin, extent / torch.tensor(shape, dtype=coord.dtype, device=coord.device), shape)

    @staticmethod
    def cuboid(coord: Tensor, cells: int, multiple: int = 8) -> CuboidLattice:
        """A true cuboid: each axis spans its own extent, with near-isotropic cells, so none is spent on empty height.

        Args:
            coord: [N, 3] points, any up axis.
            cells: about how many cells to spend.
            multiple: every axis gets a multiple of it (2^levels of the dense U-Net), at least one such.
        """
        low, high = _bounds(coord)
        extent = (high - low).clamp_min(1e-3)
        pitch = (extent.double().prod() / cells) ** (1 / 3)
        counts = [max(1, round(float(e) / float(pitch) / multiple)) * multiple for e in extent]
        shape = (counts[0], counts[1], counts[2])
        return CuboidLattice(low, extent / torch.tensor(shape, dtype=coord.dtype, device=coord.device), shape)

    @property
    def num_cells(self) -> int:
        return self.shape[0] * self.shape[1] * self.shape[2]

    def centers(self) -> Tensor:
        """[X·Y·Z, 3] cell centres, world, metres, in flat order."""
        axes = [torch.arange(s, device=self.origin.device, dtype=self.origin.dtype) + 0.5 for s in self.shape]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        return self.origin + grid * self.pitch

    def cell_index(self, coord: Tensor) -> Tensor:
        """Points [N, 3] → flat cell numbers [N]; points outside go to the nearest border cell."""
        last = torch.tensor(self.shape, device=coord.device) - 1
        xyz = ((coord - self.origin) / self.pitch).floor().long()
        x, y, z = torch.minimum(xyz.clamp_min(0), last).unbind(-1)
        return (x * self.shape[1] + y) * self.shape[2] + z

    def normalized(self, coord: Tensor) -> Tensor:
        """Points [N, 3] → [−1, 1]³ across the lattice (cell *borders* at ±1: ``align_corners=False``)."""
        size = self.pitch * torch.tensor(self.shape, device=coord.device, dtype=coord.dtype)
        return (coord - self.origin) / size * 2 - 1

    def scatter_mean(self, feat: Tensor, coord: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the features that fall into each cell.

        Args:
            feat: [N, D]; coord: [N, 3].

        Returns:
            volume [D, X, Y, Z] (zero where no point fell) and count [X, Y, Z].
        """
        index = self.cell_index(coord)
        exact = torch.promote_types(feat.dtype, torch.float32)  # half-precision sums stop growing at a few hundred
        count = torch.zeros(self.num_cells, device=feat.device, dtype=exact)
        count = count.index_add(0, index, torch.ones_like(index, dtype=exact))
        total = torch.zeros(self.num_cells, feat.shape[1], device=feat.device, dtype=exact)
        total = total.index_add(0, index, feat.to(exact))
        volume = (total / count.clamp_min(1)[:, None]).to(feat.dtype).T.reshape(-1, *self.shape)
        return volume, count.reshape(self.shape)

    def sample(self, volume: Tensor, coord: Tensor) -> Tensor:
        """Trilinear interpolation of a volume [D, X, Y, Z] at points [N, 3] → [N, D]; clamped at the border."""
        grid = self.normalized(coord).flip(-1)[None, None, None]  # grid_sample wants the last axis first
        out = torch.nn.functional.grid_sample(volume[None], grid, align_corners=False, padding_mode="border")
        return out[0, :, 0, 0].T


def _bounds(coord: Tensor) -> tuple[Tensor, Tensor]:
    if coord.ndim != 2 or coord.shape[1] != 3 or len(coord) == 0:
        raise InputError("cuboid lattice", "points of shape [N, 3] with N ≥ 1", str(list(coord.shape)))
    return coord.amin(0) - EPS, coord.amax(0) + EPS
