"""Picks: click a point of the canvas, see its properties and the similarity of the scene to it."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import viser
from numpy.typing import NDArray

from ....core.geometry.cameras import Cameras
from ....core.query import choose_cut
from ...query.picking import CLOSE, Pick, in_rectangle, label_at, pick, renewed, scores_per_pick
from ...query.search import QueryResult
from ...render.catalog import INFO
from ...scenes.house import drawn
from ...scenes.source import SceneState
from ..context import PanelContext
from .controls import mark_chosen, table_html, unmark
from .search_actions import SearchActions

_NEXT = ("Replace", "Add", "Exclude")
_MODES = {None: None, "shift": "Exclude", "cmd/ctrl": "Add"}
"""Key held while clicking → effect of the click; None = the one that the buttons choose."""

MAX_PICKS = 20
"""Largest number of picks; the oldest ones are dropped."""
PICKED = 1.0
"""Extent (m) of what "Focus" shows around a pick."""

DOUBLE = 0.4
"""Seconds between the two clicks of a double click, at most. The first one has picked, the second one flies there."""

CROSS = 0.035
"""Half length (m) of a cross's arms at one metre from the camera."""


_LABEL = "similarity to your click"


class PickPanel:
    """Picks points and boxes; every click counts."""

    def __init__(self, context: PanelContext, actions: SearchActions) -> None:
        self.context, self._actions = context, actions
        self._picks: tuple[Pick, ...] = ()
        self._clicks = 0
        self._last_click = (-1.0, -1.0), -math.inf
        self._hit = False
        self._marks: list[Any] = []
        self._boxing: Any = None
        gui, guard, scene = context.gui, context.guarded, context.client.scene
        with gui.add_folder("Pick") as self._folder:
            self._card = gui.add_html(_HINT)
            self._next = gui.add_button_group(
                "Next click", _NEXT, hint="Ctrl+click always adds, Shift+click always excludes"
            )
            self._mode = "Replace"
            self._next.on_click(guard(lambda _: self._choose(unmark(self._next.value))))
            self._do = gui.add_button_group(" ", ("Undo", "Clear", "Select a box"), hint="drag a box on the canvas")
            self._do.on_click(guard(lambda _: self._act(self._do.value)))
        self._choose("Replace")
        for modifier, mode in _MODES.items():
            scene.on_click(modifier=modifier)(guard(lambda event, mode=mode: self._clicked(event, mode)))

    def clear(self) -> None:
        """Remove the picks and their crosses."""
        self._picks = ()
        self._show(None)

    def snapshot(self) -> Callable[[SceneState], None]:
        """The present picks, as a function that brings them back. Their scores are the result's."""
        picks = self._picks

        def restore(state: SceneState) -> None:
            self._picks = picks
            self._show(state)

        return restore

    def renew(self, state: SceneState) -> None:
        """Pick the same positions again for newer weights. Render thread."""
        if self._picks:
            self._picks = renewed(self._picks, state)
            self._score(state, again=True)

    # --- user actions -----------------------------------------------------------------------------------------

    def _choose(self, mode: str) -> None:
        self._mode = mode
        self._next.options = tuple(mark_chosen(n, mode) for n in _NEXT)

    def _act(self, action: str) -> None:
        if action == "Select a box":
            self._start_box()
        elif action == "Undo":
            self.context.model.history.undo()
        else:
            self._actions.remember("picks")
            self._picks = ()
            self._show(None)
            self._actions.clear_result()

    def _clicked(self, event: viser.SceneClickEvent, mode: str | None) -> None:
        if INFO[self.context.view.layer].kind == "sheet" or self.context.frusta.was_clicked(event):
            return
        u, v = event.screen_pos
        (last_u, last_v), last = self._last_click
        self._last_click = (u, v), time.monotonic()
        if max(abs(u - last_u), abs(v - last_v)) < 0.02 and time.monotonic() - last < DOUBLE:
            self.context.ask("camera", self._fly, urgent=True)
            return
        self._clicks += 1  # a request of its own, which the next click does not replace
        self.context.ask(f"pick {self._clicks}", lambda: self._pick(u, v, mode or self._mode), urgent=True)

    def _start_box(self) -> None:
        scene = self.context.client.scene

        def done(event: viser.SceneRectSelectEvent) -> None:
            scene.remove_rect_select_callback()
            self._boxing = None
            self.context.ask("box", lambda: self._select(event.screen_min, event.screen_max), urgent=True)

        if self._boxing is None:
            self._boxing = scene.on_rect_select()(self.context.guarded(done))
        self.context.notify("Drag a box on the canvas", "Everything visible inside it is selected.", seconds=4)

    # --- render thread ----------------------------------------------------------------------------------------

    def _fly(self) -> None:
        """Fly to the pick of a double click's first click, if it hit something."""
        if self._hit:
            self.context.camera.focus()

    def _pick(self, u: float, v: float, mode: str) -> None:
        context = self.context
        self._hit = False
        index = context.view.scene
        state = context.renderer.state(index)
        if state is None:
            return
        cameras = context.requests.cameras()
        keep = self._drawn(state, cameras)
        found = pick(state, cameras, u * cameras.width, v * cameras.height, mode != "Exclude", keep)
        if found is None:
            context.notify("Nothing there", "The click hit neither a Gaussian nor a point.", seconds=3)
            return
        self._hit = True
        context.camera.target = (found.position, PICKED)
        self._actions.remember("pick")
        self._picks = (found,) if mode == "Replace" else (*self._picks, found)[-MAX_PICKS:]
        self._score(state)

    def _drawn(self, state: SceneState, cameras: Cameras) -> torch.Tensor | None:
        options = self.context.model.options()
        return drawn(state, options.keep, options.cut, cameras)

    def _score(self, state: SceneState, again: bool = False) -> None:
        picks, index = self._picks, self.context.view.scene
        scores = scores_per_pick(state, picks)
        if scores is not None:
            included = sum(p.include for p in picks)
            what = "1 pick" if included == 1 else f"{included} picks"
            if included < len(picks):
                what += f" without {len(picks) - included}"
            self._actions.forget_query()
            result = QueryResult.of(scores.amax(1), state, index, _LABEL, what, CLOSE)
            if scores.shape[1] > 1:  # the lowest threshold, so that another pick takes nothing away
                lowest = min(choose_cut(one, CLOSE).value for one in scores.unbind(1))
                result = replace(result, cut=min(result.cut, lowest))
            self._actions.show_result(state, result, again=again)
        self._show(state)

    def _select(self, low: tuple[float, float], high: tuple[float, float]) -> None:
        context = self.context
        state = context.state()
        if state is None:
            return
        cameras = context.requests.cameras()
        size = np.array([cameras.width, cameras.height])
        a, b = np.array(low) * size, np.array(high) * size
        keep = self._drawn(state, cameras)
        inside = in_rectangle(state, cameras, (float(a[0]), float(a[1])), (float(b[0]), float(b[1])), keep)
        count = (
            len(state.gaussians) if state.gaussians is not None else 0 if state.points is None else len(state.points)
        )
        scores = torch.zeros(count)
        scores[torch.from_numpy(inside)] = 1.0
        self._actions.remember("box")
        self._picks = ()
        self._show(None)
        self._actions.forget_query()
        step = state.step
        self._actions.show_result(state, QueryResult(scores, context.view.scene, step, "", "box", 0.0, 1.0, 0.5, "box"))

    # --- display ----------------------------------------------------------------------------------------------

    def _show(self, state: SceneState | None) -> None:
        for mark in self._marks:
            mark.remove()
        self._marks = []
        if state is None or not self._picks:
            self._card.content = _HINT
            return
        for i, p in enumerate(self._picks):
            self._marks += self._cross(i, p)
        self._card.content = self._describe(state, self._picks[-1])

    def _cross(self, i: int, p: Pick) -> list[Any]:
        scene = self.context.client.scene
        reach = CROSS * max(0.3, float(np.linalg.norm(self.context.client.camera.position - p.position)))
        arms = p.position + reach * np.stack([-np.eye(3), np.eye(3)], 1)  # [3, 2, 3]
        color = (40, 240, 90) if p.include else (255, 50, 60)
        marks: list[Any] = [
            scene.add_line_segments(f"/picks/{i}/{name}", arms, c, thickness=width, thickness_units="screen")
            for name, c, width in (("edge", (10, 12, 16), 6.0), ("cross", color, 2.5))
        ]
        if len(self._picks) > 1:
            text = f"{i + 1}" if p.include else f"not {i + 1}"
            marks.append(scene.add_label(f"/picks/{i}/name", text, position=p.position, anchor="bottom-left"))
        return marks

    def _describe(self, state: SceneState, p: Pick) -> str:
        renderer, index = self.context.renderer, self.context.view.scene
        facts: list[tuple[str, str]] = []
        label = label_at(state, p.position, tuple(self.context.source.class_names))
        for name in renderer.class_providers:
            classes = renderer.class_scores(index, "Classes", name)
            if classes is not None and p.kind == "gaussian" and len(classes.scores) > p.index:
                facts.append((html.escape(name), _best_classes(classes.scores[p.index], classes.names)))
        facts.append(("position", metres(p.position)))
        if p.kind == "gaussian" and state.gaussians is not None:
            facts += _gaussian_facts(state, p.index)
        elif state.points is not None:
            facts.append(("colour", _swatch(state.points.color[p.index])))
        note = ""
        if not state.has_embeddings or state.gaussians is None:
            note = "This scene has no features, so there is no heat map."
        count = f"{len(self._picks)} picks, the last one: " if len(self._picks) > 1 else ""
        what = f"{'Gaussian' if p.kind == 'gaussian' else 'point'} {p.index:,}"
        if label is not None:  # what it is comes before its number
            facts.append(("number", what))
        return table_html(f"{count}{label or what}", facts, note)


