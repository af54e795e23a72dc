"""Backbone features of large scenes in overlapping blocks: memory is bounded, seams are not visible.

A block's features are kept inside of its box only; the network also sees a margin of voxels around it. Where the margin
is the network's `SpUNet.reach`, the features equal those of the whole scene. That needs coarse cells that begin at the
same voxels in every block, and one normalisation for all blocks: a network that normalises by the statistics of its
input gets those of up to `SAMPLES` places of the scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.batch import PointBatch
from ..report import SILENT, Report
from .spunet import STAGES, BatchNorm, SpUNet

CELL = 1 << STAGES
"""Voxels along an edge of the coarsest cells."""

SAMPLES = 8
"""Places of a large scene that statistics are taken from."""

WORKING_MEMORY = 200_000_000
"""Voxels × channels of all stages that a block may have: 500,000 voxels of the bundled backbone, about 2 GB."""

Statistics = dict[str, tuple[Tensor, Tensor]]
"""Name of a normalisation → mean and biased variance [C] of its input."""


@dataclass(frozen=True)
class Block:
    """Voxels ``low`` ≤ v < ``high``, [3] each, that are computed together."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def holds(self, grid: NDArray[np.integer], margin: int = 0) -> NDArray[np.bool_]:
        """[V] whether voxels [V, 3] lie inside, or up to ``margin`` voxels outside."""
        inside = np.ones(len(grid), bool)
        for axis in range(3):
            inside &= grid[:, axis] >= self.low[axis] - margin
            inside &= grid[:, axis] < self.high[axis] + margin
        return inside


@dataclass(frozen=True)
class BlockPlan:
    """Division of a scene.

    Attributes:
        blocks: boxes that together hold every voxel once.
        overlap: voxels around a box that the network sees, too.
    """

    blocks: tuple[Block, ...]
    overlap: int


def block_voxels(backbone: SpUNet) -> int:
    """Voxels that a block of this network may have, its margin included."""
    config = backbone.to_config()
    return WORKING_MEMORY // (config["base_channels"] + sum(config["channels"]))


def plan_blocks(grid: NDArray[np.integer], budget: int, reach: int, overlap: int | None = None) -> BlockPlan:
    """Divide voxels [V, 3] into blocks with at most ``budget`` voxels each, margin included, where that is possible.

    Boxes are halved until they fit, but stay at least as wide as their margin: narrower ones would be mostly margin.

    Args:
        reach: voxels that the network sees (`SpUNet.reach`). The margin is halved, twice at most, for scenes so dense
            that blocks with all of it do not fit.
        overlap: margin in voxels, instead.
    """
    low, high = grid.min(0).astype(np.int64), grid.max(0).astype(np.int64) + 1
    if len(grid) <= budget:
        return BlockPlan((Block(low, high),), 0)
    margins = [_to_cells(reach >> k) for k in range(3)] if overlap is None else [overlap]
    plan = BlockPlan((), 0)
    for margin in margins:
        blocks, fit = _split(grid, np.arange(len(grid)), Block(low, high), budget, margin)
        plan = BlockPlan(tuple(blocks), margin)
        if fit:
            break
    return plan


def _split(
    grid: NDArray[np.integer], rows: NDArray[np.int64], box: Block, budget: int, margin: int
) -> tuple[list[Block], bool]:
    """Blocks of the voxels ``rows`` in a box, and whether all have at most ``budget`` voxels."""
    if len(rows) == 0:
        return [], True
    if int(box.holds(grid, margin).sum()) <= budget:
        return [box], True
    inside, least = grid[rows], max(margin, 2 * CELL)
    low, high = inside.min(0), inside.max(0) + 1
    axis = int((high - low).argmax())
    first, last = _to_cells(low[axis] + least), _to_cells(high[axis] - least - CELL + 1)
    if first > last:
        return [box], False
    cut = min(max(_to_cells(int(np.median(inside[:, axis]))), first), last)
    lower, upper = box.high.copy(), box.low.copy()
    lower[axis] = upper[axis] = cut
    below = inside[:, axis] < cut
    parts = [
        _split(grid, rows[below], Block(box.low, lower), budget, margin),
        _split(grid, rows[~below], Block(upper, box.high), budget, margin),
    ]
    return [b for blocks, _ in parts for b in blocks], all(fit for _, fit in parts)


