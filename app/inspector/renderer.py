"""From scene states and requests to pictures. Runs in the render thread only; knows nothing of browsers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from ...core.cameras import Cameras
from ...core.gaussians import Gaussians
from ...core.metrics import depth_error, psnr
from ...core.pca import PcaBasis
from ...core.splat import Splats, rasterize
from .draw import Cell, add_legend, fit, sheet
from .layers import (
    Image,
    class_colors,
    colormap,
    depth_colors,
    feature_colors,
    normal_colors,
    over_background,
    resize,
    to_image,
)
from .recent import Recent
from .source import SceneSource, SceneState

Layer = Literal["RGB", "Depth", "Features", "Alpha", "Points", "Views"]
LAYERS: tuple[Layer, ...] = ("RGB", "Depth", "Features", "Alpha", "Points", "Views")
PointColor = Literal["Colour", "Normals", "Features", "Labels"]

MIN_ALPHA = 0.1
"""Below it a pixel has no depth worth showing."""


@dataclass(frozen=True)
class Canvas:
    """What fills the page behind the controls.

    Attributes:
        image: [H, W, 3] uint8.
        depth: [H, W] float32 metres for compositing with points and frusta, or None.
        note: one line for the status card ("" = nothing to say).
    """

    image: Image
    depth: NDArray[np.float32] | None = None
    note: str = ""


class FeatureColors:
    """The PCA bases of a run: one for the embeddings (the teacher's space), one for the backbone's features.

    A basis is fitted once and then stays, through scenes, stages and browsers, until `refresh`; the next one is
    rotated onto it. Without a teacher the embeddings of an untrained network mean nothing, and colours fitted to
    them would stay meaningless: such a basis is refitted, aligned, each time the number of steps has doubled.
    """

    def __init__(self) -> None:
        self.version = 0
        self.follow = True
        self._bases: dict[str, tuple[PcaBasis, int | None]] = {}
        self._stale: set[str] = set()

    def basis(self, kind: str, features: Tensor, stage: int | None) -> PcaBasis:
        """The basis of ``kind``, fitted to ``features`` [N, D] if there is none yet or it is out of date.

        Args:
            stage: steps behind the features; None for features that never change (a teacher's).
        """
        known = self._bases.get(kind)
        if known is not None and known[0].mean.shape[0] == features.shape[-1] and not self._due(kind, known[1], stage):
            return known[0]
        previous = known[0] if known is not None else None
        flat = features.flatten(0, -2)
        basis = PcaBasis.fit(flat[:: max(1, len(flat) // 50_000)], previous)
        self._bases[kind] = (basis, stage)
        self._stale.discard(kind)
        self.version += 1
        return basis

    def fitted(self, kind: str) -> PcaBasis | None:
        known = self._bases.get(kind)
        return None if known is None else known[0]

    def stale(self, kind: str) -> bool:
        """Whether the basis of ``kind`` will be refitted at its next use."""
        return kind in self._stale

    def refresh(self) -> None:
        """Refit every basis at its next use."""
        self._stale = set(self._bases)
        self.version += 1

    def _due(self, kind: str, fitted: int | None, stage: int | None) -> bool:
        if kind in self._stale:
            return True
        return self.follow and fitted is not None and stage is not None and stage >= 2 * fitted + 10

    def describe(self) -> str:
        """Which step the colours stem from, for the settings panel."""
        names = {"embedding": "Gaussians", "backbone": "points"}
        steps = [f"{names[k]}: " + ("teacher" if s is None else f"step {s}") for k, (_, s) in self._bases.items()]
        return ", ".join(steps) or "not fitted yet"


class Renderer:
    """Draws layers and sheets of one source.

    Args:
        source: what to look at.
        keep: scenes whose state is kept.
    """

    def __init__(self, source: SceneSource, keep: int = 3) -> None:
        self.source = source
        self.colors = FeatureColors()
        self._states: Recent[int, SceneState] = Recent(keep)
        self._ranges: Recent[int, tuple[float, float]] = Recent(64)
        self._painted: Recent[tuple[int, int, int], tuple[Tensor, int]] = Recent(2 * keep)
        self._frames: Recent[tuple[int, int, int, int], tuple[Tensor, Tensor, Cameras]] = Recent(48)

    # --- states ---------------------------------------------------------------------------------------------

    def load(self, index: int) -> SceneState:
        """Bring scene ``index`` to the newest stage."""
        state = self.source.load(index)
        self._states.put(index, state)
        self._ranges.get(index, lambda: depth_range(state))
        return state

    def state(self, index: int) -> SceneState | None:
        """Scene ``index`` as last loaded, or None."""
        return self._states.peek(index)

    def depth_range(self, index: int) -> tuple[float, float]:
        """Near and far of the depth colours, metres; fixed per scene so that colours do not flicker."""
        return self._ranges.peek(index) or (0.0, 10.0)

    # --- the canvas -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def canvas(
        self, index: int, layer: Layer, cameras: Cameras, blend: float = 0.0, with_depth: bool = False
    ) -> Canvas:
        """One rendered layer from a free camera.

        Args:
            cameras: one world camera at the size of the picture.
            blend: 0 = RGB, 1 = feature colours ("RGB" layer only).
        """
        state = self.state(index)
        if state is None or state.gaussians is None:
            blank = over_background(torch.zeros(cameras.height, cameras.width, 3), torch.zeros(1))
            return Canvas(to_image(blank), note="nothing to render yet")
        blend = 1.0 if layer == "Features" else blend if layer == "RGB" else 0.0
        gaussians, note = state.gaussians, ""
        if blend > 0:
            painted, bad = self._embedding_colors(index, state)
            if painted is None:
                note = "this scene has no features"
            else:
                gaussians = replace(gaussians, colors=torch.lerp(gaussians.colors, painted, blend))
                note = f"{bad:,} Gaussians with features that are not finite (magenta)" if bad else ""
        splats = _splat(state, gaussians, cameras)
        alpha, depth = splats.alpha[0], splats.depth[0, ..., 0]
        if layer == "Depth":
            near, far = self.depth_range(index)
            colors = depth_colors(depth, near, far, alpha[..., 0] > MIN_ALPHA)
            image = add_legend(to_image(colors), near, far)
        elif layer == "Alpha":
            image = to_image(alpha.expand(-1, -1, 3))
        else:
            image = to_image(over_background(splats.color[0], alpha))
        z = None
        if with_depth:
            z = depth.masked_fill(alpha[..., 0] <= 0.5, 1000.0).cpu().numpy().astype(np.float32)
        return Canvas(image, z, note)

    def _embedding_colors(self, index: int, state: SceneState) -> tuple[Tensor | None, int]:
        """[N, 3] feature colours of the Gaussians and how many features are not finite."""
        if state.embeddings is None:
            return None, 0
        basis = self._embedding_basis(index, state)
        key = (index, id(state), self.colors.version)
        embeddings = state.embeddings
        return self._painted.get(key, lambda: feature_colors(embeddings, basis))

    def _embedding_basis(self, index: int, state: SceneState) -> PcaBasis:
        """Fitted to the teacher's features where there is a teacher: those never change."""
        assert state.embeddings is not None
        device = state.embeddings.device
        if state.frames is not None and len(state.frames):
            picks = np.unique(np.linspace(0, len(state.frames) - 1, 6).astype(int))
            first = self.source.teacher_features(index, int(picks[0]))
            if first is not None:
                known = self.colors.fitted("embedding")
                if known is not None and not self.colors.stale("embedding"):
                    return known
                maps = [first] + [self.source.teacher_features(index, int(i)) for i in picks[1:]]
                stacked = torch.cat([m.flatten(0, 1) for m in maps if m is not None])
                return self.colors.basis("embedding", stacked.to(device), None)
        return self.colors.basis("embedding", state.embeddings, state.stage)

    # --- dataset views: targets beside renders --------------------------------------------------------------

    @torch.no_grad()
    def views(self, index: int, frame: int, width: int, errors: bool = False, text: int | None = None) -> Image:
        """The target and the render of one dataset camera: RGB, depth, features; optionally where they differ.

        Args:
            width: of the whole sheet, pixels.
            text: size of its words, pixels.
        """
        state = self.state(index)
        if state is None or state.frames is None or len(state.frames) == 0:
            return sheet([[Cell(None, "no posed frames")]], [""], [""], width, 2.5, text)
        full = state.frames.cameras
        cell = max(32, (width // 3) // 8 * 8)
        size = (cell, max(24, round(cell * full.height / full.width)))
        color, depth, cameras = self._target(state, index, frame, size)
        near, far = self.depth_range(index)
        target = self.source.teacher_features(index, frame)
        painted, _ = self._embedding_colors(index, state)
        basis = self.colors.fitted("embedding")
        top = [
            Cell(to_image(color)),
            Cell(to_image(depth_colors(depth, near, far)), f"{near:.1f} to {far:.1f} m"),
            Cell(None, "no teacher")
            if target is None or basis is None
            else Cell(to_image(resize(feature_colors(target.to(basis.mean.device), basis)[0], *size))),
        ]
        rows, names = [top], ["target"]
        if state.gaussians is not None:
            splats = _splat(state, replace(state.gaussians, features=painted), cameras)
            rgb, alpha = splats.color[0].cpu(), splats.alpha[0].cpu()
            z = splats.depth[0, ..., 0].cpu()
            seen = alpha[..., 0] > MIN_ALPHA
            quality = float(psnr(rgb[None], color[None])[0])
            wrong = float(depth_error(z[None], torch.where(seen, depth, 0.0)[None])[0])
            rendered = None
            if splats.features is not None:
                rendered = over_background(splats.features[0], splats.alpha[0]).cpu()
            rows.append(
                [
                    Cell(to_image(over_background(rgb, alpha)), f"{quality:.1f} dB"),
                    Cell(
                        to_image(depth_colors(z, near, far, seen)),
                        "" if np.isnan(wrong) else f"{100 * wrong:.1f} % off",
                    ),
                    Cell(None, "no features") if rendered is None else Cell(to_image(rendered)),
                ]
            )
            names.append("rendered")
            if errors:
                both = seen & (depth > 0)
                far_off = torch.where(both, (z - depth).abs(), torch.nan)
                rows.append(
                    [
                        Cell(to_image(colormap((rgb - color).abs().mean(-1) * 4)), "0 to 0.25"),
                        Cell(to_image(depth_colors(far_off, 0.0, 0.5, both)), "0 to 0.5 m"),
                        Cell(None, "see Curves"),
                    ]
                )
                names.append("error")
        return sheet(rows, ["RGB", "Depth", "Features"], names, width, size[0] / size[1], text)

    def views_canvas(self, index: int, frame: int, width: int, height: int, errors: bool = False) -> Canvas:
        """The same sheet as large as it fits into the canvas."""
        state = self.state(index)
        rows, aspect = (3 if errors else 2), 4 / 3
        if state is not None and state.frames is not None and len(state.frames):
            aspect = state.frames.cameras.width / state.frames.cameras.height
        across = min(width, int(3.2 * height * aspect / (rows + 0.2)))
        image = self.views(index, frame, max(240, int(across * 0.96)), errors)
        return Canvas(fit(image, width, height))

    def _target(
        self, state: SceneState, index: int, frame: int, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Cameras]:
        """color [H, W, 3], depth [H, W] and the world camera of one frame."""
        frames = state.frames
        assert frames is not None

        def read() -> tuple[Tensor, Tensor, Cameras]:
            color, depth, cameras = frames.stack([frame], *size)
            return color[0], depth[0], cameras

        return self._frames.get((index, frame, *size), read)

    # --- points ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def points(self, index: int, mode: PointColor, limit: int) -> tuple[NDArray[np.float32], Image, str] | None:
        """Coordinates [P, 3], colours [P, 3] uint8 and a note ("" = nothing to say) of at most ``limit`` points;
        without points, the Gaussians' centres; None when there is neither."""
        state = self.state(index)
        if state is None:
            return None
        if state.points is None:
            return self._centers(index, state, mode, limit)
        pick = _subset(len(state.points), limit)
        scene, note = state.points[pick], ""
        colors = scene.color
        if mode == "Normals":
            colors = to_image(normal_colors(torch.from_numpy(scene.normal)))
        elif mode == "Labels" and scene.segment is not None:
            colors = to_image(class_colors(torch.from_numpy(scene.segment)))
        elif mode == "Features" and state.point_features is not None and state.point_voxel is not None:
            basis = self.colors.basis("backbone", state.point_features, state.stage)
            per_voxel, bad = feature_colors(state.point_features, basis)
            colors = to_image(per_voxel.cpu()[state.point_voxel.cpu()[torch.from_numpy(pick)]])
            note = f"{bad:,} voxels with features that are not finite (magenta)" if bad else ""
        elif mode != "Colour":
            note = f"this scene has no {mode.lower()}"
        return scene.coord, colors, note

    def _centers(
        self, index: int, state: SceneState, mode: PointColor, limit: int
    ) -> tuple[NDArray[np.float32], Image, str] | None:
        if state.gaussians is None:
            return None
        colors, note = state.gaussians.colors, ""
        if mode == "Features":
            painted, _ = self._embedding_colors(index, state)
            colors = colors if painted is None else painted
        elif mode != "Colour":
            note = f"these Gaussians have no {mode.lower()}"
        pick = _subset(len(state.gaussians), limit)
        return _centers_in_world(state)[pick].astype(np.float32), to_image(colors.cpu()[torch.from_numpy(pick)]), note


def _splat(state: SceneState, gaussians: Gaussians, cameras: Cameras) -> Splats:
    seen = state.cameras(cameras)
    return rasterize(gaussians, seen.viewmats, seen.Ks, seen.width, seen.height)


def _centers_in_world(state: SceneState) -> NDArray[np.floating]:
    """[N, 3] centres of the Gaussians in the scene's world, metres."""
    assert state.gaussians is not None
    means = state.gaussians.means.cpu().numpy()
    if state.transform is None:
        return means
    inverse = np.linalg.inv(state.transform.double().numpy())
    return means @ inverse[:3, :3].T + inverse[:3, 3]


def _subset(n: int, limit: int) -> NDArray[np.int64]:
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
    """A radius in metres at which neighbouring points just touch: 0.6 of the median distance to the nearest one."""
    coord = None if state.points is None else state.points.coord
    if coord is None and state.gaussians is not None:
        coord = state.gaussians.means.cpu().numpy()
    if coord is None or len(coord) < 2:
        return 0.015
    distance = KDTree(coord).query(coord[_subset(len(coord), 2000)], k=2)[0][:, 1]
    return float(np.clip(0.6 * np.median(distance), 0.001, 0.1))


def bounds(state: SceneState) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner [3] of the scene, from the 1 % and 99 % percentiles: a few stray points do not zoom
    the camera out."""
    if state.points is not None:
        coord = state.points.coord
    elif state.gaussians is not None:
        coord = _centers_in_world(state)
    else:
        return np.full(3, -1.0), np.full(3, 1.0)
    low, high = np.percentile(coord[_subset(len(coord), 200_000)], [1, 99], axis=0)
    return low, high
