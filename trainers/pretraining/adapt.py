"""Adapt a pre-training preset to its data and to a time budget. `gaussiancross pretrain` applies it to options that its
command line leaves open."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .config import PretrainConfig
from .data import PretrainData
from .trainer import Pretrainer

VOXELS = ("model.input.voxel_size", "model.fine_voxel")
POINTS = "model.input.max_points"
STEPS = "steps"
ADAPTABLE = (*VOXELS, POINTS, STEPS)
"""Fields of `PretrainConfig` that may be adapted, as dotted names."""

CAPTURE_VOXEL = 0.025
"""Largest edge of voxels and fine anchors on a capture, metres: one scene affords finer ones than many rooms."""
CAPTURE_POINTS = 100_000
"""Lowest value of the maximum number of points on a capture."""
TIMED_STEPS = 8
"""Steps timed to fit a schedule; they run twice, first to compile kernels and to fill caches."""


@dataclass(frozen=True)
class Costs:
    """Time that a training takes, in seconds."""

    step: float
    """One optimiser step with its batch."""
    evaluation: float = 0.0
    """One evaluation on the held-out views."""

    def steps_within(self, seconds: float, eval_every: int) -> int:
        """Number of steps, at least 1, that fit into ``seconds`` with an evaluation every ``eval_every`` (0: none)."""
        per_step = self.step + (self.evaluation / eval_every if eval_every else 0.0)
        return max(1, int(seconds / per_step))


def for_capture(config: PretrainConfig, adaptable: Collection[str] = ADAPTABLE) -> PretrainConfig:
    """Adapt voxels, fine anchors and the number of points to a capture, where they are adaptable.

    Voxels and fine anchors become at most `CAPTURE_VOXEL`, unless the user set one of the two; the maximum number of
    points becomes at least `CAPTURE_POINTS`.
    """
    model, inputs = config.model, config.model.input
    if all(name in adaptable for name in VOXELS):
        inputs = replace(inputs, voxel_size=min(inputs.voxel_size, CAPTURE_VOXEL))
        model = replace(model, fine_voxel=min(model.fine_voxel, CAPTURE_VOXEL))
    if POINTS in adaptable and inputs.max_points is not None:
        inputs = replace(inputs, max_points=max(inputs.max_points, CAPTURE_POINTS))
    return replace(config, model=replace(model, input=inputs))


def like_checkpoint(config: PretrainConfig, saved_config: PretrainConfig, adaptable: Collection[str]) -> PretrainConfig:
    """Return ``config`` with the adaptable fields taken from the run that it continues."""
    model, inputs = config.model, config.model.input
    if VOXELS[0] in adaptable:
        inputs = replace(inputs, voxel_size=saved_config.model.input.voxel_size)
    if VOXELS[1] in adaptable:
        model = replace(model, fine_voxel=saved_config.model.fine_voxel)
    if POINTS in adaptable:
        inputs = replace(inputs, max_points=saved_config.model.input.max_points)
    steps = saved_config.steps if STEPS in adaptable else config.steps
    return replace(config, model=replace(model, input=inputs), steps=steps)


def measure_costs(
    config: PretrainConfig, run_dir: Path, data: PretrainData, device: torch.device | str, seconds: float
) -> Costs:
    """Time steps, and an evaluation if one is due within ``seconds``, on a temporary model."""
    trainer = Pretrainer(config, run_dir, data, device)
    times: list[float] = []
    for is_timed in (False, True):
        batches = data.batches(0)
        try:
            for _ in range(TIMED_STEPS):
                begun = time.perf_counter()
                trainer.train_step(next(batches))
                if is_timed:
                    times.append(time.perf_counter() - begun)
        finally:
            batches.close()
    step, evaluation = statistics.median(times), 0.0
    if config.eval_every and seconds > step * config.eval_every:
        trainer.evaluate()
        begun = time.perf_counter()
        trainer.evaluate()
        evaluation = time.perf_counter() - begun
    return Costs(step, evaluation)
