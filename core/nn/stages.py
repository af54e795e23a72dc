"""Features of the stages of a sparse U-Net, each at its own resolution, and a linear head that reads them there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Stages:
    """Features of the cells of each stage, for N voxels.

    Cells come in any order: those of a scene need not be in a row.

    Attributes:
        features: per stage [M, C] features of its cells.
        levels: per stage, the resolution of its cells: an index into ``cells``.
        cells: per resolution [N], the index of the cell that holds each voxel.
        parents: per resolution but the coarsest [M], the index of the cell that holds each cell one resolution coarser.
    """

    features: tuple[Tensor, ...]
    levels: tuple[int, ...]
    cells: tuple[Tensor, ...]
    parents: tuple[Tensor, ...]

    def __getitem__(self, which: slice) -> Stages:
        """The selected stages."""
        return replace(self, features=self.features[which], levels=self.levels[which])

    def count(self, level: int) -> int:
        """Number of cells of a resolution that a stage or a finer resolution has."""
        if level < len(self.parents):
            return len(self.parents[level])
        return len(self.features[self.levels.index(level)])

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
    """Mean and variance [C] that ``norm`` applies: in training those over voxels, a cell counting once per voxel.

    Where ``norm.sum_over_ranks`` is set, voxels of all processes that train one model count.
    """
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    if not norm.training:
        return norm.running_mean, norm.running_var
    total = getattr(norm, "sum_over_ranks", None) or (lambda value: value)
    voxels = total(torch.tensor(float(len(stages.cells[0])), device=norm.running_mean.device)).clamp_min(1)
    shares = [torch.bincount(cells).float() / voxels for cells in stages.cells]  # per level [M], sum 1 over ranks
    each = [(features.float(), shares[level]) for features, level in zip(stages.features, stages.levels, strict=True)]
    mean = total(torch.cat([share @ features for features, share in each]))  # [C]
    parts = mean.split([features.shape[1] for features, _ in each])
    var = total(torch.cat([share @ (f - part).square() for (f, share), part in zip(each, parts, strict=True)]))
    with torch.no_grad():
        norm.num_batches_tracked += 1
        momentum = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(var * (voxels / (voxels - 1).clamp_min(1)), momentum)
    return mean, var
