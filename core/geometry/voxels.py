"""Averages over voxels."""

from __future__ import annotations

import torch
from torch import Tensor


def voxel_mean(values: Tensor, coord: Tensor, size: float) -> Tensor:
    """Average values over the points of each occupied voxel; differentiable in ``values``.

    Args:
        values: [N, D] floating point.
        coord: [N, 3] metres.
        size: voxel edge, metres.

    Returns:
        [V, D], voxels in lexicographic order.
    """
    cell = (coord / size).floor()  # [N, 3]
    grid = (cell - cell.amin(0)).long()  # [N, 3] from 0
    dims = grid.amax(0) + 1  # [3]
    # One key per voxel: `torch.unique` over rows compares them one by one, a hundred times as slow.
    keys = (grid[:, 0] * dims[1] + grid[:, 1]) * dims[2] + grid[:, 2]  # [N]
    keys, inverse = torch.unique(keys, return_inverse=True)  # [V], [N]
    count = values.new_zeros(len(keys)).index_add(0, inverse, torch.ones_like(inverse, dtype=values.dtype))  # [V]
    total = values.new_zeros(len(keys), values.shape[1]).index_add(0, inverse, values)  # [V, D]
    return total / count[:, None]
