"""Networks and their layers.

spunet, stages, encode      sparse U-Net, features per stage, features per point
blocks, block_files         features of large scenes in overlapping blocks, in memory or in files
unet3d, heads, standardize  dense lattice U-Net, Gaussian heads, standardised distillation targets
point_ops, serialization, gs_tokenizer, point_transformer   patches, curve orders, tokens and blocks of CLIP-GS
grouping, connected         PointGroup proposals, connected components of cells
tokens, two_tower           image networks of the bundled 2D teachers
pointcept                   weights of Pointcept's checkpoints

`SpUNet` can be imported from here; torch is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .spunet import SpUNet

__all__ = ["SpUNet"]


def __getattr__(name: str) -> Any:
    """Import a public name on first access (PEP 562)."""
    if name != "SpUNet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .spunet import SpUNet

    globals()[name] = SpUNet
    return SpUNet


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
