"""Colours from UMAP: what is alike in many dimensions gets similar colours, also where three principal axes cannot
tell it apart.

The layout is made once from a sample of the features; everything else, of whatever scene, step or side of a split, is
coloured by its nearest neighbours in that sample. So the same feature always has the same colour, as with PCA.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor

from ...core.errors import InputError

SAMPLE = 4000
"""Features that the layout is made from."""

NEIGHBOURS = 4
"""In the sample, that give a feature its colour."""

SEED = 0

_ROWS = 4096
"""Features coloured at a time: distances to the whole sample fit into a few dozen megabytes."""


def require_umap() -> None:
    """`InputError` where umap-learn is not installed."""
    if find_spec("umap") is None:
        raise InputError("UMAP colours", "the package umap-learn", "none", "`pip install gaussiancross[umap]`")


def sampled(features: Tensor, count: int = SAMPLE) -> Tensor:
    """[≤ count, D] float32 on the CPU: finite rows of features [N, D], the same ones every time."""
    finite = features[torch.isfinite(features).all(1)]
    if len(finite) > count:
        finite = finite[torch.randperm(len(finite), generator=torch.Generator().manual_seed(SEED))[:count]]
    return finite.detach().float().cpu()


@dataclass(frozen=True)
class UmapColors:
    """Features → RGB, with the interface of `core.features.pca.PcaBasis`.

    Attributes:
        points: [S, D] the sample. colors: [S, 3] in [0, 1], theirs. mean: [D] of the sample.
    """

    points: Tensor
    colors: Tensor
    mean: Tensor

    @staticmethod
    def fit(
        points: Tensor, like: Callable[[Tensor], Tensor], progress: Callable[[float], None] = lambda share: None
    ) -> UmapColors:
        """Lay out a sample [S, D] in three dimensions and read them as colours.

        Args:
            like: [S, D] → [S, 3] the colours that these features wore so far. The layout is turned (orthogonal
                Procrustes) until its colours are as near to them as a rotation can bring them.
            progress: called with a share in [0, 1].
        """
        require_umap()
        import numpy as np

        progress(0.02)
        from umap import UMAP  # type: ignore[import-not-found]  # seconds

        progress(0.1)
        wanted = like(points).double()
        wanted = wanted - wanted.mean(0)
        count = len(points)
        if count < 16:  # too few for neighbourhoods
            return UmapColors(points, like(points), points.mean(0))
        layout = UMAP(
            n_components=3,
            n_neighbors=min(15, count - 1),
            # the library takes an array, its annotation says a name only
            init=(10 * wanted / wanted.abs().max().clamp_min(1e-6)).numpy().astype(np.float32),  # type: ignore[arg-type]
            random_state=SEED,
            n_jobs=1,
            tqdm_kwds={"file": _Bar(progress), "disable": False, "bar_format": "{percentage:.0f}%", "mininterval": 0.2},
        ).fit_transform(points.numpy())
        placed = torch.from_numpy(layout).double()
        placed = placed - placed.mean(0)
        u, _, vh = torch.linalg.svd(placed.T @ wanted)
        turned = placed @ (u @ vh)
        low, high = torch.quantile(turned, torch.tensor([0.02, 0.98], dtype=turned.dtype), dim=0)
        colors = ((turned - low) / (high - low).clamp_min(1e-6)).clamp(0, 1).float()
        progress(1.0)
        return UmapColors(points, colors, points.mean(0))

    def rgb(self, features: Tensor) -> Tensor:
        """Features [..., D] → colours [..., 3]: of the `NEIGHBOURS` nearest in the sample, weighted by the inverse of
        their squared distance."""
        points, colors = self.points.to(features.device), self.colors.to(features.device)
        flat = torch.nan_to_num(features.detach().float().reshape(-1, points.shape[1]))
        scale = points.var(0).sum().clamp_min(1e-12)
        out = []
        for rows in flat.split(_ROWS):
            near = torch.cdist(rows, points).topk(min(NEIGHBOURS, len(points)), largest=False)
            weight = 1 / (near.values.square() / scale + 1e-6)
            out.append((weight[..., None] * colors[near.indices]).sum(1) / weight.sum(1, keepdim=True))
        return torch.cat(out).reshape(*features.shape[:-1], 3) if out else flat.new_zeros(*features.shape[:-1], 3)


class _Bar:
    """What tqdm writes its percentages to."""

    def __init__(self, progress: Callable[[float], None]) -> None:
        self._progress = progress

    def write(self, text: str) -> None:
        found = re.findall(r"(\d+)%", text)
        if found:
            self._progress(0.2 + 0.8 * int(found[-1]) / 100)

    def flush(self) -> None:
        pass
