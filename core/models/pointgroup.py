"""PointGroup (Jiang et al. 2020), as Pointcept's PG-v1m1: instances by semantic class and a vote for the centre.

    voxels → backbone → class logits and a bias, the way from each voxel to the centroid of its instance
           → voxels moved by their bias, grouped where they meet and agree on the class → proposals

Trained by the sum of three losses, all with weight 1. Parameter names are Pointcept's.

    model = PointGroup.from_pretrained("runs/instances-rooms/model")
    instances, segment = model.predict(coord, color, normal)  # metres, uint8, unit vectors
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import from_dict, to_dict
from ..data.batch import PointBatch, make_points
from ..data.scene import IGNORE, PointScene
from ..errors import InputError
from ..io.pretrained import Pretrained
from ..nn.grouping import GroupBackend, group_points
from ..nn.spunet import BatchNorm, SpUNet

if TYPE_CHECKING:
    from typing_extensions import Self

FARTHEST = 100.0
"""Metres that a voxel is moved at most along an axis: no instance is larger."""

_EPS = 1e-8


@dataclass(frozen=True)
class ClusterConfig:
    """How moved voxels become proposals. Published as "thresh 1.5, closed 300, propose 100, min 50".

    The published code's *closed points* (300) is no setting: its memory for neighbours starts at so many per voxel and
    grows to what is needed.
    """

    radius: float = 1.5
    """Voxels that are closer than this and of one class hang together; in voxel edges."""
    min_points: int = 50
    """Voxels below which a group is dropped."""
    propose_points: int = 100
    """A group needs more voxels than this to become a proposal."""


@dataclass(frozen=True)
class PointGroupConfig:
    """Everything that decides what the network computes. Defaults: ScanNet with 20 classes."""

    classes: int = 20
    """K, semantic classes."""
    ignored: tuple[int, ...] = (0, 1)
    """Classes without instances: wall and floor, 0 and 1 of ScanNet's 20, 0 and 2 of its 200."""
    base_channels: int = 32
    """Width of the backbone's stem."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96)
    """Widths of the backbone's four encoder and four decoder stages."""
    layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2)
    """Residual blocks per backbone stage."""
    voxel_size: float = 0.02
    """Edge of the voxels, metres."""
    own_statistics: bool = False
    """Outside training, too, the backbone's batch norm uses the statistics of the scene at hand."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """From moved voxels to proposals."""

    def __post_init__(self) -> None:
        wrong = [k for k in self.ignored if not 0 <= k < self.classes]
        if self.classes < 1 or wrong or len({*self.ignored}) == self.classes:
            found = f"{self.classes} and {self.ignored}"
            raise InputError("PointGroupConfig", "classes, and some of them ignored, but not all", found)


@dataclass(frozen=True)
class PointGroupOutput:
    """What the heads say of V voxels.

    Attributes:
        logits: [V, K] of the semantic classes.
        bias: [V, 3] metres, from the voxel's point to the centroid of its instance.
    """

    logits: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Proposals:
    """P predicted instances of one scene; no two share a voxel.

    Attributes:
        label: [V] int64 proposal of each voxel, −1 for none.
        classes: [P] int64.
        scores: [P] float32 in 0–1: the mean probability of the class over the proposal's voxels.
    """

    label: Tensor
    classes: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def at(self, inverse: Tensor) -> Proposals:
        """The same proposals on points [N] whose voxels are ``inverse`` [N]: the original points of a scene."""
        return Proposals(self.label[inverse.to(self.label.device)], self.classes, self.scores)

    def masks(self) -> list[Tensor]:
        """Ascending indices of each proposal's voxels (or points): what `core.metrics.InstanceAP` takes."""
        order = torch.argsort(self.label, stable=True)
        counts = torch.bincount(self.label + 1, minlength=len(self) + 1).tolist()
        return list(order.split(counts)[1:])


