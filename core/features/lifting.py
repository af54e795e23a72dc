"""Lifting of teacher features onto points without training: the mean over the posed frames that see a point.

This is the baseline for learned feature fields.
"""

from __future__ import annotations

import math
import warnings
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
"""σ of a token's weight, as a share of the point's depth: tokens on other surfaces count less."""

Progress = Callable[[int, int], object]
"""Called with (frames done, total frames)."""


@dataclass(frozen=True)
class LiftConfig:
    """Selection of frames and visibility test of points."""

    frames: int | None = None
    """Largest number of frames, evenly spaced; None = all."""
    tolerance: float = 0.03
    """Largest difference between a visible point's depth and the measured one, metres, plus ``relative`` · depth."""
    relative: float = 0.02
    """Share of a point's depth added to ``tolerance``, because depth noise grows with distance."""
    width: int = 320
    """Width of the depth images for this test, pixels."""


@dataclass(frozen=True)
class Lifted:
    """Features lifted onto N points.

    Attributes:
        features: [N, D] float32 mean of unit features over the views, not normalised (a length below 1 measures how
            much the views disagree); zero where no frame sees the point.
        views: [N] int32 number of frames that see it.
    """

    features: Tensor
    views: Tensor

    @property
    def seen(self) -> float:
        """Share of the points that at least one frame sees."""
        return float((self.views > 0).float().mean()) if len(self.views) else 0.0


@torch.no_grad()
def lift(
    coord: NDArray[np.floating] | Tensor,
    frames: PosedFrames,
    teacher: Teacher,
    scene_name: str,
    config: LiftConfig | None = None,
    progress: Progress = lambda done, total: None,
    frame_index: Sequence[int] | None = None,
) -> Lifted:
    """Average a teacher's features onto points.

    Args:
        coord: [N, 3] world, metres.
        frames: posed frames with depth.
        teacher: called frame by frame.
        scene_name: name of the scene for the teacher.
        progress: called after every frame; may raise to stop.
        frame_index: frames to use instead of ``config.frames`` evenly spaced ones.

    Raises:
        InputError: no frame, no depth in any, or none that can be read. Others are left out, with a warning.
    """
    config = config or LiftConfig()
    index = spaced_frames(len(frames), config.frames) if frame_index is None else list(frame_index)
    if not index:
        raise InputError(scene_name, "posed frames to lift features from", "none")
    points = torch.as_tensor(coord).float().cpu()
    width = min(config.width, frames.cameras.width)
    height = max(1, round(width * frames.cameras.height / frames.cameras.width))
    total, views = None, torch.zeros(len(points), dtype=torch.int32)
    measured = False
    damaged: list[InputError] = []
    for done, i in enumerate(index, 1):
        try:
            depth = torch.from_numpy(np.ascontiguousarray(frames.read(i, width, height).depth))  # [H, W]
        except InputError as error:
            damaged.append(error)
            progress(done, len(index))
            continue
        tokens = teacher.features(scene_name, frames, [i])[0].float().cpu()  # [h, w, D]
        measured |= bool((depth > 0).any())
        visible, features = observe(points, frames.cameras[i].resized(width, height), depth, tokens, config)
        if total is None:
            total = torch.zeros(len(points), tokens.shape[-1])  # [N, D]
        total[visible] += features  # a point appears once per frame
        views[visible] += 1
        progress(done, len(index))
    if total is None:
        raise damaged[0]
    if damaged:
        few = f"{scene_name}: {len(damaged)} of {len(index)} frames are damaged and not lifted"
        warnings.warn(f"{few}; the first: {damaged[0]}", stacklevel=2)
    if not measured:
        raise InputError(scene_name, "frames with depth, to tell which points they see", "no depth in any of them")
    return Lifted(total.div_(views.clamp_min(1)[:, None]), views)


def lift_voxels(
    scene: PointScene,
    network_input: SceneInput,
    frames: PosedFrames,
    teacher: Teacher,
    frame_index: Sequence[int] | None = None,
    config: LiftConfig | None = None,
    progress: Progress = lambda done, total: None,
) -> PointBatch:
    """Lift teacher features onto the voxels of a scene's network input.

    A voxel has the mean over all observations of its points, times n / (n + 1) with n the observations per visible
    point: a single observation is often wrong and counts half.

    Args:
        scene: the scene that ``network_input`` was made from.
        frame_index, config, progress: see `lift`.

    Returns:
        The input's points with ``lifted`` [V, D].
    """
    coord = scene.coord[network_input.index.numpy()]  # [N, 3]
    lifted = lift(coord, frames, teacher, scene.name, config, progress, frame_index)
    views = lifted.views.float()  # [N]
    voxels, inverse = len(network_input.points.coord), network_input.inverse
    total = views.new_zeros(voxels, lifted.features.shape[1])  # [V, D]
    total = total.index_add(0, inverse, lifted.features * views[:, None])
    count = views.new_zeros(voxels).index_add(0, inverse, views)  # [V] observations
    seen = views.new_zeros(voxels).index_add(0, inverse, (views > 0).float())  # [V] visible points
    return replace(network_input.points, lifted=total / (count + seen).clamp_min(1)[:, None])


