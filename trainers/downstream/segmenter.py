"""`Segmenter`: a backbone and a linear head, for probing and fine-tuning."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from ...core.data.batch import PointBatch
from ...core.errors import InputError
from ...core.models import GaussianCross
from ...core.models.pretrained import load_pretrained
from ...core.nn.spunet import STAGES, BatchNorm, SpUNet
from ...core.nn.stages import Stages, linear_of_stages
from .config import Features, NetworkConfig, Norm

FEAT = 6
"""Number of input channels: colour and normal."""


class Segmenter(nn.Module):
    """Voxels → class logits.

    Args:
        backbone: becomes part of this module.
        classes: K.
        features: "last", "hypercolumn" or "encoder".
        norm: statistics of the backbone's batch norms.
        frozen: whether the backbone receives no gradient.

    Attributes:
        width: C, number of input channels of the head.
    """

    def __init__(
        self, backbone: SpUNet, classes: int, features: Features = "last", norm: Norm = "train", frozen: bool = False
    ) -> None:
        super().__init__()
        self.backbone, self.kind, self.norm, self.frozen = backbone, features, norm, frozen
        self.width = feature_width(backbone, features)
        # Stages differ widely in scale: with weight decay a linear layer would use only the largest.
        self.standardize = nn.Identity() if features == "last" else nn.BatchNorm1d(self.width, affine=False)
        self.head = nn.Linear(self.width, classes)
        backbone.requires_grad_(not frozen)
        for module in backbone.modules():
            if isinstance(module, BatchNorm):
                module.own_statistics = norm == "own"

    def train(self, mode: bool = True) -> Segmenter:
        super().train(mode)
        if self.norm != "train":
            # "own" in eval mode uses the statistics of its input, and does not update the running ones.
            for module in self.backbone.modules():
                if isinstance(module, BatchNorm):
                    module.eval()
        return self

    def features(self, points: PointBatch) -> Tensor:
        """Return the backbone's features [V, C] of the voxels of a batch."""
        if self.kind == "last":
            with self._learning():
                return self.backbone(points.grid_coord, points.feat, points.offset)
        return torch.cat(self._stages(points).spread(), 1)

    def forward(self, points: PointBatch) -> Tensor:
        """Return class logits [V, K]."""
        if isinstance(self.standardize, nn.BatchNorm1d):
            return linear_of_stages(self._stages(points), self.standardize, self.head)
        return self.head(self.features(points).float())

    def _stages(self, points: PointBatch) -> Stages:
        with self._learning():
            stages = self.backbone.stages(points.grid_coord, points.feat, points.offset)
        return stages[: STAGES + 1] if self.kind == "encoder" else stages

    def _learning(self) -> torch.set_grad_enabled:
        return torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen)


def feature_width(backbone: SpUNet, features: Features) -> int:
    """Return C, the width of "last", "hypercolumn" or "encoder" features."""
    config = backbone.to_config()
    widths = [config["base_channels"], *config["channels"]]
    if features == "last":
        return widths[-1]
    if features not in ("hypercolumn", "encoder"):
        raise InputError("features", "last, hypercolumn or encoder", features)
    return sum(widths[: STAGES + 1] if features == "encoder" else widths)


def trained_backbone(model: Segmenter, voxel_size: float) -> SpUNet:
    """Return a copy of the backbone on the CPU, with the voxel size and batch statistics of its training.

    Args:
        voxel_size: of the training, metres.
    """
    config = model.backbone.to_config() | {"voxel_size": voxel_size, "own_statistics": model.norm == "own"}
    with torch.random.fork_rng(devices=[]):
        backbone = SpUNet.from_config(config)
    backbone.load_state_dict(model.backbone.state_dict())
    return backbone.eval()


def fingerprint(model: nn.Module) -> str:
    """Return a hash of the weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def backbone_of(model: str | Path | GaussianCross | SpUNet | None, network: NetworkConfig, seed: int = 0) -> SpUNet:
    """Create a backbone to train: a copy of the model's, or one with random weights.

    Args:
        model: a model, a path (see `core.io.pretrained`), or None or "" for random weights.
        network: sizes of a random backbone.
        seed: random seed of the weights.
    """
    if model is None or model == "":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SpUNet(FEAT, network.base_channels, network.channels, network.layers)
    if isinstance(model, (str, Path)):
        model = load_pretrained(model)
    source = model.backbone if isinstance(model, GaussianCross) else model
    if source.in_channels != FEAT:
        raise InputError("the pre-trained backbone", f"{FEAT} input channels", str(source.in_channels))
    with torch.random.fork_rng(devices=[]):
        copy = SpUNet.from_config(source.to_config())
    copy.load_state_dict(source.state_dict())
    return copy
