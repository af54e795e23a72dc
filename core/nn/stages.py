"""Features of the stages of a sparse U-Net, each at its own resolution, and a linear head that reads them there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Stages:
    """Features of the cells of each stage, for N voxels.

    Attributes:
        features: per stage [M, C] features of its cells, scene after scene.
        levels: per stage, the resolution of its cells: an index into ``cells``.
        cells: per resolution [N], the index of the cell that holds each voxel.
    """

    features: tuple[Tensor, ...]
    levels: tuple[int, ...]
    cells: tuple[Tensor, ...]

    def __getitem__(self, which: slice) -> Stages:
        """The selected stages."""
        return Stages(self.features[which], self.levels[which], self.cells)

    def select(self, voxels: slice) -> Stages:
        """Restrict to consecutive voxels: one scene of a batch."""
        cells = [c[voxels] for c in self.cells]  # per resolution [n]
        spans = [slice(int(c.min()), int(c.max()) + 1) if len(c) else slice(0, 0) for c in cells]
        features = tuple(f[spans[level]] for f, level in zip(self.features, self.levels, strict=True))
        return Stages(features, self.levels, tuple(c - span.start for c, span in zip(cells, spans, strict=True)))

    def spread(self) -> list[Tensor]:
        """Per stage [N, C]: the features of each voxel's cell."""
        # index_select instead of features[cells], whose gradient adds up row by row.
        return [f.index_select(0, self.cells[level]) for f, level in zip(self.features, self.levels, strict=True)]


def linear_of_stages(stages: Stages, norm: nn.BatchNorm1d, linear: nn.Linear) -> Tensor:
    """Compute ``linear(norm(torch.cat(stages.spread(), 1)))`` at each stage's own resolution.

    Normalisation and the linear layer treat every voxel alike, so they are applied to cells, and only their K outputs
    are spread to voxels instead of a hypercolumn of hundreds of channels.

    Args:
        norm: without affine weights; in training its running statistics are updated as by its own forward pass.

    Returns:
        [N, K] float32, under autocast, too.
    """
    with torch.autocast(linear.weight.device.type, enabled=False):
        return _linear_of_stages(stages, norm, linear)


def _linear_of_stages(stages: Stages, norm: nn.BatchNorm1d, linear: nn.Linear) -> Tensor:
    mean, var = _statistics(stages, norm)  # [C] each, all stages' channels
    weight = linear.weight * (var + norm.eps).rsqrt()  # [K, C]
    parts = weight.split([f.shape[1] for f in stages.features], 1)
    by_level: dict[int, Tensor] = {}
    for features, level, part in zip(stages.features, stages.levels, parts, strict=True):
        product = features.float() @ part.T  # [M, K]
        by_level[level] = product if level not in by_level else by_level[level] + product
    spread = [product.index_select(0, stages.cells[level]) for level, product in by_level.items()]  # [N, K] each
    return torch.stack(spread).sum(0) + (linear.bias - weight @ mean)


def _statistics(stages: Stages, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] that ``norm`` applies: in training those over voxels, a cell counting once per voxel."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    if not norm.training:
        return norm.running_mean, norm.running_var
    voxels = max(1, len(stages.cells[0]))
    shares = [torch.bincount(cells).float() / voxels for cells in stages.cells]  # per level [M], sum 1
    means, variances = [], []
    for features, level in zip(stages.features, stages.levels, strict=True):
        mean = shares[level] @ features.float()  # [C of the stage]
        means.append(mean)
        variances.append(shares[level] @ (features.float() - mean).square())
    mean, var = torch.cat(means), torch.cat(variances)
    with torch.no_grad():
        norm.num_batches_tracked += 1
        momentum = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(var * (voxels / max(1, voxels - 1)), momentum)
    return mean, var
