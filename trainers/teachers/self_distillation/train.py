"""The training of the label-free built-in teacher."""

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
"""Steps over which the learning rate rises."""
RANK_EVERY = 50
"""Steps between looks at the rank of the features: a collapse shows there first."""


@dataclass(frozen=True)
class SslTraining:
    """Train the label-free built-in teacher on colour images of the rooms alone. A folder that holds a checkpoint is
    continued, exactly."""

    run_dir: Path = Path("runs/builtin-ssl")
    """Checkpoints, metrics and TensorBoard logs."""
    model: TokenNetConfig = field(default_factory=TokenNetConfig)
    """Sizes of the network."""
    crops: CropConfig = field(default_factory=CropConfig)
    """How pairs of crops are drawn."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """Clusters and temperatures."""
    rooms: int = 400
    """Training rooms, seeds 0 and up."""
    steps: int = 2200
    """Optimiser steps. No rate depends on it: a finished run goes on when it is raised."""
    batch: int = 8
    """Frames per step, two crops each."""
    lr: float = 1e-3
    """Learning rate of AdamW after `WARMUP` steps; the teacher's average stands in for a decay."""
    weight_decay: float = 0.04
    """On matrices."""
    momentum: tuple[float, float] = (0.98, 0.998)
    """Of the teacher's moving average, least and most: in between it averages over about a tenth of the run so far."""
    seed: int = 0
    """Of weights and batches."""
    bfloat16: bool = True
    """Convolutions in bfloat16 (weights and sums stay in float32)."""
    threads: int = 0
    """Processor threads; 0 takes all. The shipped weights were made with 1."""
    save_every: int = 250
    """Steps between checkpoints."""
    seconds: float | None = None
    """Stop (with a checkpoint) after so many seconds; the same command goes on."""
    export: Path | None = None
    """When done, measure on held-out rooms and write weights, card and picture to this folder (the project's:
    assets)."""
    held_out: int = 20
    """Rooms that the scores of the card are measured on, validation seeds."""


class SslTrainer(Trainer[CropPairs]):
    """Owns student, teacher and optimiser; see `Trainer`.

    Args:
        config: the training.
        frames: colour images to learn from.

    Attributes:
        student, teacher: networks with their heads under "net" and "head"; the teacher is what is shipped.
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
        self.optimizer.register_step_post_hook(lambda *_: self._follow())

    def batch(self, step: int) -> CropPairs:
        """The crops of that step: a function of the seed and the step alone."""
        rng = np.random.default_rng([self.config.seed, step])
        return crop_pairs(self.frames, self.config.batch, rng, self.config.crops)

    def train_step(self, batch: CropPairs) -> dict[str, float]:
        """One update of the student, then of the teacher; returns scalars."""
        config = self.config
        images = batch.images.contiguous(memory_format=torch.channels_last)
        self.model.train()  # the teacher, too, is normalised by the batch at hand
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
    def _follow(self) -> None:
        """Teacher ← m · teacher + (1 − m) · student, where the momentum m grows with the step."""
        least, most = self.config.momentum
        momentum = min(max(1 - 10 / (self.step + 1), least), most)
        for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.lerp_(theirs, 1 - momentum)

    def resume_signature(self) -> dict[str, Any]:
        free = {"run_dir", "steps", "threads", "save_every", "seconds", "export", "held_out"}
        return {k: v for k, v in to_dict(self.config).items() if k not in free}
