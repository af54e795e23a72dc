"""The point loss of a whole batch, computed per cell of the backbone's stages.

A point's prediction is a linear map of the features f of its cell, p = W f + b, and its loss is 1 − cos(p, t) with the
unit target t of D channels. Over the points of a cell, Σ w cos(p, t) = p · d / |p| with the cell's direction d = Σ w t,
and with p · d = f · (Wᵀ d) + b · d and |p|² = fᵀ(WᵀW) f + 2 (Wᵀ b) · f + |b|² no prediction of D channels is ever made.
Scenes differ in the weights w only, so cells may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.batch import Batch
from ..features.lift_scenes import lift_scenes
from ..features.lifting import Lifted, lift_views
from ..nn.stages import Stages
from ..nn.standardize import Standardize
from .gaussiancross import point_cosine


@torch.no_grad()
def point_targets(batch: Batch, order: Tensor, standardize: Standardize | None) -> tuple[Tensor, Tensor]:
    """Weighted unit targets of the points of a batch: the features that the views of their scenes see at them.

    A seen point weighs 1 / (number of scenes · seen points of its scene), others 0.

    Args:
        order: [V] row of each point in the result.
        standardize: of the targets' channels; None leaves them as they are.

    Returns:
        [V, D] weight · unit target, in bfloat16 on CUDA, where they stay in memory until the backward pass; and the sum
        of the weights.
    """
    coord, teacher = batch.points.coord, batch.views[0].teacher
    assert teacher is not None
    dtype, on_cpu = torch.bfloat16 if coord.is_cuda else torch.float32, coord.device.type == "cpu"
    rows, total = coord.new_zeros(len(coord), teacher.shape[-1], dtype=dtype), coord.new_zeros(())
    with torch.autocast(coord.device.type, enabled=False):
        for span, lifted in zip(batch.points.spans(), _lifted(batch), strict=True):
            seen = lifted.views > 0  # [n]
            # Unseen points are left out on the CPU; on other devices, finding them would wait.
            pick = seen.nonzero()[:, 0] if on_cpu else slice(None)
            features, weight = lifted.features[pick], seen[pick] / (seen.sum().clamp_min(1) * len(batch.views))
            target = F.normalize(features, dim=1)  # [k, D]
            if standardize is not None:
                target = standardize(target, None if on_cpu else seen)
            rows.index_add_(0, order[span][pick], (F.normalize(target, dim=1) * weight[:, None]).to(dtype))
            total += weight.sum()
    return rows, total


def _lifted(batch: Batch) -> Iterable[Lifted]:
    """Features that the views see at the points of each scene: view by view on the CPU, where this takes less time."""
    if batch.points.coord.device.type != "cpu":
        return lift_scenes(batch.points, batch.views)
    scenes = zip(batch.points.spans(), batch.views, strict=True)
    return (lift_views(batch.points.coord[span], views) for span, views in scenes)


def cell_sums(stages: Stages, values: Tensor) -> list[Tensor]:
    """Sum rows over the points of every cell, per resolution of ``stages``, up to the coarsest that a stage has.

    Args:
        values: [M, D] of the cells of the finest resolution, in the order of their rows.

    Returns:
        per resolution [M, D], in the dtype of ``values``; sums are taken in float32.
    """
    sums = [values]
    for level in range(max(stages.levels)):
        total = torch.zeros(stages.count(level + 1), values.shape[1], device=values.device)
        sums.append(total.index_add_(0, stages.parents[level], sums[-1].float()).to(values.dtype))
    return sums


def sum_of_cosines(features: Tensor, layer: nn.Linear, directions: Tensor) -> Tensor:
    """Σ over cells of p · d / |p| for predictions p = ``layer(features)``, without making them.

    Args:
        features: [M, C] of cells, float32 or wider.
        directions: [M, D]; half precision is multiplied in half precision.
    """
    weight, bias = layer.weight, layer.bias
    along = (directions @ weight.to(directions.dtype)).to(features.dtype)  # [M, C] Wᵀ d
    dots = (features * along).sum(1) + (directions @ bias.to(directions.dtype)).to(features.dtype)  # [M]
    squares = ((features @ (weight.T @ weight)) * features).sum(1) + features @ (2 * weight.T @ bias) + bias @ bias
    return (dots / squares.clamp_min(1e-12).sqrt()).sum()


def point_loss(stages: Stages, layers: Iterable[nn.Module], directions: Sequence[Tensor], total: Tensor) -> Tensor:
    """The weighted point loss of the last stage plus its mean over the other stages.

    Args:
        layers: per stage, the linear layer from its features to D channels.
        directions: per resolution [M, D], the sum over each cell's points of weight · unit target.
        total: sum of the points' weights.
    """
    with torch.autocast(total.device.type, enabled=False):
        losses = []
        for layer, features, level in zip(layers, stages.features, stages.levels, strict=True):
            assert isinstance(layer, nn.Linear)
            losses.append(total - sum_of_cosines(features.to(layer.weight.dtype), layer, directions[level]))
        return _last_and_others(losses)


def point_loss_reference(
    stages: Stages, layers: Iterable[nn.Module], spans: Sequence[slice], targets: Tensor, seen: Tensor
) -> Tensor:
    """`point_loss` by its definition: `point_cosine` of the seen points' predictions, averaged over scenes.

    Args:
        spans: rows of each scene's points.
        targets: [N, D] per point.
        seen: [N] bool, points with a target.
    """
    per_scene = []
    for span in spans:
        rows = torch.arange(span.start, span.stop, device=seen.device)[seen[span]]  # of the scene's seen points
        each = zip(layers, stages.spread(), strict=True)
        per_scene.append(_last_and_others([point_cosine(layer(f[rows]), targets[rows]) for layer, f in each]))
    return torch.stack(per_scene).mean()


def _last_and_others(losses: list[Tensor]) -> Tensor:
    *others, last = losses
    return last + torch.stack(others).mean() if others else last
