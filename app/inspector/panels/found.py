"""What a pick or a question found: histogram and threshold, what is shown of it, and its objects."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import viser
from numpy.typing import NDArray

from ....core.query import QueryObject
from ...objects.recognizer import label_list
from ...query.histogram import histogram_svg
from ...query.search import QueryResult, objects
from ...render.catalog import Layer
from ...render.scores import Heat
from ...scenes.source import SceneState
from ..context import PanelContext
from .controls import Link
from .search_actions import SearchActions

_SHOWS = ("Everything", "Only found", "All but found")
_ROWS = 8
_SURE = 0.5
_PALETTE = ((255, 209, 92), (102, 204, 255), (255, 130, 170), (140, 230, 140), (200, 160, 255), (255, 165, 95))
_EDGES = np.array([(a, a | (1 << k)) for k in range(3) for a in range(8) if not a >> k & 1])


class ResultPanel:
    """Owns ``context.model.selection``, ``context.keep`` and the heat."""

    def __init__(self, context: PanelContext, actions: SearchActions) -> None:
        self.context, self._actions = context, actions
        self._found: QueryResult | None = None
        self._meant = True
        self._layer: Layer = "RGB"
        self._cut = 0.0
        self._showing = "Everything"
        self._objects: list[QueryObject] = []
        self._boxes: list[Any] = []
        gui, guard = context.gui, context.guarded
        with gui.add_folder("Found", visible=False) as self._folder:
            self._summary = gui.add_html("")
            self._histogram = gui.add_html("")
            self._slider = gui.add_slider("Threshold", 0.0, 1.0, 0.005, 0.5, hint="what scores higher is selected")
            self._cut_link = Link(self._slider, context, self._set_cut)
            self._show = gui.add_button_group("Show", _SHOWS, hint="in every rendered layer")
            self._show.on_click(guard(lambda _: self._choose(plain(self._show.value)), alone=True))
            self._show.options = tuple(marked(n, self._showing) for n in _SHOWS)
            self._invert = gui.add_checkbox("Invert", False, hint="select what scores lower instead")
            self._invert_link = Link(self._invert, context, lambda _: self._changed())
            self._do = gui.add_button_group(" ", ("Automatic threshold", "Clear"))
            self._do.on_click(guard(lambda _: self._act(self._do.value), alone=True))
        with gui.add_folder("Objects", visible=False) as self._list:
            self._count = gui.add_html("")
            self._draw_boxes = gui.add_checkbox("Boxes in the picture", True)
            self._draw_boxes.on_update(guard(lambda _: self._show_boxes()))
            desk = context.shared.recognizer
            self._say = gui.add_button("Say what they are", icon=viser.Icon.BOX, color="gray", visible=desk is not None)
            self._say.on_click(guard(lambda _: context.ask("names", self._name, "background", urgent=True)))
            self._rows = [
                gui.add_button("", icon=viser.Icon.FOCUS_2, color="gray", visible=False) for _ in range(_ROWS)
            ]
            for i, row in enumerate(self._rows):
                row.on_click(guard(lambda _, i=i: self._go(i)))

    @property
    def found(self) -> QueryResult | None:
        """What is shown, or None."""
        return self._found

    def show(self, state: SceneState, found: QueryResult, meant: bool = True, again: bool = False) -> None:
        """Colour the scene by new scores. In the render thread.

        Args:
            meant: False = nothing in the scene is meant: the scores are shown, and nothing is selected.
            again: the same question to newer weights: the threshold stays where it was put.
        """
        with self.context.lock:
            self._show_new(state, found, meant, again)

    def _show_new(self, state: SceneState, found: QueryResult, meant: bool, again: bool) -> None:
        moved = self._found is not None and abs(self._cut - self._found.cut) > 1e-6
        self._found, self._meant = found, meant
        if not (again and moved):
            self._cut = found.cut
        if not again:
            self._invert_link.show(False)
            if not meant:
                self._choose("Everything", quiet=True)
        self._cut = min(max(self._cut, found.low), found.high)
        scored = found.method != "box"
        if self.context.view.layer != "Heat":
            self._layer = self.context.view.layer
        if state.gaussians is not None:
            self.context.model.set_heat(Heat(found.scores, found.scene, found.step, found.low, found.high, found.label))
        self._cut_link.show(self._cut, min=found.low, max=found.high)
        self._slider.visible = self._histogram.visible = scored
        self._do.options = ("Automatic threshold", "Clear") if scored else ("Clear",)
        self._show.visible = state.gaussians is not None
        self._folder.visible = True
        self._changed()

    def clear(self, quiet: bool = False) -> None:
        """Nothing is searched for.

        Args:
            quiet: the page shows something else already.
        """
        context = self.context
        with context.lock:
            self._found, context.model.selection, self._objects = None, None, []
            self._choose("Everything", quiet=True)
            self._folder.visible = self._list.visible = False
            self._show_boxes()
            context.model.set_keep(None)
            context.model.set_heat(None)
            if context.view.layer == "Heat" and not quiet:
                context.change(layer=self._layer)

    # --- what people do -------------------------------------------------------------------------------------

    def _act(self, what: str) -> None:
        if what == "Clear":
            self._actions.clear_picks()
            self._actions.forget_query()
            self.clear()
        elif self._found is not None:
            self._cut = self._found.cut
            self._cut_link.show(self._cut)
            self._changed()

    def _set_cut(self, cut: float) -> None:
        self._cut = cut
        self._changed()

    def _choose(self, show: str, quiet: bool = False) -> None:
        self._showing = show
        self._show.options = tuple(marked(n, show) for n in _SHOWS)
        if not quiet:
            self._keep(self._mask())

    def _go(self, i: int) -> None:
        if i < len(self._objects):
            o = self._objects[i]
            self.context.camera.fly_to((o.box_min + o.box_max) / 2, float(np.linalg.norm(o.box_max - o.box_min)))

    # --- what follows from the threshold ---------------------------------------------------------------------

    def _mask(self) -> NDArray[np.bool_] | None:
        if self._found is None or not self._meant:
            return None
        mask = self._found.selected(self._cut)
        return ~mask if self._invert.value else mask

    def _changed(self) -> None:
        found, mask = self._found, self._mask()
        if found is None:
            return
        self.context.model.selection = None if mask is None else np.flatnonzero(mask)
        if found.method != "box":
            self._histogram.content = (
                f'<div style="padding:.1em .9em .3em" data-role="histogram">{histogram_svg(found, self._cut)}</div>'
            )
        self._summary.content = self._describe(found, mask)
        self._keep(mask)
        self.context.ask("objects", self._group)

    def _keep(self, mask: NDArray[np.bool_] | None) -> None:
        if mask is None or self._showing == "Everything":
            self.context.model.set_keep(None)
        else:
            self.context.model.set_keep(torch.from_numpy(mask if self._showing == "Only found" else ~mask))

    def _describe(self, found: QueryResult, mask: NDArray[np.bool_] | None) -> str:
        facts = [("asked", html.escape(found.what))]
        if mask is None:
            facts.append(("selected", "nothing"))
        else:
            facts.append(("selected", f"{int(mask.sum()):,} of {len(mask):,} ({mask.mean():.1%})"))
        if found.method != "box":
            automatic = abs(self._cut - found.cut) < 0.003
            how = {"floor": "the default", "best": "the best 1 %"}.get(found.method, "between two groups")
            facts.append(("threshold", f"{self._cut:.2f}" + (f" (automatic: {how})" if automatic else "")))
        return group_facts("", facts)

    def _group(self) -> None:
        """In the render thread."""
        found, mask = self._found, self._mask()
        state = self.context.state()
        self._objects = []
        if found is not None and mask is not None and state is not None and found.scene == self.context.view.scene:
            self._objects = objects(state, mask, found.scores)
        for i, row in enumerate(self._rows):
            if i < len(self._objects):
                row.label = self._row(i)
            row.visible = i < len(self._objects)
        more = len(self._objects) - _ROWS
        text = "Click one to fly there: size, mean score." + (
            f" The {_ROWS} largest of {more + _ROWS}." if more > 0 else ""
        )
        self._count.content = f'<div style="padding:.2em .9em .4em;font-size:.8em;opacity:.7">{text}</div>'
        self._list.visible = bool(self._objects)
        self._show_boxes()

    def _row(self, i: int, name: str = "") -> str:
        return _row(i, self._objects[i], self._found is not None and self._found.method != "box", name)

    def _name(self) -> None:
        """In the render thread: what CLIP-GS takes the objects for."""
        context, desk = self.context, self.context.shared.recognizer
        state, objects = context.state(), self._objects[:_ROWS]
        if desk is None or state is None or state.gaussians is None or not objects:
            return
        # What the scene's labels or the question speak of, before all that the model was trained on.
        asked = label_list(self._found.what) if self._found is not None else ()
        labels = tuple(dict.fromkeys((*context.shared.source.class_names, *asked)))
        for i, found in enumerate(desk.name_parts(state, objects, labels)):
            name = "too small" if found is None else f"{found[0]}{'' if found[1] >= _SURE else '?'} {found[1]:.0%}"
            self._rows[i].label = self._row(i, name)

    def _show_boxes(self) -> None:
        for handle in self._boxes:
            handle.remove()
        self._boxes = []
        if not self._draw_boxes.value:
            return
        scene = self.context.client.scene
        for i, o in enumerate(self._objects[:_ROWS]):
            corners = np.stack([np.where([c >> k & 1 for k in range(3)], o.box_max, o.box_min) for c in range(8)])
            color = _PALETTE[i % len(_PALETTE)]
            self._boxes.append(
                scene.add_line_segments(
                    f"/objects/{i}/box", corners[_EDGES], color, thickness=2.5, thickness_units="screen"
                )
            )
            top = np.array([o.box_min[0], o.box_min[1], o.box_max[2]])
            self._boxes.append(scene.add_label(f"/objects/{i}/name", str(i + 1), position=top, anchor="bottom-center"))


def _row(i: int, o: QueryObject, scored: bool, name: str = "") -> str:
    size = " × ".join(f"{v:.1f}" for v in o.box_max - o.box_min)
    facts = (name, f"{size} m", f"{o.score_mean:.2f}" if scored else f"{o.size:,}")
    return "    ".join((str(i + 1), *(f for f in facts if f)))


def marked(option: str, chosen: str) -> str:
    """The option with a dot where it is the chosen one."""
    return f"● {option}" if option == chosen else option


def plain(option: str) -> str:
    """Without the dot."""
    return option.removeprefix("● ")


def group_facts(title: str, facts: Sequence[tuple[str, str]], note: str = "") -> str:
    """A small table of (name, HTML) pairs under a title."""
    rows = "".join(
        f'<div style="opacity:.6">{name}</div><div style="overflow-wrap:anywhere">{value}</div>'
        for name, value in facts
    )
    head = f'<div style="font-weight:600;margin-bottom:.25em">{html.escape(title)}</div>' if title else ""
    foot = f'<div style="margin-top:.3em;opacity:.75">{html.escape(note)}</div>' if note else ""
    return (
        f'<div style="padding:.2em .9em .4em;font-size:.85em;font-variant-numeric:tabular-nums">{head}'
        f'<div style="display:grid;grid-template-columns:max-content 1fr;gap:.1em .9em">{rows}</div>{foot}</div>'
    )
