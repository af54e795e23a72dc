"""SpUNet: the residual sparse U-Net that GaussianCross pre-trains (Pointcept's SpUNet-v1m1 without its class head).

Four stride-2 encoder stages and four decoder stages with concatenated skips, BasicBlocks of two 3³ submanifold
convolutions, a 5³ stem. Parameter names and shapes are Pointcept's, so its checkpoints load with ``strict=True``
without ``final.*``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InputError
from ..io.pretrained import Pretrained, StoredModel
from ..sparse import Backend, SparseConv3d, SparseInverseConv3d, SparseTensor, SubMConv3d, resolve_backend
from ..sparse.tensor import repeated_voxels
from .encode import encode_points
from .stages import Stages

if TYPE_CHECKING:
    from typing_extensions import Self

STAGES = 4
PADDING = 96
"""Number of empty voxels beyond the scene's last one (Pointcept), so that every coarsening covers all voxels."""


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over any number of voxels [N, C].

    The deepest level of a small scene may hold a single voxel, which has no variance: with fewer than two voxels the
    running statistics are used in every mode and not updated.

    Attributes:
        own_statistics: in eval mode, normalise by the input's own statistics instead of the running ones.
        fixed: mean and biased variance [C] that replace both in eval mode, for parts of a scene (`core.nn.blocks`).
    """

    own_statistics = False
    fixed: tuple[Tensor, Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.fixed is not None and not self.training:
            return nn.functional.batch_norm(input, *self.fixed, self.weight, self.bias, eps=self.eps)
        if len(input) < 2:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if self.own_statistics and not self.training:
            return nn.functional.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return super().forward(input)


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Context in which forward passes do not update the running statistics of a module's batch norms."""
    norms = [(m, m.momentum) for m in module.modules() if isinstance(m, nn.BatchNorm1d)]
    for norm, _ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in norms:
            norm.momentum = momentum


_norm = partial(BatchNorm, eps=1e-3, momentum=0.01)


class ConvNormRelu(nn.Sequential):
    """Sparse convolution → batch norm → ReLU; children are named "0" and "1"."""

    def __init__(self, conv: SubMConv3d | SparseConv3d | SparseInverseConv3d) -> None:
        super().__init__(conv, _norm(conv.out_channels), nn.ReLU())

    def forward(self, x: SparseTensor) -> SparseTensor:
        x = self[0](x)  # features [N', C']
        return x.with_features(self[2](self[1](x.features)))


class BasicBlock(nn.Module):
    """Residual block: relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); the shortcut is 1³ where the width changes."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        if in_channels != channels:
            self.proj = nn.ModuleList([SubMConv3d(in_channels, channels, 1), _norm(channels)])
        else:
            self.proj = None
        self.conv1 = SubMConv3d(in_channels, channels, 3)
        self.bn1 = _norm(channels)
        self.conv2 = SubMConv3d(channels, channels, 3)
        self.bn2 = _norm(channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        shortcut = x.features if self.proj is None else self.proj[1](self.proj[0](x).features)  # [N, C]
        out = self.conv1(x)  # features [N, C], also below
        out = self.conv2(out.with_features(torch.relu(self.bn1(out.features))))
        return out.with_features(torch.relu(self.bn2(out.features) + shortcut))


class _Blocks(nn.ModuleDict):
    """``count`` blocks named block0, block1, …; the first has the stage's input width."""

    def __init__(self, in_channels: int, channels: int, count: int) -> None:
        super().__init__({f"block{i}": BasicBlock(channels if i else in_channels, channels) for i in range(count)})

    def forward(self, x: SparseTensor) -> SparseTensor:
        for block in self.values():
            x = block(x)
        return x


