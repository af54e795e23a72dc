"""Presets of pre-training: instances of `PretrainConfig`, to be varied with `dataclasses.replace`."""

from __future__ import annotations

from dataclasses import replace

from ...core.data.batch import InputConfig
from ...core.models import GaussianCrossConfig
from ...core.nn.heads import HeadConfig
from .config import DataConfig, OptimConfig, PretrainConfig

FULL = PretrainConfig(
    model=GaussianCrossConfig(point_weight=3.0, feature_stride=4),
    data=DataConfig(data="rooms:1000", batch_size=4, width=640, height=480),
    optim=OptimConfig(lr=2e-3),
    steps=100_000,
)
"""Paper scale, for CUDA: 2 cm voxels, SpUNet with 39.2 M parameters, 128 × 128 × 32 cells, 5 views of 640 × 480.

With a teacher, a point loss is added to the paper's three; ``point_weight=0`` turns it off."""

TINY = PretrainConfig(
    model=GaussianCrossConfig(
        input=InputConfig(voxel_size=0.04, max_points=30_000),
        base_channels=16,
        channels=(16, 32, 48, 64, 64, 48, 32, 32),
        layers=(1, 1, 1, 1, 1, 1, 1, 1),
        lattice="cuboid",
        lattice_cells=48_000,
        lattice_channels=16,
        unet_widths=(16, 32, 64),
        unet_norm="group",
        anchors="two_level",
        fine_voxel=0.04,
        head=HeadConfig(hidden=32, prune_floor=0.04),
        point_weight=3.0,
    ),
    data=DataConfig(data="rooms:8", teacher="builtin", width=160, height=120),
    optim=OptimConfig(lr=2e-3),
    steps=2000,
    save_every=200,
    eval_every=100,
)
"""Small enough for a two-core CPU, for the demo and the tests.

The teacher "builtin" aligns features with text, so that the viewer can be queried; "builtin-ssl" is label-free."""

FIELD = replace(
    TINY,
    model=replace(
        TINY.model,
        input=replace(TINY.model.input, lifted_frames=16),
        lattice_channels=32,
        head=replace(TINY.model.head, hidden=128, feature_dim=64),
        loss_weights={"rgb": 10.0, "depth": 1.0, "feature": 8.0},
        point_weight=0.0,
    ),
    data=replace(TINY.data, data="rooms:80", views=3),
    steps=1000,
    eval_every=200,
)
"""Feature field for text queries, not for downstream tasks: the network refines lifted teacher features. The backbone
learns less this way."""
