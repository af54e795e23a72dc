"""What the trainings of semantic and instance segmentation share: a network that learns from labelled scenes."""

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
from ...core.device import default_device
from ...core.errors import InputError
from ..engine.loop import Trainer, TrainSchedule, default_workers
from ..engine.schedule import WarmStatistics, one_cycle
from .config import SemanticTraining
from .instance_config import InstanceTraining
from .scenes import LabelledScenes, SemanticData

M = TypeVar("M", bound=nn.Module)

NON_TRAINING_OPTIONS = ("labels.val", "labels.val_scenes", "eval_every", "save_every", "workers", "micro_batch")
"""Options that change nothing of what is learned, or no more than another machine would: a run goes on with others."""


def learned_from(
    config: SemanticTraining | InstanceTraining, scenes: LabelledScenes, start: str, for_tests: Sequence[str] = ()
) -> dict[str, Any]:
    """What decides a training, in JSON types without nesting: the options, the names of the training scenes and the
    weights that it starts from, wherever they lie.

    Args:
        start: `segmenter.fingerprint` of the pre-trained model, "" without one.
        for_tests: further options, or groups of them, that change nothing of what is learned.
    """
    free = (*NON_TRAINING_OPTIONS, *for_tests)
    groups = tuple(f"{name}." for name in free)
    deciding = {k: v for k, v in flatten(to_dict(config)).items() if k not in free and not k.startswith(groups)}
    names = hashlib.sha256("\n".join(scenes.train.names).encode()).hexdigest()[:16]
    return deciding | {"labels.data": f"{len(scenes.train)} scenes, {names}", "init": start}


class Clock:
    """Seconds of a run: since this object was made, and of earlier invocations up to the checkpoint that it went on
    from.

    Attributes:
        earlier: the latter.
    """

    def __init__(self) -> None:
        self.earlier, self._begun = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier + time.monotonic() - self._begun


class SceneTrainer(Trainer[PointBatch], Generic[M]):
    """Owns network and optimiser: AdamW with one cycle of the learning rate. A subclass says what the losses are.

    Args:
        config: the run.
        run_dir: created if need be; when it holds a checkpoint, `resume` continues it exactly.
        data: what is learned from and tested on.
        model: takes a batch of points.
        groups: what of it learns, as the optimiser takes it, with "lr_scale" each.
        start: `segmenter.fingerprint` of the pre-trained backbone, "" for none.
        device: "cuda" when there is one, unless given.

    Attributes:
        model: on the device.
        clock: how long the run has taken.
        for_tests: options of the subclass's config that change nothing of what is learned, beside `NON_TRAINING_OPTIONS`.
    """

    for_tests: tuple[str, ...] = ()
    smaller = "--micro-batch says how many scenes of a batch go through the network at once"

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
        self.optimizer = torch.optim.AdamW(groups, lr=config.optim.lr, weight_decay=config.optim.weight_decay)
        self._statistics = WarmStatistics(self.model)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.data.scenes.class_names

    @abstractmethod
    def losses(self, batch: PointBatch) -> dict[str, Tensor]:
        """The weighted terms of a batch on the device."""

    def forward(self, points: PointBatch) -> Any:
        """What the network says of points on the device, in the precision that the config asks for."""
        amp = self.config.optim.amp and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=amp):
            return self.model(points)

    def batch(self, step: int) -> PointBatch:
        return self.data.batch(step)

    def train_step(self, batch: PointBatch) -> dict[str, float]:
        """One update on the sum of the losses."""
        self.model.train()
        config = self.config
        parts = batch.split(math.ceil(config.batch_size / config.micro_batch)) if config.micro_batch else [batch]
        lr = one_cycle(self.step, self.rhythm.steps, config.optim.lr, config.optim.warmup)
        losses = [partial(self._losses, part, self.step * len(parts) + k) for k, part in enumerate(parts)]
        return self.update(self.model, self.optimizer, losses, lr, config.optim.grad_clip)

    def _losses(self, part: PointBatch, number: int) -> dict[str, Tensor]:
        """Of a part of a batch, the ``number``-th of all parts since the run began."""
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
        return learned_from(self.config, self.data.scenes, self.start, self.for_tests)
