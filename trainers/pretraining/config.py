"""Options of pre-training, as frozen dataclasses. Importing them loads no data set and no viewer."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.data.augment import AugmentConfig
from ...core.models import GaussianCrossConfig


@dataclass(frozen=True)
class DataConfig:
    """Scenes, views and teacher."""

    data: str = "rooms"
    """"rooms:COUNT" (procedural rooms), an RGB-D capture, a folder with transforms.json, a Pointcept folder, or several
    of these joined by "+", with shares as in "rooms:400@0.7+capture@0.3"."""
    teacher: str = "none"
    """Frozen 2D teacher: none, builtin, builtin-dino:…, builtin-ssl, clip:…, siglip2:…, dinov2:…, dinov3:…, radio:…, or
    a folder."""
    teacher_cache: str = "auto"
    """Cache of teacher features: "auto" ($GAUSSIANCROSS_CACHE or ~/.cache/gaussiancross), "memory", or a folder."""
    batch_size: int = 1
    """Scenes per step, of all processes together."""
    micro_batch: int = 0
    """Scenes per forward pass, to save memory; 0 takes all. Batch norms then use the statistics of these few scenes."""
    workers: int = 0
    """Threads or processes that prepare batches, scene by scene; 0: one on the CPU, all cores but one for CUDA."""
    processes: bool = False
    """Prepare batches in processes instead of threads; for stored teacher features, not for a teacher that computes."""
    views: int = 5
    """Target views per scene and step (M; 5 in the paper)."""
    width: int = 640
    """Width of the rendered views, pixels."""
    height: int = 480
    """Height of the rendered views, pixels."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Geometric augmentation of points and cameras."""
    eval_scenes: int = 4
    """Number of held-out scenes per evaluation."""
    eval_views: int = 8
    """Number of held-out views per evaluated scene, evenly spaced."""


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser (AdamW) and learning-rate schedule (OneCycle). Not published with the paper."""

    lr: float = 2e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """Decoupled weight decay of matrices; biases and norms have none."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises to its peak."""
    grad_clip: float = 1.0
    """Largest gradient norm; 0 does not clip."""
    amp: bool = True
    """Mixed precision (bfloat16) on GPUs that have it in hardware; sparse convolutions stay in float32."""


@dataclass(frozen=True)
class PretrainConfig:
    """One pre-training run."""

    model: GaussianCrossConfig = field(default_factory=GaussianCrossConfig)
    """Network; ``teacher_dim`` is set from the data."""
    data: DataConfig = field(default_factory=DataConfig)
    """Scenes, views and teacher."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    steps: int = 100_000
    """Optimiser steps of the whole schedule."""
    seed: int = 0
    """Random seed of weights, scene order, masks, augmentations and views."""
    save_every: int = 1000
    """Steps between checkpoints; one is also written at the end and on Ctrl-C."""
    keep: int = 2
    """Number of checkpoints that stay on disk, at least 2; 0 keeps all."""
    timeline_mb: float = 1000.0
    """Disk space for the weights of many steps, shown as the viewer's time line, MB; 0 writes none."""
    probe: bool = True
    """Train a linear probe of the labels beside the run; it does not affect the network."""
    eval_every: int = 500
    """Steps between evaluations on held-out views; one is also done at the end. 0: only at the end."""


def without_teacher(config: PretrainConfig, option: str) -> str | None:
    """Return a warning for a run without a teacher; None for one with a teacher or without losses on its features.

    Args:
        option: the command's flag that selects the teacher.
    """
    model = config.model
    if config.data.teacher != "none" or not (model.loss_weights["feature"] or model.point_weight):
        return None
    return (
        "No teacher: the run learns from colour and depth alone, without losses on features, and cannot be queried by "
        f"text; {option} builtin adds a teacher (trained with class names), {option} builtin-ssl a label-free one."
    )
