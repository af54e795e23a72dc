"""Sizes of the experiment, and the recipes shared by its rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ...core.data.augment import SceneAugmentConfig
from ...core.data.batch import InputConfig
from ...core.datasets.rooms import RoomsConfig
from ...core.errors import InputError
from ...core.models import GaussianCrossConfig
from ...core.nn.heads import HeadConfig
from ...trainers.downstream import OptimConfig as DownstreamOptim
from ...trainers.downstream import SemanticTraining, TestConfig
from ...trainers.downstream.instance_config import ClusterConfig, InstanceTraining
from ...trainers.pretraining.config import DataConfig, OptimConfig, PretrainConfig

Variant = Literal["micro", "quick", "full"]


@dataclass(frozen=True)
class Size:
    """Numbers of rooms, seeds and steps; the same for all rows."""

    train_rooms: int = 1000
    """Number of rooms for fine-tuning."""
    pretrain_rooms: int = 400
    """Number of rooms for pre-training without labels, the first of the training rooms."""
    held_out_rooms: int = 20
    """Number of rooms that are scored; no network or teacher was trained on them."""
    probe_rooms: int = 60
    """Number of labelled training rooms for linear probes."""
    points: int = 40_000
    """Number of points per training room."""
    frames: int = 24
    """Largest number of views per room."""
    seeds: int = 3
    """Number of repetitions with other weights, orders, augmentations and labelled shares."""
    pretrain_steps: int = 1000
    """Steps of GaussianCross."""
    longer_steps: int = 4000
    """Steps of GaussianCross in the rows with longer pre-training."""
    ablation_steps: int = 400
    """Steps of an ablation and of its reference."""
    contrastive_steps: int = 1000
    """Steps of the contrastive baseline."""
    probe_steps: int = 500
    """Steps of a linear probe."""
    finetune_steps: int = 150
    """Steps of fine-tuning on a share of the rooms, and of its baseline from scratch."""
    full_steps: int = 400
    """Steps of fine-tuning on all rooms, and of its baseline from scratch."""
    scratch_steps: int = 1200
    """Steps of the longer training from scratch on all rooms."""
    instance_steps: int = 400
    """Steps of PointGroup on all rooms."""
    shares: tuple[int, ...] = (1, 5, 10, 20, 100)
    """Shares of the training rooms with labels in fine-tuning, %."""
    evaluations: int = 5
    """Number of evaluations of the features during a pre-training."""

    def __post_init__(self) -> None:
        counts = [getattr(self, name) for name in self.__dataclass_fields__ if name != "shares"]
        if (
            min(counts) < 1
            or self.pretrain_rooms > self.train_rooms
            or not all(1 <= share <= 100 for share in self.shares)
        ):
            expected = "counts of at least 1, pretrain_rooms up to train_rooms, shares from 1 to 100"
            raise InputError("gaussiancross bench rooms", expected, str(self))


FULL = Size()
"""All rows and seeds: under six hours on two CPU cores."""

QUICK = Size(
    train_rooms=24,
    pretrain_rooms=24,
    held_out_rooms=6,
    probe_rooms=24,
    seeds=1,
    pretrain_steps=250,
    longer_steps=500,
    ablation_steps=100,
    contrastive_steps=250,
    probe_steps=200,
    finetune_steps=80,
    full_steps=120,
    scratch_steps=240,
    instance_steps=120,
    shares=(5, 100),
    evaluations=4,
)
"""Some rows with one seed: under ten minutes on two CPU cores. Its figures are too noisy to compare rows."""

MICRO = Size(
    train_rooms=2,
    pretrain_rooms=2,
    held_out_rooms=1,
    probe_rooms=2,
    points=8_000,
    seeds=1,
    pretrain_steps=3,
    longer_steps=4,
    ablation_steps=2,
    contrastive_steps=3,
    probe_steps=5,
    finetune_steps=2,
    full_steps=2,
    scratch_steps=3,
    instance_steps=2,
    shares=(50, 100),
    evaluations=1,
)
"""Seconds per row, for tests."""

VOXEL = 0.06
"""Edge of the voxels, metres; a step takes half as long as at 4 cm."""

PRETRAIN = PretrainConfig(
    model=GaussianCrossConfig(
        input=InputConfig(voxel_size=VOXEL, mask_ratio=0.5),
        base_channels=16,
        channels=(16, 32, 48, 64, 64, 64, 48, 48),
        layers=(1, 1, 1, 1, 1, 1, 1, 1),
        lattice="cuboid",
        lattice_cells=6_144,
        lattice_shape=(28, 28, 8),
        lattice_channels=16,
        unet_widths=(16, 32),
        unet_norm="group",
        anchors="two_level",
        fine_voxel=VOXEL,
        head=HeadConfig(hidden=32, prune_floor=0.04),
        loss_weights={"rgb": 1.0, "depth": 1.0, "feature": 2.0},
        point_weight=3.0,
    ),
    data=DataConfig(data="rooms", views=5, width=80, height=60, eval_scenes=2, eval_views=4),
    optim=OptimConfig(lr=2e-3),
    timeline_mb=0,
    save_every=200,
)
"""Pre-training of all rows: the tiny preset with 6 cm voxels, wider last stages and views of 80 × 60.

