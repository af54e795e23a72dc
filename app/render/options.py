"""Options and results of the renderer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..scenes.geometry import Up
from .catalog import MIXABLE, Layer
from .classes import DEFAULT_STYLE, ClassStyle
from .clouds import PointColor
from .colors import DEFAULT_MAP, ColorMap, Image
from .draw import Legend
from .scores import Heat

Mix = Literal["Off", "Split", "Blend"]

FAR = 1000.0
"""Depth (m) of pixels that hide nothing behind them."""


@dataclass(frozen=True)
class RenderOptions:
    """Options of a picture, apart from the scene and the camera.

    Attributes:
        layer: layer of the canvas, or of its left part.
        second, mix, at: a second layer right of column ``at`` · width ("Split"), or over the first one with opacity
            ``at`` ("Blend").
        blend: 0 = RGB, 1 = feature colours ("RGB" layer only).
        frame: index of the dataset camera, for layers of kind "camera" and the "Views" sheet.
        size: factor on the Gaussians' scales; well below 1 they show as separate ellipsoids.
        classes: name of the provider of class scores ("" = the first).
        heat: scores for the "Heat" layer.
        point_color, point_size: colour mode and radius (m) of the points.
        errors: whether the "Views" sheet has a row of errors.
        keep: [N] bool, False = not drawn (isolated or hidden by a pick or a query); None draws all Gaussians.
        style: colours of the classes, and which of them are shown.
        grip: draw a handle on the dividing line.
        colors: colour map of depths, scores and errors.
        cut: the scene's up direction, to leave out the ceiling and the walls between the camera and a room (see
            `scenes.house.House`); None draws them.
        text: draw legends, names and messages into the picture; False leaves them to ``Canvas.marks``.
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
    style: ClassStyle = DEFAULT_STYLE
    grip: bool = False
    colors: ColorMap = DEFAULT_MAP
    cut: Up | None = None
    text: bool = True

    @property
    def mixed(self) -> bool:
        """Whether two layers share the canvas."""
        return self.mix != "Off" and self.second != self.layer and {self.layer, self.second} <= set(MIXABLE)


@dataclass(frozen=True)
class Marks:
    """What explains a picture in words.

    Attributes:
        names: of the left and the right side, or of the upper and the lower layer of a blend.
        legends: layer and colour bar each.
        messages: why a layer cannot be shown.
    """

    names: tuple[str, ...] = ()
    legends: tuple[tuple[str, Legend], ...] = ()
    messages: tuple[str, ...] = ()

    @staticmethod
    def of(layers: Mapping[Layer, LayerImage], names: tuple[str, ...] = ()) -> Marks:
        """Marks of the layers of one picture, by their names."""
        legends = tuple((name, layer.legend) for name, layer in layers.items() if layer.legend is not None)
        messages = dict.fromkeys(layer.message for layer in layers.values() if layer.message)
        return Marks(names, legends, tuple(messages))


@dataclass(frozen=True)
class Canvas:
    """The picture behind the controls.

    Attributes:
        image: [H, W, 3] uint8.
        depth: [H, W] float32 (m) for compositing with points and frusta, or None.
        note: one line for the status panel, or "".
        marks: legends, names and messages, also where they are drawn into the picture.
    """

    image: Image
    depth: NDArray[np.float32] | None = None
    note: str = ""
    marks: Marks = Marks()


@dataclass(frozen=True)
class LayerImage:
    """One layer before text is drawn on it.

    Attributes:
        colors: [H, W, 3] in [0, 1].
        depth: [H, W] (m), or None where nothing was splatted.
        note: one line for the status panel, or "".
        legend: colour bar to draw.
        message: text for the middle of the picture.
    """

    colors: Tensor
    depth: Tensor | None = None
    note: str = ""
    legend: Legend | None = None
    message: str = ""
