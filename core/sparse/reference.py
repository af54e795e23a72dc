"""Sparse convolution in plain torch, on any device and in any dtype: slow, the definition for tests of the fast paths.

Neighbours are looked up in sorted keys; a convolution is, per kernel offset, gather → GEMM → scatter-add.
"""

from __future__ import annotations

import torch
from torch import Tensor

Pairs = list[tuple[Tensor, Tensor]]
"""Per kernel offset: input rows [P] and output rows [P]; no output row repeats within one offset."""


def voxel_keys(indices: Tensor, spatial_shape: tuple[int, int, int], margin: int = 0) -> Tensor:
    """[N] int64 keys that sort like (batch, x, y, z); with a margin, neighbours never wrap to another line."""
    b, x, y, z = indices.long().unbind(-1)
    _, sy, sz = (s + 2 * margin for s in spatial_shape)
    sx = spatial_shape[0] + 2 * margin
    return ((b * sx + x + margin) * sy + y + margin) * sz + z + margin


def submanifold_pairs(indices: Tensor, spatial_shape: tuple[int, int, int], kernel_size: int) -> Pairs:
    """Pairs of a submanifold convolution; offset o reads the voxel at ``position + o − kernel_size // 2``."""
    margin = kernel_size // 2
    keys = voxel_keys(indices, spatial_shape, margin)
    ordered, order = keys.sort()
    y, z = (s + 2 * margin for s in spatial_shape[1:])
    steps = torch.arange(-margin, margin + 1).tolist()
    pairs = []
    for delta in [(dx * y + dy) * z + dz for dx in steps for dy in steps for dz in steps]:
        wanted = keys + delta
        position = torch.searchsorted(ordered, wanted).clamp_max(max(0, len(ordered) - 1))
        dst = (ordered[position] == wanted).nonzero()[:, 0]
        pairs.append((order[position[dst]], dst))
    return pairs


def coarsen(
    indices: Tensor, spatial_shape: tuple[int, int, int], stride: int
) -> tuple[Tensor, tuple[int, int, int], Pairs, Pairs]:
    """Cells of ``stride``³ voxels: their indices [M, 4], sorted, spatial shape, pairs voxels → cells and back.

    Voxels beyond the last whole cell belong to no cell, as in a dense convolution.
    """
    x, y, z = (s // stride for s in spatial_shape)
    cells = torch.cat([indices[:, :1], indices[:, 1:] // stride], 1)
    inside = (cells[:, 1:] < cells.new_tensor([x, y, z])).all(1).nonzero()[:, 0]
    coarse, parent = torch.unique(cells[inside], dim=0, return_inverse=True)
    rx, ry, rz = (indices[inside, 1:] % stride).unbind(-1)
    offset = (rx * stride + ry) * stride + rz
    picks = [(offset == k).nonzero()[:, 0] for k in range(stride**3)]
    down = [(inside[pick], parent[pick]) for pick in picks]
    return coarse, (x, y, z), down, [(dst, src) for src, dst in down]


class ReferenceConv(torch.autograd.Function):
    """``y[dst] += x[src] @ w[:, k].T`` for every offset k.

    Args:
        x: [num_in, I]. weight: [O, K, I] of the same dtype. pairs: K lists. num_out: rows of the output.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, pairs: Pairs, num_out: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.pairs = pairs
        y = x.new_zeros(num_out, weight.shape[0])
        with torch.autocast(x.device.type, enabled=False):
            for k, (src, dst) in enumerate(pairs):
                y.index_add_(0, dst, x[src] @ weight[:, k].T)
        return y

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (g,) = grads
        x, weight = ctx.saved_tensors
        dx, dw = torch.zeros_like(x), torch.zeros_like(weight)
        with torch.autocast(x.device.type, enabled=False):
            for k, (src, dst) in enumerate(ctx.pairs):
                dx.index_add_(0, src, g[dst] @ weight[:, k])
                dw[:, k] = g[dst].T @ x[src]
        return dx, dw, None, None
