"""The spconv backend: the same layers, weights and tensors, computed by spconv 2.x (CUDA)."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .backend import require_spconv

if TYPE_CHECKING:
    from .tensor import Grid


def allow_tf32(allow: bool) -> None:
    """Let spconv's float32 kernels round inputs to TF32, which tensor cores multiply; nothing without spconv.

    spconv reads the switch at every call.
    """
    try:
        from spconv import constants
    except ImportError:
        return
    constants.SPCONV_ALLOW_TF32 = allow


class SpconvLayer:
    """A spconv convolution with an external weight; not a module, because it owns no parameters.

    Args:
        kind: "SubMConv3d", "SparseConv3d" or "SparseInverseConv3d".
        options: keyword arguments of that class, read when the first tensor comes.
    """

    def __init__(self, kind: str, in_channels: int, out_channels: int, **options: Any) -> None:
        self._arguments, self.options = (kind, in_channels, out_channels), options
        self._layer: nn.Module | None = None

    def __call__(self, features: Tensor, grid: Grid, weight: nn.Parameter, key: str) -> Any:
        """The convolution as spconv's own sparse tensor.

        Float16 autocast is spconv's own. It has no bfloat16 kernels, and float16 without a loss scale would lose small
        gradients: under bfloat16 autocast the convolution runs in float32 and its output is rounded.

        Args:
            features: [N, I] on ``grid``. weight: [O, k, k, k, I]. key: names the kernel map within the pyramid.
        """
        spconv = require_spconv()
        if self._layer is None:
            self._layer = self._make(spconv, features.is_cuda)
        layer: Any = self._layer
        layer._parameters["weight"] = weight
        layer.indice_key = key
        device = features.device.type
        half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        exact = device == "cpu" or half == torch.bfloat16
        if exact or half is None:
            features = features.to(weight.dtype)
        tensor = spconv.SparseConvTensor(
            features, grid.indices, list(grid.spatial_shape), grid.batch_size, indice_dict=grid.spconv_maps
        )
        # spconv launches its kernels on the current device, whatever the tensors' is.
        where = torch.cuda.device(features.device) if features.is_cuda else nullcontext()
        with where, torch.autocast(device, enabled=False) if exact else nullcontext():
            out = layer(tensor)
        grid.spconv_maps.update(out.indice_dict)
        return out.replace_feature(out.features.to(half)) if exact and half is not None else out

    def _make(self, spconv: Any, cuda: bool) -> nn.Module:
        kind, in_channels, out_channels = self._arguments
        options = self.options
        if not cuda:  # spconv's CPU path knows this algorithm only
            from spconv.core import ConvAlgo

            options = {**options, "algo": ConvAlgo.Native}
        with torch.device("meta"):  # its own weight is never used: neither allocate nor fill it
            layer = getattr(spconv, kind)(in_channels, out_channels, bias=False, **options)
        return layer.train()  # in eval mode it would leave out the maps that a backward pass needs
