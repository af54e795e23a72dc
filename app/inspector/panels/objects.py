"""Objects tab: classification of single objects, and search of a gallery by object, image or text."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Callable

import torch
import viser
from torch import Tensor

from ....core.errors import InputError
from ...objects.load_object import OBJECT_FILES
from ...objects.recognizer import ObjectRecognizer, OpenObject, label_list, standing
from ...objects.search import IMAGES, known_labels
from ...render.colors import Image
from ...render.contact_sheet import object_sheet
from ...scenes.source import SceneState
from ...scenes.uploads import MAX_ADDED, MAX_UPLOAD
from ..context import PanelContext
from .base import Panel, register
from .controls import note_html

SHOWN = 9
"""Search results shown."""
BEST = 6
"""Labels shown."""


@register("objects", tab="Objects", available=lambda shared: shared.recognizer is not None)
class ObjectsPanel(Panel):
    """Encodes and searches in the render thread's background lane."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        assert context.shared.recognizer is not None
        self._recognizer: ObjectRecognizer = context.shared.recognizer
        self._object: OpenObject | None = None
        self._results: list[int] = []
        self._labels: tuple[str, ...] = ()
        gui, guard = context.gui, context.guarded
        with gui.add_folder("Object"):
            self._upload = gui.add_upload_button(
                "Open an object",
                icon=viser.Icon.UPLOAD,
                mime_type=",".join(OBJECT_FILES),
                hint=f"Gaussians, points or a mesh, Y up; up to {MAX_UPLOAD // 10**6} MB",
            )
            self._upload.on_upload(guard(lambda _: self._received()))
            blank = object_sheet([])
            self._picture = gui.add_image(blank, format="jpeg", jpeg_quality=90, visible=False)
            self._scores = gui.add_html(note_html("The object's labels and their probabilities appear here."))
            with gui.add_form(None) as form:
                self._candidates = gui.add_text(
                    "Labels", "", hint="candidates, separated by commas; empty: all labels of the model"
                )
            form.on_submit(guard(lambda _: self._relabel()))
        gallery = self._recognizer.gallery
        with gui.add_folder("Gallery"):
            self._status = gui.add_html(note_html(_greeting(0 if gallery is None else len(gallery))))
            available = gallery is not None
            with gui.add_form(None) as form:
                self._text = gui.add_text("Text", "", visible=available, hint="Enter searches")
                button = gui.add_button("Search", icon=viser.Icon.SEARCH, visible=available)
            button.on_click(guard(lambda _: form.submit()))
            form.on_submit(guard(lambda _: self._search_text()))
            self._image = gui.add_upload_button(
                "Search by image", icon=viser.Icon.PHOTO, color="gray", mime_type=",".join(IMAGES), visible=available
            )
            self._image.on_upload(guard(lambda _: self._search_image()))
            self._similar = gui.add_button(
                "Similar to the open object", icon=viser.Icon.COPY, color="gray", visible=False
            )
            self._similar.on_click(guard(lambda _: self._search_similar()))
            self._sheet = gui.add_image(blank, format="jpeg", jpeg_quality=90, visible=False)
            self._pick = gui.add_button_group("Open", ("1",), visible=False)
            self._pick.on_click(guard(lambda _: self._open_result(int(self._pick.value) - 1)))
        if gallery is not None:
            context.ask("objects: browse", lambda: self._browse(0), "background")

    # --- user actions -----------------------------------------------------------------------------------------

    def _received(self) -> None:
        file = self._upload.value
        self._scores.content = note_html(f"Opening {file.name[:60]} …")
        self._later("object", lambda: self._read(file.name, file.content))

    def _relabel(self) -> None:
        self._labels = label_list(self._candidates.value)
        if self._object is not None:
            self._later("labels", self._label)

    def _search_text(self) -> None:
        text = self._text.value.strip()[:200]
        if text:
            self._later("search", lambda: self._find_text(text))

    def _search_image(self) -> None:
        file = self._image.value
        self._later(
            "search", lambda: self._show_nearest(self._recognizer.picture(file.name, file.content), file.name[:60])
        )

    def _search_similar(self) -> None:
        opened = self._object
        if opened is not None:
            self._later("search", lambda: self._show_nearest(opened.vector, f"similar to {opened.name}"))

    def _open_result(self, index: int) -> None:
        gallery = self._recognizer.gallery
        if gallery is None or not 0 <= index < len(self._results):
            return
        row = self._results[index]
        self._later("object", lambda: self._show(self._recognizer.open(gallery.names[row], gallery.load(row))))

    def _later(self, kind: str, run: Callable[[], None]) -> None:
        self.context.ask(f"objects: {kind}", run, "background", urgent=True)

    # --- render thread ----------------------------------------------------------------------------------------

    def _browse(self, ready: int) -> None:
        """Show the first objects of the gallery before any search. One picture per job: meshes take about a second."""
        gallery = self._recognizer.gallery
        if gallery is None or self._results:
            return
        count = min(SHOWN, len(gallery))
        if ready < count:
            gallery.picture(ready)  # kept by the gallery
            self.context.ask("objects: browse", lambda: self._browse(ready + 1), "background")
            return
        self._results = list(range(count))
        self._show_sheet([(gallery.picture(row), f"{row + 1}   {gallery.names[row]}") for row in self._results])

    def _show_sheet(self, cells: list[tuple[Image, str]]) -> None:
        self._sheet.image = object_sheet(cells)
        self._pick.options = tuple(str(i + 1) for i in range(len(cells)))
        self._sheet.visible = self._pick.visible = bool(cells)

    def _read(self, name: str, content: bytes) -> None:
        try:
            opened = self._recognizer.read(name, content)
        except InputError as error:
            self._scores.content = note_html(str(error))
            raise
        self._show(opened)

    def _show(self, opened: OpenObject) -> None:
        self._object = opened
        self._picture.image = object_sheet([(opened.picture, opened.name)], 1)
        self._picture.visible = True
        self._similar.visible = self._recognizer.gallery is not None
        with contextlib.suppress(InputError):  # shown in place of the scores
            self._label()
        renderer = self.context.renderer
        if len(renderer.scene_names) - len(renderer.source.scene_names) < MAX_ADDED:
            # With a transform, z is up; without one the up direction would be estimated.
            state = SceneState(opened.name, gaussians=standing(opened.gaussians), transform=torch.eye(4))
            self.context.loader.select_scene(renderer.add_scene(state))

    def _label(self) -> None:
        assert self._object is not None
        try:
            names, unknown = known_labels(self._recognizer.tower.text, self._labels) if self._labels else ([], [])
            scores = self._recognizer.scores(self._object.vector[None], names)[0]
        except InputError as error:
            self._scores.content = note_html(str(error))
            raise
        self._scores.content = "".join(map(note_html, unknown)) + _bars(scores[:BEST], len(scores))

    def _find_text(self, text: str) -> None:
        try:
            vector = self._recognizer.words(text)
        except InputError as error:  # an unknown word is an answer, not a failure
            self._status.content = note_html(str(error))
            self._results, self._sheet.visible, self._pick.visible = [], False, False
            return
        self._show_nearest(vector, text)

    def _show_nearest(self, vector: Tensor, title: str) -> None:
        gallery = self._recognizer.gallery
        if gallery is None:
            return
        nearest = gallery.nearest(vector, SHOWN)
        self._results = [row for row, _ in nearest]
        cells = []
        for i, (row, cosine) in enumerate(nearest):  # meshes take about a second each, once
            self._status.content = note_html(f"{title}: rendering {i + 1} of {len(nearest)} …")
            cells.append((gallery.picture(row), f"{i + 1}   {cosine:.2f}  {gallery.names[row]}"))
        index = gallery.index
        how = "" if index.exact else f", recall {index.recall:.0%}"
        self._status.content = note_html(f"{title}: nearest of {len(gallery):,}{how}")
        self._show_sheet(cells)


def _greeting(count: int) -> str:
    if count == 0:
        return "No gallery: start with `gaussiancross view --objects`, a folder of objects or output of `clipgs embed`."
    return f"{count:,} objects; search them by text, image or object."


def _bars(scores: list[tuple[str, float]], total: int) -> str:
    rows = "".join(
        f'<div style="overflow-wrap:anywhere">{html.escape(name)}</div>'
        '<div style="background:rgba(128,140,160,.25);border-radius:.2em">'
        f'<div style="width:{max(1.0, 100 * share):.0f}%;background:#4084f6;height:.9em;border-radius:.2em">'
        "</div></div>"
        f"<div>{share:.0%}</div>"
        for name, share in scores
    )
    return (
        '<div style="padding:.2em .9em .4em;font-size:.85em;display:grid;gap:.2em .7em;align-items:center;'
        f'grid-template-columns:max-content 1fr max-content;font-variant-numeric:tabular-nums">{rows}</div>'
        f'<div style="padding:0 .9em .4em;font-size:.8em;opacity:.6">of {total} labels</div>'
    )
