"""Configuration of `GaussianCross`. Measurements behind the defaults: docs/results.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..data.batch import InputConfig
from ..errors import InputError
from ..losses.gaussiancross import LOSS_NAMES
from ..nn.heads import HeadConfig


@dataclass(frozen=True)
class GaussianCrossConfig:
    """Everything that decides what the network computes. Defaults are the paper's scale."""

    input: InputConfig = field(default_factory=InputConfig)
    """Subsampling and masking of the points."""
    base_channels: int = 32
    """Width of the backbone's stem."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96)
    """Widths of the backbone's four encoder and four decoder stages (SpUNet-v1m1)."""
    layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2)
    """Residual blocks per backbone stage."""
    own_statistics: bool = True
    """Normalise by the statistics of the input instead of running ones outside training, too."""
    lattice: Literal["ponder", "cuboid"] = "ponder"
    """"ponder": every axis spans the scene's largest extent (PonderV2). "cuboid": each axis spans its own extent."""
    lattice_shape: tuple[int, int, int] = (128, 128, 32)
    """Cells per axis of the "ponder" lattice."""
    lattice_cells: int = 524_288
    """Approximate number of cells of the "cuboid" lattice, near-isotropic (128 · 128 · 32 by default)."""
    lattice_channels: int = 128
    """d_o, width of the refined lattice feature."""
    unet_widths: tuple[int, ...] = (32, 64, 128, 256)
    """Widths of the dense 3D U-Net's levels."""
    unet_norm: Literal["batch", "group"] = "batch"
    """Normalisation of the dense U-Net; "group" when a batch holds one scene."""
    anchors: Literal["lattice", "two_level"] = "lattice"
    """"lattice": one anchor per cell (paper). "two_level": also a finer anchor per observed voxel of ``fine_voxel``."""
    fine_voxel: float = 0.025
    """Edge of the fine anchors' voxels, metres ("two_level" only)."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """Activations, ranges and pruning of the Gaussian heads."""
    feature_stride: int = 1
    """Embeddings are rendered at 1 / this of the width and height; they are compared at the teacher's tokens."""
    teacher_dim: int = 0
    """D, width of the frozen 2D teacher's features; 0 = no teacher and no feature loss."""
    lifted_width: int = 32
    """Channels of lifted teacher features in the lattice (used with ``input.lifted_frames`` > 0)."""
    projection_hidden: int = 0
    """Hidden width of P_ψ, which maps rendered embeddings to the teacher's width; 0 makes it linear."""
    loss_weights: dict[str, float] = field(default_factory=lambda: {"rgb": 10.0, "depth": 1.0, "feature": 1.0})
    """Weights λ of the paper's three losses. Inferred (PonderV2: rgb 10, depth 1, semantic 0.1)."""
    point_weight: float = 0.0
    """Weight of the point loss: teacher features lifted onto points, predicted from the backbone; 0 = off (paper)."""
    point_stages: Literal["last", "all"] = "all"
    """Backbone stages that the point loss trains, each through its own linear layer."""
    point_standardize: bool = True
    """Standardise the point loss's targets per channel (`Standardize`)."""
    contrast_weight: float = 1.0
    """Weight of the contrastive loss between two views of a scene's points (used with ``input.pairs`` > 0)."""
    contrast_temperature: float = 0.07
    """Softmax temperature of the contrastive loss (PointContrast: 0.07, MSC: 0.4)."""
    adaptive_weights: bool = False
    """Learn the loss weights by uncertainty (Kendall et al. 2018). Inferred reading of the paper's "adaptive"."""
    depth_min_alpha: float = 0.1
    """Alpha at or below which a pixel has no depth loss."""

    def __post_init__(self) -> None:
        if set(self.loss_weights) != set(LOSS_NAMES):
            raise InputError("loss_weights", f"the keys {list(LOSS_NAMES)}", str(sorted(self.loss_weights)))
        if self.adaptive_weights and min(self.loss_weights.values()) <= 0:
            raise InputError("loss_weights", "positive weights to start learning them from", str(self.loss_weights))
        if self.point_weight < 0:
            raise InputError("point_weight", "0 or more", str(self.point_weight))
        if self.feature_stride < 1:
            raise InputError("feature_stride", "1 or more", str(self.feature_stride))
        if self.input.pairs < 0 or self.contrast_weight <= 0 or self.contrast_temperature <= 0:
            found = f"{self.input.pairs}, {self.contrast_weight}, {self.contrast_temperature}"
            raise InputError("contrast", "0 pairs or more, a weight and a temperature above 0", found)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of every loss in use."""
        points = {"points": self.point_weight} if self.point_weight else {}
        contrast = {"contrast": self.contrast_weight} if self.input.pairs else {}
        return self.loss_weights | points | contrast
