"""How much the experiment costs, and the recipe that all of its rows share."""

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
    """How many rooms, seeds and steps. Every number is a function of nothing else, so that rows are comparable."""

    train_rooms: int = 1000
    """Rooms to fine-tune on: all of them, or a share. One per cent are ten; of ScanNet's scenes it is twelve."""
    pretrain_rooms: int = 400
    """The first of them, which are pre-trained on without labels."""
    held_out_rooms: int = 20
    """Rooms that are scored, of other seeds than any that trained a network or a teacher."""
    probe_rooms: int = 60
    """Labelled training rooms that a linear probe is fitted to."""
    points: int = 40_000
    """Points of a training room that are kept."""
    seeds: int = 3
    """Repetitions with other weights, orders, augmentations and labelled shares."""
    pretrain_steps: int = 1000
    """Steps of GaussianCross."""
    longer_steps: int = 4000
    """Steps of GaussianCross that is given more time."""
    ablation_steps: int = 400
    """Steps of an ablation, and of the reference that it is compared with."""
    contrastive_steps: int = 1000
    """Steps of the contrastive baseline."""
    probe_steps: int = 500
    """Steps of a linear probe."""
    finetune_steps: int = 150
    """Steps of a fine-tuning on a share of the rooms, and of its baseline from scratch."""
    full_steps: int = 400
    """Steps of a fine-tuning on all rooms, and of its baseline from scratch."""
    scratch_steps: int = 1200
    """Steps of a training from scratch that is given more time on all rooms."""
    instance_steps: int = 400
    """Steps of PointGroup on all rooms."""
    shares: tuple[int, ...] = (1, 5, 10, 20, 100)
    """Per cent of the training rooms whose labels a fine-tuning sees."""
    evaluations: int = 5
    """Looks at the features on the way of a pre-training: rank, spread, online probe."""

    def __post_init__(self) -> None:
        counts = [getattr(self, name) for name in self.__dataclass_fields__ if name != "shares"]
        if (
            min(counts) < 1
            or self.pretrain_rooms > self.train_rooms
            or not all(1 <= share <= 100 for share in self.shares)
        ):
            expected = "counts of at least 1, no more rooms to pre-train on than there are, shares from 1 to 100"
            raise InputError("rooms-bench", expected, str(self))


FULL = Size()
"""The table: under six hours on two cores. Main rows of all seeds first, then ablations."""

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
"""Some rows once: under ten minutes on two cores. Its figures say that everything runs, hardly which is better."""

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
"""Seconds a row: the tests."""

VOXEL = 0.06
"""Edge of the voxels, metres: half of the time of a step at 4 cm."""

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
"""The tiny network of the demo at 6 cm with wider last stages, and with views of 80 × 60.

What it was chosen by: mIoU of the linear probe of the last layer and of the hypercolumn, image/text teacher, one seed,
on rooms of "val". 20 rooms, pre-trained on 400 for 600 steps: 0.236 and 0.444 with last stages of 48, 32, 32 channels;
0.269 and 0.457 with 64, 48, 48 (a point loss of 8 instead of 3: 0.278 and 0.458; a learning rate of 4e-3: 0.267 and
0.466). Before, with the narrow stages, on 12 rooms, pre-trained on 60 for 400 steps:
0.157 and 0.245 with a point loss of 3 on the last stage; 0.213 and 0.298 with its targets standardised (a fourth masked
instead of half: 0.205 and 0.316; targets whitened: 0.195 and 0.290; splatted features standardised, too: 0.204, 0.298;
250 steps of two scenes with three views: 0.183 and 0.297); 0.199 and 0.382 with all stages asked. Random weights, in
the quick variant: 0.079 and 0.156. The loss weights were found before, at 8 cm and 200 steps: 0.111 (last layer)
without the point loss at 10, 1, 1, 0.118 at 1, 1, 10, 0.124 with it at 10, 1, 1, and 0.154 at 1, 1, 2; a learning rate
of 5e-3: 0.143."""

AUGMENT = SceneAugmentConfig(elastic=())
"""The published augmentation without elastic distortion, to spare the processor."""

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
"""Fine-tuning and training from scratch: one recipe. A head on the hypercolumn took a random start from 0.099 to 0.148
mIoU (2 of 24 rooms, 100 steps). On 2 of 60 rooms, learning rates of 3e-3 (the backbone's all or a tenth of it) and 1e-2
(3 % of it) ended within 0.02 of each other; with all labels only this recipe was tried (60 rooms, 400 steps: 0.357)."""

PROBE = replace(FINETUNE, frozen=True, cache=True, optim=DownstreamOptim(lr=5e-3))
"""A linear layer on features of whole rooms, computed once, standardised."""

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
"""PointGroup; at 6 cm an object has a ninth of the voxels that it has at 2 cm."""


@dataclass(frozen=True)
class BenchConfig:
    """All that decides the figures, besides the row and the seed."""

    rooms: RoomsConfig = field(default_factory=RoomsConfig)
    """How rooms are recorded."""
    size: Size = field(default_factory=Size)
    """How much it costs."""
    split: Literal["val", "test"] = "test"
    """Split of the rooms that are scored. Recipes were chosen on rooms of "val", which no figure of a table is of."""
    pretrain: PretrainConfig = field(default_factory=lambda: PRETRAIN)
    """GaussianCross as every row starts from; rows change one thing each."""
    probe: SemanticTraining = field(default_factory=lambda: PROBE)
    """Linear probes."""
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
"""What each variant does."""
