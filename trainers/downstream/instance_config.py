"""What decides an instance segmentation run, and a preset for every published row."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import Literal

from ...core.data.augment import SceneAugmentConfig
from ...core.errors import InputError
from ...core.models.pointgroup import ClusterConfig
from ..pretraining.presets import TINY
from .config import LabelConfig, NetworkConfig, OptimConfig, SemanticTraining, check_numbers

AUGMENT = SceneAugmentConfig(drop_probability=0.5, color_shift=0.1)
"""Pointcept's for PointGroup: more points are dropped and colours shifted further than in semantic segmentation."""


@dataclass(frozen=True)
class InstanceTraining:
    """One PointGroup run: a pre-trained backbone fine-tuned, or everything from scratch."""

    labels: LabelConfig = field(default_factory=LabelConfig)
    """Scenes and classes; they have to carry instance ids."""
    init: str = ""
    """Pre-trained model: "bundled-rooms", a run folder, what `gaussiancross convert` wrote, or a name on
    the hub. Empty: from scratch."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The backbone where ``init`` is empty."""
    norm: Literal["train", "own"] = "train"
    """Statistics of the batch norms in tests: "train", the running ones of the training, as published; "own", those of
    the scene at hand."""
    without_instances: tuple[str, ...] = ("wall", "floor")
    """Classes that are neither proposed nor scored, by name (ScanNet's rule); names that the data do not have are of
    no consequence."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """From voxels to proposals."""
    voxel_size: float = 0.02
    """Edge of the voxels, metres; a pre-trained model wants its own."""
    max_points: int = 0
    """Draw so many points of a training scene before anything else, 0: all."""
    crop: float = 0.8
    """Share of a training scene's voxels that a random sphere cuts out."""
    augment: SceneAugmentConfig = AUGMENT
    """Augmentation of training scenes; they are never mixed."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=6e-3))
    """Optimiser and schedule."""
    batch_size: int = 12
    """Scenes per step."""
    micro_batch: int = 0
    """How many of them go through the network at once, to fit into memory; 0: all. Batch statistics are theirs, as they
    are each GPU's where several share a batch, and gradients are averaged."""
    epochs: float = 800.0
    """Passes over the training scenes."""
    steps: int = 0
    """Optimiser steps; 0: as many as ``epochs`` are."""
    seed: int = 0
    """Of weights, scene order and augmentation."""
    min_region: int = 100
    """Points below which a true or predicted instance does not count (ScanNet: 100)."""
    eval_every: int = 1000
    """Steps between evaluations on the held-out scenes, 0: none before the end."""
    save_every: int = 1000
    """Steps between checkpoints."""
    workers: int = 0
    """Threads that prepare batches; 0: half the cores, 8 at most."""

    def __post_init__(self) -> None:
        check_numbers(self, "batch_size", "epochs", "voxel_size", "min_region", "save_every")
        check_numbers(self, "steps", "max_points", "micro_batch", "eval_every", zero=True)
        if not 0 < self.crop <= 1:
            raise InputError("crop", "a share above 0 and up to 1", f"{self.crop}")

    def batches(self) -> SemanticTraining:
        """What decides the training batches, crops left aside, as a semantic run has it."""
        names = ("labels", "voxel_size", "max_points", "augment", "batch_size", "epochs", "steps", "seed")
        return SemanticTraining(mix=0.0, max_voxels=sys.maxsize, **{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class InstancePreset:
    """A named run.

    Attributes:
        description: one line.
        config: the run.
    """

    description: str
    config: InstanceTraining


_SCANNET = InstanceTraining(labels=LabelConfig(classes="segment20"))
_SCANNET200 = replace(_SCANNET, labels=LabelConfig(classes="segment200"), optim=OptimConfig(lr=5e-3), batch_size=24)
_ROOMS = InstanceTraining(
    labels=LabelConfig(data="rooms:100", val_scenes=8),
    network=NetworkConfig(TINY.model.base_channels, TINY.model.channels, TINY.model.layers),
    norm="own",
    cluster=ClusterConfig(min_points=15, propose_points=30),
    voxel_size=TINY.model.input.voxel_size,
    max_points=30_000,
    batch_size=1,
    steps=1500,
    eval_every=500,
    save_every=250,
)
"""At 4 cm an object has a quarter of the voxels, and so proposals may be smaller. From scratch, AP25 on
eight held-out rooms is 28.0 after these steps with the scenes' own batch statistics, 17.9 with the running ones."""

INSTANCES: dict[str, InstancePreset] = {
    "scannet": InstancePreset("PointGroup on ScanNet, 20 classes.", _SCANNET),
    "scannet200": InstancePreset("PointGroup on ScanNet200.", _SCANNET200),
    "rooms": InstancePreset("PointGroup on the built-in rooms, with the tiny network, on a CPU.", _ROOMS),
}
"""Instance segmentation; without ``init`` from scratch under the same recipe."""
