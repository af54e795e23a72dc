"""PointGroup (Jiang et al. 2020), as Pointcept's PG-v1m1: instances by semantic class and a vote for the centre.

    voxels → backbone → class logits and a bias, the offset from each voxel to the centroid of its instance
           → voxels shifted by their bias, grouped by distance and class → proposals

The loss is the sum of three terms with weight 1. Parameter names are Pointcept's.

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
"""Largest shift of a voxel along an axis, metres; larger than any instance."""

_EPS = 1e-8


@dataclass(frozen=True)
class ClusterConfig:
    """Grouping of shifted voxels into proposals. Published as "thresh 1.5, closed 300, propose 100, min 50".

    The published *closed points* (300) only sets the initial size of a buffer, so it is no option here.
    """

    radius: float = 1.5
    """Distance below which voxels of one class are linked, in voxel edges."""
    min_points: int = 50
    """Smallest number of voxels of a group."""
    propose_points: int = 100
    """Number of voxels that a group must exceed to become a proposal."""


@dataclass(frozen=True)
class PointGroupConfig:
    """Everything that decides what the network computes. Defaults: ScanNet with 20 classes."""

    classes: int = 20
    """K, semantic classes."""
    ignored: tuple[int, ...] = (0, 1)
    """Classes without instances: wall and floor (0 and 1 of ScanNet's 20 classes, 0 and 2 of its 200)."""
    base_channels: int = 32
    """Width of the backbone's stem."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96)
    """Widths of the backbone's four encoder and four decoder stages."""
    layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2)
    """Residual blocks per backbone stage."""
    voxel_size: float = 0.02
    """Edge of the voxels, metres."""
    own_statistics: bool = False
    """Normalise by the statistics of the input instead of running ones outside training, too."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """Grouping of shifted voxels into proposals."""

    def __post_init__(self) -> None:
        wrong = [k for k in self.ignored if not 0 <= k < self.classes]
        if self.classes < 1 or wrong or len({*self.ignored}) == self.classes:
            found = f"{self.classes} and {self.ignored}"
            raise InputError("PointGroupConfig", "classes, and some of them ignored, but not all", found)


@dataclass(frozen=True)
class PointGroupOutput:
    """Output of the heads for V voxels.

    Attributes:
        logits: [V, K] logits of the semantic classes.
        bias: [V, 3] predicted offset from the voxel's point to the centroid of its instance, metres.
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
        """Transfer the proposals to points whose voxels are ``inverse`` [N], such as a scene's original points."""
        return Proposals(self.label[inverse.to(self.label.device)], self.classes, self.scores)

    def masks(self) -> list[Tensor]:
        """Ascending indices of each proposal's voxels (or points), as input of `core.metrics.InstanceAP`."""
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
        """Apply backbone and heads to the voxels of a batch; the heads compute in float32 under autocast, too."""
        features = self.backbone(points.grid_coord, points.feat, points.offset)  # [V, C]
        # bfloat16 resolves an offset of one metre to four millimetres, too coarse to group voxels of two centimetres.
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            return PointGroupOutput(self.seg_head(features), self.bias_head(features))

    def losses(self, output: PointGroupOutput, points: PointBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and its terms (`pointgroup_losses`).

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
        """Predict the instances of every scene of the batch."""
        radius = self.config.cluster.radius * self.config.voxel_size
        probability = output.logits.softmax(1)  # [V, K]
        shifted = points.coord + torch.nan_to_num(output.bias).clamp(-FARTHEST, FARTHEST)  # [V, 3]
        return [
            propose(probability[span], shifted[span], self.config.ignored, radius, self.config.cluster, backend)
            for span in points.spans()
        ]

    @torch.no_grad()
    def predict(
        self, coord: NDArray[np.floating], color: NDArray[np.uint8], normal: NDArray[np.floating] | None = None
    ) -> tuple[Proposals, Tensor]:
        """Predict the instances of a scene and the class [N] of every point, on the CPU.

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
        proposals = self.proposals(output, points)[0]
        proposals = Proposals(proposals.label.cpu(), proposals.classes.cpu(), proposals.scores.cpu())
        return proposals.at(inverse), output.logits.argmax(1).cpu()[inverse]

    def to_config(self) -> dict[str, Any]:
        return to_dict(self.config)

    @classmethod
    def from_config(cls, config: dict[str, Any], where: str = "config") -> Self:
        return cls(from_dict(PointGroupConfig, config, where))


def instance_bias(points: PointBatch, ignored: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Compute target offsets from each voxel's point to the mean of its instance, in the batch's (augmented) world.

    Args:
        points: with ``segment`` and ``instance``.
        ignored: classes without instances.

    Returns:
        bias [V, 3] metres, 0 for voxels without an instance, and valid [V] bool, True for voxels with one: an id ≥ 0 of
        a class that is neither ignored nor unlabelled.
    """
    assert points.segment is not None and points.instance is not None
    segment, instance = points.segment, points.instance
    valid = (instance >= 0) & (segment >= 0)
    for k in ignored:
        valid &= segment != k
    counts = torch.diff(points.offset, prepend=points.offset.new_zeros(1)).to(segment.device)
    scene = torch.repeat_interleave(torch.arange(len(counts), device=segment.device), counts, output_size=len(segment))
    span = instance.max() + 1 if len(instance) else 1
    keys, group = torch.unique((scene * span + instance)[valid], return_inverse=True)  # [I] instances, [W] voxels
    coord = points.coord[valid].double()  # [W, 3]
    total = coord.new_zeros(len(keys), 3).index_add(0, group, coord)  # [I, 3]
    size = torch.bincount(group, minlength=len(keys))  # [I]
    bias = torch.zeros_like(points.coord)
    bias[valid] = ((total / size[:, None])[group] - coord).to(bias.dtype)
    return bias, valid


def pointgroup_losses(output: PointGroupOutput, segment: Tensor, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """The loss terms of Jiang et al. 2020, §3.2–3.3, as in Pointcept's PG-v1m1.

    ``semantic``: cross-entropy over labelled voxels. ``bias_l1``: mean of ‖bias − target‖₁ over voxels with an
    instance. ``bias_cosine``: mean of −cos(bias, target) over the same voxels, from −1 (best) to 1.

    Args:
        output: logits [V, K] and bias [V, 3].
        segment: [V] classes, −1 = ignore.
        target, valid: [V, 3] and [V] results of `instance_bias`.

    Returns:
        Scalars by name; a term without voxels is 0, with gradients of 0.
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
    shifted: Tensor,
    ignored: tuple[int, ...],
    radius: float,
    config: ClusterConfig = ClusterConfig(),
    backend: GroupBackend = "auto",
) -> Proposals:
    """Group the voxels of one scene into instances.

    Args:
        probability: [V, K] class probabilities; the largest decides a voxel's class.
        shifted: [V, 3] voxels shifted by their bias, metres.
        ignored: classes without instances.
        radius: distance below which voxels of one class are linked, metres.
        config: smallest sizes of groups.
        backend: see `core.nn.grouping.group_points`.
    """
    segment = probability.argmax(1)  # [V]
    countable = torch.ones_like(segment, dtype=torch.bool)  # [V]
    for k in ignored:
        countable &= segment != k
    rows = countable.nonzero()[:, 0]  # [R]
    group = group_points(shifted[rows], segment[rows], radius, backend)  # [R]
    size = torch.bincount(group)  # [groups]
    large = (size >= config.min_points) & (size > config.propose_points)
    number = torch.where(large, large.cumsum(0) - 1, -1)
    label = torch.full_like(segment, -1)
    label[rows] = number[group]
    inside = (label >= 0).nonzero()[:, 0]
    count = int(large.sum())
    classes = segment.new_zeros(count).scatter(0, label[inside], segment[inside])  # equal throughout a proposal
    confidence = probability[inside, segment[inside]].double()
    scores = confidence.new_zeros(count).index_add(0, label[inside], confidence) / size[large]  # [P]
    return Proposals(label, classes, scores.float())
