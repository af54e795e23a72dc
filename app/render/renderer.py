"""From scene states and requests to pictures. Runs in the render thread only; knows nothing of browsers."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.geometry.cameras import Cameras
from ...core.geometry.gaussians import Gaussians
from ...core.splat import Splats, rasterize
from ..scenes.geometry import depth_range, point_size, subset
from ..scenes.recent import Recent
from ..scenes.source import SceneSource, SceneState
from .catalog import INFO, MIXABLE, Layer, available
from .classes import PLAIN, ClassStyle, point_segment, probe_scores
from .clouds import PointColor, cloud, dots
from .draw import Legend, caption, divide, draw_legend, fit
from .feature_colors import ColorBasis, FeatureColors
from .layers import (
    BACKGROUND,
    Image,
    class_colors,
    colormap,
    depth_colors,
    feature_colors,
    over_background,
    to_image,
)
from .scores import ClassProvider, ClassScores, Heat, label_scores
from .sheets import DEPTH_ERROR, MIN_ALPHA, RGB_ERROR, views_sheet
from .views import CameraRotation, Targets

Mix = Literal["Off", "Split", "Blend"]

FAR = 1000.0
"""Depth, metres, of pixels that hide nothing behind them."""

SHADE = 0.6
"""Brightness of false colours where the render is black; they are as they are in the legend where it is white."""

PROBE = "Probe"
"""The class provider that shows a run's own probe."""

DOTS = 400_000
"""Points that the server draws at most, where points share the canvas with another layer."""


@dataclass(frozen=True)
class RenderOptions:
    """What to draw, but for the scene and the camera.

    Attributes:
        layer: what fills the canvas, or its left part.
        second, mix, at: another layer on the right of the column ``at`` · width ("Split"), or over the first one with
            opacity ``at`` ("Blend").
        blend: 0 = RGB, 1 = feature colours ("RGB" layer only).
        frame: the dataset camera of layers that belong to one.
        size: factor on the Gaussians' scales; well below 1 they show as separate ellipsoids.
        classes: which provider of class scores ("" = the first).
        heat: scores for the "Heat" layer.
        point_color, point_size: of the points; metres.
        errors: whether the "Views" sheet has a row of errors.
        keep: [N] bool, False = not drawn (isolated or hidden by a pick or a query); None draws all Gaussians.
        style: colours of the classes, and which of them are shown.
        grip: show on the dividing line that it can be dragged.
    """

    layer: Layer = "RGB"
    second: Layer = "Features"
    mix: Mix = "Off"
    at: float = 0.5
    blend: float = 0.0
    frame: int = 0
    size: float = 1.0
    classes: str = ""
    heat: Heat | None = None
    point_color: PointColor = "Colour"
    point_size: float = 0.015
    errors: bool = False
    keep: Tensor | None = None
    style: ClassStyle = PLAIN
    grip: bool = False

    @property
    def mixed(self) -> bool:
        """Whether two layers share the canvas."""
        return self.mix != "Off" and self.second != self.layer and {self.layer, self.second} <= set(MIXABLE)


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


@dataclass(frozen=True)
class LayerImage:
    """One layer before words are drawn on it.

    Attributes:
        colors: [H, W, 3] in [0, 1].
        depth: [H, W] metres, or None where nothing was splatted.
        note: for the status card. legend: for the picture. words: in the picture's middle.
    """

    colors: Tensor
    depth: Tensor | None = None
    note: str = ""
    legend: Legend | None = None
    words: str = ""