Chosen by linear probes on rooms of "val" (docs/results.md)."""

AUGMENT = SceneAugmentConfig(elastic=())
"""The published augmentation without elastic distortion, which is slow on a CPU."""

FINETUNE = SemanticTraining(
    norm="own",
    features="hypercolumn",
    voxel_size=VOXEL,
    augment=AUGMENT,
    optim=DownstreamOptim(lr=1e-2, backbone_lr=0.1),
    batch_size=2,
    test=TestConfig("one", fragments=False),
    eval_every=0,
    save_every=200,
)
"""Fine-tuning and training from scratch: one recipe, chosen on rooms of "val" (docs/results.md)."""

PROBE = replace(FINETUNE, frozen=True, cache=True, optim=DownstreamOptim(lr=5e-3))
"""Linear probing of precomputed, standardised features of whole rooms."""

INSTANCES = InstanceTraining(
    norm="own",
    cluster=ClusterConfig(min_points=8, propose_points=15),
    voxel_size=VOXEL,
    augment=AUGMENT,
    optim=DownstreamOptim(lr=3e-3),
    batch_size=2,
    eval_every=0,
    save_every=200,
)
"""Instance segmentation; at 6 cm an object has a ninth of the voxels that it has at 2 cm."""


@dataclass(frozen=True)
class BenchConfig:
    """Everything besides row and seed that determines the figures."""

    rooms: RoomsConfig = field(default_factory=RoomsConfig)
    """Rendering of the rooms."""
    size: Size = field(default_factory=Size)
    """Numbers of rooms, seeds and steps."""
    split: Literal["val", "test"] = "test"
    """Split of the scored rooms; recipes were chosen on "val", tables report "test"."""
    label_free_teacher: str = "builtin-ssl"
    """Teacher of the rows with a label-free teacher."""
    pretrain: PretrainConfig = field(default_factory=lambda: PRETRAIN)
    """Pre-training of GaussianCross; each row changes one option."""
    probe: SemanticTraining = field(default_factory=lambda: PROBE)
    """Linear probing."""
    finetune: SemanticTraining = field(default_factory=lambda: FINETUNE)
    """Fine-tuning, and training from scratch."""
    instances: InstanceTraining = field(default_factory=lambda: INSTANCES)
    """Instance segmentation."""


SETTINGS: dict[Variant, BenchConfig] = {
    "micro": BenchConfig(
        rooms=RoomsConfig(frames=4, width=160, height=120, points=8_000),
        size=MICRO,
        pretrain=replace(PRETRAIN, model=replace(PRETRAIN.model, lattice_cells=1_024, lattice_shape=(16, 16, 4))),
    ),
    "quick": BenchConfig(size=QUICK),
    "full": BenchConfig(size=FULL),
}
"""Variant → its configuration."""
