"""View panel: scene, layers, display options, and a dataset view beside its render."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import partial
from typing import Any, get_args

import numpy as np
import torch

from ....core.errors import InputError
from ...render.catalog import GROUPS, INFO, LAYERS, MIXABLE, Layer, available, missing
from ...render.clouds import PointColor
from ...render.colors import BACKGROUND, Image, to_image
from ...render.options import Mix
from ...render.scores import ClassScores
from ..context import PanelContext
from ..view_state import ViewState
from .base import Command, Panel, register
from .controls import Link, assign, mark_chosen, unmark

_MIXES: tuple[Mix, ...] = get_args(Mix)


@register("view", tab="View")
class ViewPanel(Panel):
    """Chooses the scene and the layers."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        gui, source = context.gui, context.source
        guard = context.guarded

        self._scene = gui.add_dropdown("Scene", source.scene_names, initial_value=source.scene_names[0])
        self._scene_link = Link(self._scene, context, self._on_scene)
        step = gui.add_button_group(" ", ("‹ previous", "next ›"))
        step.on_click(guard(lambda _: context.loader.turn_scene(1 if step.value == "next ›" else -1)))
        self._step = step

        self._layers = {name: gui.add_button_group(name, layers, visible=False) for name, layers in GROUPS.items()}
        for group in self._layers.values():
            group.on_click(guard(lambda _, group=group: context.model.choose_layer(unmark(group.value))))
        self._absent = gui.add_button_group("Not available", ("-",), disabled=True, visible=False, hint="")
        self._mix = gui.add_button_group(
            "Compare layers", _MIXES, hint="side by side (key X) or one blended over the other (key B)"
        )
        self._mix.on_click(guard(lambda _: context.change(mix=unmark(self._mix.value))))
        self._second: Any = gui.add_dropdown("Second layer", MIXABLE, initial_value=context.view.second)
        self._second_link = Link(self._second, context, lambda layer: context.change(second=layer))
        self._at = gui.add_slider("Split at (%)", 0, 100, 1, round(100 * context.view.at))
        self._at_link = Link(self._at, context, lambda value: context.change(at=value / 100))
        self._legend = gui.add_html("", visible=False)
        self._classes: Any = gui.add_dropdown("Classes from", ("",), visible=False)
        self._classes_link = Link(self._classes, context, lambda name: context.change(classes=name))
        self._blend = gui.add_slider("RGB → features", 0.0, 1.0, 0.05, 0.0, hint="blend colours with feature colours")
        Link(self._blend, context, lambda share: context.change(blend=share))
        self._size = gui.add_slider(
            "Gaussian size (%)", 5, 150, 5, 100, hint="below 50, Gaussians appear as separate ellipsoids"
        )
        Link(self._size, context, lambda percent: context.change(gaussian_size=percent / 100))
        modes = tuple(m for m in get_args(PointColor) if m not in ("Labels", "Probe") or source.class_names)
        self._point_color = gui.add_dropdown("Point colours", modes)
        Link(self._point_color, context, lambda mode: context.change(point_color=mode))
        self._point_size = gui.add_slider("Point size (mm)", 1.0, 100.0, 1.0, round(1000 * context.view.point_size))
        self._point_size_link = Link(self._point_size, context, lambda value: context.change(point_size=value / 1000))

        with gui.add_folder("Target and render at a dataset camera") as self._views:
            self._dark = np.full((280, 640, 3), [round(255 * c) for c in BACKGROUND], np.uint8)
            self._image = gui.add_image(self._dark, format="jpeg", jpeg_quality=92)
            self._frame = gui.add_slider("Camera", 0, 1, 1, 0, hint="also moves the 3D view to this camera")
            self._frame_link = Link(self._frame, context, context.camera.select_frame)
            go = gui.add_button_group(" ", ("View from this camera", "Enlarge"))
            go.on_click(guard(lambda _: self._go(go.value)))
            errors = gui.add_checkbox("Error row", False, hint="add a row that shows where render and target differ")
            Link(errors, context, lambda shown: context.change(errors=shown))
        with gui.add_folder("Overlays") as self._extras:
            self._overlay = gui.add_checkbox("Points", False, hint="hidden where the render is nearer to the camera")
            Link(self._overlay, context, lambda shown: context.change(overlay=shown))
            self._frusta = gui.add_checkbox("Dataset cameras", False, hint="click one to go there")
            Link(self._frusta, context, lambda shown: context.change(frusta=shown))
            cut = gui.add_checkbox("Cut walls", True, hint="leave out walls and ceiling between the camera and a room")
            Link(cut, context, lambda cut: context.change(cut=cut))
        self._update()

    def commands(self) -> Sequence[Command]:
        model, loader = self.context.model, self.context.loader
        return (
            *(
                Command(f"Show {n}: {INFO[n].hint}", INFO[n].key, partial(model.choose_layer, n), order=i - len(LAYERS))
                for i, n in enumerate(LAYERS)
            ),
            Command("Toggle split view", "X", lambda: model.toggle_mix("Split"), order=0),
            Command("Toggle blended layers", "B", lambda: model.toggle_mix("Blend"), order=1),
            Command("Next scene", "N", lambda: loader.turn_scene(1), order=4),
            Command("Previous scene", "P", lambda: loader.turn_scene(-1), order=6),
        )

    def on_classes(self, scores: ClassScores | None) -> None:
        text = "" if scores is None else _swatches(scores)
        assign(self._legend, "content", text)
        assign(self._legend, "visible", bool(text))

    def on_views(self, image: Image) -> None:
        self._image.image = image

    def _go(self, choice: str) -> None:
        if choice == "Enlarge":
            self.context.model.choose_layer("Views")
        else:
            self.context.camera.go_to_frame()

    def on_change(self, changed: frozenset[str]) -> None:
        if "scene" in changed:  # of the scene before
            self._image.image = self._dark
        self._update()

    def _update(self) -> None:
        """Make the controls show the view's values."""
        with self.context.lock:
            self._show(self.context.view)

    def _show(self, view: ViewState) -> None:
        state = self.context.renderer.state(view.scene)
        shown = available(state, self.context.model.heat is not None, bool(self.context.renderer.class_providers))
        for name, group in self._layers.items():
            options = tuple(mark_chosen(n, view.layer) for n in GROUPS[name] if n in shown)
            assign(group, "visible", bool(options))
            if options and tuple(group.options) != options:
                group.options = options
        self._update_absent(missing(state, shown))
        self._update_mix(shown)
        frames = 0 if state is None or state.frames is None else len(state.frames)
        layers = {view.layer, view.second} if view.mix != "Off" else {view.layer}
        drawn = INFO[view.layer].kind in ("splat", "camera")
        assign(self._blend, "visible", "RGB" in layers and view.mix == "Off" and "Features" in shown)
        sized = any(INFO[n].kind == "splat" and n not in ("Centres", "Depth") for n in layers)
        assign(self._size, "visible", sized and state is not None and state.gaussians is not None)
        assign(self._extras, "visible", view.layer != "Views")
        assign(self._overlay, "visible", drawn)
        assign(self._frusta, "visible", frames > 0)
        points = any(INFO[n].kind == "cloud" for n in layers) or (view.overlay and drawn)
        assign(self._point_color, "visible", points)
        assign(self._point_size, "visible", points)
        self._point_size_link.show(max(1.0, float(round(1000 * view.point_size))))
        names = self.context.renderer.scene_names
        self._scene_link.show(names[view.scene], options=names)
        for handle in (self._scene, self._step):
            assign(handle, "visible", len(names) > 1)
        assign(self._views, "visible", frames > 0)
        if frames:
            self._frame_link.show(min(view.frame, frames - 1), max=max(1, frames - 1))

    def _update_absent(self, missing_layers: dict[Layer, str]) -> None:
        """Show unavailable layers greyed out, with the reasons as their tooltip."""
        assign(self._absent, "visible", bool(missing_layers))
        if missing_layers and tuple(self._absent.options) != tuple(missing_layers):
            self._absent.options = tuple(missing_layers)
        reasons: dict[str, list[str]] = {}
        for layer, reason in missing_layers.items():
            reasons.setdefault(reason, []).append(layer)
        text = ". ".join(f"{', '.join(layers)}: {reason}" for reason, layers in reasons.items())
        assign(self._absent, "hint", text)

    def _update_mix(self, shown: frozenset[Layer]) -> None:
        view = self.context.view
        seconds = tuple(n for n in MIXABLE if n in shown and n != view.layer)
        possible = len(seconds) > 0 and view.layer in MIXABLE
        on = possible and view.mix != "Off"
        assign(self._mix, "visible", possible)
        options = tuple(mark_chosen(n, view.mix) for n in _MIXES)
        if tuple(self._mix.options) != options:
            self._mix.options = options
        assign(self._second, "visible", on)
        assign(self._at, "visible", on)
        if on:
            self._second_link.show(view.second, options=seconds)
            assign(self._at, "label", "Split at (%)" if view.mix == "Split" else "Opacity (%)")
            self._at_link.show(round(100 * view.at))
        providers = self.context.renderer.class_providers
        choice = len(providers) > 1 and (view.layer == "Classes" or (on and view.second == "Classes"))
        if choice:
            self._classes_link.show(view.classes, options=providers)
        assign(self._classes, "visible", choice)

    def _on_scene(self, name: str) -> None:
        names = self.context.renderer.scene_names
        if name not in names:  # the page offers no other; other clients may
            raise InputError("the scene", "one of the list", str(name)[:80])
        self.context.loader.select_scene(names.index(name))


def _swatches(classes: ClassScores) -> str:
    """Legend of the classes that Gaussians have, the most frequent ones first."""
    best, winner = classes.scores.max(1)
    counts = torch.bincount(winner[best > 0].cpu(), minlength=len(classes.names))
    colors = to_image(classes.palette())
    items = "".join(
        f'<span style="white-space:nowrap"><i style="display:inline-block;width:.75em;height:.75em;border-radius:.2em;'
        f'background:rgb{tuple(int(c) for c in colors[i])};margin-right:.35em"></i>'
        f"{html.escape(classes.names[i])}</span>"
        for i in counts.argsort(descending=True).tolist()
        if counts[i] > 0
    )
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:.15em .9em;padding:.2em .9em .5em;font-size:.8em">{items}</div>'
    )
