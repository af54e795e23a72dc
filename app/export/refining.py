"""Refinement of a scene that is shown: its first Gaussians, and the work that optimises them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...core.device import default_device
from ...core.errors import InputError
from ...core.geometry.gaussians import Gaussians
from ...trainers.gaussian_fitting import RefineConfig, TargetViews, read_views, refine_steps
from ...trainers.gaussian_fitting.object import surface_gaussians
from ...trainers.gaussian_fitting.scene import view_psnr
from ..query.search import FAINT
from ..scenes.geometry import world_gaussians
from ..scenes.nearest import tree
from ..scenes.source import SceneState
from .files import file_name, splats_work
from .work import Progress, Work

HELD_OUT = 8
"""Every n-th frame is held out, where the data set holds none out itself."""

WIDTH = 320
"""Width (px) of the frames that a shown scene is compared with."""

MOST = 50_000
"""Largest number of points of a shown scene on which Gaussians start."""

SHOW_EVERY = 2.0
"""Seconds between two updates of the Gaussians."""

MEASURED = 4
"""Held-out frames that are measured at each update."""


@dataclass(frozen=True)
class RefinedScene:
    """An intermediate state of a refinement.

    Attributes:
        state: the scene with the Gaussians of now.
        before, quality: mean PSNR (dB) of held-out frames, of the scene as it was and of now.
    """

    state: SceneState
    before: float
    quality: float


def refine_work(state: SceneState, config: RefineConfig, show: Callable[[RefinedScene], None]) -> Work:
    """Refine a scene's Gaussians against its posed frames; ends with them as a PLY, with their features.

    Args:
        show: called every `SHOW_EVERY` seconds and at the end.

    Raises:
        InputError: fewer than two posed frames.
    """
    if state.frames is None or len(state.frames) < 2:
        found = "none" if state.frames is None else str(len(state.frames))
        raise InputError(f"refining {state.name}", "two or more posed frames", found, "open a capture, a room or a run")
    yield Progress(0.0)
    device = default_device()
    fitted, held_out = split_views(read_views(state.frames, WIDTH))
    fitted, measured = fitted.to(device), held_out[list(range(min(MEASURED, len(held_out))))].to(device)
    yield Progress(0.0)
    features = state.gaussians is not None and state.embeddings is not None
    start = start_gaussians(state, features, MOST).to(device)
    first = start if state.gaussians is None else world_gaussians(state).to(device)
    before = float(view_psnr(first, measured).mean())
    shown = -SHOW_EVERY

    def refined_scene(gaussians: Gaussians) -> SceneState:
        cpu = gaussians.to("cpu")
        refined = SceneState(
            f"{state.name}, refined",
            points=state.points,
            gaussians=replace(cpu, features=None),
            embeddings=cpu.features,
            transform=torch.eye(4),  # its world is the scene's, z up
        )
        show(RefinedScene(refined, before, float(view_psnr(gaussians, measured).mean())))
        return refined

    for step in refine_steps(start, fitted, config):
        if step.share >= 1 or time.monotonic() - shown >= SHOW_EVERY:
            refined = refined_scene(step.gaussians())
            shown = time.monotonic()
        yield Progress(0.99 * step.share)
    return (yield from splats_work(refined, "ply", None, file_name(state.name, "refined"), features))


def split_views(views: TargetViews) -> tuple[TargetViews, TargetViews]:
    """Views to fit, and every `HELD_OUT`-th one, which is held out."""
    held = list(range(HELD_OUT // 2, len(views), HELD_OUT)) or [len(views) - 1]
    return views[[i for i in range(len(views)) if i not in held]], views[held]


def start_gaussians(state: SceneState, features: bool, most: int) -> Gaussians:
    """Initial Gaussians in the scene's world: flat ones on up to ``most`` of its points, which are denser than a
    network's anchors, or the Gaussians of a scene without points. With ``features``, each has those of the scene's
    nearest visible Gaussian.

    Raises:
        InputError: no features where they are asked for.
    """
    if features and (state.gaussians is None or state.embeddings is None):
        raise InputError("--features", "a scene whose Gaussians have features", "none", "refine a run, room or capture")
    if state.points is None:
        start = world_gaussians(state)
        return replace(start, features=state.embeddings) if features else start
    points = state.points
    if len(points) > most:
        points = points[np.sort(np.random.default_rng(0).choice(len(points), most, replace=False))]
    start = surface_gaussians(points.coord, points.color, points.normal if points.normal.any() else None)
    if not features:
        return start
    assert state.embeddings is not None
    predicted = world_gaussians(state)
    visible = predicted.opacities >= FAINT
    visible = visible if bool(visible.any()) else torch.ones_like(visible)
    nearest = tree(predicted.means[visible].numpy()).query(points.coord)[1]
    return replace(start, features=state.embeddings.detach().float().cpu()[visible][torch.from_numpy(nearest)])