def _to_cells(voxels: int) -> int:
    """The next multiple of `CELL`."""
    return -(-int(voxels) // CELL) * CELL


@torch.no_grad()
def measure_statistics(backbone: SpUNet, points: PointBatch, budget: int) -> Statistics:
    """Statistics of the inputs of the normalisations, over up to `SAMPLES` places of a scene with ``budget`` voxels
    together; empty for a network with running statistics.

    Args:
        points: voxels of one scene, on the CPU.
    """
    norms = {n: m for n, m in backbone.named_modules() if isinstance(m, BatchNorm) and m.own_statistics}
    if not norms:
        return {}
    grid = points.grid_coord.numpy()
    box = Block(grid.min(0).astype(np.int64), grid.max(0).astype(np.int64) + 1)
    pieces = [box] if len(grid) <= budget else _split(grid, np.arange(len(grid)), box, budget // SAMPLES, 0)[0]
    picks = np.unique(np.linspace(0, len(pieces) - 1, SAMPLES).round().astype(int))
    rows = [np.flatnonzero(pieces[i].holds(grid)) for i in picks]
    joined = torch.from_numpy(np.concatenate(rows))
    found: Statistics = {}

    names = {norm: name for name, norm in norms.items()}

    def keep(norm: BatchNorm, inputs: tuple[Tensor]) -> None:
        values = inputs[0].float()
        if len(values) >= 2:  # a single voxel has no variance: `BatchNorm` uses its running statistics
            found[names[norm]] = values.mean(0), values.var(0, unbiased=False)

    hooks = [norm.register_forward_pre_hook(keep) for norm in names]
    try:
        device = next(backbone.parameters()).device
        offset = torch.tensor([len(r) for r in rows]).cumsum(0)
        origin = torch.from_numpy(np.stack([_origin(grid[r]) for r in rows]))
        backbone(points.grid_coord[joined].to(device), points.feat[joined].to(device), offset, origin)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@contextmanager
def fixed_statistics(backbone: SpUNet, statistics: Statistics) -> Iterator[None]:
    """Context in which normalisations use these statistics, outside training."""
    norms = dict(backbone.named_modules())
    device = next(backbone.parameters()).device
    try:
        for name, (mean, var) in statistics.items():
            norms[name].fixed = mean.to(device), var.to(device)  # type: ignore[assignment]
        yield
    finally:
        for name in statistics:
            norms[name].fixed = None  # type: ignore[assignment]


@torch.no_grad()
def encode_block(
    backbone: SpUNet, points: PointBatch, plan: BlockPlan, index: int, hypercolumn: bool = False
) -> tuple[NDArray[np.int64], Tensor]:
    """Compute one block, within `fixed_statistics`.

    Args:
        points: all voxels of the scene, on the CPU.

    Returns:
        ascending rows [K] of the voxels in the block's box, and their features [K, C], float32 on the CPU.
    """
    grid, block = points.grid_coord.numpy(), plan.blocks[index]
    seen = np.flatnonzero(block.holds(grid, plan.overlap))
    inner = block.holds(grid[seen])
    device, picks = next(backbone.parameters()).device, torch.from_numpy(seen)
    origin = torch.from_numpy(_origin(grid[seen])[None])
    inputs = points.grid_coord[picks].to(device), points.feat[picks].to(device), torch.tensor([len(seen)]), origin
    rows = torch.from_numpy(inner).to(device)
    if not hypercolumn:
        return seen[inner], backbone(*inputs)[rows].float().cpu()
    stages = backbone.stages(*inputs)
    stages = replace(stages, cells=tuple(cells[rows] for cells in stages.cells))
    return seen[inner], torch.cat([part.float().cpu() for part in stages.spread()], 1)


@torch.no_grad()
def encode_in_blocks(
    backbone: SpUNet,
    points: PointBatch,
    budget: int,
    hypercolumn: bool = False,
    report: Report = SILENT,
    what: str = "features",
) -> Tensor:
    """[V, C] features of the voxels of one scene, float32 on the CPU; at once if it has at most ``budget`` voxels.

    Arguments are those of the functions above; points are on the CPU.
    """
    if len(points.coord) <= budget:
        here = points.to(next(backbone.parameters()).device)
        inputs = here.grid_coord, here.feat, here.offset
        return (torch.cat(backbone.stages(*inputs).spread(), 1) if hypercolumn else backbone(*inputs)).float().cpu()
    plan = plan_blocks(points.grid_coord.numpy(), budget, backbone.reach)
    features: Tensor | None = None
    with fixed_statistics(backbone, measure_statistics(backbone, points, budget)):
        for index in report.steps(f"{what}, block", range(len(plan.blocks))):
            rows, values = encode_block(backbone, points, plan, index, hypercolumn)
            features = values.new_empty(len(points.coord), values.shape[1]) if features is None else features
            features[torch.from_numpy(rows)] = values
    assert features is not None
    return features


def _origin(grid: NDArray[np.integer]) -> NDArray[np.int64]:
    """[3] the corner of the coarsest cell, counted from the scene's voxel 0, that holds the lowest of voxels."""
    return grid.min(0).astype(np.int64) // CELL * CELL
