"""Coarse cells in the order of a hash table, as spconv numbers them on CUDA: scenes interleave."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.sparse import modules, reference


def use_hash_order(monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> None:
    """Make the torch backend return the cells of strided convolutions in a random order."""
    coarsen, generator = reference.coarsen, torch.Generator().manual_seed(seed)

    def shuffled(indices, spatial_shape, stride):
        coarse, shape, down, up = coarsen(indices, spatial_shape, stride)
        row = torch.randperm(len(coarse), generator=generator)  # [M] new row of every cell
        down = [(src, row[dst]) for src, dst in down]
        return coarse[row.argsort()], shape, down, [(row[src], dst) for src, dst in up]

    monkeypatch.setattr(reference, "coarsen", shuffled)
    monkeypatch.setattr(modules, "_is_fast", lambda x: False)