class SpUNet(Pretrained):
    """Sparse U-Net on voxels.

    Args:
        in_channels: features per voxel (GaussianCross: colour and normal, 6).
        base_channels: width of the stem.
        channels: widths of the four encoder stages, then of the four decoder stages, coarsest first.
        layers: residual blocks per stage, in the same order.
        backend: "auto" (spconv on CUDA, torch elsewhere), "torch" or "spconv".
        own_statistics: normalise by the statistics of the input instead of running ones in eval mode, too.
        voxel_size: edge of the voxels that `encode` makes of points, metres.

    The default has 39,155,904 parameters.
    """

    def __init__(
        self,
        in_channels: int = 6,
        base_channels: int = 32,
        channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96),
        layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2),
        backend: Backend = "auto",
        own_statistics: bool = False,
        voxel_size: float = 0.02,
    ) -> None:
        super().__init__()
        if len(channels) != 2 * STAGES or len(layers) != 2 * STAGES or min(*channels, base_channels, in_channels) < 1:
            raise InputError("SpUNet", f"{2 * STAGES} positive channels and layers", f"{channels} and {layers}")
        self.in_channels, self.out_channels = in_channels, channels[-1]
        self.voxel_size = voxel_size
        self._config = {"in_channels": in_channels, "base_channels": base_channels, "voxel_size": voxel_size}
        self._config |= {"channels": tuple(channels), "layers": tuple(layers), "own_statistics": own_statistics}
        self.backend: Backend = backend
        self.conv_input = ConvNormRelu(SubMConv3d(in_channels, base_channels, 5))
        self.down, self.enc, self.up, self.dec = (nn.ModuleList() for _ in range(4))
        widths = [base_channels, *channels[:STAGES]]
        for s in range(STAGES):
            self.down.append(ConvNormRelu(SparseConv3d(widths[s], widths[s + 1])))
            self.enc.append(_Blocks(widths[s + 1], widths[s + 1], layers[s]))
            # Decoder stages are numbered by the resolution of their output: stage 3 runs first.
            source = channels[-1 - s - 1] if s < STAGES - 1 else channels[STAGES - 1]
            target = channels[-1 - s]
            self.up.append(ConvNormRelu(SparseInverseConv3d(source, target)))
            self.dec.append(_Blocks(target + widths[s], target, layers[-1 - s]))
        self.apply(_initialise)
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.own_statistics = own_statistics

    @property
    def reach(self) -> int:
        """Voxels, along an axis, beyond which no voxel has an influence on another's features."""
        layers = self._config["layers"]
        encoder = sum(n << s + 1 for s, n in enumerate(layers[:STAGES]))
        decoder = sum(n << STAGES - 1 - s for s, n in enumerate(layers[STAGES:]))
        return 2 + 2 * (encoder + decoder) + (1 << STAGES) - 1  # stem, two convolutions per block, extent of a cell

    def forward(self, grid_coord: Tensor, feat: Tensor, offset: Tensor, origin: Tensor | None = None) -> Tensor:
        """Compute the features [N, channels[-1]] of voxels.

        Args:
            grid_coord: [N, 3] integer voxel coordinates of any range, unique within a scene.
            feat: [N, in_channels] input features.
            offset: [B] cumulative voxel counts of the scenes (the last is N).
            origin: [B, 3] voxel where the coarser cells of each scene begin, not above any of its voxels; by default
                the lowest along each axis.

        Raises:
            InputError: shapes or counts do not match, or a voxel occurs twice in a scene.
        """
        x, order = self._tensor(grid_coord, feat, offset, origin)
        return _unsorted(self._run(x)[-1].features, order)

    def stages(self, grid_coord: Tensor, feat: Tensor, offset: Tensor, origin: Tensor | None = None) -> Stages:
        """Compute the features of every stage, for hypercolumns; arguments as for `forward`.

        The order is stem, four encoder stages (fine to coarse), four decoder stages (coarse to fine; `forward` returns
        the last one).
        """
        x, order = self._tensor(grid_coord, feat, offset, origin)
        results = self._run(x)
        parents = [_cell_of(finer, coarser) for finer, coarser in pairwise(results[: STAGES + 1])]  # per level [M]
        cell_of_voxel = [torch.arange(len(x.grid), device=feat.device)]  # per level [N]
        for parent in parents:
            cell_of_voxel.append(parent.index_select(0, cell_of_voxel[-1]))
        cells = tuple(_unsorted(cell, order) for cell in cell_of_voxel)
        features, levels = tuple(r.features for r in results), tuple(r.grid.level for r in results)
        return Stages(features, levels, cells, tuple(parents))

    def encode(
        self,
        coord: NDArray[np.floating],
        color: NDArray[np.uint8],
        normal: NDArray[np.floating] | None = None,
        *,
        hypercolumn: bool = False,
    ) -> Tensor:
        """Compute the features of every point of a scene.

        Args:
            coord: [N, 3] metres, z up; color: [N, 3] uint8; normal: [N, 3] unit vectors, zeros when None.
            hypercolumn: concatenate the features of every stage instead of the last stage's.

        Returns:
            [N, C] float32 on the CPU; points of one voxel share a feature.

        Raises:
            InputError: arrays that do not match, are not finite, or colours that are not uint8.
        """
        return encode_points(self, coord, color, normal, self.voxel_size, hypercolumn)

    def to_config(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self._config.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any], where: str = "config") -> Self:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(where, "what SpUNet is built from", str(error)) from error

    @classmethod
    def adapt(cls, stored: StoredModel) -> StoredModel:
        """Extract the backbone of a stored GaussianCross."""
        if stored.model != "GaussianCross":
            return stored
        names = ("base_channels", "channels", "layers", "own_statistics")
        config = {k: stored.config[k] for k in names if k in stored.config}
        config |= {k: v for k, v in stored.config.get("input", {}).items() if k == "voxel_size"}
        prefix = "backbone."
        tensors = {k.removeprefix(prefix): v for k, v in stored.tensors.items() if k.startswith(prefix)}
        return replace(stored, model="SpUNet", config=config, tensors=tensors)

    def _run(self, x: SparseTensor) -> list[SparseTensor]:
        """The outputs of the stem, the encoder stages and the decoder stages."""
        results = [self.conv_input(x)]
        for down, enc in zip(self.down, self.enc, strict=True):
            results.append(enc(down(results[-1])))
        for s in reversed(range(STAGES)):
            x = self.up[s](results[-1])
            x = x.with_features(torch.cat([x.features, results[s].features], 1))  # [N of level s, C + C of the skip]
            results.append(self.dec[s](x))
        return results

    def _tensor(
        self, grid_coord: Tensor, feat: Tensor, offset: Tensor, origin: Tensor | None
    ) -> tuple[SparseTensor, Tensor | None]:
        """Make the sparse input tensor; also return the order [N] that sorted its rows, or None when unsorted."""
        n = len(grid_coord)
        if grid_coord.shape != (n, 3) or feat.shape != (n, self.in_channels):
            raise InputError(
                "SpUNet input",
                f"grid_coord [N, 3] and feat [N, {self.in_channels}]",
                f"{list(grid_coord.shape)} and {list(feat.shape)}",
            )
        ends = [0, *offset.tolist()]
        if ends[-1] != n or ends != sorted(ends):
            raise InputError("SpUNet offset", f"cumulative counts up to {n}", str(ends[1:]))
        if n == 0:
            indices = grid_coord.new_zeros(0, 4)
            return SparseTensor.create(
                feat, indices, (PADDING, PADDING, PADDING), max(1, len(offset)), self.backend
            ), None
        counts = torch.diff(offset, prepend=offset.new_zeros(1)).to(grid_coord.device)  # [B]
        batch = torch.repeat_interleave(  # [N] scene of each voxel
            torch.arange(len(counts), device=grid_coord.device), counts, output_size=n
        )
        if origin is None:
            low = grid_coord.new_zeros(len(counts), 3)  # [B, 3] lowest voxel of each scene
            low = low.scatter_reduce(0, batch[:, None].expand(-1, 3), grid_coord, "amin", include_self=False)
        else:
            low = origin.to(grid_coord)
        indices = torch.cat([batch[:, None], (grid_coord - low[batch]).long()], 1)  # [N, 4]
        if indices.device.type != "cpu":
            shape, repeated = _shape_and_repeated(indices)
            tensor = SparseTensor.create(feat, indices, shape, len(counts), self.backend, checked=True)
            if repeated:  # after the volume was checked: numbers of voxels that overflow may repeat
                raise repeated_voxels(repeated)
            return tensor, None
        x, y, z = (indices[:, 1:].amax(0) + (1 + PADDING)).tolist()
        shape, order = (x, y, z), None
        if resolve_backend(self.backend, feat.device) == "torch":  # sorted rows keep neighbours close: twice as fast
            order = _sorted_order(indices, shape)
            feat, indices = feat[order], indices[order]
        return SparseTensor.create(feat, indices, shape, len(counts), self.backend), order


