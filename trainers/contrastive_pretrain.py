"""The baseline that GaussianCross has to beat: contrast of two views of one scene, on points alone.

PointContrast (Xie et al. 2020) with MSC's way of making the views (Wu et al. 2023): two geometrically and
photometrically augmented, masked copies of a scene instead of two frames. Voxels that stand for the same points are
each other's positives; all other voxels drawn from the scene are negatives (PointInfoNCE).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from ..core.augment import AugmentConfig, SceneAugmentConfig, augment_scene
from ..core.batch import PointBatch, make_points
from ..core.device import default_device
from ..core.errors import InputError
from ..core.metrics import effective_rank
from ..core.nn.spunet import SpUNet
from ..core.scene import SceneDataset
from .config import OptimConfig
from .loop import Rhythm, Trainer
from .pretrain import make_optimizer
from .schedule import WarmStatistics, one_cycle

COLOURS = SceneAugmentConfig(
    AugmentConfig(rotate_probability=1.0),
    drop_probability=0.0,
    elastic=(),
    contrast_probability=0.5,
    color_shift=0.1,
    color_noise=0.05,
)
"""Views differ in geometry and in colour: otherwise colour alone tells which voxels match."""


@dataclass(frozen=True)
class ContrastiveConfig:
    """One contrastive pre-training."""

    base_channels: int = 32
    """Width of the backbone's stem."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96)
    """Widths of its stages."""
    layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2)
    """Its residual blocks per stage."""
    own_statistics: bool = True
    """See `GaussianCrossConfig`."""
    voxel_size: float = 0.02
    """Edge of the voxels, metres."""
    mask_ratio: float = 0.5
    """Share of the points that each view lacks, drawn apart."""
    augment: SceneAugmentConfig = field(default_factory=lambda: COLOURS)
    """Of each view."""
    pairs: int = 2048
    """Matched voxels that a scene contributes, at most (PointContrast: 4,096)."""
    temperature: float = 0.07
    """Of the softmax over negatives (PointContrast, MSC: 0.07 and 0.4)."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    steps: int = 100_000
    """Optimiser steps, of one scene each."""
    eval_every: int = 0
    """Steps between looks at the effective rank of the features, 0: at the end."""
    save_every: int = 1000
    """Steps between checkpoints."""
    seed: int = 0
    """Of weights, scene order and views."""


@dataclass(frozen=True)
class ViewPair:
    """Two views of one scene.

    Attributes:
        points: of both, as a batch of two.
        matches: [P, 2] rows of ``points``, the voxel in the first and in the second view, each at most once.
    """

    points: PointBatch
    matches: Tensor


class ContrastiveTrainer(Trainer[ViewPair]):
    """Trains a `SpUNet` by contrast.

    Args:
        config: the run.
        run_dir: created if need be; when it holds a checkpoint, `resume` continues it exactly.
        train: scenes; labels and frames are not looked at.
        val: scenes whose features' effective rank is told on the way.
        device: "cuda" when there is one, unless given.

    Attributes:
        model: the backbone.
    """

    kind = "contrastive"
    title = "contrastive pre-training"

    def __init__(
        self,
        config: ContrastiveConfig,
        run_dir: Path | str,
        train: SceneDataset,
        val: SceneDataset,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__(config, run_dir, Rhythm(config.steps, config.eval_every, config.save_every))
        self.config: ContrastiveConfig = config
        if not len(train):
            raise InputError("scenes", "at least one to learn from", "none")
        self.val = val
        self._train, self._scene = train, lru_cache(maxsize=32)(train.scene)
        self.device = default_device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = SpUNet(
                6,
                config.base_channels,
                config.channels,
                config.layers,
                own_statistics=config.own_statistics,
                voxel_size=config.voxel_size,
            ).to(self.device)
        self.optimizer = make_optimizer(self.model, config.optim)
        self._statistics = WarmStatistics(self.model)

    def batch(self, step: int) -> ViewPair:
        epoch, position = divmod(step, len(self._train))
        index = int(np.random.default_rng([self.config.seed, 1, epoch]).permutation(len(self._train))[position])
        return make_views(self._scene(index), self.config, np.random.default_rng([self.config.seed, 2, step]))

    def train_step(self, batch: ViewPair) -> dict[str, float]:
        """One update on the matches of one scene."""
        self.model.train()
        points, matches = batch.points.to(self.device), batch.matches.to(self.device)
        optim = self.config.optim
        lr = one_cycle(self.step, self.rhythm.steps, optim.lr, optim.warmup)
        self._statistics.before(self.step)

        def losses() -> dict[str, Tensor]:
            features = self.model(points.grid_coord, points.feat, points.offset)
            return {"contrast": info_nce(features[matches[:, 0]], features[matches[:, 1]], self.config.temperature)}

        return self.update(self.model, self.optimizer, losses, lr, optim.grad_clip)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean effective rank of the features of the held-out scenes."""
        self.model.eval()
        ranks = []
        for index in range(len(self.val)):
            points = make_points(self.val.scene(index), self.config.voxel_size)[0].to(self.device)
            ranks.append(effective_rank(self.model(points.grid_coord, points.feat, points.offset)))
        return {"eval/effective_rank": sum(ranks) / max(1, len(ranks))}


def make_views(scene, config: ContrastiveConfig, rng: Generator) -> ViewPair:
    """Two masked, augmented copies of a scene, and which of their voxels hold the same point."""
    n = len(scene)
    # The points' own numbers travel as instance ids through everything that drops or reorders points.
    numbered = replace(scene, segment=None, instance=np.arange(n))
    parts, voxel_of = [], []
    for _ in range(2):
        kept = rng.random(n) >= config.mask_ratio
        kept[rng.integers(n, size=2)] = True
        view = augment_scene(numbered[kept], config.augment, rng)
        points, inverse = make_points(view, config.voxel_size, rng)
        of_point = np.full(n, -1)
        assert view.instance is not None
        of_point[view.instance] = inverse.numpy()
        parts.append(replace(points, instance=None))
        voxel_of.append(of_point)
    matches = match(voxel_of[0], voxel_of[1], config.pairs, rng)
    matches[:, 1] += len(parts[0].coord)
    return ViewPair(PointBatch.cat(parts), torch.from_numpy(matches))


def match(first: np.ndarray, second: np.ndarray, most: int, rng: Generator) -> np.ndarray:
    """At most ``most`` pairs [P, 2] of voxels that share a point, drawn at random; every voxel is in one pair at most.

    Args:
        first, second: [N] voxel of every point of the scene in either view, −1 where the view lacks the point.
    """
    both = rng.permutation(np.flatnonzero((first >= 0) & (second >= 0)))
    both = both[np.unique(first[both], return_index=True)[1]]
    both = both[np.unique(second[both], return_index=True)[1]]
    both = rng.permutation(both)[:most]
    return np.stack([first[both], second[both]], 1)


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """PointInfoNCE, −mean_i log softmax_j(cos(a_i, b_j) / τ)_i, both ways; [P, C] each, row i of one matches row i of
    the other. 0, with gradients of 0, without a pair."""
    if not len(first):
        return first.sum() + second.sum()
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature
    here = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, here) + F.cross_entropy(logits.T, here)) / 2
