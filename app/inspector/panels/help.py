"""Help: the list of keys, and a welcome for the first browser on a machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import viser

from ....core.io.cache import cache_folder
from ...render.catalog import INFO, LAYERS
from ..context import PanelContext
from .base import Command, Panel, register

_TOUR = """
**Look around** with the left mouse button (rotate), the right button (pan) and the wheel (zoom); W A S D Q E fly.

**View** chooses the layer: colours, depth, features, points, classes. *Compare layers* shows two side by side.

**Search** shows a heat map for a click or a text query. **Classes** shows the classes that a linear probe predicts.

**Run** shows the curves and earlier steps of a training. **Files** opens scenes and your files, and exports results.

Press **H** for all keys.
"""

_MOUSE = (
    ("left button", "rotate"),
    ("right button", "pan"),
    ("wheel", "zoom"),
    ("W A S D Q E", "fly"),
)


class Closable(Protocol):
    """A dialog."""

    def close(self) -> None: ...


@register("help", tab="View", order=2, folder="Settings")
class HelpPanel(Panel):
    """A button that opens the list of keys, and the welcome, once per machine."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._open: Closable | None = None
        button = context.gui.add_button("Keys and mouse (H)", icon=viser.Icon.KEYBOARD, color="gray")
        button.on_click(context.guarded(lambda _: self.show_keys()))
        if context.shared.tour and _first_time():
            self._show("Welcome", _TOUR.strip(), "Start")

    def commands(self) -> Sequence[Command]:
        return (
            Command("Keys and mouse", "H", self.show_keys, order=5),
            Command("Close the dialog", "escape", self._close, order=9),
        )

    def show_keys(self) -> None:
        """Open the list of keys, or close it."""
        if self._open is not None:
            self._close()
            return
        keys = sorted((INFO[n].key or "", str(n)) for n in LAYERS if INFO[n].key)
        keys += [("X", "split"), ("B", "blend"), ("C", "compare"), ("Home", "all of the scene, as it opened")]
        keys += [("T", "doll's house: the same from here"), ("0", "walk: to the dataset camera"), ("F", "focus")]
        keys += [
            ("N P", "next and previous scene"),
            ("Ctrl K", "all commands"),
            ("L", "copy a link"),
            ("Ctrl Z", "undo"),
            ("H", "this list"),
        ]
        rows = "\n".join(f"| {k} | {what} |" for k, what in (*_MOUSE, *keys))
        self._show("Keys and mouse", f"| | |\n|---|---|\n{rows}", "Close")

    def _show(self, title: str, text: str, done: str) -> None:
        gui = self.context.gui
        self._open = modal = gui.add_modal(title)
        with modal:
            gui.add_markdown(text)
            gui.add_button(done).on_click(self.context.guarded(lambda _: self._close()))

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _first_time() -> bool:
    """Whether the welcome has not been shown on this machine; records that it has."""
    mark: Path = cache_folder() / "tour-seen"
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch(exist_ok=False)
    except OSError:  # shown before, or a read-only disk, where it would otherwise be shown every time
        return False
    return True
