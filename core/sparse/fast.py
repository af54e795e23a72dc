"""The autograd function around the CPU kernels: float32, any channel counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .kernels import ROWS, SPILL, gather_gemm, gather_outer, tile_width
from .maps import KernelMap
from .threads import share


class FastConv(torch.autograd.Function):
    """The sparse convolution of a kernel map.

    Args:
        x: [num_in, I] float32 on the CPU. weight: [O, K, I] float32.
        forward_map: input → output. backward_map: output → input; None for a submanifold convolution, whose map is
            its own mirror image (offset k backwards is offset K − 1 − k forwards).
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, forward_map: KernelMap, backward_map: KernelMap | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.maps = forward_map, backward_map
        return _apply(x, _pack(weight), forward_map, weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (g,) = grads
        x, weight = ctx.saved_tensors
        forward_map, backward_map = ctx.maps
        dx = dw = None
        if ctx.needs_input_grad[0]:
            packed = _pack_transposed(weight, flip=backward_map is None)
            dx = _apply(g, packed, backward_map or forward_map, weight.shape[2])
        if ctx.needs_input_grad[1]:
            dw = _weight_gradient(x, g, forward_map)
        return dx, dw, None, None


def _apply(x: Tensor, packed: Tensor, kernel_map: KernelMap, channels: int) -> Tensor:
    """[num_out, channels] of x [num_in, I] and packed weights [K, T, I, tile]."""
    m = kernel_map
    y = x.new_empty(m.num_out + SPILL, packed.shape[1] * packed.shape[3])
    arrays = [t.detach().contiguous().numpy() for t in (x, packed, y)]
    share(gather_gemm, m.src.size * x.shape[1] * channels, *arrays, m.rows, m.ptr, m.src, m.dst)
    return y[: m.num_out, :channels].contiguous()


def _weight_gradient(x: Tensor, g: Tensor, kernel_map: KernelMap) -> Tensor:
    """[O, K, I] of inputs [num_in, I] and output gradients [num_out, O]."""
    m, inputs, outputs = kernel_map, x.shape[1], g.shape[1]
    tile = tile_width(outputs)
    x = _pad_last(x, ROWS)
    g = _pad_last(g, tile)
    dw = x.new_zeros(m.volume, x.shape[1], g.shape[1])
    arrays = [t.detach().contiguous().numpy() for t in (x, g, dw)]
    share(gather_outer, m.src.size * inputs * outputs, *arrays, m.ptr, m.count, m.src, m.dst, tile)
    return dw[:, :inputs, :outputs].permute(2, 0, 1)


def _pack(weight: Tensor) -> Tensor:
    """Weights [O, K, I] → [K, T, I, tile]: output channels in T tiles, zeros beyond the last."""
    tile = tile_width(weight.shape[0])
    missing = -weight.shape[0] % tile
    padded = F.pad(weight.detach(), (0, 0, 0, 0, 0, missing)) if missing else weight.detach()
    return padded.unflatten(0, (-1, tile)).permute(2, 0, 3, 1).contiguous()


def _pack_transposed(weight: Tensor, flip: bool) -> Tensor:
    """Weights [O, K, I] → [K, T, O, tile]: input channels in T tiles; ``flip`` reverses the offsets."""
    tile = tile_width(weight.shape[2])
    weight = weight.detach().flip(1) if flip else weight.detach()
    return _pad_last(weight, tile).unflatten(2, (-1, tile)).permute(1, 2, 0, 3).contiguous()


def _pad_last(tensor: Tensor, multiple: int) -> Tensor:
    missing = -tensor.shape[-1] % multiple
    return F.pad(tensor, (0, missing)) if missing else tensor