class Renderer:
    """Draws layers and sheets of one source.

    Args:
        source: what to look at.
        keep: scenes whose state is kept.
    """

    def __init__(self, source: SceneSource, keep: int = 3) -> None:
        self.source = source
        self.colors = FeatureColors()
        self.targets = Targets(source)
        self._states: Recent[int, SceneState] = Recent(keep)
        self._ranges: Recent[int, tuple[float, float]] = Recent(64)
        self._classes: dict[str, ClassProvider] = {}
        self._added: list[SceneState] = []
        self.thumbnails: dict[int, Image | None] = {}
        """Small pictures of scenes; None = not without opening the scene."""

    def fork(self, source: SceneSource) -> Renderer:
        """A renderer of ``source``, the same scenes at steps of their own, that shares everything else with this one:
        colours, classes, recorded pictures, added scenes."""
        other = copy.copy(self)
        other.source, other._states = source, Recent(self._states.size)
        return other

    # --- states ---------------------------------------------------------------------------------------------

    def load(self, index: int) -> SceneState:
        """Bring scene ``index`` to the newest step."""
        count = len(self.source.scene_names)
        if self.thumbnails.get(index, self) is None:
            del self.thumbnails[index]  # now there is something to make it from
        state = self.source.load(index) if index < count else self._added[index - count]
        self._states.put(index, state)
        self._ranges.get(index, lambda: depth_range(state))
        if state.point_classes is not None and PROBE not in self._classes:
            names = tuple(self.source.class_names)
            self.add_classes(PROBE, lambda _, state: probe_scores(state, names))
        return state

    @property
    def scene_names(self) -> tuple[str, ...]:
        """Scenes to choose from: the source's and the added ones. Any thread."""
        return (*self.source.scene_names, *(state.name for state in tuple(self._added)))

    def add_scene(self, state: SceneState) -> int:
        """Put a still scene without frames behind the source's; returns its index. Any thread."""
        taken, name, number = self.scene_names, state.name, 2
        while name in taken:
            name, number = f"{state.name}-{number}", number + 1
        self._added.append(replace(state, name=name))
        return len(self.scene_names) - 1

    def state(self, index: int) -> SceneState | None:
        """Scene ``index`` as last loaded, or None."""
        return self._states.peek(index)

    def depth_range(self, index: int) -> tuple[float, float]:
        """Near and far of the depth colours, metres; fixed per scene so that colours do not flicker."""
        return self._ranges.peek(index) or (0.0, 10.0)

    # --- what others give to draw ----------------------------------------------------------------------------

    def add_classes(self, name: str, provider: ClassProvider) -> None:
        """Let the "Classes" layer show what ``provider`` says, under this name. A known name is replaced."""
        self._classes[name] = provider

    @property
    def class_providers(self) -> tuple[str, ...]:
        """Names to choose from for the "Classes" layer."""
        return tuple(self._classes)

    def class_scores(self, index: int, layer: Layer, name: str = "", style: ClassStyle = PLAIN) -> ClassScores | None:
        """What the "Labels" or "Classes" layer shows of scene ``index``; None where there is nothing."""
        state = self.state(index)
        if state is None or state.gaussians is None:
            return None
        if layer == "Labels":
            known = label_scores(state, tuple(self.source.class_names))
        else:
            provider = self._classes.get(name) or next(iter(self._classes.values()), None)
            known = None if provider is None else provider(index, state)
        return None if known is None else style.apply(known)

    def layers(self, index: int, heat: bool = False) -> frozenset[Layer]:
        """The layers that have something to show for scene ``index``."""
        return available(self.state(index), heat, bool(self._classes))

    # --- the canvas -----------------------------------------------------------------------------------------

    def canvas(
        self, index: int, layer: Layer, cameras: Cameras, blend: float = 0.0, with_depth: bool = False
    ) -> Canvas:
        """One layer from a free camera: `draw` with nothing but a layer and a blend."""
        return self.draw(index, RenderOptions(layer=layer, blend=blend), cameras, with_depth)

    @torch.no_grad()
    def draw(self, index: int, look: RenderOptions, cameras: Cameras, with_depth: bool = False) -> Canvas:
        """What the canvas shows: one layer, or two that share it.

        Args:
            cameras: one world camera at the size of the picture.
            with_depth: whether something in the page is to be hidden behind the picture.
        """
        if look.layer == "Views":
            return self.views_canvas(index, look.frame, cameras.width, cameras.height, look.errors)
        if not look.mixed:
            one = self._paint(index, look.layer, look, cameras, with_depth)
            return Canvas(written(to_image(one.colors), one), _occluding(one) if with_depth else None, one.note)
        split = round(look.at * cameras.width)
        if look.mix == "Blend" or not 0 < split < cameras.width:
            one, two = (self._paint(index, layer, look, cameras, with_depth) for layer in (look.layer, look.second))
            share = look.at if look.mix == "Blend" else 0.0 if split else 1.0
            image = to_image(torch.lerp(one.colors, two.colors, share))
            image = written(image, two if share > 0.5 else one)
            if look.mix == "Split":
                image = divide(image, split, look.layer, look.second, look.grip)
            else:
                image = caption(image, f"{look.second} {share:.0%} over {look.layer}")
            top = one if share < 0.5 else two
            return Canvas(image, _occluding(top) if with_depth else None, one.note or two.note)
        one = self._paint(index, look.layer, look, _cropped(cameras, 0, split), with_depth)
        two = self._paint(index, look.second, look, _cropped(cameras, split, cameras.width), with_depth)
        image = to_image(torch.cat([one.colors, two.colors], 1))
        image = written(written(image, one, 0, split), two, split, cameras.width)
        depth = np.concatenate([_occluding(one), _occluding(two)], 1) if with_depth else None
        return Canvas(divide(image, split, look.layer, look.second, look.grip), depth, one.note or two.note)

    @torch.no_grad()
    def paint(self, index: int, look: RenderOptions, cameras: Cameras) -> LayerImage:
        """``look.layer`` alone, without words: for pictures that are drawn in strips and `written` on as a whole."""
        return self._paint(index, look.layer, look, cameras, False)

    def _paint(self, index: int, layer: Layer, look: RenderOptions, cameras: Cameras, with_depth: bool) -> LayerImage:
        state, kind = self.state(index), INFO[layer].kind
        if kind == "camera" and state is not None and state.frames is not None and look.frame < len(state.frames):
            return self._paint_camera(index, state, layer, look, cameras)
        if kind == "cloud" and state is not None:
            return self._paint_cloud(index, state, layer, look, cameras)
        if state is None or state.gaussians is None or kind == "camera":
            return LayerImage(_blank(cameras), note="nothing to render yet")
        gaussians = state.gaussians
        if look.keep is not None and len(look.keep) == len(gaussians):
            gaussians = replace(gaussians, opacities=gaussians.opacities * look.keep.to(gaussians.opacities))
        if look.size != 1.0 and layer != "Centres":
            gaussians = replace(gaussians, scales=gaussians.scales * look.size)
        if layer == "Depth":
            splats = splat(state, gaussians, cameras)
            near, far = self.depth_range(index)
            alpha, depth = splats.alpha[0, ..., 0], splats.depth[0, ..., 0]
            colors = depth_colors(depth, near, far, alpha > MIN_ALPHA)
            return LayerImage(colors.cpu(), _surface(splats), legend=Legend.numbers(near, far, "m"))
        if layer == "Alpha":
            splats = splat(state, gaussians, cameras)
            return LayerImage(splats.alpha[0].expand(-1, -1, 3).cpu(), _surface(splats))
        if layer == "Centres":
            radius = state.memo("dots", lambda: 0.3 * point_size(state))
            gaussians = replace(
                gaussians,
                scales=torch.full_like(gaussians.scales, radius * _world_scale(state)),
                opacities=torch.full_like(gaussians.opacities, 0.999),
            )
            return _plain(splat(state, gaussians, cameras))
        if layer in ("Scales", "Opacity"):
            values, legend = state.memo(layer, lambda: _gaussian_values(state, layer))
            return _paint_values(state, replace(gaussians, features=values[:, None]), cameras, legend)
        if layer == "Heat":
            return self._paint_heat(index, state, gaussians, look, cameras)
        if layer in ("Labels", "Classes"):
            return self._paint_classes(index, state, layer, gaussians, look, cameras)
        return self._paint_colors(index, state, gaussians, cameras, 1.0 if layer == "Features" else look.blend)

    def _paint_colors(
        self, index: int, state: SceneState, gaussians: Gaussians, cameras: Cameras, blend: float
    ) -> LayerImage:
        note = ""
        if blend > 0:
            painted, bad = self.embedding_colors(index, state)
            if painted is None:
                note = "this scene has no features"
            else:
                gaussians = replace(gaussians, colors=torch.lerp(gaussians.colors, painted, blend))
                note = f"{bad:,} Gaussians with features that are not finite (magenta)" if bad else ""
        return replace(_plain(splat(state, gaussians, cameras)), note=note)

    def _paint_heat(
        self, index: int, state: SceneState, gaussians: Gaussians, look: RenderOptions, cameras: Cameras
    ) -> LayerImage:
        heat = look.heat
        if heat is None or not heat.fits(index, state):
            dim = replace(gaussians, colors=gaussians.colors * 0.4)
            why = "Pick something first" if heat is None else "These scores are of other weights or of another scene"
            return replace(_plain(splat(state, dim, cameras)), words=why)
        values = (heat.scores.to(gaussians.means) - heat.low) / max(heat.high - heat.low, 1e-9)
        digits = 2 if heat.high - heat.low < 10 else 0
        legend = Legend.numbers(heat.low, heat.high, title=heat.label, digits=digits)
        values = torch.nan_to_num(values, 0.0).clamp(0, 1)
        return _paint_values(state, replace(gaussians, features=values[:, None]), cameras, legend, faded=True)

    def _paint_classes(
        self, index: int, state: SceneState, layer: Layer, gaussians: Gaussians, look: RenderOptions, cameras: Cameras
    ) -> LayerImage:
        known = self.class_scores(index, layer, look.classes, look.style)
        if known is None or len(known.scores) != len(gaussians):
            dim = replace(gaussians, colors=gaussians.colors * 0.4)
            return replace(_plain(splat(state, dim, cameras)), words=f"No {layer.lower()} for this scene")
        votes = torch.nan_to_num(known.scores.to(gaussians.means))
        splats = splat(state, replace(gaussians, features=votes), cameras)
        assert splats.features is not None
        best, winner = splats.features[0].max(-1)
        palette = torch.cat([known.palette().to(votes), class_colors(torch.tensor([-1])).to(votes)])
        flat = palette[torch.where(best > 0, winner, len(palette) - 1)]
        # A little of the render's light and shade: in one flat colour per class the shape of things would be lost.
        light = (splats.color[0] / splats.alpha[0].clamp_min(1e-6)).mean(-1, keepdim=True).clamp(0, 1)
        alpha = splats.alpha[0]
        return LayerImage(over_background(flat * (SHADE + (1 - SHADE) * light) * alpha, alpha).cpu(), _surface(splats))

    def _paint_cloud(
        self, index: int, state: SceneState, layer: Layer, look: RenderOptions, cameras: Cameras
    ) -> LayerImage:
        drawn = self.points(index, look.point_color, DOTS, layer == "Masked", look.style)
        if drawn is None:
            return LayerImage(_blank(cameras), note="no points")
        coord, colors, note = drawn
        device = "cpu" if state.gaussians is None else state.gaussians.means.device
        points = dots(coord, colors, look.point_size).to(device)
        seen = cameras.to(device)  # points live in the world, whatever the network's world is
        return replace(_plain(rasterize(points, seen.viewmats, seen.Ks, seen.width, seen.height)), note=note)

    # --- layers of a dataset camera -------------------------------------------------------------------------

    def _paint_camera(
        self, index: int, state: SceneState, layer: Layer, look: RenderOptions, cameras: Cameras
    ) -> LayerImage:
        assert state.frames is not None
        turn = CameraRotation.between(cameras, state.frames.cameras[look.frame])
        if turn is None:
            words = f"{layer}: only where dataset camera {look.frame} stands"
            if state.gaussians is None:
                return LayerImage(_blank(cameras), words=words)
            dim = replace(state.gaussians, colors=state.gaussians.colors * 0.4)
            return replace(_plain(splat(state, dim, cameras)), words=words)
        black, inside = torch.tensor(BACKGROUND), turn.inside[..., None]
        near, far = self.depth_range(index)
        if layer in ("Teacher", "Cosine"):
            return self._paint_tokens(index, state, layer, look, turn)
        color, depth, _ = self.targets.read(state, index, look.frame)
        if layer == "Target":
            return LayerImage(torch.where(inside, turn.sample(color, smooth=True), black))
        measured = turn.depth(depth)
        if layer == "Target depth":
            return LayerImage(depth_colors(measured, near, far), legend=Legend.numbers(near, far, "m"))
        assert state.gaussians is not None
        splats = splat(state, state.gaussians, cameras)
        if layer == "RGB error":
            wrong = (splats.color[0].cpu() - turn.sample(color, smooth=True)).abs().mean(-1)
            legend = Legend.numbers(0, RGB_ERROR, title="mean difference, colours 0 to 1", digits=2)
            return LayerImage(torch.where(inside, colormap(wrong / RGB_ERROR), black), legend=legend)
        known = (splats.alpha[0, ..., 0].cpu() > MIN_ALPHA) & (measured > 0)
        wrong = (splats.depth[0, ..., 0].cpu() - measured).abs()
        legend = Legend.numbers(0, DEPTH_ERROR, "m", "difference of depths", 2)
        return LayerImage(depth_colors(wrong, 0, DEPTH_ERROR, known), legend=legend)

    def _paint_tokens(
        self, index: int, state: SceneState, layer: Layer, look: RenderOptions, turn: CameraRotation
    ) -> LayerImage:
        black, inside = torch.tensor(BACKGROUND), turn.inside[..., None]
        if layer == "Teacher":
            tokens = self.source.teacher_features(index, look.frame)
            self.embedding_colors(index, state)
            basis = self.colors.fitted("embedding")
            if tokens is not None and basis is not None:
                colors = feature_colors(tokens.to(basis.mean.device), basis)[0]
                return LayerImage(torch.where(inside, turn.sample(colors), black))
        elif (wrong := self.targets.cosine_error(state, index, look.frame)) is not None:
            legend = Legend.numbers(0, 1, title="1 - cosine to the teacher", digits=2)
            colors = turn.sample(colormap(wrong))
            return LayerImage(torch.where(inside, colors, black), legend=legend)
        return LayerImage(black.expand(*turn.inside.shape, 3), words="No teacher features for this camera")

    # --- feature colours ------------------------------------------------------------------------------------

    def embedding_colors(self, index: int, state: SceneState) -> tuple[Tensor | None, int]:
        """[N, 3] feature colours of the Gaussians and how many features are not finite."""
        if state.embeddings is None:
            return None, 0
        basis, embeddings = self._embedding_basis(index, state), state.embeddings
        # The slot is emptied when the basis changes: a scene looked at for hours keeps one set of colours.
        slot: list[tuple[int, tuple[Tensor, int]]] = state.memo("embedding colors", list)
        if not slot or slot[0][0] != self.colors.version:
            slot[:] = [(self.colors.version, feature_colors(embeddings, basis))]
        return slot[0][1]

    def _embedding_basis(self, index: int, state: SceneState) -> ColorBasis:
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
        return self.colors.basis("embedding", state.embeddings, state.step)

    # --- dataset views: targets beside renders --------------------------------------------------------------

    @torch.no_grad()
    def views(self, index: int, frame: int, width: int, errors: bool = False, text: int | None = None) -> Image:
        """The target and the render of one dataset camera: RGB, depth, features; optionally where they differ.

        Args:
            width: of the whole sheet, pixels.
            text: size of its words, pixels.
        """
        return views_sheet(self, index, frame, width, errors, text)

    def views_canvas(self, index: int, frame: int, width: int, height: int, errors: bool = False) -> Canvas:
        """The same sheet as large as it fits into the canvas."""
        state = self.state(index)
        rows, aspect = (3 if errors else 2), 4 / 3
        if state is not None and state.frames is not None and len(state.frames):
            aspect = state.frames.cameras.width / state.frames.cameras.height
        across = min(width, int(3.2 * height * aspect / (rows + 0.2)))
        image = self.views(index, frame, max(240, int(across * 0.96)), errors)
        return Canvas(fit(image, width, height))

    # --- points ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def points(
        self, index: int, mode: PointColor, limit: int, masked: bool = False, style: ClassStyle = PLAIN
    ) -> tuple[NDArray[np.float32], Image, str] | None:
        """Coordinates [P, 3], colours [P, 3] uint8 and a note ("" = nothing to say) of at most ``limit`` points;
        without points, the Gaussians' centres; None when there is neither.

        Args:
            masked: in grey what one mask of the training hides.
            style: colours of the classes.
        """
        state = self.state(index)
        if state is None:
            return None
        features, bad, classes = None, 0, None
        if mode == "Features" and state.points is None:
            features, bad = self.embedding_colors(index, state)
        elif mode == "Features" and state.point_features is not None:
            basis = self.colors.basis("backbone", state.point_features, state.step)
            features, bad = feature_colors(state.point_features, basis)
        elif mode in ("Labels", "Probe") and (segment := point_segment(state, mode)) is not None:
            classes = style.paint(tuple(self.source.class_names), segment)
        drawn = cloud(state, mode, limit, masked, features, classes)
        if drawn is None or not bad:
            return drawn
        what = "Gaussians" if state.points is None else "voxels"
        return drawn[0], drawn[1], f"{bad:,} {what} with features that are not finite (magenta)"


