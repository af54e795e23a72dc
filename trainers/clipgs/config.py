"""What decides a CLIP-GS training run, and the named runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...core.data.augment import ObjectAugmentConfig
from ...core.losses.clipgs import Voting
from ...core.models.clipgs import BASE, SMALL, TINY, ClipGSConfig


@dataclass(frozen=True)
class ClipGSOptim:
    """AdamW with a cosine after a linear warm-up. Inferred from Uni3D's fine-tuning."""

    lr: float = 1e-4
    """Peak learning rate."""
    weight_decay: float = 0.1
    """Decoupled weight decay; none on biases, norms and the temperature."""
    layer_decay: float = 0.95
    """Factor on the learning rate for each layer further from the output. What is new beside Uni3D, the refinement
    branch, learns at the full rate."""
    warmup: float = 0.05
    """Share of the steps spent rising to the peak."""
    grad_clip: float = 5.0
    """Largest gradient norm."""
    amp: bool = True
    """bfloat16 matrix products where the device or processor has them in hardware."""


@dataclass(frozen=True)
class ClipGSRun:
    """One training run."""

    data: str = ""
    """Folder of triplets (`core.datasets.objects.triplets`)."""
    model: ClipGSConfig = field(default_factory=lambda: TINY)
    """The network; ``embed_dim`` is set from the data."""
    init: str = ""
    """Uni3D checkpoint to start from; empty trains from scratch."""
    batch_size: int = 64
    """Objects per step and rank."""
    epochs: float = 20.0
    """Passes over the objects."""
    views: int = 5
    """K, renders per object and step that vote (5 in the paper)."""
    voting: Voting = "share"
    """How the renders are weighed by their likeness to the caption; how the paper normalises it is not stated."""
    image_weight: float = 1.0
    """Weight of the image loss; 0 trains on texts alone."""
    text_weight: float = 1.0
    """Weight of the text loss."""
    same_caption: bool = True
    """Objects of one caption in a batch are no wrong answers to each other's text. Inferred; False is the paper's
    formula."""
    augment: ObjectAugmentConfig = field(default_factory=ObjectAugmentConfig)
    """Augmentation of the objects."""
    optim: ClipGSOptim = field(default_factory=ClipGSOptim)
    """Optimiser and schedule."""
    seed: int = 0
    """Of weights, order, augmentations, views and dropped patches."""
    eval_split: str = "val"
    """Split that is evaluated; where the data have none, nothing is."""
    eval_every: int = 500
    """Steps between evaluations; one is also done at the end. 0: only that one."""
    save_every: int = 500
    """Steps between checkpoints; one is also written at the end and on Ctrl-C."""
    keep: int = 2
    """Checkpoints kept, at least 2; 0 keeps all."""


_FINE_TUNING = {"drop_path": 0.2, "patch_dropout": 0.5}

BASE_RUN = ClipGSRun(model=replace(BASE, **_FINE_TUNING))
"""The paper's size, from Uni3D-B."""
SMALL_RUN = ClipGSRun(model=replace(SMALL, **_FINE_TUNING))
"""From Uni3D-S."""
TINY_RUN = ClipGSRun(model=replace(TINY, **_FINE_TUNING))
"""From Uni3D-Ti."""
CPU_RUN = ClipGSRun(
    model=replace(TINY, depth=6, gaussians=2048, groups=64, group_size=32, patch_dropout=0.3),
    epochs=30,
    augment=ObjectAugmentConfig(color_drop=0.1),
    optim=ClipGSOptim(lr=1e-3, weight_decay=0.05, layer_decay=1.0, grad_clip=1.0),
    eval_every=200,
    save_every=200,
)
"""From scratch on two CPU cores: fewer Gaussians, patches and blocks."""

OBJECTS_RUN = ClipGSRun(
    model=replace(TINY, depth=4, gaussians=1024, groups=64, group_size=16, patch_dropout=0.3, skip_origin=False),
    epochs=10,
    batch_size=64,
    augment=ObjectAugmentConfig(color_drop=0.05),
    optim=ClipGSOptim(lr=1e-3, weight_decay=0.05, layer_decay=1.0, grad_clip=1.0),
    eval_every=0,
    save_every=100,
)
"""Thousands of procedural objects in minutes of two cores: few Gaussians, small patches, four blocks."""
