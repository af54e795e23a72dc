"""The baseline that GaussianCross has to beat: contrast of two views of one scene, on points alone.

PointContrast (Xie et al. 2020) with MSC's way of making the views (Wu et al. 2023): two geometrically and
photometrically augmented, masked copies of a scene instead of two frames. Voxels that stand for the same points are
each other's positives; all other voxels drawn from the scene are negatives (PointInfoNCE).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...core.data.augment import SceneAugmentConfig
from ...core.data.batch import ViewPair, make_points
from ...core.data.scene import SceneDataset
from ...core.data.view_pairs import VIEW_AUGMENT, make_view_pair
from ...core.device import default_device
from ...core.errors import InputError
from ...core.losses.contrastive import info_nce
from ...core.metrics import effective_rank
from ...core.nn.spunet import SpUNet
from ..engine.loop import Trainer, TrainSchedule
from ..engine.schedule import WarmStatistics, one_cycle
from .config import OptimConfig
from .trainer import make_optimizer


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
    augment: SceneAugmentConfig = field(default_factory=lambda: VIEW_AUGMENT)
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
        super().__init__(config, run_dir, TrainSchedule(config.steps, config.eval_every, config.save_every))
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
        config, rng = self.config, np.random.default_rng([self.config.seed, 2, step])
        return make_view_pair(
            self._scene(index), config.voxel_size, config.mask_ratio, config.pairs, rng, config.augment
        )

    def train_step(self, batch: ViewPair) -> dict[str, float]:
        """One update on the matches of one scene."""
        self.model.train()
        batch = batch.to(self.device)
        optim = self.config.optim
        lr = one_cycle(self.step, self.rhythm.steps, optim.lr, optim.warmup)
        self._statistics.before(self.step)

        def losses() -> dict[str, Tensor]:
            points = batch.points
            features = self.model(points.grid_coord, points.feat, points.offset)
            return {"contrast": info_nce(*features[batch.matches.T], temperature=self.config.temperature)}

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
