"""Single objects: what they are called, and what in a gallery is like them, like a picture, or like words."""

from __future__ import annotations

import html
from collections.abc import Callable

import torch
import viser
from torch import Tensor

from ....core.errors import InputError
from ...objects.load_object import OBJECT_FILES
from ...objects.recognizer import ObjectRecognizer, OpenObject, label_list, result_sheet, standing
from ...objects.search import IMAGES
from ...scenes.source import SceneState
from ...scenes.uploads import MAX_ADDED, MAX_UPLOAD
from ..context import PanelContext
from .base import Panel, register

SHOWN = 9
"""Results at a time."""
BEST = 6
"""Labels at a time."""


@register("objects", tab="Objects", available=lambda shared: shared.recognizer is not None)
class ObjectsPanel(Panel):
    """Encoding and searching are work for the render thread's background."""

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
            blank = result_sheet([])
            self._picture = gui.add_image(blank, format="jpeg", jpeg_quality=90, visible=False)
            self._scores = gui.add_html(_say("Its labels with their probabilities will stand here."))
            with gui.add_form(None) as form:
                self._asked = gui.add_text(
                    "Labels", "", hint="to choose from, with commas between them; empty: all known"
                )
            form.on_submit(guard(lambda _: self._relabel()))
        gallery = self._recognizer.gallery
        with gui.add_folder("Gallery"):
            self._about = gui.add_html(_say(_greeting(0 if gallery is None else len(gallery))))
            there = gallery is not None
            with gui.add_form(None) as form:
                self._text = gui.add_text("Words", "", visible=there, hint="Enter searches")
                button = gui.add_button("Search", icon=viser.Icon.SEARCH, visible=there)
            button.on_click(guard(lambda _: form.submit()))
            form.on_submit(guard(lambda _: self._search_words()))
            self._image = gui.add_upload_button(
                "Search by a picture", icon=viser.Icon.PHOTO, color="gray", mime_type=",".join(IMAGES), visible=there
            )
            self._image.on_upload(guard(lambda _: self._search_picture()))
            self._like = gui.add_button("Like the open object", icon=viser.Icon.COPY, color="gray", visible=False)
            self._like.on_click(guard(lambda _: self._search_like()))
            self._sheet = gui.add_image(blank, format="jpeg", jpeg_quality=90, visible=False)
            self._pick = gui.add_button_group("Open", ("1",), visible=False)
            self._pick.on_click(guard(lambda _: self._open_result(int(self._pick.value) - 1)))

    # --- what people do -------------------------------------------------------------------------------------

    def _received(self) -> None:
        file = self._upload.value
        self._later("object", lambda: self._show(self._recognizer.read(file.name, file.content)))

    def _relabel(self) -> None:
        self._labels = label_list(self._asked.value)
        if self._object is not None:
            self._later("labels", self._label)

    def _search_words(self) -> None:
        words = self._text.value.strip()[:200]
        if words:
            self._later("search", lambda: self._find_words(words))

    def _search_picture(self) -> None:
        file = self._image.value
        self._later("search", lambda: self._found(self._recognizer.picture(file.name, file.content), file.name[:60]))

    def _search_like(self) -> None:
        found = self._object
        if found is not None:
            self._later("search", lambda: self._found(found.vector, f"like {found.name}"))

    def _open_result(self, place: int) -> None:
        gallery = self._recognizer.gallery
        if gallery is None or not 0 <= place < len(self._results):
            return
        row = self._results[place]
        self._later("object", lambda: self._show(self._recognizer.open(gallery.names[row], gallery.load(row))))

    def _later(self, kind: str, run: Callable[[], None]) -> None:
        self.context.ask(f"objects: {kind}", run, "background", urgent=True)

    # --- in the render thread -------------------------------------------------------------------------------

    def _show(self, found: OpenObject) -> None:
        self._object = found
        self._picture.image = result_sheet([(found.picture, found.name)], 1)
        self._picture.visible = True
        self._like.visible = self._recognizer.gallery is not None
        self._label()
        renderer = self.context.renderer
        if len(renderer.scene_names) - len(renderer.source.scene_names) < MAX_ADDED:
            # a transform says that z is up, instead of leaving it to be guessed
            state = SceneState(found.name, gaussians=standing(found.gaussians), transform=torch.eye(4))
            self.context.loader.select_scene(renderer.add_scene(state))

    def _label(self) -> None:
        assert self._object is not None
        try:
            scores = self._recognizer.scores(self._object.vector[None], self._labels)[0]
        except InputError as error:
            self._scores.content = _say(str(error))
            raise
        self._scores.content = _bars(scores[:BEST], len(scores))

    def _find_words(self, words: str) -> None:
        try:
            vector = self._recognizer.words(words)
        except InputError as error:  # a word that the tower does not know is an answer, not a failure
            self._about.content = _say(str(error))
            return
        self._found(vector, words)

    def _found(self, vector: Tensor, what: str) -> None:
        gallery = self._recognizer.gallery
        if gallery is None:
            return
        nearest = gallery.nearest(vector, SHOWN)
        self._results = [row for row, _ in nearest]
        self._about.content = _say(f"{what}: drawing the nearest …")  # meshes take about a second each, once
        cells = [
            (gallery.picture(row), f"{i + 1}   {cosine:.2f}  {gallery.names[row]}")
            for i, (row, cosine) in enumerate(nearest)
        ]
        self._sheet.image = result_sheet(cells)
        self._pick.options = tuple(str(i + 1) for i in range(len(cells)))
        index = gallery.index
        how = "" if index.exact else f", {index.recall:.0%} of the nearest found"
        self._about.content = _say(f"{what}: nearest of {len(gallery):,}{how}")
        self._sheet.visible = self._pick.visible = bool(cells)  # once all that they show is right


def _greeting(count: int) -> str:
    if count == 0:
        return "None: start with `gaussiancross view --objects FOLDER`, objects or what `clipgs embed` wrote."
    return f"{count:,} objects, to be searched by words, a picture or an object."


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


def _say(text: str) -> str:
    return f'<div style="padding:.2em .9em .4em;font-size:.85em;opacity:.8">{html.escape(text)}</div>'
