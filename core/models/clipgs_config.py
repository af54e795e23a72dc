"""Configuration of `ClipGS`, with the sizes of Uni3D as presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import InputError


@dataclass(frozen=True)
class ClipGSConfig:
    """Everything that decides what the network computes. Defaults are the tiny size."""

    width: int = 192
    """Width of the transformer's tokens."""
    depth: int = 12
    """Transformer blocks."""
    heads: int = 3
    """Attention heads."""
    fused: bool = True
    """Fuse the matrices of queries, keys and values, and of gate and value (tiny and small sizes)."""
    embed_dim: int = 1024
    """Width of the image/text model's embeddings."""
    gaussians: int = 10_000
    """N, number of Gaussians that objects are resampled to."""
    groups: int = 512
    """Patches per object."""
    group_size: int = 64
    """Gaussians per patch."""
    tokenizer: Literal["gs", "all", "points"] = "gs"
    """"gs": the GS tokenizer. "all": all attributes into Uni3D's point encoder. "points": Uni3D (position, colour)."""
    order: Literal["mixed", "xyz", "z", "hilbert"] = "mixed"
    """Curve that orders the Gaussians of a patch; "mixed": random per training step, else Hilbert. Inferred."""
    refine_widths: tuple[int, int, int] = (64, 128, 256)
    """Widths of the refinement branch before the last one, 512. Inferred."""
    drop_path: float = 0.0
    """Largest probability of dropping a block's branch in training (increases with depth)."""
    patch_dropout: float = 0.0
    """Share of the patches dropped in training."""
    skip_origin: bool = True
    """Place no patch centre within 0.03 of the origin, as in Uni3D's training."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise InputError("heads", f"a divisor of the width {self.width}", str(self.heads))
        if min(self.groups, self.group_size) < 1 or self.gaussians < self.group_size:
            found = f"{self.groups} patches of {self.group_size} from {self.gaussians}"
            raise InputError("groups and group_size", "patches no larger than an object", found)
        if not 0 <= self.patch_dropout < 1 or not 0 <= self.drop_path < 1:
            raise InputError("drop_path and patch_dropout", "shares from 0 to below 1", "others")


TINY = ClipGSConfig()
"""Uni3D-Ti: 6 M parameters."""
SMALL = ClipGSConfig(width=384, heads=6)
"""Uni3D-S: 23 M parameters."""
BASE = ClipGSConfig(width=768, heads=12, fused=False)
"""Uni3D-B: 88 M parameters, the paper's."""
LARGE = ClipGSConfig(width=1024, depth=24, heads=16, fused=False)
"""Uni3D-L: 305 M parameters."""
