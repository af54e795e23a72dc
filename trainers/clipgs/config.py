"""Options of CLIP-GS training, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...core.data.augment import ObjectAugmentConfig
from ...core.losses.clipgs import Voting
from ...core.models.clipgs_config import BASE, SMALL, TINY, ClipGSConfig


@dataclass(frozen=True)
class ClipGSOptim:
    """Optimiser (AdamW) and schedule (linear warm-up, cosine), inferred from Uni3D's fine-tuning."""

    lr: float = 1e-4
    """Peak learning rate."""
    weight_decay: float = 0.1
    """Decoupled weight decay of matrices; biases, norms and the temperature have none."""
    layer_decay: float = 0.95
    """Factor on the learning rate per layer of distance from the output; 1 in the refinement branch."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises to its peak."""
    grad_clip: float = 5.0
    """Largest gradient norm; 0 does not clip."""
    amp: bool = True
    """Mixed precision (bfloat16) where the device or processor supports it in hardware."""


@dataclass(frozen=True)
class ClipGSRun:
    """One CLIP-GS training run."""

    data: str = ""
    """Folder of triplets, as `gaussiancross clipgs triplets` writes it."""
    model: ClipGSConfig = field(default_factory=lambda: TINY)
    """Network; ``embed_dim`` is set from the data."""
    init: str = ""
    """Uni3D checkpoint to start from; empty trains from scratch."""
    batch_size: int = 64
    """Objects per step and rank."""
    epochs: float = 20.0
    """Passes over the objects."""
    views: int = 5
    """Renders per object and step in image voting (K; 5 in the paper)."""
    voting: Voting = "share"
    """Normalisation of the renders' weights, their similarity to the caption (not stated in the paper)."""
    image_weight: float = 1.0
    """Weight of the image loss; 0 trains on texts alone."""
    text_weight: float = 1.0
    """Weight of the text loss; 0 trains on images alone."""
    same_caption: bool = True
    """Exclude objects with the same caption from each other's negatives; False is the paper's formula."""
    augment: ObjectAugmentConfig = field(default_factory=ObjectAugmentConfig)
    """Augmentation of the objects."""
    optim: ClipGSOptim = field(default_factory=ClipGSOptim)
    """Optimiser and schedule."""
    seed: int = 0
    """Random seed of weights, object order, augmentations, views and dropped patches."""
    eval_split: str = "val"
    """Split for evaluations; none are done if the data lack it."""
    eval_every: int = 500
    """Steps between evaluations; one is also done at the end. 0: only at the end."""
    save_every: int = 500
    """Steps between checkpoints; one is also written at the end and on Ctrl-C."""
    keep: int = 2
    """Number of checkpoints that stay on disk, at least 2; 0 keeps all."""


_FINE_TUNING = {"drop_path": 0.2, "patch_dropout": 0.5}

BASE_RUN = ClipGSRun(model=replace(BASE, **_FINE_TUNING))
"""Fine-tuning of Uni3D-B, the paper's size."""
SMALL_RUN = ClipGSRun(model=replace(SMALL, **_FINE_TUNING))
"""Fine-tuning of Uni3D-S."""
TINY_RUN = ClipGSRun(model=replace(TINY, **_FINE_TUNING))
"""Fine-tuning of Uni3D-Ti."""
CPU_RUN = ClipGSRun(
    model=replace(TINY, depth=6, gaussians=2048, groups=64, group_size=32, patch_dropout=0.3),
    epochs=30,
    augment=ObjectAugmentConfig(color_drop=0.1),
    optim=ClipGSOptim(lr=1e-3, weight_decay=0.05, layer_decay=1.0, grad_clip=1.0),
    eval_every=200,
    save_every=200,
)
"""Training from scratch on two CPU cores: fewer Gaussians, patches and blocks."""

OBJECTS_RUN = ClipGSRun(
    model=replace(TINY, depth=4, gaussians=1024, groups=64, group_size=16, patch_dropout=0.3, skip_origin=False),
    epochs=10,
    batch_size=64,
    augment=ObjectAugmentConfig(color_drop=0.05),
    optim=ClipGSOptim(lr=1e-3, weight_decay=0.05, layer_decay=1.0, grad_clip=1.0),
    eval_every=0,
    save_every=100,
)
"""Training on thousands of procedural objects in minutes on two cores: few Gaussians, small patches, four blocks."""
