"""Tool bar at the lower left of the canvas: four views of the scene, and undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..context import PanelContext
from .base import Command, Panel, register

_PLACE = (
    '<span id="gc-tools"></span><style>div:has(>#gc-tools)+div{position:fixed;left:16px;bottom:12px;z-index:4;'
    "padding:0!important;margin:0!important;background:rgba(16,17,21,.82);border-radius:6px}"
    "div:has(>#gc-tools)+div>div>div:first-child{display:none}"  # the empty label
    "div:has(>#gc-tools)+div button{min-height:26px;border-color:transparent}"
    "@media(max-width:600px){div:has(>#gc-tools)+div{bottom:auto;top:10px}}</style>"
)
"""Places the element that follows over the canvas, where viser shows no notifications; a browser without ``:has`` shows
it in the panel."""


@register("toolbar", tab="", order=-1)
class ToolbarPanel(Panel):
    """Buttons and keys that move the camera."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        camera, gui = context.camera, context.gui
        self._views: dict[str, Callable[[], None]] = {
            "⌂ Home": self._later(camera.place_first),
            "⬚ Doll's house": self._later(camera.dolls_house),
            "◉ Walk": self._later(camera.walk),
            "⊕ Focus": self._later(camera.focus),
            "↶ Undo": context.model.history.undo,
        }
        gui.add_html(_PLACE)
        group = gui.add_button_group("", tuple(self._views), hint=None)
        group.on_click(context.guarded(lambda _: self._views[group.value]()))

    def commands(self) -> Sequence[Command]:
        home, above, walk, focus, _ = self._views.values()
        return (
            Command("Home: the view that the scene opened with", "home", home, order=3),
            Command("Doll's house: all of the scene from above", "T", above, order=3),
            Command("Walk: stand at the dataset camera", "0", walk, order=3),
            Command("Focus on the last pick or the best match", "F", focus, order=3),
        )

    def _later(self, move: Callable[[], None]) -> Callable[[], None]:
        """Move in the render thread, which alone may look at a scene's shell."""

        def run() -> None:
            if self.context.state() is not None:
                self.context.ask("camera", move, urgent=True)

        return run
