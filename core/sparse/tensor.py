"""`SparseTensor`: features on the occupied voxels of a batch of scenes, and the kernel maps that its layers share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from . import maps, reference
from .backend import Backend, resolve_backend
from .maps import KernelMap
from .reference import Pairs

Shape = tuple[int, int, int]


class Grid:
    """The occupied voxels of one resolution. Each kernel map is made once, on first use.

    Attributes:
        indices: [N, 4] int32 unique voxels (batch, x, y, z).
        spatial_shape: voxels per axis; every index is below it.
        batch_size: number of scenes.
        backend: "torch" or "spconv".
        name: unique within the pyramid of grids; key of spconv's maps.
        level: coarsenings since the input.
        finer: the grid that this one was coarsened from and the stride; None at the input.
        spconv_maps: spconv's ``indice_dict``, one for all levels (spconv backend only).
    """

    def __init__(
        self, indices: Tensor, spatial_shape: Shape, batch_size: int, backend: Backend = "auto", checked: bool = False
    ) -> None:
        _require_volume(spatial_shape, batch_size)
        if not checked:
            _validate(indices, spatial_shape, batch_size)
        self.backend = resolve_backend(backend, indices.device)
        self.indices = indices.int().contiguous()
        self.spatial_shape = spatial_shape
        self.batch_size = batch_size
        self.name, self.level = "0", 0
        self.finer: tuple[Grid, int] | None = None
        self.spconv_maps: dict[str, Any] = {}
        self._coarser: dict[int, Grid] = {}
        self._maps: dict[tuple[str, int, bool], Any] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def derive(self, stride: int, indices: Tensor, spatial_shape: Shape, name: str) -> Grid:
        """A grid one level up, of cells of ``stride``³ voxels."""
        grid = object.__new__(Grid)
        grid.backend, grid.batch_size, grid.spconv_maps = self.backend, self.batch_size, self.spconv_maps
        grid.indices, grid.spatial_shape, grid.name, grid.level = indices, spatial_shape, name, self.level + 1
        grid.finer, grid._coarser, grid._maps = (self, stride), {}, {}
        return grid

    # --- maps of the torch backend: fast = for the CPU kernels, else for the reference -----------------------------

    def neighbours(self, kernel_size: int, fast: bool) -> KernelMap | Pairs:
        """The map of a submanifold convolution."""
        key = ("neighbours", kernel_size, fast)
        if key not in self._maps:
            indices, shape = self.indices, self.spatial_shape
            if fast:
                self._maps[key] = maps.submanifold(indices.numpy(), shape, kernel_size)
            else:
                self._maps[key] = reference.submanifold_pairs(indices, shape, kernel_size)
        return self._maps[key]

    def cells(self, stride: int, fast: bool) -> tuple[Grid, KernelMap | Pairs, KernelMap | Pairs]:
        """The coarser grid, sorted, and the maps of a strided convolution to it and of its inverse."""
        key = ("cells", stride, fast)
        if key not in self._maps:
            if fast:
                array, shape, *both = maps.coarsen(self.indices.numpy(), self.spatial_shape, stride)
                indices = torch.from_numpy(array)
            else:
                indices, shape, *both = reference.coarsen(self.indices, self.spatial_shape, stride)
            if stride not in self._coarser:
                self._coarser[stride] = self.derive(stride, indices, shape, f"{self.name}/{stride}")
            self._maps[key] = (self._coarser[stride], *both)
        return self._maps[key]


@dataclass(frozen=True)
class SparseTensor:
    """Features on the occupied voxels of a batch of scenes.

    Attributes:
        features: [N, C] in the row order of ``grid.indices``.
        grid: the voxels, shared by every tensor at this resolution.
    """

    features: Tensor
    grid: Grid

    @staticmethod
    def create(
        features: Tensor,
        indices: Tensor,
        spatial_shape: Shape,
        batch_size: int,
        backend: Backend = "auto",
        checked: bool = False,
    ) -> SparseTensor:
        """A tensor on a new grid; one per batch, so that its layers share maps.

        Args:
            features: [N, C] floating point.
            indices: [N, 4] integers (batch, x, y, z), 0 ≤ batch < batch_size and 0 ≤ x, y, z < spatial_shape, unique.
                Rows sorted by them make the CPU faster, as neighbours then share cache lines.
            checked: the caller has checked the indices, which waits for the device. The volume is checked in any case.

        Raises:
            InputError: shapes do not match, an index is out of range, two rows name one voxel, spconv is missing.
        """
        if features.ndim != 2 or len(features) != len(indices):
            raise InputError(
                "sparse features", f"shape ({len(indices)}, C) to match indices", str(list(features.shape))
            )
        return SparseTensor(features, Grid(indices, spatial_shape, batch_size, backend, checked))

    def with_features(self, features: Tensor) -> SparseTensor:
        """Other features [N, C'] on the same voxels."""
        return replace(self, features=features)

    @property
    def indices(self) -> Tensor:
        """[N, 4] int32 (batch, x, y, z)."""
        return self.grid.indices

    @property
    def spatial_shape(self) -> Shape:
        return self.grid.spatial_shape

    @property
    def batch_size(self) -> int:
        return self.grid.batch_size


def _require_volume(spatial_shape: Shape, batch_size: int) -> None:
    """Check that every voxel of a batch of grids, with the margin of any kernel, has a number below 2⁶³."""
    if batch_size * math.prod(size + 16 for size in spatial_shape) >= 2**63:
        raise InputError("sparse spatial_shape", "a volume that 63 bits can number", str(spatial_shape))


def _validate(indices: Tensor, spatial_shape: Shape, batch_size: int) -> None:
    """Check type, range and uniqueness of the indices of a grid."""
    if indices.ndim != 2 or indices.shape[1] != 4 or indices.is_floating_point():
        raise InputError(
            "sparse indices", "integers of shape (N, 4): batch, x, y, z", f"{indices.dtype} {list(indices.shape)}"
        )
    if len(indices) == 0:
        return
    keys = reference.voxel_keys(indices, spatial_shape)
    ascending = bool((keys[1:] > keys[:-1]).all()) if indices.device.type == "cpu" else False
    ordered = keys if ascending else keys.sort().values
    # One read: every one of them waits for a device.
    numbers = torch.cat([indices.amin(0).long(), indices.amax(0).long(), (ordered[1:] == ordered[:-1]).sum()[None]])
    *bounds, repeated = numbers.tolist()
    low, high = bounds[:4], bounds[4:]
    if min(low) < 0 or any(h >= size for h, size in zip(high, (batch_size, *spatial_shape), strict=True)):
        raise InputError(
            "sparse indices",
            f"0 ≤ (batch, x, y, z) < {(batch_size, *spatial_shape)}",
            f"{tuple(low)} to {tuple(high)}",
        )
    if repeated:
        raise repeated_voxels(repeated)


def repeated_voxels(count: int) -> InputError:
    """The error about ``count`` voxels that occur twice."""
    return InputError("sparse indices", "one row per voxel", f"{count} repeated", "merge the points of a voxel first")