def _shape_and_repeated(indices: Tensor) -> tuple[tuple[int, int, int], int]:
    """Voxels per axis of a grid that holds voxels [N, 4] and the padding, and how many rows repeat a voxel.

    Both come in one read from the device: every read waits for it.
    """
    x, y, z = indices[:, 1:].unbind(1)
    spread = (indices[:, 1:].amax(0) + 1).unbind()  # per axis
    keys = (((indices[:, 0] * spread[0] + x) * spread[1] + y) * spread[2] + z).sort().values
    numbers = torch.stack([*spread, (keys[1:] == keys[:-1]).sum()])
    x, y, z, repeated = numbers.tolist()
    return (x + PADDING, y + PADDING, z + PADDING), repeated


def _sorted_order(indices: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """[N] order that sorts voxels [N, 4] (batch, x, y, z)."""
    b, x, y, z = indices.unbind(1)
    return torch.argsort(((b * shape[0] + x) * shape[1] + y) * shape[2] + z)


def _unsorted(values: Tensor, order: Tensor | None) -> Tensor:
    """Rows [N, ...] back in the order before sorting by ``order``."""
    if order is None:
        return values
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return values.index_select(0, inverse)


def _cell_of(fine: SparseTensor, coarse: SparseTensor) -> Tensor:
    """[N_fine] index of each voxel's cell one level coarser."""
    shape = coarse.spatial_shape

    def keys(indices: Tensor) -> Tensor:
        b, x, y, z = indices.long().unbind(1)
        return ((b * shape[0] + x) * shape[1] + y) * shape[2] + z

    ordered, rows = keys(coarse.indices).sort()
    parents = torch.cat([fine.indices[:, :1], fine.indices[:, 1:] // 2], 1)
    return rows[torch.searchsorted(ordered, keys(parents))]


def _initialise(module: nn.Module) -> None:
    """Initialise as Pointcept: truncated normal weights of standard deviation 0.02; batch norm keeps 1 and 0."""
    if isinstance(module, SubMConv3d | SparseConv3d | SparseInverseConv3d):
        nn.init.trunc_normal_(module.weight, std=0.02)
