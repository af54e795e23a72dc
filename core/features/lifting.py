"""Teacher features on points without any training: the mean over the posed frames that see a point.

The baseline that every learned field has to beat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.batch import PointBatch, SceneInput, Views
from ..data.scene import PointScene, PosedFrames
from ..errors import InputError
from ..geometry.cameras import Cameras
from ..teachers.base import Teacher

EDGE = 0.05
"""Share of a point's depth by which a token's surface may be off before the token counts clearly less."""

Progress = Callable[[int, int], object]
"""(frames done, frames in all)."""


@dataclass(frozen=True)
class LiftConfig:
    """Which frames are used, and when a frame sees a point."""

    frames: int | None = None
    """At most so many, evenly spaced; None = all."""
    tolerance: float = 0.03
    """A point is seen where the measured depth is at most so far from its own, metres …"""
    relative: float = 0.02
    """… plus this share of its depth: depth cameras are the less exact the farther they look."""
    width: int = 320
    """Width of the depth images that decide it, pixels."""


@dataclass(frozen=True)
class Lifted:
    """What the frames say about N points.

    Attributes:
        features: [N, D] float32, mean over the views of unit features; not of unit length (how far below 1 says how
            much the views disagree), zero where no frame saw the point.
        views: [N] int32, frames that saw it.
    """

    features: Tensor
    views: Tensor

    @property
    def seen(self) -> float:
        """Share of the points that at least one frame saw."""
        return float((self.views > 0).float().mean()) if len(self.views) else 0.0


@torch.no_grad()
def lift(
    coord: NDArray[np.floating] | Tensor,
    frames: PosedFrames,
    teacher: Teacher,
    scene_name: str,
    config: LiftConfig | None = None,
    progress: Progress = lambda done, total: None,
    picked: Sequence[int] | None = None,
) -> Lifted:
    """Average a teacher's features onto points.

    Args:
        coord: [N, 3] world, metres.
        frames: posed frames with depth.
        teacher: its features are asked for frame by frame.
        scene_name: what the teacher knows the scene by.
        progress: called after every frame; may raise to stop.
        picked: these frames instead of ``config.frames`` of all.

    Raises:
        InputError: no frame, or no depth in any.
    """
    config = config or LiftConfig()
    chosen = chosen_frames(len(frames), config.frames) if picked is None else list(picked)
    if not chosen:
        raise InputError(scene_name, "posed frames to lift features from", "none")
    points = torch.as_tensor(coord).float().cpu()
    width = min(config.width, frames.cameras.width)
    height = max(1, round(width * frames.cameras.height / frames.cameras.width))
    total, views = None, torch.zeros(len(points), dtype=torch.int32)
    measured = False
    for done, i in enumerate(chosen, 1):
        tokens = teacher.features(scene_name, frames, [i])[0].float().cpu()
        depth = torch.from_numpy(np.ascontiguousarray(frames.read(i, width, height).depth))
        measured |= bool((depth > 0).any())
        index, features = observe(points, frames.cameras[i].resized(width, height), depth, tokens, config)
        if total is None:
            total = torch.zeros(len(points), tokens.shape[-1])
        total[index] += features  # a point appears once per frame
        views[index] += 1
        progress(done, len(chosen))
    assert total is not None
    if not measured:
        raise InputError(scene_name, "frames with depth, to tell which points they see", "no depth in any of them")
    return Lifted(total.div_(views.clamp_min(1)[:, None]), views)


def lift_voxels(
    scene: PointScene,
    given: SceneInput,
    frames: PosedFrames,
    teacher: Teacher,
    picked: Sequence[int] | None = None,
    config: LiftConfig | None = None,
    progress: Progress = lambda done, total: None,
) -> PointBatch:
    """Network input that carries lifted features: of each voxel, the mean over all sightings of its points, times
    n / (n + 1), n the sightings of a point that was seen. What a single frame says is often wrong, and counts half.

    Args:
        scene: what ``given`` was made of. picked, config, progress: see `lift`.
    """
    lifted = lift(scene.coord[given.index.numpy()], frames, teacher, scene.name, config, progress, picked)
    views = lifted.views.float()
    voxels, into = len(given.points.coord), given.inverse
    total = views.new_zeros(voxels, lifted.features.shape[1]).index_add(0, into, lifted.features * views[:, None])
    count = views.new_zeros(voxels).index_add(0, into, views)
    seen = views.new_zeros(voxels).index_add(0, into, (views > 0).float())
    return replace(given.points, lifted=total / (count + seen).clamp_min(1)[:, None])


@torch.no_grad()
def lift_views(coord: Tensor, views: Views, config: LiftConfig | None = None) -> Lifted:
    """What the views at hand, which carry a teacher's features, say of points; see `lift`.

    Args:
        coord: [N, 3] in the views' world, metres.
    """
    assert views.teacher is not None
    config = config or LiftConfig()
    total = views.teacher.new_zeros(len(coord), views.teacher.shape[-1], dtype=torch.float32)
    count = torch.zeros(len(coord), dtype=torch.int32, device=coord.device)
    for i in range(len(views.cameras)):
        index, features = observe(coord, views.cameras[i], views.depth[i], views.teacher[i].float(), config)
        total[index] += features
        count[index] += 1
    return Lifted(total.div_(count.clamp_min(1)[:, None]), count)


def chosen_frames(count: int, most: int | None) -> list[int]:
    """At most ``most`` of ``count`` frames, evenly spaced, first and last among them."""
    if most is None or count <= most:
        return list(range(count))
    return np.unique(np.linspace(0, count - 1, max(1, most)).round().astype(int)).tolist()


def observe(
    points: Tensor, camera: Cameras, depth: Tensor, tokens: Tensor, config: LiftConfig
) -> tuple[Tensor, Tensor]:
    """What one frame says about the points that it sees.

    A point is seen where it projects into the image and the depth measured at that pixel is its own, see `LiftConfig`;
    pixels without a measurement see nothing. Unit features of the four nearest tokens are interpolated, each with its
    bilinear weight times exp(−(Δ/σ)²), Δ the point's depth less that measured at the token's centre and σ = `EDGE` of
    the point's depth: what stands before a wall does not rub off on the wall. Beyond the outermost token centres the
    outermost count.

    Args:
        points: [N, 3] world, metres. camera: one, at the size of ``depth``. depth: [H, W] camera z, metres.
        tokens: [h, w, D], covering the image; see `Teacher.features`. Tokens that are not finite count as zero.

    Returns:
        index [V] int64, ascending, and features [V, D] float32.
    """
    uv, z = camera.project(points)
    uv, z = uv[0], z[0]
    size = uv.new_tensor([camera.width, camera.height])
    inside = (z > 0.01) & (uv >= 0).all(1) & (uv < size).all(1)
    index = inside.nonzero()[:, 0]
    column, row = uv[index].long().unbind(1)
    there = depth[row, column]
    near = (there - z[index]).abs() <= config.tolerance + config.relative * z[index]
    index = index[near & (there > 0)]
    h, w, _ = tokens.shape
    flat = torch.nn.functional.normalize(torch.nan_to_num(tokens, 0.0, 0.0, 0.0), dim=-1).flatten(0, 1)
    at = uv[index] * uv.new_tensor([w / camera.width, h / camera.height]) - 0.5
    x0, wx = _cell(at[:, 0], w)
    y0, wy = _cell(at[:, 1], h)
    x1, y1 = (x0 + 1).clamp_max(w - 1), (y0 + 1).clamp_max(h - 1)
    surface = token_depth(depth, h, w).flatten()
    out, total = flat.new_zeros(len(index), flat.shape[1]), flat.new_zeros(len(index))
    for y, by in ((y0, 1 - wy), (y1, wy)):
        for x, bx in ((x0, 1 - wx), (x1, wx)):
            token = y * w + x
            weight = by * bx * same_surface(surface[token], z[index])
            out.addcmul_(flat[token], weight[:, None])
            total += weight
    return index, out / total[:, None]


def token_depth(depth: Tensor, h: int, w: int) -> Tensor:
    """Depth [H, W] measured at the centres of h × w tokens, metres; 0 = not measured."""
    height, width = depth.shape
    rows = ((torch.arange(h, device=depth.device) + 0.5) * height / h).long()
    columns = ((torch.arange(w, device=depth.device) + 0.5) * width / w).long()
    return depth[rows[:, None], columns[None]]


def same_surface(measured: Tensor, z: Tensor) -> Tensor:
    """In (0, 1], how far depths measured at tokens [V] speak for points at depth z [V]; never quite 0, so that points
    between tokens of other surfaces get something."""
    gap = torch.where(measured > 0, (measured - z) / (EDGE * z), 2.0)
    return torch.exp(-gap.square()).clamp_min(1e-4)


def observe_reference(
    points: Tensor, camera: Cameras, depth: Tensor, tokens: Tensor, config: LiftConfig
) -> tuple[list[int], list[Tensor]]:
    """`observe`, one point at a time in float64, as it reads. For tests."""
    K, view = camera.Ks[0].double(), camera.viewmats[0].double()
    h, w, _ = tokens.shape
    index, features = [], []
    for n, point in enumerate(points.double()):
        x, y, z = (view[:3, :3] @ point + view[:3, 3]).tolist()
        if not z > 0.01:
            continue
        u = float(K[0, 0] * x / z + K[0, 1] * y / z + K[0, 2])
        v = float(K[1, 1] * y / z + K[1, 2])
        if not (0 <= u < camera.width and 0 <= v < camera.height):
            continue
        measured = float(depth[math.floor(v), math.floor(u)])
        if measured <= 0 or abs(measured - z) > config.tolerance + config.relative * z:
            continue
        a, b = u * w / camera.width - 0.5, v * h / camera.height - 0.5
        feature, total = torch.zeros(tokens.shape[-1], dtype=torch.float64), 0.0
        for j in (math.floor(b), math.floor(b) + 1):
            for i in (math.floor(a), math.floor(a) + 1):
                row, column = min(max(j, 0), h - 1), min(max(i, 0), w - 1)
                there = float(depth[int((row + 0.5) * camera.height / h), int((column + 0.5) * camera.width / w)])
                gap = (there - z) / (EDGE * z) if there > 0 else 2.0
                weight = (1 - abs(b - j)) * (1 - abs(a - i)) * max(math.exp(-(gap**2)), 1e-4)
                token = tokens[row, column].double()
                length = float(token.norm())
                if math.isfinite(length) and length > 0:
                    feature += weight * token / length
                total += weight
        index.append(n)
        features.append(feature / total)
    return index, features


def _cell(at: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The token before a position [V] in units of tokens, and the share of the one after it."""
    at = at.clamp(0, count - 1)
    before = at.long()
    return before, at - before
