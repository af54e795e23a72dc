"""What the stages of a sparse U-Net know, each at its own resolution, and a linear head that reads them there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Stages:
    """Features of the cells of each stage.

    Attributes:
        features: per stage [M, C] of its cells, those of a scene in a row.
        levels: per stage, which resolution its cells are of.
        cells: per resolution [N], the cell that holds each voxel.
    """

    features: tuple[Tensor, ...]
    levels: tuple[int, ...]
    cells: tuple[Tensor, ...]

    def __getitem__(self, which: slice) -> Stages:
        """Some of the stages."""
        return Stages(self.features[which], self.levels[which], self.cells)

    def of(self, voxels: slice) -> Stages:
        """What they know of some voxels in a row: of one scene of a batch."""
        cells = [c[voxels] for c in self.cells]
        spans = [slice(int(c.min()), int(c.max()) + 1) if len(c) else slice(0, 0) for c in cells]
        features = tuple(f[spans[level]] for f, level in zip(self.features, self.levels, strict=True))
        return Stages(features, self.levels, tuple(c - span.start for c, span in zip(cells, spans, strict=True)))

    def spread(self) -> list[Tensor]:
        """Per stage [N, C]: every voxel has the features of its cell."""
        # Not features[cells]: the gradient of that adds up row by row.
        return [f.index_select(0, self.cells[level]) for f, level in zip(self.features, self.levels, strict=True)]


def linear_of_stages(stages: Stages, norm: nn.BatchNorm1d, linear: nn.Linear) -> Tensor:
    """``linear(norm(torch.cat(stages.spread(), 1)))``, computed at each stage's own resolution.

    Standardising and the linear layer do the same to every voxel, so cells can go through them before they are handed
    to their voxels: of a hypercolumn, hundreds of channels wide, only the K outputs are ever spread.

    Args:
        norm: without weights of its own; in training its running statistics are updated as it would do it.

    Returns:
        [N, K] float32, under autocast, too.
    """
    with torch.autocast(linear.weight.device.type, enabled=False):
        return _linear_of_stages(stages, norm, linear)


def _linear_of_stages(stages: Stages, norm: nn.BatchNorm1d, linear: nn.Linear) -> Tensor:
    mean, var = _statistics(stages, norm)
    weight = linear.weight * (var + norm.eps).rsqrt()
    parts = weight.split([f.shape[1] for f in stages.features], 1)
    by_level: dict[int, Tensor] = {}
    for features, level, part in zip(stages.features, stages.levels, parts, strict=True):
        found = features.float() @ part.T
        by_level[level] = found if level not in by_level else by_level[level] + found
    spread = [found.index_select(0, stages.cells[level]) for level, found in by_level.items()]
    return torch.stack(spread).sum(0) + (linear.bias - weight @ mean)


def _statistics(stages: Stages, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] over voxels that ``norm`` divides by: in training those of the stages, a cell counting for
    each of its voxels."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    if not norm.training:
        return norm.running_mean, norm.running_var
    voxels = max(1, len(stages.cells[0]))
    shares = [torch.bincount(cells).float() / voxels for cells in stages.cells]
    means, variances = [], []
    for features, level in zip(stages.features, stages.levels, strict=True):
        mean = shares[level] @ features.float()
        means.append(mean)
        variances.append(shares[level] @ (features.float() - mean).square())
    mean, var = torch.cat(means), torch.cat(variances)
    with torch.no_grad():
        norm.num_batches_tracked += 1
        momentum = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(var * (voxels / max(1, voxels - 1)), momentum)
    return mean, var
