"""What to look at: scene, layer, and the dataset's views beside their renders."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
import viser

from ..layers import BACKGROUND, Image
from ..renderer import LAYERS, Layer, PointColor

if TYPE_CHECKING:
    from ..session import Session

_HINTS = {
    "RGB": "rendered colours",
    "Depth": "rendered depth in metres",
    "Features": "rendered features, three principal components as colours",
    "Alpha": "how opaque: white = covered",
    "Points": "the points the network is given",
    "Views": "targets beside renders, large",
}


class ViewPanel:
    def __init__(self, session: Session) -> None:
        self._session = session
        self.layer_chosen = False
        gui, source = session.client.gui, session.inspector.source
        guard = session.guarded
        self._busy = False

        if len(source.scene_names) > 1:
            self._scene = gui.add_dropdown("Scene", source.scene_names, initial_value=source.scene_names[0])
            self._scene.on_update(guard(lambda _: self._on_scene()))
            step = gui.add_button_group(" ", ("‹ previous", "next ›"))
            step.on_click(
                guard(lambda _: session.select_scene(session.view.scene + (1 if step.value == "next ›" else -1)))
            )
        else:
            self._scene = None

        self._layers = [
            gui.add_button_group(label, names) for label, names in (("Layer", LAYERS[:3]), (" ", LAYERS[3:]))
        ]
        for group in self._layers:
            group.on_click(guard(lambda _, group=group: self.choose_layer(_plain(group.value))))
        self._hint = gui.add_markdown("")
        self._blend = gui.add_slider("RGB → features", 0.0, 1.0, 0.05, 0.0, hint="fade from colours to features")
        self._blend.on_update(guard(lambda _: session.change(blend=self._blend.value)))
        self._overlay = gui.add_checkbox(
            "Points on top", False, hint="the points over the render, behind what is nearer"
        )
        self._overlay.on_update(guard(lambda _: session.change(overlay=self._overlay.value)))
        modes = tuple(m for m in get_args(PointColor) if m != "Labels" or source.class_names)
        self._point_color = gui.add_dropdown("Point colours", modes)
        self._point_color.on_update(guard(lambda _: session.change(point_color=self._point_color.value)))
        self._point_size = gui.add_slider("Point size (mm)", 2.0, 60.0, 1.0, 15.0)
        self._point_size.on_update(guard(lambda _: session.change(point_size=self._point_size.value / 1000)))

        with gui.add_folder("Render beside target") as self._views:
            dark = np.full((120, 400, 3), [round(255 * c) for c in BACKGROUND], np.uint8)
            self._image = gui.add_image(dark, format="jpeg", jpeg_quality=92)
            self._frame = gui.add_slider("Camera", 0, 1, 1, 0)
            self._frame.on_update(guard(lambda _: None if self._busy else session.select_frame(self._frame.value)))
            go = gui.add_button("Go to this camera", icon=viser.Icon.CAMERA, color="gray")
            go.on_click(guard(lambda _: session.go_to_frame()))
            self._errors = gui.add_checkbox("Error row", False)
            self._errors.on_update(guard(lambda _: session.change(errors=self._errors.value)))
            self._frusta = gui.add_checkbox("Cameras in 3D", False, hint="click one to go there")
            self._frusta.on_update(guard(lambda _: session.change(frusta=self._frusta.value)))
        self.update()

    def choose_layer(self, layer: Layer) -> None:
        self.layer_chosen = True
        self._session.change(layer=layer)

    def show_views(self, image: Image, figures: str) -> None:
        self._image.image = image
        self._views.label = f"Render beside target{' · ' + figures if figures else ''}"

    def update(self) -> None:
        """Make the controls say what the session shows."""
        view, source = self._session.view, self._session.inspector.source
        state = self._session.inspector.renderer.state(view.scene)
        self._busy = True
        try:
            for group, names in zip(self._layers, (LAYERS[:3], LAYERS[3:]), strict=True):
                options = tuple(f"● {n}" if n == view.layer else n for n in names)
                if tuple(group.options) != options:
                    group.options = options
            _set(self._hint, "content", f"<sub>{_HINTS[view.layer]}</sub>")
            _set(self._blend, "visible", view.layer == "RGB")
            drawn = view.layer not in ("Points", "Views")
            _set(self._overlay, "visible", drawn)
            points = view.layer == "Points" or (view.overlay and drawn)
            _set(self._point_color, "visible", points)
            _set(self._point_size, "visible", points)
            if self._scene is not None:
                _set(self._scene, "value", source.scene_names[view.scene])
            frames = 0 if state is None or state.frames is None else len(state.frames)
            _set(self._views, "visible", frames > 0)
            if frames:
                _set(self._frame, "max", max(1, frames - 1))
                _set(self._frame, "value", min(view.frame, frames - 1))
        finally:
            self._busy = False

    def _on_scene(self) -> None:
        assert self._scene is not None
        index = self._session.inspector.source.scene_names.index(self._scene.value)
        if not self._busy and index != self._session.view.scene:
            self._session.select_scene(index)


def _plain(option: str) -> Layer:
    return option.removeprefix("● ")  # type: ignore[return-value]


def _set(handle: object, name: str, value: object) -> None:
    """Assign only what differs: every assignment is a message to the browser."""
    if getattr(handle, name) != value:
        setattr(handle, name, value)
