"""`SceneTrainer`: base of the trainings on labelled scenes (semantic and instance segmentation)."""

from __future__ import annotations

import hashlib
import math
import time
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ...core.config import flatten, to_dict
from ...core.data.batch import PointBatch
from ...core.device import default_device, has_bfloat16
from ...core.errors import InputError
from ..engine.loop import Trainer, TrainSchedule
from ..engine.optimizer import adamw
from ..engine.prefetch import default_workers
from ..engine.schedule import WarmStatistics, one_cycle
from .config import SemanticTraining
from .instance_config import InstanceTraining
from .scenes import LabelledScenes, SemanticData

M = TypeVar("M", bound=nn.Module)

NON_TRAINING_OPTIONS = ("labels.val", "labels.val_scenes", "eval_every", "save_every", "workers", "micro_batch")
"""Options that do not affect the learned weights, or only within rounding; they may change on resume."""


def training_signature(
    config: SemanticTraining | InstanceTraining,
    scenes: LabelledScenes,
    start: str,
    test_only_options: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what determines the learned weights, as flat JSON types: options, training scenes and initial weights.

    Args:
        start: `segmenter.fingerprint` of the pre-trained model, "" without one.
        test_only_options: further options, or groups of them, that do not affect the learned weights.
    """
    ignored = (*NON_TRAINING_OPTIONS, *test_only_options)
    groups = tuple(f"{name}." for name in ignored)
    options = {k: v for k, v in flatten(to_dict(config)).items() if k not in ignored and not k.startswith(groups)}
    names = hashlib.sha256("\n".join(scenes.train.names).encode()).hexdigest()[:16]
    return options | {"labels.data": f"{len(scenes.train)} scenes, {names}", "init": start}


class Clock:
    """Duration of a run over several invocations, in seconds.

    Attributes:
        earlier: seconds of earlier invocations, up to the resumed checkpoint.
    """

    def __init__(self) -> None:
        self.earlier, self._begun = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier + time.monotonic() - self._begun


class SceneTrainer(Trainer[PointBatch], Generic[M]):
    """Trains a network on labelled scenes with AdamW and OneCycle; a subclass defines the losses.

    Args:
        config: options of the run.
        run_dir: created if missing; when it holds a checkpoint, `resume` continues it exactly.
        data: training batches and held-out scenes.
        model: network that takes a batch of points.
        groups: parameter groups of the optimiser, each with "lr_scale".
        start: `segmenter.fingerprint` of the pre-trained backbone, "" for none.
        device: by default "cuda" when available.

    Attributes:
        model: the network, on the device.
        clock: duration of the run.
        test_only_options: options of the subclass that do not affect the weights, beside `NON_TRAINING_OPTIONS`.
    """

    test_only_options: tuple[str, ...] = ()
    memory_hint = "lower --micro-batch, the number of scenes per forward pass"

    def __init__(
        self,
        config: SemanticTraining | InstanceTraining,
        run_dir: Path | str,
        data: SemanticData,
        model: M,
        groups: list[dict[str, Any]],
        start: str = "",
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__(config, run_dir, TrainSchedule(data.steps, config.eval_every, config.save_every))
        self.data, self.start, self.clock = data, start, Clock()
        self.workers = config.workers or default_workers()
        self.device = default_device(device)
        self.model = model.to(self.device)
        self.optimizer = adamw(groups, config.optim.lr, config.optim.weight_decay)
        self._statistics = WarmStatistics(self.model)
        self._amp = config.optim.amp and self.device.type == "cuda" and has_bfloat16(self.device)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.data.scenes.class_names

    @abstractmethod
    def losses(self, batch: PointBatch) -> dict[str, Tensor]:
        """Compute the weighted terms of a batch on the device."""

    def forward(self, points: PointBatch) -> Any:
        """Run the network on points on the device, in the config's precision."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp):
            return self.model(points)

    def batch(self, step: int) -> PointBatch:
        return self.data.batch(step)

    def train_step(self, batch: PointBatch) -> dict[str, float]:
        """Update once on the sum of the losses."""
        self.model.train()
        config = self.config
        parts = batch.split(math.ceil(len(self.data.slots) / config.micro_batch)) if config.micro_batch else [batch]
        lr = one_cycle(self.step, self.schedule.steps, config.optim.lr, config.optim.warmup)
        losses = [partial(self._losses, part, self.step * len(parts) + k) for k, part in enumerate(parts)]
        return self.update(self.model, self.optimizer, losses, lr, config.optim.grad_clip)

    def _losses(self, part: PointBatch, number: int) -> dict[str, Tensor]:
        """Compute the losses of a part of a batch, the ``number``-th part since the run began."""
        self._statistics.before(number)
        return self.losses(part.to(self.device))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "classes": list(self.class_names), "seconds": self.clock.seconds}

    def load(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        if state["classes"] != list(self.class_names):
            raise InputError(self.run_dir, f"a run with the {len(self.class_names)} classes of the data", "others")
        super().load(weights, state)
        self.clock.earlier = float(state.get("seconds", 0.0))

    def resume_signature(self) -> dict[str, Any]:
        return training_signature(self.config, self.data.scenes, self.start, self.test_only_options)
