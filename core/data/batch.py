"""Input of one training step: voxelised points and target views of a batch of scenes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry.cameras import Cameras
from .augment import NO_AUGMENT, AugmentConfig, apply_transform, block_mask, random_mask, random_transform, voxelize
from .scene import IGNORE, PointScene


@dataclass(frozen=True)
class InputConfig:
    """Subsampling and masking of points for the network (GaussianCross §3.1)."""

    voxel_size: float = 0.02
    """Voxel edge of the grid subsampling, metres (2 cm in the paper)."""
    max_points: int | None = None
    """Number of points drawn from a scene first; None takes all."""
    mask_ratio: float = 0.5
    """γ, share of the points hidden from the network (50 % in the paper)."""
    mask_mode: str = "points"
    """"points": drop masked points before voxelisation. "blocks": replace attributes in masked blocks by a token."""
    mask_block: float = 0.16
    """Edge of a block in "blocks" mode, metres."""
    color_drop: float = 0.0
    """Chance that a training scene comes without colours (Utonia: 0.2); half of the other scenes then lack those of
    20 % of their points."""
    normal_drop: float = 0.0
    """Chance that a training scene comes without normals; partly as for ``color_drop``."""
    lifted_frames: int = 0
    """Frames, other than the targets, whose teacher features are lifted into the lattice and heads; 0 = none."""
    pairs: int = 0
    """Voxel pairs per scene, at most, compared by the contrastive loss (PointContrast: 4,096); 0 = no such loss."""
    pair_mask_ratio: float = 0.5
    """Share of the points hidden from each view of the contrastive loss."""
    pair_mask_block: float = 0.0
    """Edge of the blocks that are hidden from one view of the contrastive loss each (MSC), metres; 0 hides points."""


@dataclass(frozen=True)
class PointBatch:
    """V voxels of B scenes, one point each.

    Attributes:
        coord: [V, 3] float32 positions in the (augmented) world, metres.
        grid_coord: [V, 3] int32 voxel indices, from 0 in every scene.
        feat: [V, 6] colour/127.5 − 1 and normal.
        masked: [V] bool, voxels whose attributes the model must hide ("blocks" masking only).
        offset: [B] int64 cumulative voxel counts, on the CPU on every device: reading them there waits for nothing.
        segment: [V] int64 class of each voxel's point (−1 = ignore), or None without labels. Not a network input.
        instance: [V] int64 instance of each voxel's point (−1 = none), or None without labels; unique per scene only.
        lifted: [V, D] teacher features lifted onto each voxel (`lifting.lift_voxels`), zero where no frame sees it, or
            None.
    """

    coord: Tensor
    grid_coord: Tensor
    feat: Tensor
    masked: Tensor
    offset: Tensor
    segment: Tensor | None = None
    instance: Tensor | None = None
    lifted: Tensor | None = None

    def __len__(self) -> int:
        return len(self.offset)

    def to(self, device: torch.device | str) -> PointBatch:
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "offset"}
        ahead = torch.device(device).type == "cuda"  # where memory is pinned, the copy runs beside the caller
        return replace(self, **{k: v.to(device, non_blocking=ahead) for k, v in values.items() if v is not None})

    def scene(self) -> Tensor:
        """[V] int64 index of each voxel's scene."""
        counts = torch.diff(self.offset, prepend=self.offset.new_zeros(1))
        counts = counts.to(self.coord.device, non_blocking=self.coord.is_cuda)
        scenes = torch.arange(len(self), device=self.coord.device)
        return torch.repeat_interleave(scenes, counts, output_size=len(self.coord))

    def spans(self) -> list[slice]:
        """The rows of each scene, as B slices."""
        ends = self.offset.tolist()
        return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    @staticmethod
    def cat(parts: list[PointBatch]) -> PointBatch:
        """Concatenate batches, scene after scene; absent labels become −1, absent lifted features 0."""
        labels = ("segment", "instance")
        names = [f.name for f in fields(PointBatch) if f.name not in (*labels, "lifted")]
        values = {name: torch.cat([getattr(p, name) for p in parts]) for name in names}
        sizes = [torch.diff(p.offset, prepend=p.offset.new_zeros(1)) for p in parts]
        values["offset"] = torch.cumsum(torch.cat(sizes), 0)
        unlabelled = [torch.full(p.coord.shape[:1], IGNORE, device=p.coord.device) for p in parts]
        for name in labels:
            part_labels = [getattr(p, name) for p in parts]
            if any(v is not None for v in part_labels):
                values[name] = torch.cat([u if v is None else v for v, u in zip(part_labels, unlabelled, strict=True)])
        width = next((p.lifted.shape[1] for p in parts if p.lifted is not None), None)
        if width is not None:
            values["lifted"] = torch.cat(
                [p.coord.new_zeros(len(p.coord), width) if p.lifted is None else p.lifted for p in parts]
            )
        return PointBatch(**values)

    def split(self, count: int) -> list[PointBatch]:
        """Split into at most ``count`` batches with nearly equal numbers of scenes, in order; `cat` undoes it."""
        count, spans = min(count, len(self)), self.spans()
        edges = [len(self) * k // count for k in range(count + 1)]
        parts = []
        for a, b in pairwise(edges):
            rows = slice(spans[a].start, spans[b - 1].stop)
            values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "offset"}
            cut = {k: v[rows] for k, v in values.items() if v is not None}
            parts.append(replace(self, **cut, offset=self.offset[a:b] - rows.start))
        return parts