class PointGroup(Pretrained):
    """Backbone, a linear semantic head and a two-layer bias head."""

    def __init__(self, config: PointGroupConfig = PointGroupConfig()) -> None:
        super().__init__()
        self.config = config
        self.backbone = SpUNet(
            6,
            config.base_channels,
            config.channels,
            config.layers,
            own_statistics=config.own_statistics,
            voxel_size=config.voxel_size,
        )
        width = config.channels[-1]
        norm = BatchNorm(width, eps=1e-3, momentum=0.01)
        norm.own_statistics = config.own_statistics
        self.bias_head = nn.Sequential(nn.Linear(width, width), norm, nn.ReLU(), nn.Linear(width, 3))
        self.seg_head = nn.Linear(width, config.classes)

    def forward(self, points: PointBatch) -> PointGroupOutput:
        """What the heads say of the voxels of a batch, in float32 under autocast, too."""
        features = self.backbone(points.grid_coord, points.feat, points.offset)
        # bfloat16 knows a way of one metre to four millimetres: nothing to group voxels of two centimetres by.
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            return PointGroupOutput(self.seg_head(features), self.bias_head(features))

    def losses(self, output: PointGroupOutput, points: PointBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Their sum and the terms of `pointgroup_losses`.

        Raises:
            InputError: voxels without classes or instances.
        """
        if points.segment is None or points.instance is None:
            found = "no instances" if points.instance is None else "no classes"
            raise InputError("PointGroup", "voxels with classes and instances", found)
        target, valid = instance_bias(points, self.config.ignored)
        terms = pointgroup_losses(output, points.segment, target, valid)
        return torch.stack(list(terms.values())).sum(), terms

    @torch.no_grad()
    def proposals(
        self, output: PointGroupOutput, points: PointBatch, backend: GroupBackend = "auto"
    ) -> list[Proposals]:
        """The predicted instances of every scene of the batch."""
        radius = self.config.cluster.radius * self.config.voxel_size
        probability = output.logits.softmax(1)
        moved = points.coord + torch.nan_to_num(output.bias).clamp(-FARTHEST, FARTHEST)
        return [
            propose(probability[span], moved[span], self.config.ignored, radius, self.config.cluster, backend)
            for span in points.spans()
        ]

    @torch.no_grad()
    def predict(
        self, coord: NDArray[np.floating], color: NDArray[np.uint8], normal: NDArray[np.floating] | None = None
    ) -> tuple[Proposals, Tensor]:
        """The instances of a scene, and the class [N] of every point, on the CPU.

        Args:
            coord: [N, 3] metres, z up; color: [N, 3] uint8; normal: [N, 3] unit vectors, zeros when None.

        Raises:
            InputError: arrays that do not match, are not finite, or colours that are not uint8.
        """
        normal = np.zeros_like(coord) if normal is None else normal
        scene = PointScene("scene", np.asarray(coord, np.float32), np.asarray(color), np.asarray(normal, np.float32))
        points, inverse = make_points(scene.validated(), self.config.voxel_size)
        points = points.to(self.seg_head.weight.device)
        output = self(points)
        found = self.proposals(output, points)[0]
        found = Proposals(found.label.cpu(), found.classes.cpu(), found.scores.cpu())
        return found.at(inverse), output.logits.argmax(1).cpu()[inverse]

    def to_config(self) -> dict[str, Any]:
        return to_dict(self.config)

    @classmethod
    def from_config(cls, config: dict[str, Any], where: str = "config") -> Self:
        return cls(from_dict(PointGroupConfig, config, where))


def instance_bias(points: PointBatch, ignored: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The way from each voxel's point to the mean of its instance's points, in the batch's (augmented) world.

    Args:
        points: with ``segment`` and ``instance``.
        ignored: classes without instances.

    Returns:
        bias [V, 3] metres, 0 where there is no instance; and where there is one [V] bool: ids ≥ 0 of a class that is
        neither ignored nor unlabelled.
    """
    assert points.segment is not None and points.instance is not None
    segment, instance = points.segment, points.instance
    valid = (instance >= 0) & (segment >= 0)
    for k in ignored:
        valid &= segment != k
    counts = torch.diff(points.offset, prepend=points.offset.new_zeros(1)).to(segment.device)
    scene = torch.repeat_interleave(torch.arange(len(counts), device=segment.device), counts, output_size=len(segment))
    span = instance.max() + 1 if len(instance) else 1
    keys, group = torch.unique((scene * span + instance)[valid], return_inverse=True)
    coord = points.coord[valid].double()
    total = coord.new_zeros(len(keys), 3).index_add(0, group, coord)
    size = torch.bincount(group, minlength=len(keys))
    bias = torch.zeros_like(points.coord)
    bias[valid] = ((total / size[:, None])[group] - coord).to(bias.dtype)
    return bias, valid


def pointgroup_losses(output: PointGroupOutput, segment: Tensor, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """The terms of Jiang et al. 2020, §3.2–3.3, as in Pointcept's PG-v1m1.

    ``semantic``: cross-entropy over labelled voxels. ``bias_l1``: mean over voxels with an instance of
    ‖bias − target‖₁. ``bias_cosine``: mean over the same of −cos(bias, target), from −1 (right) to 1.

    Args:
        segment: [V] classes, −1 = ignore. target: [V, 3] and valid: [V] of `instance_bias`.

    Returns:
        scalars; a term without a voxel to speak of is 0, with gradients of 0.
    """
    labelled = segment != IGNORE
    semantic = F.cross_entropy(output.logits, segment, ignore_index=IGNORE, reduction="sum")
    weight = valid.to(output.bias.dtype)
    instances = weight.sum() + _EPS
    unit, unit_target = (v / (v.norm(dim=1, keepdim=True) + _EPS) for v in (output.bias, target))
    return {
        "semantic": semantic / labelled.sum().clamp_min(1),
        "bias_l1": ((output.bias - target).abs().sum(1) * weight).sum() / instances,
        "bias_cosine": -((unit * unit_target).sum(1) * weight).sum() / instances,
    }


def propose(
    probability: Tensor,
    moved: Tensor,
    ignored: tuple[int, ...],
    radius: float,
    config: ClusterConfig = ClusterConfig(),
    backend: GroupBackend = "auto",
) -> Proposals:
    """Instances of one scene.

    Args:
        probability: [V, K] of the classes; a voxel is of its most probable one.
        moved: [V, 3] metres, voxels after their bias.
        ignored: classes that are left out.
        radius: metres within which voxels of one class hang together.
        backend: see `core.nn.grouping.group_points`.
    """
    segment = probability.argmax(1)
    kept = torch.ones_like(segment, dtype=torch.bool)
    for k in ignored:
        kept &= segment != k
    rows = kept.nonzero()[:, 0]
    group = group_points(moved[rows], segment[rows], radius, backend)
    size = torch.bincount(group)
    large = (size >= config.min_points) & (size > config.propose_points)
    number = torch.where(large, large.cumsum(0) - 1, -1)
    label = torch.full_like(segment, -1)
    label[rows] = number[group]
    inside = (label >= 0).nonzero()[:, 0]
    count = int(large.sum())
    classes = segment.new_zeros(count).scatter(0, label[inside], segment[inside])  # equal throughout a proposal
    sure = probability[inside, segment[inside]].double()
    scores = sure.new_zeros(count).index_add(0, label[inside], sure) / size[large]
    return Proposals(label, classes, scores.float())
