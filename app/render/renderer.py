"""Drawing of scenes: one layer, two layers that share the canvas, or a sheet of pictures. Independent of viser."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.geometry.cameras import Cameras
from ...core.io.lru import LruCache
from ..scenes.source import SceneSource
from .catalog import Layer
from .colors import DEFAULT_MAP, ColorMap, Image, to_image
from .draw import caption, crop_cameras, divide, draw_legend, fit
from .layer_data import LayerData
from .options import FAR, Canvas, LayerImage, Marks, RenderOptions
from .painters import PaintRequest, paint
from .sheets import views_sheet


class Renderer(LayerData):
    """Draws the layers and sheets of one source. For the render thread; see `LayerData`."""

    def fork(self, source: SceneSource) -> Renderer:
        """Return a renderer of ``source``, which has the same scenes at other steps.

        It shares colours, classes, recorded pictures and added scenes with this one.
        """
        other = copy.copy(self)
        other.source, other._states = source, LruCache(self._states.max_items)
        return other

    def canvas(
        self, index: int, layer: Layer, cameras: Cameras, blend: float = 0.0, with_depth: bool = False
    ) -> Canvas:
        """Draw one layer with a blend and default options."""
        return self.draw(index, RenderOptions(layer=layer, blend=blend), cameras, with_depth)

    @torch.no_grad()
    def draw(self, index: int, options: RenderOptions, cameras: Cameras, with_depth: bool = False) -> Canvas:
        """Draw scene ``index`` with legends and captions.

        Args:
            cameras: one world camera of the picture's size.
            with_depth: also return the depth that hides points and frusta behind the picture.
        """
        if options.layer == "Views":
            return self.views_canvas(
                index, options.frame, cameras.width, cameras.height, options.errors, options.colors
            )
        if options.mixed:
            return self._draw_mixed(index, options, cameras, with_depth)
        layer = self.paint(index, options, cameras)
        image = to_image(layer.colors)
        if options.text:
            image = draw_overlays(image, layer)
        marks = Marks.of({options.layer: layer})
        return Canvas(image, _occluding(layer) if with_depth else None, layer.note, marks)

    @torch.no_grad()
    def paint(self, index: int, options: RenderOptions, cameras: Cameras, layer: Layer | None = None) -> LayerImage:
        """Draw one layer (``options.layer`` by default) without legend and captions, for pictures made in strips."""
        return paint(PaintRequest(self, index, layer or options.layer, options, cameras))

    def _draw_mixed(self, index: int, options: RenderOptions, cameras: Cameras, with_depth: bool) -> Canvas:
        if options.mix == "Split":
            return self._draw_split(index, options, cameras, with_depth)
        shares: dict[Layer, float] = {options.layer: 1 - options.at, options.second: options.at}
        layers: dict[Layer, LayerImage] = {
            name: self.paint(index, options, cameras, name) for name, share in shares.items() if share > 0
        }
        image = to_image(torch.stack([shares[name] * layer.colors for name, layer in layers.items()]).sum(0))
        name: Layer = options.second if options.at > 0.5 else options.layer
        names = (f"{options.second} {options.at:.0%} over {options.layer}",)
        if options.text:
            image = caption(draw_overlays(image, layers[name]), names[0])
        depth = _occluding(layers[name]) if with_depth else None
        note = next((layer.note for layer in layers.values() if layer.note), "")
        return Canvas(image, depth, note, Marks.of({name: layers[name]}, names))

    def _draw_split(self, index: int, options: RenderOptions, cameras: Cameras, with_depth: bool) -> Canvas:
        width, column = cameras.width, round(options.at * cameras.width)
        sides: dict[Layer, tuple[int, int]] = {options.layer: (0, column), options.second: (column, width)}
        sides = {name: (left, right) for name, (left, right) in sides.items() if left < right}
        layers: dict[Layer, LayerImage] = {
            name: self.paint(index, options, crop_cameras(cameras, left=left, right=right), name)
            for name, (left, right) in sides.items()
        }
        image = to_image(torch.cat([layer.colors for layer in layers.values()], 1))
        names = (options.layer, options.second)
        if options.text:
            for name, layer in layers.items():
                image = draw_overlays(image, layer, *sides[name])
        image = divide(image, column, *(names if options.text else ("", "")), options.grip)
        depth = np.concatenate([_occluding(layer) for layer in layers.values()], 1) if with_depth else None
        note = next((layer.note for layer in layers.values() if layer.note), "")
        return Canvas(image, depth, note, Marks.of(layers, names))

    # --- sheets of dataset views ----------------------------------------------------------------------------

    @torch.no_grad()
    def views(
        self,
        index: int,
        frame: int,
        width: int,
        errors: bool = False,
        text: int | None = None,
        colors: ColorMap = DEFAULT_MAP,
    ) -> Image:
        """A sheet of one dataset camera; see `views_sheet`."""
        return views_sheet(self, index, frame, width, errors, text, colors)

    def views_canvas(
        self, index: int, frame: int, width: int, height: int, errors: bool = False, colors: ColorMap = DEFAULT_MAP
    ) -> Canvas:
        """The same sheet, as large as fits into the canvas."""
        state = self.state(index)
        rows, aspect = (3 if errors else 2), 4 / 3
        if state is not None and state.frames is not None and len(state.frames):
            aspect = state.frames.cameras.width / state.frames.cameras.height
        across = min(width, int(3.2 * height * aspect / (rows + 0.2)))
        image = self.views(index, frame, max(240, int(across * 0.96)), errors, colors=colors)
        return Canvas(fit(image, width, height))


def draw_overlays(image: Image, layer: LayerImage, left: int = 0, right: int | None = None) -> Image:
    """The image with the layer's legend and message in its columns ``left`` to ``right``."""
    if layer.legend is not None:
        image = draw_legend(image, layer.legend, left, right)
    if layer.message:
        part = caption(image[:, left:right], layer.message, middle=True)
        image = np.concatenate([image[:, :left], part, image[:, image.shape[1] if right is None else right :]], 1)
    return image


def _occluding(layer: LayerImage) -> NDArray[np.float32]:
    """[H, W] depth (m) of the picture; `FAR` without any."""
    if layer.depth is None:
        return np.full(layer.colors.shape[:2], FAR, np.float32)
    return layer.depth.cpu().numpy().astype(np.float32)
