"""Chooses the scene of one browser, and loads it and newer weights of it in the render thread."""

from __future__ import annotations

from ..scenes.geometry import guess_up, overview_frame
from ..scenes.timeline import TimelineSource
from .browser import Browser
from .camera import CameraControl
from .frusta import Frusta
from .hooks import BrowserHooks
from .requests import RenderRequests


class SceneLoader:
    """Loads scenes and follows a training.

    Attributes:
        shown_step: training step of the weights that were loaded last.
    """

    def __init__(
        self, browser: Browser, camera: CameraControl, requests: RenderRequests, frusta: Frusta, hooks: BrowserHooks
    ) -> None:
        self._browser, self._model, self._source = browser, browser.model, browser.source
        self._camera, self._requests, self._frusta, self._hooks = camera, requests, frusta, hooks
        self.shown_step: int | None = None
        self._requested_step: int | None = None
        self.placed_scene: int | None = None

    def select_scene(self, index: int) -> None:
        """Show another scene; wraps around at either end."""
        index %= len(self._browser.renderer.scene_names)
        self._model.change(scene=index, frame=0)
        self._browser.ask("load", self._load, "background", urgent=True)

    def turn_scene(self, by: int) -> None:
        """Show the scene ``by`` places further."""
        with self._model.lock:
            self.select_scene(self._model.view.scene + by)

    def is_up_to_date(self) -> bool:
        """Whether this browser follows the training and shows its newest weights."""
        return self._model.view.follow and not self._back_in_time and self.shown_step == self._source.step()

    def pulse(self) -> None:
        """Load newer weights when there are some and the browser follows them."""
        step = self._source.step()
        if (self._model.view.follow or self._back_in_time) and step not in (self.shown_step, self._requested_step):
            self._requested_step = step
            self._browser.ask("load", self._load, "background")

    @property
    def _back_in_time(self) -> bool:
        return isinstance(self._source, TimelineSource) and self._source.position is not None

    def _load(self) -> None:
        browser, model, renderer = self._browser, self._model, self._browser.renderer
        if browser.closed:
            return
        scene, model.failed = model.view.scene, None
        try:
            state = renderer.load(scene)
        except Exception as error:
            self._requests.load_failed(scene, error)
            raise
        if model.view.scene != scene:
            return  # another scene was chosen meanwhile
        self.shown_step = self._source.step() if state.step is None else state.step
        first = self.placed_scene != scene
        if first:
            model.replace(frame=overview_frame(state), up=guess_up(state))
            self._camera.turn_scene()
            self._camera.target = None
            if model.view.layer not in renderer.layers(scene, model.heat is not None):
                model.replace(layer="RGB" if state.gaussians is not None else "Points")
            if not model.layer_chosen and state.points is not None and getattr(self._source, "opens_on_points", False):
                model.replace(layer="Points")
            self._camera.place_first()
            self.placed_scene = scene
            self._frusta.show()
            self._requests.points()
        elif model.view.layer == "Points" and state.gaussians is not None and not model.layer_chosen:
            model.replace(layer="RGB")  # the first weights have arrived
            self._requests.points()
        elif model.view.point_color in ("Features", "Probe") and model.browser_draws_points():
            self._requests.points("background", urgent=False)
        self._hooks.on_loaded(scene, state)
        self._hooks.on_change(frozenset())
        # A small image goes first, except during a training, which would pay for both.
        small = first and model.server_draws() and browser.shared.worker.share >= 1
        self._requests.canvas(moving=small, lane="background", urgent=first)
        self._requests.views("background", urgent=first)
        if first:
            self._requests.default_point_size()
