"""What one browser shows: an immutable state, and the model that changes it and notifies listeners."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..render.catalog import INFO, Layer
from ..render.classes import DEFAULT_STYLE, ClassStyle
from ..render.clouds import PointColor
from ..render.colors import DEFAULT_MAP, ColorMap
from ..render.options import Mix, RenderOptions
from ..render.scores import Heat
from ..scenes.geometry import Up
from .history import History

Listener = Callable[[frozenset[str]], None]
"""Called with the names of the changed `ViewState` fields, or of "heat" or "keep"."""


@dataclass(frozen=True)
class ViewState:
    """Scene, layers and display options of one browser. Replaced as a whole, never changed in place."""

    scene: int = 0
    layer: Layer = "RGB"
    blend: float = 0.0
    frame: int = 0
    point_color: PointColor = "Colour"
    point_size: float = 0.015
    overlay: bool = False
    frusta: bool = False
    errors: bool = False
    follow: bool = True
    second: Layer = "Features"
    mix: Mix = "Off"
    at: float = 0.5
    gaussian_size: float = 1.0
    compare: bool = False
    classes: str = ""
    style: ClassStyle = DEFAULT_STYLE
    up: Up = "+z"
    colors: ColorMap = DEFAULT_MAP
    cut: bool = True


class ViewModel:
    """View state of one browser, shared by its panels and its render requests. Any thread.

    Attributes:
        lock: guards `view` and the values that controls show. Held briefly; the render thread takes it too.
        view: the current state.
        heat: scores of the "Heat" layer, or None.
        keep: [N] bool, False = Gaussian not drawn; see `RenderOptions.keep`.
        selection: [K] ascending indices of the selected Gaussians (points, in a scene without Gaussians), or None.
        layer_chosen: whether the user chose a layer.
        note: one line for the status card.
        failed: index of the chosen scene if it could not be loaded, else None.
        question: phrases of the text query that is answered, or "".
        history: changes that can be taken back.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.view = ViewState()
        self.heat: Heat | None = None
        self.keep: torch.Tensor | None = None
        self.selection: NDArray[np.int64] | None = None
        self.layer_chosen = False
        self.note = ""
        self.failed: int | None = None
        self.question = ""
        self.history = History()
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` after each change, in the thread that made it."""
        self._listeners.append(listener)

    def change(self, **values: Any) -> None:
        """Replace fields of `view` and notify the listeners of those that differ."""
        before = self.replace(**values)
        changed = frozenset(name for name in values if getattr(before, name) != getattr(self.view, name))
        if changed:
            self._notify(changed)

    def replace(self, **values: Any) -> ViewState:
        """Replace fields of `view` without notifying; returns the previous state."""
        with self.lock:
            before, self.view = self.view, replace(self.view, **values)
        return before

    def choose_layer(self, layer: Layer) -> None:
        """Show a layer that the user chose."""
        self.layer_chosen = True
        self.change(layer=layer)

    def toggle_mix(self, mix: Mix) -> None:
        """Combine two layers in this way, or stop if they are combined so already."""
        with self.lock:
            self.change(mix="Off" if self.view.mix == mix else mix)

    def set_heat(self, heat: Heat | None, show: bool = True) -> None:
        """Set the scores of the "Heat" layer.

        Args:
            show: switch to that layer unless it is visible already.
        """
        self.heat = heat
        if heat is not None and show and "Heat" not in self.layers_shown():
            self.change(layer="Heat")
        else:
            self._notify(frozenset({"heat"}))

    def set_keep(self, keep: torch.Tensor | None) -> None:
        """Draw only some of the Gaussians, see `RenderOptions.keep`."""
        if keep is None and self.keep is None:
            return
        self.keep = keep
        self._notify(frozenset({"keep"}))

    def options(self) -> RenderOptions:
        """Options of `Renderer.draw` for the canvas."""
        view = self.view
        return RenderOptions(
            layer=view.layer,
            second=view.second,
            mix=view.mix,
            at=view.at,
            blend=view.blend,
            frame=view.frame,
            size=view.gaussian_size,
            classes=view.classes,
            style=view.style,
            heat=self.heat,
            point_color=view.point_color,
            point_size=view.point_size,
            errors=view.errors,
            keep=self.keep,
            colors=view.colors,
            cut=view.up if view.cut else None,
        )

    def layers_shown(self) -> tuple[Layer, ...]:
        """The one or two layers on the canvas."""
        options = self.options()
        return (options.layer, options.second) if options.mixed else (options.layer,)

    def server_draws(self) -> bool:
        """Whether the server renders the canvas; otherwise the browser draws points."""
        return self.options().mixed or INFO[self.view.layer].kind in ("splat", "camera")

    def browser_draws_points(self) -> bool:
        """Whether the browser draws points, alone or over the render."""
        if INFO[self.view.layer].kind == "cloud":
            return not self.options().mixed  # two layers are drawn by the server
        return self.view.overlay and self.view.layer != "Views"

    def _notify(self, changed: frozenset[str]) -> None:
        for listener in self._listeners:
            listener(changed)
