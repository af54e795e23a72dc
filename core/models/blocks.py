"""Gaussians of large scenes, predicted block by block.

Backbone features are those of the whole scene (`core.nn.blocks`). The dense lattice has a fixed number of cells, chosen
for one room: over a building they would be several metres wide, so every block of a few rooms has a lattice of its own.
What the lattice adds to Gaussians near a seam therefore differs a little between both of its sides.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.batch import PointBatch
from ..geometry.gaussians import Gaussians
from ..nn.blocks import CELL, Block, block_voxels, encode_in_blocks, plan_blocks
from ..report import SILENT, Report
from .gaussiancross import GaussianCross

LARGE = 200_000
"""Voxels above which a scene is predicted in blocks."""

BLOCK = 60_000
"""Voxels of a block with its own lattice, margin included."""

MARGIN = CELL
"""Voxels around a block that its lattice sees, too."""


@torch.no_grad()
def predict_scene(model: GaussianCross, points: PointBatch, report: Report = SILENT) -> tuple[Tensor, Gaussians]:
    """[V, C] backbone features and the pruned Gaussians of one scene, in blocks if it has more than `LARGE` voxels.

    Arguments and results are those of `predict_in_blocks`, but points and results may be on any device.
    """
    if len(points.coord) > LARGE:
        return predict_in_blocks(model, points.to("cpu"), report)
    points = points.to(next(model.parameters()).device)
    features = model.backbone_features(points)
    return features, model.gaussians(points, features)[0]


@torch.no_grad()
def predict_in_blocks(model: GaussianCross, points: PointBatch, report: Report = SILENT) -> tuple[Tensor, Gaussians]:
    """Predict a large scene.

    Args:
        points: voxels of one scene, on the CPU, none of them masked.

    Returns:
        [V, C] backbone features on the CPU, and the pruned Gaussians, on the model's device.
    """
    device, grid = next(model.parameters()).device, points.grid_coord.numpy()
    features = encode_in_blocks(model.backbone, points, block_voxels(model.backbone), report=report)
    plan = plan_blocks(grid, BLOCK, MARGIN, overlap=MARGIN)
    low, high = grid.min(0), grid.max(0) + 1
    size = model.config.input.voxel_size
    start = np.floor(points.coord.numpy().min(0) / size).astype(np.int64)  # voxel 0 of ``grid`` in the points' world
    parts = []
    for block in report.steps("Gaussians, block", plan.blocks):
        rows = torch.from_numpy(np.flatnonzero(block.holds(grid, plan.overlap)))
        part = _rows(points, rows).to(device)
        gaussians = model.gaussians(part, features[rows].to(device))[0]
        cell = np.floor(gaussians.means.cpu().numpy() / size) - start
        own = _open_ended(block, low, high).holds(np.nan_to_num(cell).clip(-(2.0**40), 2.0**40).astype(np.int64))
        keep = torch.from_numpy(own).to(device)
        picked = {f.name: getattr(gaussians, f.name) for f in fields(gaussians)}
        parts.append(replace(gaussians, **{k: v[keep] for k, v in picked.items() if v is not None}))
    return features, Gaussians.cat(parts)


def _rows(points: PointBatch, rows: Tensor) -> PointBatch:
    """The voxels ``rows`` of a batch of one scene; voxels are counted from their lowest."""
    values = {f.name: getattr(points, f.name) for f in fields(points) if f.name != "offset"}
    cut = {name: value[rows] for name, value in values.items() if value is not None}
    return replace(points, **cut, offset=torch.tensor([len(rows)]))


def _open_ended(block: Block, low: NDArray[np.integer], high: NDArray[np.integer]) -> Block:
    """The block without an end where the scene ends: Gaussians may lie a little outside of the points."""
    far = np.int64(1) << 50
    return Block(np.where(block.low <= low, -far, block.low), np.where(block.high >= high, far, block.high))
