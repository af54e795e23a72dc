"""Sparse convolutions as modules. One parameter layout, spconv's: ``weight`` [out, k, k, k, in]."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..errors import InputError
from .fast import FastConv
from .maps import KernelMap
from .reference import Pairs, ReferenceConv
from .spconv_backend import SpconvLayer
from .tensor import Grid, SparseTensor


class _SparseConv(nn.Module):
    """Parameters and their initialisation (uniform, as `torch.nn.Conv3d` and spconv do)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool, spconv: SpconvLayer) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.weight = nn.Parameter(torch.empty(out_channels, *[kernel_size] * 3, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self._spconv = spconv
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.in_channels * self.kernel_size**3)
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, bias={self.bias is not None}"

    def _with_bias(self, features: Tensor) -> Tensor:
        return features if self.bias is None else features + self.bias.to(features.dtype)


class SubMConv3d(_SparseConv):
    """Submanifold convolution: output voxels = input voxels, stride 1, odd kernel, centred.

    y(p) = Σ_o W[:, o, :] x(p + o − k // 2) over the occupied voxels.

    A 1³ kernel follows spconv, which reads its [out, 1, 1, 1, in] memory as an [in, out] matrix: published checkpoints
    were trained so.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, bias: bool = False) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError("SubMConv3d kernel_size", "an odd number", str(kernel_size))
        layer = SpconvLayer("SubMConv3d", in_channels, out_channels, kernel_size=kernel_size, padding=kernel_size // 2)
        super().__init__(in_channels, out_channels, kernel_size, bias, layer)

    def forward(self, x: SparseTensor) -> SparseTensor:
        grid, k = x.grid, self.kernel_size
        if k == 1:
            features = x.features @ self.weight.view(self.in_channels, self.out_channels)
        elif grid.backend == "spconv":
            features = self._spconv(x.features, grid, self.weight, f"{grid.name}:{k}").features
        else:
            features = _convolve(x.features, self.weight, grid.neighbours(k, _is_fast(x.features)), None, len(grid))
        return x.with_features(self._with_bias(features))


class SparseConv3d(_SparseConv):
    """Strided convolution over disjoint cells (stride = kernel size): one output voxel per occupied cell.

    y(q) = Σ_o W[:, o, :] x(k · q + o); voxels beyond the last whole cell are dropped, as in a dense convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 2, stride: int = 2, bias: bool = False
    ) -> None:
        if kernel_size != stride or stride < 2:
            raise InputError("SparseConv3d", "stride = kernel_size ≥ 2", f"{stride} and {kernel_size}")
        layer = SpconvLayer("SparseConv3d", in_channels, out_channels, kernel_size=kernel_size, stride=stride)
        super().__init__(in_channels, out_channels, kernel_size, bias, layer)

    def forward(self, x: SparseTensor) -> SparseTensor:
        stride = self.kernel_size
        if x.grid.backend == "spconv":
            features, coarse = self._by_spconv(x, stride)
        else:
            coarse, down, up = x.grid.cells(stride, _is_fast(x.features))
            features = _convolve(x.features, self.weight, down, up, len(coarse))
        return SparseTensor(self._with_bias(features), coarse)

    def _by_spconv(self, x: SparseTensor, stride: int) -> tuple[Tensor, Grid]:
        name = f"{x.grid.name}/{stride}.{len(x.grid.spconv_maps)}"  # spconv shares no strided maps: a grid per layer
        out = self._spconv(x.features, x.grid, self.weight, name)
        a, b, c = out.spatial_shape
        return out.features, x.grid.derive(stride, out.indices, (a, b, c), name)


class SparseInverseConv3d(_SparseConv):
    """The way back of a `SparseConv3d`: from its output voxels to its input voxels.

    y(k · q + o) = W[:, o, :] x(q); voxels that the strided convolution dropped get zeros.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 2, bias: bool = False) -> None:
        layer = SpconvLayer("SparseInverseConv3d", in_channels, out_channels, kernel_size=kernel_size, indice_key="")
        super().__init__(in_channels, out_channels, kernel_size, bias, layer)

    def forward(self, x: SparseTensor) -> SparseTensor:
        if x.grid.finer is None or x.grid.finer[1] != self.kernel_size:
            found = "none" if x.grid.finer is None else f"stride {x.grid.finer[1]}"
            raise InputError("SparseInverseConv3d", f"the output of a SparseConv3d of stride {self.kernel_size}", found)
        fine, stride = x.grid.finer
        if fine.backend == "spconv":
            features = self._spconv(x.features, x.grid, self.weight, x.grid.name).features
        else:
            _, down, up = fine.cells(stride, _is_fast(x.features))
            features = _convolve(x.features, self.weight, up, down, len(fine))
        return SparseTensor(self._with_bias(features), fine)


def _is_fast(x: Tensor) -> bool:
    """Whether the CPU kernels support a tensor: they compute in float32, so float64 needs the reference."""
    return x.device.type == "cpu" and x.dtype != torch.float64


def _convolve(
    x: Tensor, weight: Tensor, forward: KernelMap | Pairs, backward: KernelMap | Pairs | None, num_out: int
) -> Tensor:
    """[num_out, O] = convolution of x [num_in, I] with weight [O, k, k, k, I].

    Half precision as autocast says, except on the CPU, where the kernels are float32.
    """
    weight = weight.flatten(1, 3)
    if isinstance(forward, KernelMap):
        y = FastConv.apply(x.float(), weight.float(), forward, backward)
    else:
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        y = ReferenceConv.apply(x.to(dtype), weight.to(dtype), forward, num_out)
    assert isinstance(y, Tensor)
    return y
