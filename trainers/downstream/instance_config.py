"""Options of an instance segmentation run, and one preset per published row."""

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
"""Pointcept's augmentation for PointGroup: stronger point dropout and colour shift than in semantic segmentation."""


@dataclass(frozen=True)
class InstanceTraining:
    """One PointGroup run: fine-tuning of a pre-trained backbone, or training from scratch."""

    labels: LabelConfig = field(default_factory=LabelConfig)
    """Scenes and classes; scenes need instance ids."""
    init: str = ""
    """Pre-trained model: "bundled-rooms", a run folder, a converted model, a hub name; empty: random weights."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Backbone of runs without ``init``."""
    norm: Literal["train", "own"] = "train"
    """Batch-norm statistics in tests: "train", the running ones (as published), or "own", each scene's."""
    without_instances: tuple[str, ...] = ("wall", "floor")
    """Names of classes that are neither proposed nor scored (ScanNet's rule)."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """Grouping of voxels into proposals."""
    voxel_size: float = 0.02
    """Edge of the voxels, metres; use the pre-trained model's own."""
    max_points: int = 0
    """Points sampled from each training scene; 0: all."""
    crop: float = 0.8
    """Share of a training scene's voxels in the random sphere crop."""
    augment: SceneAugmentConfig = AUGMENT
    """Augmentation of training scenes; they are never mixed."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=6e-3))
    """Optimiser and schedule."""
    batch_size: int = 12
    """Scenes per step."""
    micro_batch: int = 0
    """Scenes per forward pass (each with its own batch statistics, gradients averaged), to save memory; 0: all."""
    epochs: float = 800.0
    """Passes over the training scenes."""
    steps: int = 0
    """Optimiser steps; 0: as many as ``epochs`` takes."""
    seed: int = 0
    """Random seed of weights, scene order and augmentation."""
    min_region: int = 100
    """Smallest true or predicted instance that is scored, points (ScanNet: 100)."""
    eval_every: int = 1000
    """Steps between evaluations on the held-out scenes. 0: only at the end."""
    save_every: int = 1000
    """Steps between checkpoints."""
    workers: int = 0
    """Threads that prepare batches; 0: half the cores, at most 8."""

    def __post_init__(self) -> None:
        check_numbers(self, "batch_size", "epochs", "voxel_size", "min_region", "save_every")
        check_numbers(self, "steps", "max_points", "micro_batch", "eval_every", zero=True)
        if not 0 < self.crop <= 1:
            raise InputError("crop", "a share above 0 and up to 1", f"{self.crop}")

    def batches(self) -> SemanticTraining:
        """Return the options of the training batches, without crops, as a semantic run's."""
        names = ("labels", "voxel_size", "max_points", "augment", "batch_size", "epochs", "steps", "seed")
        return SemanticTraining(mix=0.0, max_voxels=sys.maxsize, **{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class InstancePreset:
    """A named configuration.

    Attributes:
        description: one line of help.
        config: its options.
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
"""At 4 cm an object has a quarter of the voxels that it has at 2 cm, so smaller proposals are allowed."""

INSTANCES: dict[str, InstancePreset] = {
    "scannet": InstancePreset("PointGroup on ScanNet, 20 classes.", _SCANNET),
    "scannet200": InstancePreset("PointGroup on ScanNet200.", _SCANNET200),
    "rooms": InstancePreset("PointGroup on the built-in rooms, with the tiny network, on a CPU.", _ROOMS),
}
"""Presets of instance segmentation; without ``init`` they train from scratch."""
