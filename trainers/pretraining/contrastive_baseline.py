"""Contrastive pre-training on two views of a scene's points, the baseline of GaussianCross.

PointContrast (Xie et al. 2020) with views made as in MSC (Wu et al. 2023): two geometrically and photometrically
augmented, masked copies of a scene instead of two frames. Voxels of the same points are positives; all other sampled
voxels of the scene are negatives (PointInfoNCE).
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
    """One contrastive pre-training run."""

    base_channels: int = 32
    """Width of the backbone's stem."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96)
    """Widths of the backbone's stages."""
    layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2)
    """Residual blocks per stage of the backbone."""
    own_statistics: bool = True
    """Normalise by the scene's own batch statistics outside training, too."""
    voxel_size: float = 0.02
    """Edge of the voxels, metres."""
    mask_ratio: float = 0.5
    """Share of the points dropped from each view."""
    mask_block: float = 0.0
    """Edge of the blocks that are dropped from one view each (MSC), metres; 0 drops single points."""
    augment: SceneAugmentConfig = field(default_factory=lambda: VIEW_AUGMENT)
    """Augmentation of each view."""
    pairs: int = 2048
    """Maximum number of matched voxels per scene (PointContrast: 4,096)."""
    temperature: float = 0.07
    """Temperature of the softmax over negatives (PointContrast: 0.07, MSC: 0.4)."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    steps: int = 100_000
    """Optimiser steps of one scene each."""
    eval_every: int = 0
    """Steps between evaluations of the features' effective rank. 0: only at the end."""
    save_every: int = 1000
    """Steps between checkpoints."""
    seed: int = 0
    """Random seed of weights, scene order and views."""


class ContrastiveTrainer(Trainer[ViewPair]):
    """Trains a `SpUNet` by contrastive learning.

    Args:
        config: options of the run.
        run_dir: created if missing; when it holds a checkpoint, `resume` continues it exactly.
        train: scenes; labels and frames are ignored.
        val: scenes on which `evaluate` measures the effective rank of the features.
        device: by default "cuda" when available.

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
            self._scene(index),
            config.voxel_size,
            config.mask_ratio,
            config.pairs,
            rng,
            config.augment,
            config.mask_block,
        )

    def train_step(self, batch: ViewPair) -> dict[str, float]:
        """Update once on the matches of one scene."""
        self.model.train()
        batch = batch.to(self.device)
        optim = self.config.optim
        lr = one_cycle(self.step, self.schedule.steps, optim.lr, optim.warmup)
        self._statistics.before(self.step)

        def losses() -> dict[str, Tensor]:
            points = batch.points
            features = self.model(points.grid_coord, points.feat, points.offset)
            return {"contrast": info_nce(*features[batch.matches.T], temperature=self.config.temperature)}

        return self.update(self.model, self.optimizer, losses, lr, optim.grad_clip)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return the mean effective rank of the features of the held-out scenes."""
        self.model.eval()
        ranks = []
        for index in range(len(self.val)):
            points = make_points(self.val.scene(index), self.config.voxel_size)[0].to(self.device)
            ranks.append(effective_rank(self.model(points.grid_coord, points.feat, points.offset)))
        return {"eval/effective_rank": sum(ranks) / max(1, len(ranks))}
