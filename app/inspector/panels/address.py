"""The view in the page's address: read when the page opens, kept up to date, copied as a link; and undo."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import numpy as np

from ...render.catalog import INFO
from ...scenes.source import SceneState
from ...scenes.timeline import TimelineSource
from ..address import Address
from ..context import PanelContext
from ..viser_internals import run_javascript
from .base import Command, Panel, register
from .search import SearchTab

REST = 0.5
"""Seconds without a change after which the address is written."""

_FIELD = '<span id="gc-address"></span><style>div:has(>#gc-address),div:has(>#gc-address)+div{display:none}</style>'
"""Hides the text field that follows; the page's script writes the address into it."""

_READ = """
const tell = () => {
  const field = document.querySelector("div:has(>#gc-address)+div input");
  if (!field) { setTimeout(tell, 100); return; }
  const view = location.search.slice(1), set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  set.call(field, (view ? view + "&" : "") + "now=" + Date.now());
  field.dispatchEvent(new Event("input", {bubbles: true}));
};
if (!window.gcAddress) {
  window.gcAddress = true;
  // A click beside a dialog of the viewer closes it.
  addEventListener("mousedown", (event) => {
    if (event.target.matches(".mantine-Modal-overlay, .mantine-Modal-inner"))
      [...document.querySelectorAll("[role=dialog] button")].pop()?.click();
  });
}
tell();
"""
"""Sends the address to the server once."""

_WRITE = """
const server = new URLSearchParams(location.search).get("websocket");
history.replaceState(null, "", "?" + {} + (server ? "&websocket=" + server : ""));
"""

_COPY = """
(async () => {
  try { await navigator.clipboard.writeText(location.href); } catch {
    const area = document.createElement("textarea");
    area.value = location.href;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
})();
"""


@register("address", tab="", order=-2)
class AddressPanel(Panel):
    """A field that nobody sees, by which page and server exchange the address.

    Attributes:
        search: the Search tab; set by the session.
    """

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self.search: SearchTab | None = None
        self._heard = False
        self._pending: Address | None = None
        self._written, self._seen, self._seen_at = "", "", 0.0
        gui = context.gui
        gui.add_html(_FIELD)
        self._field = gui.add_text("Address", "")
        self._field.on_update(context.guarded(lambda _: self._received(self._field.value)))
        run_javascript(context.client, _READ)

    def commands(self) -> Sequence[Command]:
        undo = self.context.model.history.undo
        return (
            Command("Copy a link to this view", "L", self.copy, order=5),
            Command("Undo: picks, queries, thresholds, hidden parts, colours", "Z", undo, order=5, modifier="cmd/ctrl"),
        )

    def copy(self) -> None:
        """Copy the page's address with the view in it."""
        self._write(self._address().text())
        run_javascript(self.context.client, _COPY)
        self.context.notify("Link copied", "It opens this view, wherever this page can be opened.", "green", 4)

    def pulse(self) -> None:
        """Write the address once the view rests."""
        if not self._heard or self._pending is not None or self.context.state() is None:
            return
        text, now = self._address().text(), time.monotonic()
        if text != self._seen:
            self._seen, self._seen_at = text, now
        elif text != self._written and now - self._seen_at >= REST:
            self._write(text)

    def on_loaded(self, scene: int, state: SceneState) -> None:
        self._show_pending()

    # --- address → view ---------------------------------------------------------------------------------------

    def _received(self, text: str) -> None:
        self._heard = True
        address = Address.parse(text)
        if address == Address():
            return
        context, source = self.context, self.context.source
        if isinstance(source, TimelineSource) and address.step is not None and source.steps:
            source.seek(min(source.steps, key=lambda step: abs(step - (address.step or 0))))
        self._pending = address
        if address.scene < len(source.scene_names) and address.scene != context.view.scene:
            context.loader.select_scene(address.scene)
        context.ask("address", self._show_pending, urgent=True)

    def _show_pending(self) -> None:
        """Show the address's layers, camera and question once its scene is there. Render thread."""
        context, address = self.context, self._pending
        if address is None or context.state() is None or context.loader.placed_scene != context.view.scene:
            return
        self._pending = None
        if address.scene != context.view.scene:
            return  # a scene that only the browser before had, or another one chosen meanwhile
        if address.camera is not None:
            place = np.array(address.camera)
            context.camera.place(place[:3], place[3:6], float(place[6]))
        if address.question and self.search is not None:
            self.search.query.search(address.question)
            context.ask("address layer", lambda: self._show_layers(address), urgent=True)
        else:
            self._show_layers(address)

    def _show_layers(self, address: Address) -> None:
        context = self.context
        shown = context.renderer.layers(context.view.scene, context.model.heat is not None)
        if address.layer in shown and address.layer is not None:
            context.model.layer_chosen = True
            mixed = address.mix if address.second in shown else "Off"
            context.change(layer=address.layer, second=address.second, mix=mixed, at=address.at)

    # --- view → address ---------------------------------------------------------------------------------------

    def _address(self) -> Address:
        context, source = self.context, self.context.source
        view, camera = context.view, context.client.camera
        pose, center = context.camera.pose(), np.asarray(camera.look_at, np.float64)
        step = source.position if isinstance(source, TimelineSource) else None
        at_camera = INFO[view.layer].kind == "sheet"
        return Address(
            view.scene,
            view.layer,
            view.second,
            view.mix,
            view.at,
            context.model.question,
            None if at_camera else tuple(round(float(v), 4) for v in (*pose.position, *center, pose.fov)),
            step,
        )

    def _write(self, text: str) -> None:
        self._written = text
        run_javascript(self.context.client, _WRITE.format(json.dumps(text)))