def _gaussian_facts(state: SceneState, i: int) -> list[tuple[str, str]]:
    assert state.gaussians is not None
    one = state.gaussians[torch.tensor([i], device=state.gaussians.means.device)].to("cpu")
    # Scales are in the network's world, whose unit may differ from the scene's metre.
    shrink = 1.0
    if state.transform is not None:
        shrink = float(torch.linalg.det(state.transform[:3, :3].double()).abs()) ** (1 / 3)
    scales = (one.scales[0] * 1000 / shrink).sort(descending=True).values.tolist()
    color = (one.colors[0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return [
        ("scales", " × ".join(f"{s:.0f}" if s >= 10 else f"{s:.1f}" for s in scales) + " mm"),
        ("opacity", f"{float(one.opacities[0]):.2f}"),
        ("colour", _swatch(color)),
    ]


def _best_classes(scores: torch.Tensor, names: tuple[str, ...]) -> str:
    """ "sofa 0.81, chair 0.10" """
    total = float(scores.sum())
    if total <= 0:
        return "none"
    share, order = (scores.cpu() / total).sort(descending=True)
    best = [(names[int(i)], float(s)) for s, i in zip(share[:3], order[:3], strict=True) if s > 0.05]
    return ", ".join(f"{html.escape(n)} {s:.2f}" for n, s in best)


def metres(position: NDArray) -> str:
    """ "1.20, −0.35, 0.80 m" """
    return ", ".join(f"{float(v):.2f}".replace("-", "−") for v in position) + " m"


def _swatch(color: NDArray) -> str:
    r, g, b = (int(c) for c in color)
    return (
        f'<i style="display:inline-block;width:.8em;height:.8em;border-radius:.2em;background:rgb({r},{g},{b});'
        f'vertical-align:-.05em;margin-right:.4em;border:1px solid #ffffff30"></i>{r}, {g}, {b}'
    )


_HINT = (
    '<div style="padding:.2em .9em .4em;font-size:.85em;opacity:.75">Click anything on the canvas to see its '
    "properties and similar parts. <b>Ctrl</b> adds, <b>Shift</b> excludes.</div>"
)