@dataclass(frozen=True)
class Views:
    """M posed target images of one scene.

    Attributes:
        cameras: M cameras at the render size, in the (augmented) world of the points.
        color: [M, H, W, 3] in [0, 1].
        depth: [M, H, W] camera depth, metres; 0 = no measurement.
        teacher: [M, h, w, D] features of the frozen 2D teacher, or None.
    """

    cameras: Cameras
    color: Tensor
    depth: Tensor
    teacher: Tensor | None = None

    def to(self, device: torch.device | str) -> Views:
        """The views on another device; cameras that leave the CPU are checked there, where that waits for nothing."""
        if self.color.device.type == "cpu" and torch.device(device).type != "cpu":
            self.cameras.require_finite()
        teacher = None if self.teacher is None else self.teacher.to(device)
        return Views(self.cameras.to(device), self.color.to(device), self.depth.to(device), teacher)


@dataclass(frozen=True)
class ViewPair:
    """Two views of the points of one scene (see `view_pairs`).

    Attributes:
        points: both views, as a batch of two.
        matches: [P, 2] rows of ``points``: a voxel of the first and one of the second view, each in one pair at most.
    """

    points: PointBatch
    matches: Tensor

    def to(self, device: torch.device | str) -> ViewPair:
        return ViewPair(self.points.to(device), self.matches.to(device))


@dataclass(frozen=True)
class Batch:
    """B scenes and their target views; for the contrastive loss also a pair of views of each scene's points."""

    points: PointBatch
    views: list[Views]
    pairs: list[ViewPair] = field(default_factory=list)

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.points.to(device), [v.to(device) for v in self.views], [p.to(device) for p in self.pairs])

    def split(self, count: int) -> list[Batch]:
        """Split into at most ``count`` batches with nearly equal numbers of scenes, in order."""
        parts, start = [], 0
        for points in self.points.split(count):
            scenes = slice(start, start + len(points))
            parts.append(Batch(points, self.views[scenes], self.pairs[scenes]))
            start = scenes.stop
        return parts


@dataclass(frozen=True)
class SceneInput:
    """Network input of one scene.

    Attributes:
        points: its V voxels.
        transform: [4, 4] float64, world → (augmented) world of ``points``; transform cameras with it, too
            (`Cameras.transformed`).
        inverse: [N] voxel of every point that was not dropped (all points, in input order, without randomness).
        index: [N] int64 indices of those points in the scene.
    """

    points: PointBatch
    transform: Tensor
    inverse: Tensor
    index: Tensor


def make_input(
    scene: PointScene,
    config: InputConfig,
    rng: np.random.Generator | None = None,
    augment: AugmentConfig = NO_AUGMENT,
) -> SceneInput:
    """Subsample, augment, mask and voxelise a scene.

    Args:
        rng: draws subsample, augmentation and mask. None takes all points, centred only, without a mask.
    """
    masked = np.zeros(len(scene), bool)
    index = np.arange(len(scene))
    if rng is None:
        transform = random_transform(scene.coord, NO_AUGMENT, np.random.default_rng(0))
    else:
        if config.max_points is not None and len(scene) > config.max_points:
            index = rng.permutation(len(scene))[: config.max_points]
            scene = scene[index]
        transform = random_transform(scene.coord, augment, rng)
        if config.mask_mode == "points":
            visible = ~random_mask(len(scene), config.mask_ratio, rng)
            scene, index = scene[visible], index[visible]
            masked = np.zeros(len(scene), bool)
        else:
            masked = block_mask(scene.coord, config.mask_ratio, config.mask_block, rng)
    coord, normal = apply_transform(transform, scene.coord, scene.normal)
    points, inverse = make_points(replace(scene, coord=coord, normal=normal), config.voxel_size, rng, masked)
    if rng is not None:
        drop_attributes(points.feat, config, rng)
    return SceneInput(points, torch.from_numpy(transform), inverse, torch.from_numpy(index))


PARTIAL_DROP = 0.2
"""Share of the points that lack an attribute in a scene where it is partly missing (Concerto)."""


def drop_attributes(feat: Tensor, config: InputConfig, rng: np.random.Generator) -> None:
    """Set colours and normals of a scene's voxels [V, 6] to 0 in place, for all or some of them; see `InputConfig`."""
    for chance, channels in ((config.color_drop, slice(0, 3)), (config.normal_drop, slice(3, 6))):
        if not chance:
            continue
        if rng.random() < chance:
            feat[:, channels] = 0
        elif rng.random() < 0.5:
            feat[torch.from_numpy(rng.random(len(feat)) < PARTIAL_DROP), channels] = 0


def make_points(
    scene: PointScene,
    voxel_size: float,
    rng: np.random.Generator | None = None,
    masked: NDArray[np.bool_] | None = None,
) -> tuple[PointBatch, Tensor]:
    """Voxelise a scene without transforming it; also return the voxel [N] of every point.

    Args:
        voxel_size: metres.
        rng: picks a random point for each voxel; None takes the first.
        masked: [N] bool, points whose attributes the model must hide.
    """
    grid_coord, index, inverse = voxelize(scene.coord, voxel_size, rng)  # [V, 3], [V], [N]
    masked = np.zeros(len(scene), bool) if masked is None else masked
    feat = np.concatenate([scene.color[index].astype(np.float32) / 127.5 - 1, scene.normal[index]], 1)
    points = PointBatch(
        coord=torch.from_numpy(scene.coord[index]),
        grid_coord=torch.from_numpy(grid_coord),
        feat=torch.from_numpy(feat),
        masked=torch.from_numpy(masked[index]),
        offset=torch.tensor([len(index)]),
        segment=None if scene.segment is None else torch.from_numpy(scene.segment[index]),
        instance=None if scene.instance is None else torch.from_numpy(scene.instance[index]),
    )
    return points, torch.from_numpy(inverse)
