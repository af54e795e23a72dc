"""Compare panel: two runs or two steps of a run side by side."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.errors import InputError
from ...scenes.timeline import TimelineSource
from ..context import PanelContext
from .base import Command, Panel, register
from .controls import Link, assign


@register("compare", tab="Run", order=1)
class ComparePanel(Panel):
    """Switches the comparison of this browser, moves its divider and chooses the step on the right."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._comparison = context.comparison
        gui = context.gui
        if self._comparison is None:
            return
        other = self._comparison.other
        self._right = other if isinstance(other, TimelineSource) else None
        with gui.add_folder("Compare"):
            self._text = gui.add_markdown("")
            on = gui.add_checkbox("Side by side", context.view.compare, hint="same scene, same camera (key C)")
            self._on = Link(on, context, lambda on: None if on == context.view.compare else self.toggle())
            self._at = gui.add_slider("Divider (%)", 0, 100, 1, 50)
            self._at_link = Link(self._at, context, lambda value: context.change(at=value / 100))
            self._step = gui.add_slider("Step on the right", 0, 1, 1, 0, visible=False)
            self._step_link = Link(self._step, context, self._seek)
        self.pulse()

    def commands(self) -> Sequence[Command]:
        return (Command("Toggle comparison", "C", self.toggle, order=2),)

    def toggle(self) -> None:
        """Start or stop comparing."""
        if self._comparison is None:
            raise InputError("a comparison", "a run, or two", "neither", "open them: `gaussiancross view RUN OTHER`")
        source = self.context.source
        if self._right is not None and self._comparison.same_run and self._right.step() == source.step():
            self._right.seek(self._right.steps[0] if self._right.steps else None)  # not the same step on both sides
        with self.context.lock:
            self.context.change(compare=not self.context.view.compare)

    def pulse(self) -> None:
        if self._comparison is None:
            return
        left, right = self._comparison.names()
        assign(self._text, "content", f"Left: **{left}** · right: **{right}**")
        steps = () if self._right is None else self._right.steps
        with self.context.lock:
            view = self.context.view
            self._on.show(view.compare)
            assign(self._at, "visible", view.compare)
            self._at_link.show(round(100 * view.at))
            assign(self._step, "visible", view.compare and len(steps) > 1)
            if self._right is not None and len(steps) > 1:
                step = self._right.step()
                self._step_link.show(steps.index(step) if step in steps else len(steps) - 1, max=len(steps) - 1)
        if view.compare and self._comparison.stale(view.scene):
            self.context.requests.small_canvas()

    def _seek(self, index: int) -> None:
        assert self._right is not None
        self._right.seek(self._right.steps[index])
        self.context.requests.small_canvas()
