"""What decides a pre-training run. Plain frozen dataclasses: importing them loads no data set and no viewer."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.data.augment import AugmentConfig
from ...core.models import GaussianCrossConfig


@dataclass(frozen=True)
class DataConfig:
    """What to train on."""

    data: str = "rooms"
    """"rooms" or "rooms:COUNT" (built in), an RGB-D export, a folder with transforms.json, or a Pointcept folder."""
    teacher: str = "none"
    """Frozen 2D teacher: "none", a folder of features, or a model: "builtin", "clip:CHECKPOINT", "siglip2:…",
    "dinov2:…", "dinov3:…", "radio:…"."""
    teacher_cache: str = "auto"
    """Where features that a model computes are kept, each frame's once: "auto" (~/.cache/gaussiancross, or
    $GAUSSIANCROSS_CACHE), "memory", or a folder. `gaussiancross features` computes a whole dataset beforehand."""
    batch_size: int = 1
    """Scenes per step."""
    views: int = 5
    """M, target views per scene and step (5 in the paper)."""
    width: int = 640
    """Width of the rendered views, pixels."""
    height: int = 480
    """Height of the rendered views, pixels."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Geometric augmentation of points and cameras."""
    eval_scenes: int = 4
    """Held-out scenes that are evaluated."""
    eval_views: int = 8
    """Held-out views per evaluated scene, evenly spaced."""


@dataclass(frozen=True)
class OptimConfig:
    """AdamW + OneCycle. The paper does not publish its optimiser: all inferred."""

    lr: float = 2e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """Decoupled weight decay, on matrices only (biases and norms have none)."""
    warmup: float = 0.05
    """Share of the steps spent rising to the peak."""
    grad_clip: float = 1.0
    """Largest gradient norm."""
    amp: bool = True
    """Mixed precision (bfloat16 autocast), on CUDA only; sparse convolutions stay in float32, spconv has no other."""


@dataclass(frozen=True)
class PretrainConfig:
    """One pre-training run."""

    model: GaussianCrossConfig = field(default_factory=GaussianCrossConfig)
    """The network; ``teacher_dim`` is set from the data."""
    data: DataConfig = field(default_factory=DataConfig)
    """Scenes, views and teacher."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    steps: int = 100_000
    """Optimiser steps of the whole schedule."""
    seed: int = 0
    """Of weights, scene order, masks, augmentations and views."""
    save_every: int = 1000
    """Steps between checkpoints; one is also written at the end and on Ctrl-C."""
    keep: int = 2
    """Checkpoints kept, at least 2; 0 keeps all."""
    timeline_mb: float = 1000.0
    """Disk space for the time line, weights of many steps to scrub through in the viewer, MB; 0 writes none."""
    probe: bool = True
    """Where scenes carry labels, train a linear classifier on the features beside the run, which it does not touch:
    its curve and its segmentation show what the features know."""
    eval_every: int = 500
    """Steps between evaluations on held-out views; one is also done at the end. 0: only that one."""


def without_teacher(config: PretrainConfig, option: str) -> str | None:
    """What a person who starts a run without a teacher is told; None where there is one, or its losses are off anyway.

    Args:
        option: the flag that names the teacher of this command.
    """
    model = config.model
    if config.data.teacher != "none" or not (model.loss_weights["feature"] or model.point_weight):
        return None
    return (
        "No teacher: colour and depth alone are learned from, without the losses of features, and the run knows no "
        f"words; {option} builtin gives one (it has seen class names), {option} builtin-ssl one that is label-free."
    )
