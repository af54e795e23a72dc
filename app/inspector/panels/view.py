"""What to look at: scene, layer, and the dataset's views beside their renders."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from ..layers import BACKGROUND, Image
from ..renderer import LAYERS, Layer, PointColor

if TYPE_CHECKING:
    from ..session import Session


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
        self._blend = gui.add_slider("RGB → features", 0.0, 1.0, 0.05, 0.0, hint="fade from colours to features")
        self._blend.on_update(guard(lambda _: session.change(blend=self._blend.value)))
        modes = tuple(m for m in get_args(PointColor) if m != "Labels" or source.class_names)
        self._point_color = gui.add_dropdown("Point colours", modes)
        self._point_color.on_update(guard(lambda _: session.change(point_color=self._point_color.value)))
        self._point_size = gui.add_slider("Point size (mm)", 1.0, 100.0, 1.0, round(1000 * session.view.point_size))
        self._point_size.on_update(
            guard(lambda _: None if self._busy else session.change(point_size=self._point_size.value / 1000))
        )

        with gui.add_folder("Target and render at a dataset camera") as self._views:
            dark = np.full((280, 640, 3), [round(255 * c) for c in BACKGROUND], np.uint8)
            self._image = gui.add_image(dark, format="jpeg", jpeg_quality=92)
            self._frame = gui.add_slider("Camera", 0, 1, 1, 0, hint="moves the 3D view there, too")
            self._frame.on_update(guard(lambda _: None if self._busy else session.select_frame(self._frame.value)))
            go = gui.add_button_group(" ", ("Go there", "Enlarge"))
            go.on_click(guard(lambda _: self._go(go.value)))
            self._errors = gui.add_checkbox("Error row", False, hint="a third row: where render and target differ")
            self._errors.on_update(guard(lambda _: session.change(errors=self._errors.value)))
        with gui.add_folder("On top of the render") as self._extras:
            self._overlay = gui.add_checkbox("Points", False, hint="hidden where the render is nearer")
            self._overlay.on_update(guard(lambda _: session.change(overlay=self._overlay.value)))
            self._frusta = gui.add_checkbox("Dataset cameras", False, hint="click one to go there")
            self._frusta.on_update(guard(lambda _: session.change(frusta=self._frusta.value)))
        self.update()

    def choose_layer(self, layer: Layer) -> None:
        self.layer_chosen = True
        self._session.change(layer=layer)

    def show_views(self, image: Image) -> None:
        self._image.image = image

    def _go(self, choice: str) -> None:
        if choice == "Enlarge":
            self.choose_layer("Views")
        else:
            self._session.go_to_frame()

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
            frames = 0 if state is None or state.frames is None else len(state.frames)
            _set(self._blend, "visible", view.layer == "RGB")
            drawn = view.layer not in ("Points", "Views")
            _set(self._extras, "visible", view.layer != "Views")
            _set(self._overlay, "visible", drawn)
            _set(self._frusta, "visible", frames > 0)
            points = view.layer == "Points" or (view.overlay and drawn)
            _set(self._point_color, "visible", points)
            _set(self._point_size, "visible", points)
            _set(self._point_size, "value", max(1.0, float(round(1000 * view.point_size))))
            if self._scene is not None:
                _set(self._scene, "value", source.scene_names[view.scene])
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
