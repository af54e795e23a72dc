"""Random and real features for tests of queries."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.paths import SHARED_DATA

DATA = SHARED_DATA

BAD_ROWS = {3: 0.0, 7: float("nan"), 11: float("inf")}


def random_features(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    """CLIP-like: a strong common direction, lengths far from 1."""
    g = torch.Generator().manual_seed(seed)
    common = torch.randn(dim, generator=g)
    return (common + torch.randn(n, dim, generator=g)) * torch.rand(n, 1, generator=g).mul(6).exp()


def with_bad_rows(features: torch.Tensor) -> torch.Tensor:
    features = features.clone()
    for row, value in BAD_ROWS.items():
        features[row, :] = 0 if value == 0 else features[row]
        features[row, 2] = value
    return features


def sample_data(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} in the sample data")
    return path
