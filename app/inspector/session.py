"""One connected browser: composes its view, camera, render requests and panels, and routes events between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import viser

from ..scenes.uploads import MAX_UPLOAD, upload_too_large
from .browser import Browser
from .camera import CameraControl
from .context import PanelContext
from .divider import Divider
from .effects import Effect, effects_of
from .frusta import Frusta
from .hooks import HookList
from .jobs import Exports
from .loader import SceneLoader
from .overlay import Overlay
from .panels import build_panels
from .panels.address import AddressPanel
from .panels.search import SearchTab
from .requests import RenderRequests
from .shared import Shared
from .view_state import ViewModel, ViewState
from .viser_internals import limit_uploads, send_text_before_forms


class Session:
    """Created when a browser connects, closed when it disconnects.

    A connection lost while an image is made is harmless: viser drops messages to closed connections, and waiting jobs
    are cancelled.

    Attributes:
        browser: client, view model and jobs.
        camera: the free camera.
        overlay: words over the canvas.
        requests: render requests.
        loader: selection and loading of scenes.
        exports: downloads.
        frusta: dataset cameras in the canvas.
        divider: the line between the two sides of a comparison.
        panels: the panels by name.
    """

    def __init__(self, shared: Shared, client: viser.ClientHandle) -> None:
        hooks = HookList()
        self.browser = Browser(client, shared)
        self.camera = CameraControl(self.browser)
        self.overlay = Overlay(self.browser)
        self.requests = RenderRequests(self.browser, self.camera, self.overlay, hooks)
        self.camera.moved = self.requests.camera_moved
        self.exports = Exports(self.browser)
        self.frusta = Frusta(self.browser, self.camera.select_frame)
        self.divider = Divider(self.browser)
        self.loader = SceneLoader(self.browser, self.camera, self.requests, self.frusta, hooks)
        self._hooks = hooks
        self._actions: dict[Effect, Callable[[], None]] = {
            "points": self.requests.points,
            "point size": self.requests.resize_points,
            "canvas": self.requests.small_canvas,
            "urgent canvas": lambda: self.requests.small_canvas(urgent=True),
            "heat": self.requests.heat_canvas,
            "keep": self.requests.canvas,
            "camera": self.camera.go_to_camera_layer,
            "views": self.requests.views,
            "frusta": self.frusta.show,
            "loading": self.requests.loading,
        }
        context = PanelContext(self.browser, self.camera, self.requests, self.loader, self.exports, self.frusta)
        with client.atomic():
            self.panels = build_panels(context)
            self._add_commands()
        address, search = self.panels["address"], self.panels["search"]
        assert isinstance(address, AddressPanel) and isinstance(search, SearchTab)
        address.search = search
        hooks.members.extend(self.panels.values())
        self.model.subscribe(self._changed)
        limit_uploads(client, MAX_UPLOAD, lambda name, size: self.browser.report(upload_too_large(name, size)))
        send_text_before_forms(client)
        client.camera.on_update(self.browser.guarded(self.camera.reported))
        self.loader.select_scene(0)

    @property
    def client(self) -> viser.ClientHandle:
        return self.browser.client

    @property
    def model(self) -> ViewModel:
        return self.browser.model

    @property
    def view(self) -> ViewState:
        """The current view state."""
        return self.model.view

    def change(self, **values: Any) -> None:
        """Change fields of the view, see `ViewModel.change`."""
        self.model.change(**values)

    def pulse(self) -> None:
        """Update all parts of the session; called ten times a second."""
        self.camera.pulse()
        self.requests.pulse()
        if self.requests.still or self.divider.dragging:
            self.divider.update()
        self.loader.pulse()
        self.exports.pulse()
        self._hooks.pulse()

    def close(self) -> None:
        """Cancel the jobs of this browser."""
        self.browser.close()

    def _changed(self, changed: frozenset[str]) -> None:
        effects = effects_of(changed, self.view)
        for effect, action in self._actions.items():
            if effect in effects:
                action()
        self._hooks.on_change(changed)

    def _add_commands(self) -> None:
        commands = [command for panel in self.panels.values() for command in panel.commands()]
        for command in sorted(commands, key=lambda c: c.order):
            handle = self.client.gui.add_command(command.label, hotkey=command.key, modifier=command.modifier)  # type: ignore[arg-type]
            handle.on_trigger(self.browser.guarded(lambda _, action=command.action: action()))
