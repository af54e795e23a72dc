"""What decides a semantic segmentation run: labels, network, what of it learns, recipe, test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.data.augment import SceneAugmentConfig
from ...core.errors import InputError

Features = Literal["last", "hypercolumn", "encoder", "field", "lifted"]
"""What a linear head reads, per point:

* "last": the last decoder layer (the paper's);
* "hypercolumn": all stages of the backbone side by side, each channel standardised;
* "encoder": stem and encoder stages alone, no decoder (as in Sonata), each channel standardised;
* "field": the teacher-aligned field, rendered features where the point is, after their projection (fixed features);
* "lifted": a 2D teacher's features averaged over the frames that see the point, without any 3D network (fixed)."""

Norm = Literal["train", "eval", "own"]
"""Statistics of the backbone's batch norms:

* "train": of the batch in training, which also updates the running ones; the running ones in tests. The released code
  does so in linear probes, too;
* "eval": the running ones that pre-training left, always;
* "own": of the scenes at hand, in training (the batch's) and in tests (each scene's)."""

Passes = Literal["thirteen", "one"]


def check_numbers(config: Any, *names: str, zero: bool = False, where: str = "") -> None:
    """Whether options are positive, or at least 0 where ``zero`` is allowed.

    Raises:
        InputError: names the option, after ``where``, and its value.
    """
    for name in names:
        value = getattr(config, name)
        if not (value >= 0 if zero else value > 0):
            raise InputError(f"{where}{name}", "0 or more" if zero else "a positive number", f"{value}")


@dataclass(frozen=True)
class NetworkConfig:
    """The backbone where none is given: SpUNet-v1m1 at full size by default."""

    base_channels: int = 32
    """Width of the stem."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96)
    """Widths of the four encoder and four decoder stages."""
    layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2)
    """Residual blocks per stage."""


@dataclass(frozen=True)
class LabelConfig:
    """Which labelled scenes are learned from, and which are tested on."""

    data: str = ""
    """"rooms:COUNT" or a folder that `gaussiancross prepare` or Pointcept wrote."""
    classes: Literal["auto", "segment20", "segment200", "segment"] = "auto"
    """Label file of Pointcept folders: ScanNet's 20 or 200 classes, or S3DIS; "auto" takes what is usual."""
    train: str = "train"
    """Split to learn from; S3DIS areas as "Area_1-2-3-4-6"."""
    val: str = "val"
    """Split to test on; S3DIS areas as "Area_5"."""
    scenes: int = 100
    """Per cent of the training scenes. Less: those of DATA/tasks/scenes/<n>.txt, or drawn with the seed."""
    points: int = 0
    """Labelled points per training scene, 0: all. Those of DATA/tasks/points/points<n>, or drawn with the seed."""
    val_scenes: int = 0
    """Scenes that are tested on, 0: all."""

    def __post_init__(self) -> None:
        if not 1 <= self.scenes <= 100:
            raise InputError("labels.scenes", "1 to 100 per cent", f"{self.scenes}")
        check_numbers(self, "points", "val_scenes", zero=True, where="labels.")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW + OneCycle, as in the released downstream configs."""

    lr: float = 5e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """Decoupled weight decay, on everything."""
    warmup: float = 0.05
    """Share of the steps spent rising from lr / 10 to the peak; they end at lr / 10,000."""
    grad_clip: float = 0.0
    """Largest gradient norm; 0 does not clip."""
    backbone_lr: float = 1.0
    """Factor on the backbone's learning rate."""
    amp: bool = True
    """bfloat16 autocast, on CUDA only."""


@dataclass(frozen=True)
class TestConfig:
    """How the network is tested, always on the original points."""

    __test__ = False  # no test of pytest's

    passes: Passes = "thirteen"
    """"thirteen": the sum of four rotations about z at scales 1, 0.95 and 1.05, and a flip. "one": as it is."""
    fragments: bool = True
    """Every point is network input once: scenes go through as several sets of one point per voxel. Otherwise a voxel's
    answer holds for all of its points."""


@dataclass(frozen=True)
class SemanticTraining:
    """One semantic segmentation run: a linear probe, or fine-tuning, or training from scratch."""

    labels: LabelConfig = field(default_factory=LabelConfig)
    """Scenes and classes."""
    init: str = ""
    """Pre-trained model: "bundled-rooms", a run folder, what `gaussiancross convert` wrote, or a name on
    the hub. Empty: the same recipe from random weights, the baseline that an improvement is measured against."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The backbone where ``init`` is empty."""
    frozen: bool = False
    """Train the head alone (a linear probe), or everything."""
    features: Features = "last"
    """What the linear head reads: the "last" decoder layer (the paper's), a "hypercolumn" of all stages, the "encoder"
    stages alone, the teacher-aligned "field", or a 2D teacher's features "lifted" onto the points."""
    norm: Norm = "train"
    """Statistics of the backbone's batch norms: "train", the batch's while training and the running ones in tests (as
    the released code does, in probes too); "eval", those of the pre-training; "own", of the scenes at hand."""
    cache: bool = False
    """Compute a frozen backbone's features of each scene once, unaugmented: minutes instead of days, no published
    protocol. Needs ``frozen``, and a norm other than "train"."""
    teacher: str = "builtin"
    """2D teacher of "lifted" features."""
    voxel_size: float = 0.02
    """Edge of the voxels, metres; a pre-trained model wants its own."""
    max_points: int = 0
    """Draw so many points of a training scene before anything else, 0: all."""
    max_voxels: int = 102_400
    """A sphere of so many voxels is cut out of larger training scenes."""
    augment: SceneAugmentConfig = field(default_factory=SceneAugmentConfig)
    """Augmentation of training scenes."""
    mix: float = 0.8
    """Chance that the scenes of a batch are laid on top of each other, two and two (Mix3D)."""
    lovasz: float = 1.0
    """Weight of the Lovász-softmax loss beside the cross-entropy."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    batch_size: int = 32
    """Scenes per step."""
    micro_batch: int = 0
    """How many of them go through the network at once, to fit into memory; 0: all. Batch statistics are theirs, as they
    are each GPU's where several share a batch, and gradients are averaged."""
    epochs: float = 800.0
    """Passes over the training scenes."""
    steps: int = 0
    """Optimiser steps; 0: as many as ``epochs`` are."""
    test: TestConfig = field(default_factory=TestConfig)
    """The final test."""
    seed: int = 0
    """Of weights, scene order, augmentation, and of labels that are drawn."""
    eval_every: int = 1000
    """Steps between quick evaluations on the held-out scenes, 0: none before the end."""
    save_every: int = 1000
    """Steps between checkpoints."""
    workers: int = 0
    """Threads that prepare batches; 0: one for every two cores, 8 at most."""

    def __post_init__(self) -> None:
        check_numbers(self, "batch_size", "epochs", "voxel_size", "max_voxels", "save_every")
        check_numbers(self, "steps", "max_points", "micro_batch", "eval_every", zero=True)
        if self.features in FIXED and not self.frozen:
            raise InputError(f"features {self.features}", "a probe", "fine-tuning", "these features cannot be trained")
        if self.cache and (not self.frozen or self.norm == "train"):
            raise InputError("cache", 'a probe with norm "eval" or "own"', "features that change over the training")

    @property
    def fixed(self) -> bool:
        """Whether features are computed once per scene, and a linear layer trained on them."""
        return self.cache or self.features in FIXED


FIXED = ("field", "lifted")
