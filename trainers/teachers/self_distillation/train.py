"""Training of the label-free built-in teacher."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....core.config import to_dict
from ....core.errors import InputError
from ....core.metrics.representation import effective_rank
from ....core.nn.tokens import TokenNet, TokenNetConfig
from ...engine.loop import Trainer, TrainSchedule
from .crops import ColorFrames, CropConfig, CropPairs, crop_pairs
from .objective import ClusterHead, ObjectiveConfig, distillation, tokens

WARMUP = 100
"""Steps in which the learning rate rises."""
RANK_EVERY = 50
"""Steps between logs of the features' effective rank, an early sign of collapse."""


@dataclass(frozen=True)
class SslTraining:
    """Train the label-free built-in teacher on colour images of rooms. A run folder with a checkpoint is continued
    exactly."""

    run_dir: Path = Path("runs/builtin-ssl")
    """Folder of checkpoints, metrics and TensorBoard logs."""
    model: TokenNetConfig = field(default_factory=TokenNetConfig)
    """Sizes of the network."""
    crops: CropConfig = field(default_factory=CropConfig)
    """Sampling and augmentation of crops."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """Clusters and temperatures."""
    rooms: int = 400
    """Number of training rooms (seeds from 0)."""
    steps: int = 2200
    """Optimiser steps; a finished run continues when they are raised."""
    batch: int = 8
    """Frames per step, two crops each."""
    lr: float = 1e-3
    """Learning rate (AdamW) after a warm-up of 100 steps, constant."""
    weight_decay: float = 0.04
    """Decoupled weight decay of matrices."""
    momentum: tuple[float, float] = (0.98, 0.998)
    """Lowest and highest momentum of the teacher's moving average, which grows with the step."""
    seed: int = 0
    """Random seed of weights and batches."""
    bfloat16: bool = True
    """Convolutions in bfloat16 (weights and sums stay in float32)."""
    threads: int = 0
    """Processor threads; 0: all. The bundled weights were trained with 1."""
    save_every: int = 250
    """Steps between checkpoints."""
    seconds: float | None = None
    """Time limit in seconds; the same command continues from the checkpoint. None: no limit."""
    export: Path | None = None
    """Folder for weights, card and image, with scores on held-out rooms; None exports nothing."""
    held_out: int = 20
    """Number of held-out rooms for the card's scores (validation seeds)."""


class SslTrainer(Trainer[CropPairs]):
    """Trains student and teacher; see `Trainer`.

    Args:
        config: options of the run.
        frames: colour images to train on.

    Attributes:
        student, teacher: networks with their heads under "net" and "head"; the teacher is exported.
    """

    kind, title = "builtin-ssl", "label-free teacher"

    def __init__(self, config: SslTraining, frames: ColorFrames) -> None:
        if config.batch < 1:
            raise InputError("batch", "at least 1", str(config.batch))
        super().__init__(config, config.run_dir, TrainSchedule(config.steps, save_every=config.save_every))
        self.config: SslTraining = config
        self.frames = frames
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            net = TokenNet(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.student = nn.ModuleDict({"net": net, "head": ClusterHead(config.model.dim, config.objective)})
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.model = nn.ModuleDict({"student": self.student, "teacher": self.teacher})
        decayed = [p for p in self.student.parameters() if p.ndim > 1]
        others = [p for p in self.student.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.lr,
        )
        self.optimizer.register_step_post_hook(lambda *_: self._update_teacher())

    def batch(self, step: int) -> CropPairs:
        """Return the crops of ``step``, a function of the seed and the step alone."""
        rng = np.random.default_rng([self.config.seed, step])
        return crop_pairs(self.frames, self.config.batch, rng, self.config.crops)

    def train_step(self, batch: CropPairs) -> dict[str, float]:
        """Update the student, then the teacher; return scalars."""
        config = self.config
        images = batch.images.contiguous(memory_format=torch.channels_last)
        self.model.train()  # the teacher, too, is normalised by the statistics of the batch
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            target = self.teacher["net"](images)
        rank = {"rank": effective_rank(tokens(target))} if self.step % RANK_EVERY == 0 else {}

        def losses() -> dict[str, Tensor]:
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
                seen = self.student["net"](images, batch.hide)
            return distillation(seen, self.student["head"], target, self.teacher["head"], batch, config.objective)  # type: ignore[arg-type]

        lr = config.lr * min(1.0, (self.step + 1) / WARMUP)
        return self.update(self.student, self.optimizer, losses, lr, grad_clip=1.0) | rank

    @torch.no_grad()
    def _update_teacher(self) -> None:
        """Teacher ← m · teacher + (1 − m) · student, where the momentum m grows with the step."""
        least, most = self.config.momentum
        momentum = min(max(1 - 10 / (self.step + 1), least), most)
        for average, current in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            average.lerp_(current, 1 - momentum)

    def resume_signature(self) -> dict[str, Any]:
        non_training = {"run_dir", "steps", "threads", "save_every", "seconds", "export", "held_out"}
        return {k: v for k, v in to_dict(self.config).items() if k not in non_training}
