"""Point clouds of a scene: input points in several colours, what a mask leaves of them, centres of Gaussians; and what
follows from where points are: extent, depth range, point size."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.data.augment import NO_AUGMENT, block_mask, random_mask, random_transform
from ...core.data.batch import InputConfig
from ...core.data.scene import PointScene
from ...core.geometry.gaussians import Gaussians
from ..scenes.nearest import tree
from ..scenes.source import SceneState
from .layers import normal_colors, to_image

PointColor = Literal["Colour", "Normals", "Features", "Labels", "Probe"]

MASK_SEED = 0
"""Of the mask that the "Masked" layer shows: one of the many that a training draws."""

HIDDEN = (72, 74, 82)
"""Colour of points that the network does not see."""


def kept_points(scene: PointScene, config: InputConfig, seed: int = MASK_SEED) -> NDArray[np.bool_]:
    """[N] True for the points whose attributes the network would see: what `make_input` draws, in its order (subset,
    augmentation, mask), from a generator with this seed."""
    rng, kept = np.random.default_rng(seed), np.zeros(len(scene), bool)
    index = np.arange(len(scene))
    if config.max_points is not None and len(scene) > config.max_points:
        index = rng.permutation(len(scene))[: config.max_points]
    random_transform(scene.coord[index], NO_AUGMENT, rng)
    if config.mask_mode == "points":
        masked = random_mask(len(index), config.mask_ratio, rng)
    else:
        masked = block_mask(scene.coord[index], config.mask_ratio, config.mask_block, rng)
    kept[index[~masked]] = True
    return kept


def cloud(
    state: SceneState,
    mode: PointColor,
    limit: int,
    masked: bool,
    features: Tensor | None,
    classes: Tensor | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], str] | None:
    """Coordinates [P, 3], colours [P, 3] and a note ("" = nothing to say) of at most ``limit`` points; without points,
    the Gaussians' centres; None when there is neither.

    Args:
        masked: paint what `kept_points` hides in grey.
        features: [V, 3] colours of the voxels, or [N, 3] of the Gaussians where there are no points.
        classes: [P, 3] colours of the points' classes.
    """
    if state.points is None:
        return _centers(state, mode, limit, features)
    pick = subset(len(state.points), limit)
    scene, note = state.points[pick], ""
    colors = scene.color
    if mode == "Normals":
        colors = to_image(normal_colors(torch.from_numpy(scene.normal)))
    elif mode in ("Labels", "Probe") and classes is not None:
        colors = to_image(classes[torch.from_numpy(pick)])
    elif mode == "Features" and features is not None and state.point_voxel is not None:
        colors = to_image(features.cpu()[state.point_voxel.cpu()[torch.from_numpy(pick)]])
    elif mode != "Colour":
        note = f"this scene has no {mode.lower()}"
    if masked:
        points, config = state.points, state.input or InputConfig()
        kept = state.memo("kept points", lambda: kept_points(points, config))
        colors = np.where(kept[pick, None], colors, np.array(HIDDEN, np.uint8))
        note = note or f"{kept.mean():.0%} of the points are seen by the network, the grey ones are not"
    return scene.coord, colors, note


def _centers(
    state: SceneState, mode: PointColor, limit: int, features: Tensor | None
) -> tuple[NDArray[np.float32], NDArray[np.uint8], str] | None:
    if state.gaussians is None:
        return None
    colors, note = state.gaussians.colors, ""
    if mode == "Features" and features is not None:
        colors = features
    elif mode != "Colour":
        note = f"these Gaussians have no {mode.lower()}"
    pick = subset(len(state.gaussians), limit)
    return centers_in_world(state)[pick].astype(np.float32), to_image(colors.cpu()[torch.from_numpy(pick)]), note


def dots(coord: NDArray[np.float32], colors: NDArray[np.uint8], radius: float) -> Gaussians:
    """Points as small round opaque Gaussians whose visible discs have ``radius`` (metres)."""
    n = len(coord)
    return Gaussians(
        torch.from_numpy(np.ascontiguousarray(coord)).float(),
        torch.tensor([[1.0, 0, 0, 0]]).expand(n, 4),
        torch.full((n, 3), radius / 2),  # alpha falls to a half at 1.2 standard deviations, to a tenth at 2.1
        torch.full((n,), 0.999),
        torch.from_numpy(np.ascontiguousarray(colors)).float() / 255,
    )


def centers_in_world(state: SceneState) -> NDArray[np.floating]:
    """[N, 3] centres of the Gaussians in the scene's world, metres."""
    assert state.gaussians is not None
    means = state.gaussians.means.cpu().numpy()
    if state.transform is None:
        return means
    inverse = np.linalg.inv(state.transform.double().numpy())
    return means @ inverse[:3, :3].T + inverse[:3, 3]


def subset(n: int, limit: int) -> NDArray[np.int64]:
    """At most ``limit`` of ``n`` indices, the same ones every time."""
    if n <= limit:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, limit, replace=False))


def depth_range(state: SceneState) -> tuple[float, float]:
    """Near and far for the depth colours of a scene, metres: 2–98 % of what its frames measured (up to 8 of them, at
    a low resolution), else 0 to the diagonal of its points."""
    if state.frames is not None and len(state.frames):
        picks = np.unique(np.linspace(0, len(state.frames) - 1, 8).astype(int))
        values = np.concatenate([state.frames.read(int(i), 64, 48).depth.ravel() for i in picks])
        values = values[values > 0]
        if len(values):
            near, far = np.percentile(values, [2, 98])
            near = max(0.0, float(np.floor(near * 2) / 2))
            return near, max(near + 0.5, float(np.ceil(far * 2) / 2))
    low, high = bounds(state)
    return 0.0, float(np.ceil(np.linalg.norm(high - low)))


def point_size(state: SceneState) -> float:
    """A radius in metres at which neighbouring points just touch: 0.6 of the median distance to the nearest one. Found
    once per state."""
    return state.memo("point size", lambda: _point_size(state))


def _point_size(state: SceneState) -> float:
    coord = None if state.points is None else state.points.coord
    if coord is None and state.gaussians is not None:
        coord = state.gaussians.means.cpu().numpy()
    if coord is None or len(coord) < 2:
        return 0.015
    distance = tree(coord).query(coord[subset(len(coord), 2000)], k=2)[0][:, 1]
    return float(np.clip(0.6 * np.median(distance), 0.001, 0.1))


def bounds(state: SceneState) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner [3] of the scene, from the 1 % and 99 % percentiles: a few stray points do not zoom
    the camera out."""
    if state.points is not None:
        coord = state.points.coord
    elif state.gaussians is not None:
        coord = centers_in_world(state)
    else:
        return np.full(3, -1.0), np.full(3, 1.0)
    low, high = np.percentile(coord[subset(len(coord), 200_000)], [1, 99], axis=0)
    return low, high


def overview_frame(state: SceneState) -> int:
    """The dataset camera with most of the scene before it: the one that projects the most points into its picture, of
    those not nearer than half a metre to the camera. 0 without frames or points."""
    if state.frames is None or state.points is None or not len(state.frames):
        return 0
    cameras = state.frames.cameras
    coord = torch.from_numpy(state.points.coord[subset(len(state.points), 5_000)])
    uv, z = cameras.project(coord)
    size = torch.tensor([cameras.width, cameras.height])
    return int((((uv > 0) & (uv < size)).all(-1) & (z > 0.5)).sum(1).argmax())