def splat(state: SceneState, gaussians: Gaussians, cameras: Cameras) -> Splats:
    """``gaussians`` of ``state`` from world cameras."""
    seen = state.cameras(cameras)
    return rasterize(gaussians, seen.viewmats, seen.Ks, seen.width, seen.height)


def _plain(splats: Splats) -> LayerImage:
    return LayerImage(over_background(splats.color[0], splats.alpha[0]).cpu(), _surface(splats))


def _paint_values(
    state: SceneState, gaussians: Gaussians, cameras: Cameras, legend: Legend, faded: bool = False
) -> LayerImage:
    """The one feature of the Gaussians, in [0, 1], as colours: it is splatted, then coloured, so that the legend holds
    for what is seen through several Gaussians, too. The render's light and shade keeps the shape of things.

    Args:
        faded: the lower half of the values fades into the darkened render, so that the upper half is what one sees.
    """
    splats = splat(state, gaussians, cameras)
    assert splats.features is not None
    alpha = splats.alpha[0]
    value = splats.features[0, ..., 0] / alpha[..., 0].clamp_min(1e-6)
    color = (splats.color[0] / alpha.clamp_min(1e-6)).clamp(0, 1)
    light = color.mean(-1, keepdim=True)
    colors = colormap(value) * (SHADE + (1 - SHADE) * light)
    if faded:
        dark = 0.3 * torch.lerp(light.expand_as(color), color, 0.5)
        colors = torch.lerp(dark, colors, (2 * value[..., None] - 0.2).clamp(0.1, 1))
    return LayerImage(over_background(colors * alpha, alpha).cpu(), _surface(splats), legend=legend)


