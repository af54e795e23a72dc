"""Presets of the published semantic protocol, one per row, and a small one for the built-in rooms.

Source: the released downstream configs (AdamW, OneCycle, CE + Lovász, Mix3D 0.8, 2 cm voxels, colour and normal). They
need data (``labels.data``) and a model (``init``); without a model they train from scratch under the same recipe, the
baseline to compare with (Pointcept's own scratch figures use SGD and cross-entropy alone).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ...core.data.augment import SceneAugmentConfig
from ..pretraining.presets import TINY
from .config import LabelConfig, NetworkConfig, OptimConfig, SemanticTraining, TestConfig

AREAS = tuple(f"Area_{k}" for k in range(1, 7))

Task = Literal["probe", "finetune"]


@dataclass(frozen=True)
class Preset:
    """A named configuration.

    Attributes:
        description: one line of help.
        config: its options.
        folds: S3DIS areas held out one after the other, their confusion matrices summed; empty for a single run.
    """

    description: str
    config: SemanticTraining
    folds: tuple[str, ...] = ()


def held_out(config: SemanticTraining, area: str) -> SemanticTraining:
    """Return the S3DIS options that test on ``area`` and train on the others."""
    others = "-".join(a.removeprefix("Area_") for a in AREAS if a != area)
    return replace(config, labels=replace(config.labels, train=f"Area_{others}", val=area))


_SCANNET = SemanticTraining(labels=LabelConfig(classes="segment20"))
_SCANNET200 = SemanticTraining(labels=LabelConfig(classes="segment200"))
_EFFICIENT = replace(_SCANNET, batch_size=24, optim=OptimConfig(lr=3e-3))
_S3DIS = SemanticTraining(
    labels=LabelConfig(classes="segment", train="Area_1-2-3-4-6", val="Area_5"),
    max_voxels=204_800,
    augment=SceneAugmentConfig(elastic=()),
    optim=OptimConfig(lr=3e-3),
    batch_size=24,
    epochs=3000,
)
_ROOMS = SemanticTraining(
    labels=LabelConfig(data="rooms:100"),
    network=NetworkConfig(TINY.model.base_channels, TINY.model.channels, TINY.model.layers),
    norm="own",
    voxel_size=TINY.model.input.voxel_size,
    max_points=30_000,
    optim=OptimConfig(lr=5e-3),
    batch_size=2,
    steps=600,
    test=TestConfig("thirteen", fragments=False),
    eval_every=200,
    save_every=200,
)
"""The tiny network on the built-in rooms, about five minutes on two CPU cores."""


def _s3dis(what: str, config: SemanticTraining) -> dict[str, Preset]:
    presets = {"s3dis": Preset(f"S3DIS, {what}, Area 5 held out.", config)}
    for area in AREAS:
        name = area.lower().replace("_", "")
        presets[f"s3dis-{name}"] = Preset(f"S3DIS, {what}, {area.replace('_', ' ')} held out.", held_out(config, area))
    presets["s3dis-6fold"] = Preset(f"S3DIS, {what}, every area held out in turn: six runs.", config, AREAS)
    return presets


def _efficient() -> dict[str, Preset]:
    presets = {}
    for percent in (1, 5, 10, 20):
        config = replace(_EFFICIENT, labels=replace(_EFFICIENT.labels, scenes=percent))
        presets[f"scannet-scenes{percent}"] = Preset(f"ScanNet, {percent} % of the training scenes.", config)
    for count in (20, 50, 100, 200):
        config = replace(_EFFICIENT, labels=replace(_EFFICIENT.labels, points=count))
        presets[f"scannet-points{count}"] = Preset(f"ScanNet, {count} labelled points per scene.", config)
    return presets


def _frozen(config: SemanticTraining) -> SemanticTraining:
    return replace(config, frozen=True)


FINETUNE: dict[str, Preset] = {
    "scannet": Preset("ScanNet, 20 classes, the whole network is trained.", _SCANNET),
    "scannet200": Preset("ScanNet200, the whole network is trained.", _SCANNET200),
    **_efficient(),
    **_s3dis("the whole network is trained", _S3DIS),
    "rooms": Preset("Built-in rooms with the tiny network, on a CPU.", _ROOMS),
}
"""Presets of fine-tuning; without ``init`` they train from scratch."""

PROBE: dict[str, Preset] = {
    "scannet": Preset("ScanNet, 20 classes, linear head of 1,940 parameters.", _frozen(_SCANNET)),
    "scannet200": Preset("ScanNet200, linear head.", _frozen(_SCANNET200)),
    **_s3dis("linear head", _frozen(_S3DIS)),
    "rooms": Preset(
        "Built-in rooms with the tiny network, on a CPU, features precomputed.",
        replace(_frozen(_ROOMS), cache=True, steps=500, eval_every=0),
    ),
}
"""Presets of linear probes; without ``init`` they probe random weights."""

PRESETS: dict[Task, dict[str, Preset]] = {"probe": PROBE, "finetune": FINETUNE}