@torch.no_grad()
def lift_views(coord: Tensor, views: Views, config: LiftConfig | None = None) -> Lifted:
    """Lift the teacher features of target views onto points, view by view; see `lift`.

    Training uses `lift_scenes.lift_scenes` on CUDA, which is tested against this.

    Args:
        coord: [N, 3] in the views' world, metres.
        views: with teacher features.
    """
    assert views.teacher is not None
    config = config or LiftConfig()
    total = views.teacher.new_zeros(len(coord), views.teacher.shape[-1], dtype=torch.float32)  # [N, D]
    count = torch.zeros(len(coord), dtype=torch.int32, device=coord.device)  # [N]
    for i in range(len(views.cameras)):
        index, features = observe(coord, views.cameras[i], views.depth[i], views.teacher[i].float(), config)
        total[index] += features
        count[index] += 1
    return Lifted(total.div_(count.clamp_min(1)[:, None]), count)


def spaced_frames(count: int, max_frames: int | None) -> list[int]:
    """Indices of at most ``max_frames`` of ``count`` frames, evenly spaced, the first and last included."""
    if max_frames is None or count <= max_frames:
        return list(range(count))
    return np.unique(np.linspace(0, count - 1, max(1, max_frames)).round().astype(int)).tolist()


def observe(
    points: Tensor, camera: Cameras, depth: Tensor, tokens: Tensor, config: LiftConfig
) -> tuple[Tensor, Tensor]:
    """Interpolate one frame's tokens at the points that it sees.

    A point is visible where it projects into the image and its depth agrees with the one measured at that pixel
    (`LiftConfig`); pixels without a measurement see nothing. Unit features of the four nearest tokens are averaged,
    each with its bilinear weight times exp(−(Δ/σ)²), where Δ is the point's depth minus the depth measured at the
    token's centre and σ = `EDGE` · the point's depth. This prevents foreground features from bleeding onto the
    background. Beyond the outermost token centres the outermost tokens count.

    Args:
        points: [N, 3] world, metres.
        camera: one camera, at the size of ``depth``.
        depth: [H, W] camera z, metres; 0 = not measured.
        tokens: [h, w, D], covering the image; see `Teacher.features`. Tokens that are not finite count as zero.

    Returns:
        index [V] int64, ascending, and features [V, D] float32.
    """
    # Project, and keep the points that are visible.
    uv, z = camera.project(points)
    uv, z = uv[0], z[0]  # [N, 2], [N]
    size = uv.new_tensor([camera.width, camera.height])
    inside = (z > 0.01) & (uv >= 0).all(1) & (uv < size).all(1)  # [N]
    index = inside.nonzero()[:, 0]
    column, row = uv[index].long().unbind(1)
    measured = depth[row, column]
    near = (measured - z[index]).abs() <= config.tolerance + config.relative * z[index]
    index = index[near & (measured > 0)]  # [V]
    # Average the four tokens around each.
    h, w, _ = tokens.shape
    flat = torch.nn.functional.normalize(torch.nan_to_num(tokens, 0.0, 0.0, 0.0), dim=-1).flatten(0, 1)  # [h·w, D]
    at = uv[index] * uv.new_tensor([w / camera.width, h / camera.height]) - 0.5  # [V, 2] in units of tokens
    x0, wx = _cell(at[:, 0], w)  # [V] each
    y0, wy = _cell(at[:, 1], h)
    x1, y1 = (x0 + 1).clamp_max(w - 1), (y0 + 1).clamp_max(h - 1)
    surface = token_depth(depth, h, w).flatten()  # [h·w]
    out, total = flat.new_zeros(len(index), flat.shape[1]), flat.new_zeros(len(index))  # [V, D], [V]
    for y, by in ((y0, 1 - wy), (y1, wy)):
        for x, bx in ((x0, 1 - wx), (x1, wx)):
            token = y * w + x  # [V]
            weight = by * bx * same_surface(surface[token], z[index])  # [V]
            out.addcmul_(flat[token], weight[:, None])
            total += weight
    return index, out / total[:, None]


def token_depth(depth: Tensor, h: int, w: int) -> Tensor:
    """Sample depth [H, W] at the centres of tokens: [h, w] metres; 0 = not measured."""
    height, width = depth.shape
    rows = ((torch.arange(h, device=depth.device) + 0.5) * height / h).long()
    columns = ((torch.arange(w, device=depth.device) + 0.5) * width / w).long()
    return depth[rows[:, None], columns[None]]


def same_surface(measured: Tensor, z: Tensor) -> Tensor:
    """Weight [V] in (0, 1] of tokens with depth ``measured`` [V] for points at depth ``z`` [V].

    It is never 0, so that points between tokens of other surfaces have a feature, too.
    """
    difference = torch.where(measured > 0, (measured - z) / (EDGE * z), 2.0)  # in units of σ; 2 when not measured
    return torch.exp(-difference.square()).clamp_min(1e-4)


def observe_reference(
    points: Tensor, camera: Cameras, depth: Tensor, tokens: Tensor, config: LiftConfig
) -> tuple[list[int], list[Tensor]]:
    """`observe` one point at a time in float64: the definition, for tests."""
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
    """Index [V] of the token before a position [V] in units of tokens, and the weight [V] of the next token."""
    at = at.clamp(0, count - 1)
    before = at.long()
    return before, at - before
