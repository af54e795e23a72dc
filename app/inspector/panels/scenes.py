"""Scenes panel: thumbnails to choose from, file uploads, and the up direction."""

from __future__ import annotations

from typing import get_args

import numpy as np
import viser

from ....core.errors import InputError
from ....core.io.formats import ENDINGS
from ...render.colors import BACKGROUND
from ...render.contact_sheet import scene_sheet
from ...render.thumbnails import picture_of, preview
from ...scenes.geometry import Up
from ...scenes.source import SceneState
from ...scenes.uploads import MAX_ADDED, MAX_UPLOAD, read_upload
from ..context import PanelContext
from .base import Panel, register
from .controls import Link, assign, mark_chosen, unmark

PAGE = 6
"""Thumbnails per page."""


@register("scenes", tab="Files", folder="Scenes")
class ScenesPanel(Panel):
    """Thumbnails are rendered one by one in the background and shared by all browsers."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._page = 0
        self._shown: object = None
        gui, guard = context.gui, context.guarded
        dark = np.full((8, 16, 3), [round(255 * c) for c in BACKGROUND], np.uint8)
        self._sheet = gui.add_image(dark, format="jpeg", jpeg_quality=88)
        self._pick = gui.add_button_group("Open", ("1",))
        self._pick.on_click(guard(lambda _: context.loader.select_scene(int(unmark(self._pick.value)) - 1)))
        self._turn = gui.add_button_group("Page", ("‹ earlier", "later ›"))
        self._turn.on_click(guard(lambda _: self._go(1 if self._turn.value == "later ›" else -1)))
        self._upload = gui.add_upload_button(
            "Open a file of splats or points",
            icon=viser.Icon.UPLOAD,
            color="gray",
            mime_type=",".join(ENDINGS),
            hint=f"up to {MAX_UPLOAD // 10**6} MB; it becomes visible to every browser of this page",
        )
        self._upload.on_upload(guard(lambda _: self._received()))
        self._up = gui.add_dropdown("Up", get_args(Up), hint="estimated for files, which do not store it")
        self._up_link = Link(self._up, context, context.camera.set_up)
        self.pulse()

    # --- display ----------------------------------------------------------------------------------------------

    def pulse(self) -> None:
        context = self.context
        names, scene = context.renderer.scene_names, context.view.scene
        state = context.renderer.state(scene)
        with context.lock:
            self._up_link.show(context.view.up)
        assign(self._up, "visible", state is not None and not (state.frames or state.transform is not None))
        thumbnails = context.renderer.thumbnails
        indices = range(self._page * PAGE, min((self._page + 1) * PAGE, len(names)))
        missing = [i for i in indices if i not in thumbnails and (i != scene or state is not None)]
        if missing:
            context.ask("thumbnails", lambda: self._make(missing[0]), "background")
        shown = (tuple((i, names[i], i in thumbnails) for i in indices), scene)
        if self._shown == shown:
            return
        self._shown = shown
        self._sheet.image = scene_sheet([(f"{i + 1}  {names[i]}", thumbnails.get(i), i == scene) for i in indices])
        self._pick.options = tuple(mark_chosen(str(i + 1), str(scene + 1)) for i in indices)
        assign(self._turn, "visible", len(names) > PAGE)

    def _make(self, index: int) -> None:
        """Make the thumbnail of one scene, in the render thread."""
        renderer = self.context.renderer
        state = renderer.state(index)
        if index not in renderer.thumbnails:
            image = preview(renderer.source, index) if state is None else picture_of(state, self.context.view.up)
            renderer.thumbnails[index] = image

    # --- user actions -----------------------------------------------------------------------------------------

    def _go(self, by: int) -> None:
        pages = -(-len(self.context.renderer.scene_names) // PAGE)
        self._page = (self._page + by) % pages
        self.pulse()

    def _received(self) -> None:
        """Read an uploaded file in a thread of viser's, and show it in the render thread."""
        file = self._upload.value
        state = read_upload(file.name, file.content)
        self.context.ask("upload", lambda: self._add(file.name, state), "background", urgent=True)

    def _add(self, name: str, state: SceneState) -> None:
        renderer = self.context.renderer
        if len(renderer.scene_names) - len(renderer.source.scene_names) >= MAX_ADDED:
            raise InputError(name, f"at most {MAX_ADDED} files from browsers", "one more", "restart to forget them")
        self.context.loader.select_scene(renderer.add_scene(state))