def _gaussian_values(state: SceneState, layer: Layer) -> tuple[Tensor, Legend]:
    """[N] in [0, 1], and what they mean. Scales on a logarithm, between the 2nd and 98th percentile."""
    assert state.gaussians is not None
    if layer == "Opacity":
        return state.gaussians.opacities, Legend.numbers(0, 1, title="opacity", digits=2)
    longest = torch.log10(state.gaussians.scales.amax(1).clamp_min(1e-9) / _world_scale(state))
    sample = longest[torch.from_numpy(subset(len(longest), 100_000)).to(longest.device)]
    sample = sample[sample.isfinite()]
    low, high = (float(v) for v in torch.quantile(sample, sample.new_tensor([0.02, 0.98]))) if len(sample) else (-3, -1)
    high = max(high, low + 0.1)
    ticks = tuple(_length(10 ** (low + i * (high - low) / 4)) for i in range(5))
    values = torch.nan_to_num((longest - low) / (high - low), 0.0).clamp(0, 1)
    return values, Legend(ticks, "longest standard deviation")


def _length(metres: float) -> str:
    if metres < 0.01:
        return f"{metres * 1000:.1f} mm"
    return f"{metres * 100:.1f} cm" if metres < 1 else f"{metres:.1f} m"


def _world_scale(state: SceneState) -> float:
    """Lengths in the Gaussians' world / lengths in the scene's world."""
    if state.transform is None:
        return 1.0
    return float(torch.linalg.det(state.transform[:3, :3].double()).abs() ** (1 / 3))


