"""Coordinates and colours of points to draw: input points, masked points, centres of Gaussians."""

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
from ..scenes.geometry import centers_in_world, subset
from ..scenes.source import SceneState
from .colors import normal_colors, to_image

PointColor = Literal["Colour", "Normals", "Features", "Labels", "Probe"]

MASK_SEED = 0
"""Seed of the mask in the "Masked" layer; training uses a new mask at every step."""

HIDDEN = (72, 74, 82)
"""Colour of masked points."""


def kept_points(scene: PointScene, config: InputConfig, seed: int = MASK_SEED) -> NDArray[np.bool_]:
    """[N] True for points whose attributes the network sees: the random choices of `make_input` with this seed, in the
    same order (subset, augmentation, mask)."""
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
    """Coordinates [P, 3], colours [P, 3] and a note ("" if none) of at most ``limit`` points, or without points of the
    Gaussians' centres; None without either.

    Args:
        masked: paint masked points (see `kept_points`) in grey.
        features: [V, 3] colours of the voxels, or [N, 3] of the Gaussians in a scene without points.
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
