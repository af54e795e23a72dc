"""Picking of Gaussians or points by clicks and rectangles, and scores of similarity to picks. Independent of viser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.geometry.cameras import Cameras
from ...core.geometry.gaussians import Gaussians
from ...core.query import FeatureStore, combine
from ...core.splat import pick as pick_gaussians
from ...core.splat import rasterize
from ..render.scores import LABEL_REACH
from ..scenes.geometry import centers_in_world
from ..scenes.nearest import tree
from ..scenes.predicted import PredictedState
from ..scenes.source import SceneState

if TYPE_CHECKING:
    from scipy.spatial import KDTree

REACH = 4
"""Radius in which a click picks something, pixels."""

NEAR_SURFACE = 0.05
"""Largest distance of a centre behind the visible surface to which it belongs, as a share of its depth."""

SURFACE_WIDTH = 320
"""Width of the picture in which `in_rectangle` finds the surface of Gaussians, pixels."""

CELL = 10
"""Size of the cells in which it finds the nearest point of scenes without Gaussians, pixels."""


@dataclass(frozen=True)
class Pick:
    """A Gaussian or point selected by a click.

    Attributes:
        kind: "gaussian", or "point" where there are no Gaussians.
        index: index of the Gaussian or point.
        position: [3] position in the scene's world, metres: on the clicked ray, at the depth of the Gaussian or point.
        include: whether a query includes or excludes similar Gaussians.
    """

    kind: Literal["gaussian", "point"]
    index: int
    position: NDArray[np.float64]
    include: bool = True


def pick(
    state: SceneState, cameras: Cameras, u: float, v: float, include: bool = True, keep: Tensor | None = None
) -> Pick | None:
    """Pick the Gaussian or point that the world camera ``cameras`` shows at pixel (u, v); None if there is none.

    Of Gaussians, the one with the largest weight in that pixel or else in the nearest non-empty pixel within `REACH`.
    Of points, the frontmost within 2 `REACH` pixels of the ray.

    Args:
        keep: [N] bool, False = not drawn, so not picked; None = all are drawn.
    """
    gaussians = kept(state, keep)
    if gaussians is not None:
        found = _pick_gaussian(state, gaussians, cameras, u, v)
    else:
        found = _pick_point(state, cameras, u, v, keep)
    if found is None:
        return None
    index, depth = found
    ray = torch.linalg.inv(cameras.Ks[0].double()) @ torch.tensor([u, v, 1.0], dtype=torch.float64)
    pose = torch.linalg.inv(cameras.viewmats[0].double())
    position = (pose[:3, :3] @ (ray * depth) + pose[:3, 3]).numpy()
    return Pick("point" if state.gaussians is None else "gaussian", index, position, include)


def kept(state: SceneState, keep: Tensor | None) -> Gaussians | None:
    """The Gaussians with those transparent that are not drawn; None in a scene without any."""
    gaussians = state.gaussians
    if gaussians is None or keep is None or len(keep) != len(gaussians):
        return gaussians
    return replace(gaussians, opacities=gaussians.opacities * keep.to(gaussians.opacities))


def _pick_gaussian(
    state: SceneState, gaussians: Gaussians, cameras: Cameras, u: float, v: float
) -> tuple[int, float] | None:
    """Splat only the pixels around the click; the remaining cost is the projection."""
    size, ks = 2 * REACH + 1, cameras.Ks.clone()
    ks[:, 0, 2] -= np.floor(u) - REACH
    ks[:, 1, 2] -= np.floor(v) - REACH
    seen = state.cameras(Cameras(cameras.viewmats, ks, size, size))
    index, depth = pick_gaussians(gaussians, seen.viewmats, seen.Ks, size, size)
    index, depth = index[0].cpu(), depth[0].cpu()
    rows, columns = torch.nonzero(index >= 0, as_tuple=True)
    if len(rows) == 0:
        return None
    nearest = int(((rows - REACH) ** 2 + (columns - REACH) ** 2).argmin())
    row, column = int(rows[nearest]), int(columns[nearest])
    return int(index[row, column]), float(depth[row, column])


def _pick_point(
    state: SceneState, cameras: Cameras, u: float, v: float, keep: Tensor | None
) -> tuple[int, float] | None:
    if state.points is None:
        return None
    uv, z = cameras.project(torch.from_numpy(state.points.coord))
    near = (uv[0] - torch.tensor([u, v])).square().sum(-1) <= (2 * REACH) ** 2
    if keep is not None and len(keep) == len(near):
        near &= keep.cpu()
    near = torch.nonzero(near & (z[0] > 0.01))[:, 0]
    if len(near) == 0:
        return None
    index = int(near[z[0, near].argmin()])
    return index, float(z[0, index])


def renewed(picks: Sequence[Pick], state: SceneState) -> tuple[Pick, ...]:
    """Move picks to the nearest Gaussians of a newer state, at the same positions."""
    if not picks or state.gaussians is None:
        return tuple(picks)
    centers = np.nan_to_num(centers_in_world(state), nan=1e6, posinf=1e6, neginf=1e6)
    index = np.atleast_1d(tree(centers).query(np.stack([p.position for p in picks]))[1])
    return tuple(replace(p, index=int(i), kind="gaussian") for p, i in zip(picks, index, strict=True))


CLOSE = 0.5
"""Cosine to a pick, after centring, from which features count as similar if the scores form no two groups: 60°."""


def centred_store(state: SceneState, embeddings: Tensor) -> FeatureStore:
    """Return the embeddings minus their mean over the scene.

    Without this, a component common to all (such as CLIP's common direction) keeps all cosines between 0.9 and 1.
    """

    def build() -> FeatureStore:
        return FeatureStore.build(_centred(state, embeddings, embeddings))

    return state.memo("centred store", build)


def prepare(state: SceneState) -> None:
    """Compute the centred embeddings ahead of the first pick; not yet on a device that may be training."""
    busy = isinstance(state, PredictedState) and state.codes is not None and state.codes.device.type != "cpu"
    if state.gaussians is not None and not busy and state.embeddings is not None:
        centred_store(state, state.embeddings)


def _centred(state: SceneState, embeddings: Tensor, rows: Tensor) -> Tensor:
    def mean() -> Tensor:
        whole = embeddings.float().mean(0)
        if whole.isfinite().all():
            return whole
        good = embeddings[embeddings.isfinite().all(1)].float()
        return good.sum(0) / max(len(good), 1)

    return rows.float() - state.memo("mean embedding", mean)


def pick_scores(state: SceneState, picks: Sequence[Pick]) -> Tensor | None:
    """[N] largest of `scores_per_pick`: how similar a Gaussian is to any of the picks."""
    scores = scores_per_pick(state, picks)
    return None if scores is None else scores.amax(1)


def scores_per_pick(state: SceneState, picks: Sequence[Pick]) -> Tensor | None:
    """[N, P] cosine of every Gaussian's features with each of the P including picks, both minus the mean of the scene;
    None without features or without an including pick. Excluding picks are taken from each (`core.query.combine`)."""
    if state.gaussians is None or state.embeddings is None or not any(p.include for p in picks):
        return None
    every = state.embeddings
    wanted, unwanted = (
        _centred(state, every, every[[p.index for p in picks if p.include is w]]) for w in (True, False)
    )
    queries = torch.stack([combine(one[None], unwanted) for one in wanted])
    return centred_store(state, every).scores(queries)


def label_at(state: SceneState, position: NDArray[np.float64], names: Sequence[str]) -> str | None:
    """Class of the labelled point nearest to a position, within `LABEL_REACH`; None if there is none."""
    if state.points is None or state.points.segment is None:
        return None
    points, segment = state.points.coord, state.points.segment
    labelled, known = state.memo("labelled points", lambda: _labelled(points, segment))
    if known is None:
        return None
    distance, nearest = known.query(position, distance_upper_bound=LABEL_REACH)
    if not np.isfinite(distance):
        return None
    number = int(segment[labelled[nearest]])
    return names[number] if number < len(names) else f"class {number}"


def _labelled(points: NDArray, segment: NDArray) -> tuple[NDArray[np.int64], KDTree | None]:
    labelled = np.flatnonzero(segment >= 0)
    return labelled, tree(points[labelled]) if len(labelled) else None


def in_rectangle(
    state: SceneState,
    cameras: Cameras,
    low: tuple[float, float],
    high: tuple[float, float],
    keep: Tensor | None = None,
) -> NDArray[np.int64]:
    """Select the Gaussians, or else points, whose centres are visible inside a rectangle of the picture.

    Visible are centres at most `NEAR_SURFACE` of their depth behind the surface. Gaussians of an opacity up to 0.1 are
    not selected.

    Args:
        low, high: (u, v) corners, pixels.
        keep: [N] bool, False = not drawn, so not selected; None = all are drawn.
    """
    if state.gaussians is not None:
        coord, solid = centers_in_world(state), (state.gaussians.opacities > 0.1).cpu().numpy()
    elif state.points is not None:
        coord, solid = state.points.coord, np.ones(len(state.points), bool)
    else:
        return np.empty(0, np.int64)
    if keep is not None and len(keep) == len(solid):
        solid &= keep.cpu().numpy()
    uv, z = cameras.project(torch.from_numpy(np.ascontiguousarray(coord)).to(cameras.viewmats.dtype))
    uv, z = uv[0].numpy(), z[0].numpy()
    with np.errstate(invalid="ignore"):
        inside = (uv >= np.array(low)).all(1) & (uv <= np.array(high)).all(1) & (z > 0.01) & solid
    index = np.flatnonzero(inside & np.isfinite(z))
    uv, z = uv[index], z[index]
    gaussians = kept(state, keep)
    surface = _nearest_surface(uv, z) if gaussians is None else _rendered_surface(state, gaussians, cameras, uv)
    return index[z <= surface * (1 + NEAR_SURFACE)]


def _rendered_surface(state: SceneState, gaussians: Gaussians, cameras: Cameras, uv: NDArray) -> NDArray:
    """[K] depth of the render at pixels [K, 2], from a reduced picture; infinite where it is transparent."""
    share = min(1.0, SURFACE_WIDTH / cameras.width)
    small = cameras.resized(max(1, round(cameras.width * share)), max(1, round(cameras.height * share)))
    seen = state.cameras(small)
    splats = rasterize(gaussians, seen.viewmats, seen.Ks, small.width, small.height)
    depth = splats.depth[0, ..., 0].masked_fill(splats.alpha[0, ..., 0] < 0.5, torch.inf).cpu().numpy()
    column, row = (uv * [small.width / cameras.width, small.height / cameras.height]).astype(np.int64).T
    return depth[row.clip(0, small.height - 1), column.clip(0, small.width - 1)]


def _nearest_surface(uv: NDArray, z: NDArray) -> NDArray:
    """[K] depth of the nearest point in the cell of `CELL` pixels around each point."""
    cell = np.floor(uv / CELL).astype(np.int64)
    _, key = np.unique(cell, axis=0, return_inverse=True)
    front = np.full(int(key.max(initial=0)) + 1, np.inf)
    np.minimum.at(front, key.ravel(), z)
    return front[key.ravel()]
