"""Options of a semantic segmentation run: labels, network, recipe, test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.data.augment import SceneAugmentConfig
from ...core.errors import InputError

Features = Literal["last", "hypercolumn", "encoder", "field", "lifted"]
"""Per-point input of the linear head:

* "last": the last decoder layer (as in the paper);
* "hypercolumn": all stages of the backbone concatenated, each channel standardised;
* "encoder": stem and encoder stages, no decoder (as in Sonata), each channel standardised;
* "field": the teacher-aligned feature field at the point, after its projection (precomputed);
* "lifted": a 2D teacher's features averaged over the frames that see the point, no 3D network (precomputed)."""

Norm = Literal["train", "eval", "own"]
"""Statistics of the backbone's batch norms:

* "train": the batch's in training, the running ones in tests; the released code does so in linear probes, too;
* "eval": always the running ones of the pre-training;
* "own": the batch's in training, each scene's own in tests."""

Passes = Literal["thirteen", "one"]


def check_numbers(config: Any, *names: str, zero: bool = False, where: str = "") -> None:
    """Check that options are positive, or at least 0 where ``zero`` is allowed.

    Args:
        names: fields of ``config``.
        where: prefix of the option's name in the error.

    Raises:
        InputError: names the option and its value.
    """
    for name in names:
        value = getattr(config, name)
        if not (value >= 0 if zero else value > 0):
            raise InputError(f"{where}{name}", "0 or more" if zero else "a positive number", f"{value}")


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a backbone with random weights; by default SpUNet-v1m1."""

    base_channels: int = 32
    """Width of the stem."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96)
    """Widths of the four encoder and four decoder stages."""
    layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2)
    """Residual blocks per stage."""


@dataclass(frozen=True)
class LabelConfig:
    """Labelled scenes for training and testing."""

    data: str = ""
    """"rooms:COUNT" or a folder written by `gaussiancross prepare` or Pointcept."""
    classes: Literal["auto", "segment20", "segment200", "segment"] = "auto"
    """Label file of Pointcept folders: ScanNet's 20 or 200 classes, or S3DIS; "auto" detects it."""
    train: str = "train"
    """Training split; S3DIS areas as "Area_1-2-3-4-6"."""
    val: str = "val"
    """Test split; S3DIS areas as "Area_5"."""
    scenes: int = 100
    """Share of the training scenes, %; below 100 from DATA/tasks/scenes/<n>.txt, or sampled with the seed."""
    points: int = 0
    """Labelled points per training scene, from DATA/tasks/points/points<n> or sampled with the seed; 0: all."""
    val_scenes: int = 0
    """Number of test scenes; 0: all."""

    def __post_init__(self) -> None:
        if not 1 <= self.scenes <= 100:
            raise InputError("labels.scenes", "1 to 100 per cent", f"{self.scenes}")
        check_numbers(self, "points", "val_scenes", zero=True, where="labels.")


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser (AdamW) and schedule (OneCycle), as in the released downstream configs."""

    lr: float = 5e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """Decoupled weight decay of all parameters."""
    warmup: float = 0.05
    """Share of the steps in which the rate rises from lr / 10 to its peak; it ends at lr / 10,000."""
    grad_clip: float = 0.0
    """Largest gradient norm; 0 does not clip."""
    backbone_lr: float = 1.0
    """Factor on the backbone's learning rate."""
    amp: bool = True
    """Mixed precision (bfloat16) on CUDA."""


@dataclass(frozen=True)
class TestConfig:
    """Final test, always scored on the original points."""

    __test__ = False  # not a test class of pytest

    passes: Passes = "thirteen"
    """"thirteen": votes of 4 rotations at scales 1, 0.95 and 1.05, and a flip. "one": no augmentation."""
    fragments: bool = True
    """Feed every point to the network once, in sets of one point per voxel; off: one prediction per voxel."""


@dataclass(frozen=True)
class SemanticTraining:
    """One semantic segmentation run: a linear probe, fine-tuning, or training from scratch."""

    labels: LabelConfig = field(default_factory=LabelConfig)
    """Scenes and classes."""
    init: str = ""
    """Pre-trained model: "bundled-rooms", a run folder, a converted model, a hub name; empty: random weights."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Backbone of runs without ``init``."""
    frozen: bool = False
    """Train only the head (linear probe) instead of the whole network."""
    features: Features = "last"
    """Input of the head: "last" layer (paper), "hypercolumn", "encoder", feature "field", or "lifted" 2D features."""
    norm: Norm = "train"
    """Batch-norm statistics: "train" (batch, running in tests), "eval" (of the pre-training), "own" (each scene's)."""
    cache: bool = False
    """Compute a frozen backbone's features once, unaugmented; fast, not the published protocol; norm eval or own."""
    teacher: str = "builtin"
    """2D teacher of "lifted" features."""
    voxel_size: float = 0.02
    """Edge of the voxels, metres; use the pre-trained model's own."""
    max_points: int = 0
    """Points sampled from each training scene; 0: all."""
    max_voxels: int = 102_400
    """Size of the sphere that is cropped from larger training scenes, voxels."""
    augment: SceneAugmentConfig = field(default_factory=SceneAugmentConfig)
    """Augmentation of training scenes."""
    mix: float = 0.8
    """Probability of merging pairs of scenes of a batch (Mix3D)."""
    lovasz: float = 1.0
    """Weight of the Lovász-softmax loss beside the cross-entropy."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    batch_size: int = 32
    """Scenes per step."""
    micro_batch: int = 0
    """Scenes per forward pass (each with its own batch statistics, gradients averaged), to save memory; 0: all."""
    epochs: float = 800.0
    """Passes over the training scenes."""
    steps: int = 0
    """Optimiser steps; 0: as many as ``epochs`` takes."""
    test: TestConfig = field(default_factory=TestConfig)
    """Final test."""
    seed: int = 0
    """Random seed of weights, scene order, augmentation and sampled labels."""
    eval_every: int = 1000
    """Steps between quick evaluations on the held-out scenes. 0: only at the end."""
    save_every: int = 1000
    """Steps between checkpoints."""
    workers: int = 0
    """Threads that prepare batches; 0: half the cores, at most 8."""

    def __post_init__(self) -> None:
        check_numbers(self, "batch_size", "epochs", "voxel_size", "max_voxels", "save_every")
        check_numbers(self, "steps", "max_points", "micro_batch", "eval_every", zero=True)
        if self.features in FIXED and not self.frozen:
            raise InputError(f"features {self.features}", "a probe", "fine-tuning", "these features cannot be trained")
        if self.cache and (not self.frozen or self.norm == "train"):
            raise InputError("cache", 'a probe with norm "eval" or "own"', "features that change over the training")

    @property
    def fixed(self) -> bool:
        """Whether features are precomputed per scene and only a linear layer is trained."""
        return self.cache or self.features in FIXED


FIXED = ("field", "lifted")
"""Features that cannot be trained and are always precomputed."""