def _surface(splats: Splats) -> Tensor:
    """[H, W] metres of what hides something: `FAR` where the render is mostly transparent."""
    return splats.depth[0, ..., 0].masked_fill(splats.alpha[0, ..., 0] <= 0.5, FAR)


def _occluding(painted: LayerImage) -> NDArray[np.float32]:
    if painted.depth is None:
        return np.full(painted.colors.shape[:2], FAR, np.float32)
    return painted.depth.cpu().numpy().astype(np.float32)


def written(image: Image, painted: LayerImage, left: int = 0, right: int | None = None) -> Image:
    """The image with the layer's legend and words in its columns ``left`` to ``right``."""
    if painted.legend is not None:
        image = draw_legend(image, painted.legend, left, right)
    if painted.words:
        part = caption(image[:, left:right], painted.words, middle=True)
        image = np.concatenate([image[:, :left], part, image[:, image.shape[1] if right is None else right :]], 1)
    return image


def _blank(cameras: Cameras) -> Tensor:
    return torch.tensor(BACKGROUND).expand(cameras.height, cameras.width, 3)


def _cropped(cameras: Cameras, left: int, right: int) -> Cameras:
    """Columns ``left`` to ``right`` of the same pictures."""
    ks = cameras.Ks.clone()
    ks[:, 0, 2] -= left
    return replace(cameras, Ks=ks, width=right - left)
