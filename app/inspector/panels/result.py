"""Result of a pick or a text query: histogram, threshold, visibility of the selection, and its objects."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import viser
from numpy.typing import NDArray

from ....core.query import QueryObject
from ...objects.recognizer import label_list
from ...query.boxes import BOX_COLORS, BOX_EDGES, box_corners
from ...query.histogram import histogram_svg
from ...query.search import QueryResult, objects
from ...render.catalog import Layer
from ...render.scores import Heat
from ...scenes.source import SceneState
from ..context import PanelContext
from .controls import Link, mark_chosen, table_html, unmark
from .search_actions import SearchActions

_SHOWS = ("Everything", "Only selected", "All but selected")
_ROWS = 8
"""Largest number of objects listed."""
_CERTAIN = 0.5
"""Probability from which an object's class is shown without a question mark."""


class ResultPanel:
    """Sets the selection, the visible Gaussians and the scores of the "Heat" layer."""

    def __init__(self, context: PanelContext, actions: SearchActions) -> None:
        self.context, self._actions = context, actions
        self._result: QueryResult | None = None
        self._present, self._fly = True, False
        self._layer: Layer = "RGB"
        self._cut, self._inverted = 0.0, False
        self._visibility = "Everything"
        self._objects: list[QueryObject] = []
        self._boxes: list[Any] = []
        gui, guard = context.gui, context.guarded
        with gui.add_folder("Result", visible=False) as self._folder:
            self._summary = gui.add_html("")
            self._histogram = gui.add_html("")
            self._slider = gui.add_slider("Threshold", 0.0, 1.0, 0.005, 0.5, hint="higher scores are selected")
            self._cut_link = Link(self._slider, context, self._set_cut)
            self._show_buttons = gui.add_button_group("Show", _SHOWS, hint="applies to every rendered layer")
            self._show_buttons.on_click(
                guard(lambda _: self._pick_visible(unmark(self._show_buttons.value)), alone=True)
            )
            self._show_buttons.options = tuple(mark_chosen(n, self._visibility) for n in _SHOWS)
            self._invert = gui.add_checkbox("Invert", False, hint="select lower scores instead")
            self._invert_link = Link(self._invert, context, self._set_invert)
            self._do = gui.add_button_group(" ", ("Automatic threshold", "Clear"))
            self._do.on_click(guard(lambda _: self._act(self._do.value), alone=True))
        with gui.add_folder("Objects", visible=False) as self._list:
            self._count = gui.add_html("")
            self._draw_boxes = gui.add_checkbox("Show boxes", True)
            self._draw_boxes.on_update(guard(lambda _: self._show_boxes()))
            recognizer = context.shared.recognizer
            self._classify = gui.add_button(
                "Classify", icon=viser.Icon.BOX, color="gray", visible=recognizer is not None
            )
            self._classify.on_click(
                guard(lambda _: context.ask("names", self._classify_objects, "background", urgent=True))
            )
            self._rows = [
                gui.add_button("", icon=viser.Icon.FOCUS_2, color="gray", visible=False) for _ in range(_ROWS)
            ]
            for i, row in enumerate(self._rows):
                row.on_click(guard(lambda _, i=i: self._fly_to(i)))

    @property
    def result(self) -> QueryResult | None:
        """The result that is shown, or None."""
        return self._result

    def show(
        self, state: SceneState, result: QueryResult, present: bool = True, again: bool = False, fly: bool = False
    ) -> None:
        """Show new scores. Render thread.

        Args:
            present: False if no phrase is in the scene; the scores are shown and nothing is selected.
            again: the same query with newer weights; the user's threshold and layer stay.
            fly: move the camera to the best object unless the picture shows one.
        """
        with self.context.lock:
            self._fly = fly
            self._show(state, result, present, again)

    def _show(self, state: SceneState, result: QueryResult, present: bool, again: bool) -> None:
        moved = self._result is not None and abs(self._cut - self._result.cut) > 1e-6
        self._result, self._present = result, present
        if not (again and moved):
            self._cut = result.cut
        if not again:
            self._inverted = False
            self._invert_link.show(False)
            if not present:
                self._choose("Everything", quiet=True)
        self._cut = min(max(self._cut, result.low), result.high)
        scored = result.method != "box"
        if self.context.view.layer != "Heat":
            self._layer = self.context.view.layer
        if state.gaussians is not None:
            self.context.model.set_heat(
                Heat(result.scores, result.scene, result.step, result.low, result.high, result.label),
                show=not again,  # newer weights do not undo the user's choice of another layer
            )
        self._cut_link.show(self._cut, min=result.low, max=result.high)
        # Without a match nothing is selected, whatever the threshold.
        self._slider.visible = self._histogram.visible = scored and present
        self._invert.visible = present
        self._do.options = ("Automatic threshold", "Clear") if scored and present else ("Clear",)
        self._show_buttons.visible = present and state.gaussians is not None
        self._folder.visible = True
        self._changed()

    def clear(self, quiet: bool = False) -> None:
        """Remove the result.

        Args:
            quiet: leave the layer as it is.
        """
        context = self.context
        with context.lock:
            self._result, context.model.selection, self._objects = None, None, []
            self._choose("Everything", quiet=True)
            self._folder.visible = self._list.visible = False
            self._show_boxes()
            context.model.set_keep(None)
            context.model.set_heat(None)
            if context.view.layer == "Heat" and not quiet:
                context.change(layer=self._layer)

    def snapshot(self) -> Callable[[SceneState], None]:
        """The present result, as a function that brings it back."""
        result, present, cut, visibility = self._result, self._present, self._cut, self._visibility
        invert, layer, before = self._inverted, self.context.view.layer, self._layer

        def restore(state: SceneState) -> None:
            with self.context.lock:
                if result is None:
                    self.clear()
                else:
                    self._fly = False
                    self._show(state, result, present, again=True)
                    self._cut = cut
                    self._cut_link.show(cut)
                    self._inverted = invert
                    self._invert_link.show(invert)
                    self._choose(visibility, quiet=True)
                    self._changed()
                self._layer = before
                if layer != "Heat" or self._result is not None:
                    self.context.change(layer=layer)

        return restore

    # --- user actions -----------------------------------------------------------------------------------------

    def _act(self, action: str) -> None:
        self._actions.remember(action)
        if action == "Clear":
            self._actions.clear_picks()
            self._actions.forget_query()
            self.clear()
        elif self._result is not None:
            self._cut = self._result.cut
            self._cut_link.show(self._cut)
            self._changed()

    def _set_cut(self, cut: float) -> None:
        self._actions.remember("threshold", merge=True)
        self._cut = cut
        self._changed()

    def _set_invert(self, invert: bool) -> None:
        self._actions.remember("invert")
        self._inverted = invert
        self._changed()

    def _pick_visible(self, visible: str) -> None:
        self._actions.remember("visible")
        self._choose(visible)

    def _choose(self, visible: str, quiet: bool = False) -> None:
        self._visibility = visible
        self._show_buttons.options = tuple(mark_chosen(n, visible) for n in _SHOWS)
        if not quiet:
            self._keep(self._mask())

    def _fly_to(self, i: int) -> None:
        if i < len(self._objects):
            o = self._objects[i]
            self.context.camera.fly_to((o.box_min + o.box_max) / 2, float(np.linalg.norm(o.box_max - o.box_min)))

    # --- selection --------------------------------------------------------------------------------------------

    def _mask(self) -> NDArray[np.bool_] | None:
        """[N] whether selected, or None without a selection."""
        if self._result is None or not self._present:
            return None
        mask = self._result.selected(self._cut)
        return ~mask if self._inverted else mask

    def _changed(self) -> None:
        result, mask = self._result, self._mask()
        if result is None:
            return
        self.context.model.selection = None if mask is None else np.flatnonzero(mask)
        if result.method != "box":
            self._histogram.content = (
                f'<div style="padding:.1em .9em .3em" data-role="histogram">{histogram_svg(result, self._cut)}</div>'
            )
        self._summary.content = self._describe(result, mask)
        self._keep(mask)
        self.context.ask("objects", self._group)

    def _keep(self, mask: NDArray[np.bool_] | None) -> None:
        if mask is None or self._visibility == "Everything":
            self.context.model.set_keep(None)
        else:
            self.context.model.set_keep(torch.from_numpy(mask if self._visibility == "Only selected" else ~mask))

    def _describe(self, result: QueryResult, mask: NDArray[np.bool_] | None) -> str:
        facts = [("query", html.escape(result.what))]
        if mask is None:
            facts.append(("selected", "nothing"))
        else:
            facts.append(("selected", f"{int(mask.sum()):,} of {len(mask):,} ({mask.mean():.1%})"))
        if result.method != "box" and mask is not None:
            automatic = abs(self._cut - result.cut) < 0.003
            how = {"floor": "the lowest allowed", "best": "the best 1 %"}.get(result.method, "between two groups")
            facts.append(("threshold", f"{self._cut:.2f}" + (f" (automatic: {how})" if automatic else "")))
        return table_html("", facts)

    def _group(self) -> None:
        """List the connected objects of the selection. Render thread."""
        result, mask = self._result, self._mask()
        state = self.context.state()
        self._objects = []
        if result is not None and mask is not None and state is not None and result.scene == self.context.view.scene:
            self._objects = objects(state, mask, result.scores)
            if self._fly and self._objects:
                self._look_at_best()
        self._fly = False
        for i, row in enumerate(self._rows):
            if i < len(self._objects):
                row.label = self._row(i)
            row.visible = i < len(self._objects)
        more = len(self._objects) - _ROWS
        text = "Size and mean score; click an object to fly to it." + (
            f" The {_ROWS} largest of {more + _ROWS} are shown." if more > 0 else ""
        )
        self._count.content = f'<div style="padding:.2em .9em .4em;font-size:.8em;opacity:.7">{text}</div>'
        self._list.visible = bool(self._objects)
        self._show_boxes()

    def _look_at_best(self) -> None:
        """Fly to the best object unless the picture shows the middle of some object."""
        camera, best = self.context.camera, self._objects[0]
        camera.target = ((best.box_min + best.box_max) / 2, float(np.linalg.norm(best.box_max - best.box_min)))
        cameras = self.context.requests.cameras()
        centers = torch.from_numpy(np.stack([(o.box_min + o.box_max) / 2 for o in self._objects])).float()
        uv, z = cameras.project(centers)
        inside = ((uv[0] > 0) & (uv[0] < torch.tensor([cameras.width, cameras.height]))).all(1) & (z[0] > 0.05)
        if not inside.any():
            camera.focus()

    def _row(self, i: int, name: str = "") -> str:
        return _row(i, self._objects[i], self._result is not None and self._result.method != "box", name)

    def _classify_objects(self) -> None:
        """Show the objects' classes according to CLIP-GS. Render thread."""
        context, recognizer = self.context, self.context.shared.recognizer
        state, objects = context.state(), self._objects[:_ROWS]
        if recognizer is None or state is None or state.gaussians is None or not objects:
            return
        # The scene's classes and the query's phrases come first among the labels.
        phrases = label_list(self._result.what) if self._result is not None else ()
        labels = tuple(dict.fromkeys((*context.shared.source.class_names, *phrases)))
        for i, named in enumerate(recognizer.name_parts(state, objects, labels)):
            name = "too small" if named is None else f"{named[0]}{'' if named[1] >= _CERTAIN else '?'} {named[1]:.0%}"
            self._rows[i].label = self._row(i, name)

    def _show_boxes(self) -> None:
        for handle in self._boxes:
            handle.remove()
        self._boxes = []
        if not self._draw_boxes.value:
            return
        scene = self.context.client.scene
        for i, o in enumerate(self._objects[:_ROWS]):
            color = BOX_COLORS[i % len(BOX_COLORS)]
            self._boxes.append(
                scene.add_line_segments(
                    f"/objects/{i}/box", box_corners(o)[BOX_EDGES], color, thickness=2.5, thickness_units="screen"
                )
            )
            top = np.array([o.box_min[0], o.box_min[1], o.box_max[2]])
            self._boxes.append(scene.add_label(f"/objects/{i}/name", str(i + 1), position=top, anchor="bottom-center"))


def _row(i: int, o: QueryObject, scored: bool, name: str = "") -> str:
    facts = (name, _size(o.box_max - o.box_min), f"{o.score_mean:.2f}" if scored else f"{o.size:,}")
    return "    ".join((str(i + 1), *(f for f in facts if f)))


def _size(extent: NDArray[np.floating]) -> str:
    """Extent [3] in metres; in centimetres if a side is shorter than 10 cm, which metres would round to nothing."""
    factor, digits, unit = (100, 0, "cm") if extent.min() < 0.1 else (1, 1, "m")
    return " × ".join(f"{factor * v:.{digits}f}" for v in extent) + f" {unit}"
