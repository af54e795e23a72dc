"""Interface of a session for its panels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import viser

from ..render.compare import Comparison
from ..render.renderer import Renderer
from ..scenes.source import SceneSource, SceneState
from .browser import Browser
from .camera import CameraControl
from .frusta import Frusta
from .jobs import Exports
from .loader import SceneLoader
from .requests import RenderRequests
from .shared import Shared
from .view_state import ViewModel, ViewState
from .worker import Lane


@dataclass(frozen=True)
class PanelContext:
    """Access of panels to their browser.

    Attributes:
        browser: client, view model, render thread, notifications.
        camera: the free camera.
        requests: render requests.
        loader: selection and loading of scenes.
        exports: downloads.
        frusta: dataset cameras in the canvas.
    """

    browser: Browser
    camera: CameraControl
    requests: RenderRequests
    loader: SceneLoader
    exports: Exports
    frusta: Frusta

    @property
    def client(self) -> viser.ClientHandle:
        return self.browser.client

    @property
    def gui(self) -> viser.GuiApi:
        return self.browser.client.gui

    @property
    def shared(self) -> Shared:
        return self.browser.shared

    @property
    def source(self) -> SceneSource:
        return self.browser.source

    @property
    def renderer(self) -> Renderer:
        return self.browser.renderer

    @property
    def comparison(self) -> Comparison | None:
        return self.browser.comparison

    @property
    def model(self) -> ViewModel:
        return self.browser.model

    @property
    def view(self) -> ViewState:
        """The current view state."""
        return self.browser.model.view

    @property
    def lock(self) -> threading.RLock:
        """Lock of the view model."""
        return self.browser.model.lock

    def state(self) -> SceneState | None:
        """The scene that is shown, or None while it loads."""
        return self.renderer.state(self.view.scene)

    def change(self, **values: Any) -> None:
        """Change fields of the view, see `ViewModel.change`."""
        self.browser.model.change(**values)

    def ask(self, kind: str, run: Callable[[], None], lane: Lane = "interactive", urgent: bool = False) -> None:
        """Run a job in the render thread, see `Browser.ask`."""
        self.browser.ask(kind, run, lane, urgent)

    def guarded(self, callback: Callable[[Any], Any], alone: bool = False) -> Callable[[Any], None]:
        """Wrap a callback of viser, see `Browser.guarded`."""
        return self.browser.guarded(callback, alone)

    def notify(self, title: str, body: str, color: Any = "blue", seconds: float = 8.0) -> None:
        """Show a notification, see `Browser.notify`."""
        self.browser.notify(title, body, color, seconds)
