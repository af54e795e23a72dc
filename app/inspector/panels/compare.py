"""The switch and the controls of a comparison: which step is on the right, and where the divider stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.errors import InputError
from ...scenes.timeline import TimelineSource
from .controls import Link, assign

if TYPE_CHECKING:
    from ..session import Session


class ComparePanel:
    """All of it belongs to this browser."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._comparison = session.sides
        gui = session.client.gui
        if self._comparison is None:
            return
        other = self._comparison.other
        self._right = other if isinstance(other, TimelineSource) else None
        with gui.add_folder("Compare"):
            self._text = gui.add_markdown("")
            on = gui.add_checkbox(
                "Side by side", session.view.compare, hint="the same scene from the same camera (key C)"
            )
            self._on = Link(on, session, lambda wanted: None if wanted == session.view.compare else self.toggle())
            self._at = gui.add_slider("Divider (%)", 0, 100, 1, 50)
            self._at_link = Link(self._at, session, lambda value: session.change(at=value / 100))
            self._step = gui.add_slider("Step on the right", 0, 1, 1, 0, visible=False)
            self._step_link = Link(self._step, session, self._seek)
        self.update()

    def toggle(self) -> None:
        """Compare, or stop comparing."""
        if self._comparison is None:
            raise InputError("a comparison", "a run, or two", "neither", "open them: `gaussiancross view RUN OTHER`")
        source = self._session.source
        if self._right is not None and self._comparison.same_run and self._right.step() == source.step():
            self._right.seek(self._right.steps[0] if self._right.steps else None)  # the same twice is no comparison
        with self._session.lock:
            self._session.change(compare=not self._session.view.compare)

    def update(self) -> None:
        """Called ten times a second."""
        if self._comparison is None:
            return
        left, right = self._comparison.names()
        assign(self._text, "content", f"Left: **{left}** · right: **{right}**")
        steps = () if self._right is None else self._right.steps
        with self._session.lock:
            view = self._session.view
            self._on.show(view.compare)
            assign(self._at, "visible", view.compare)
            self._at_link.show(round(100 * view.at))
            assign(self._step, "visible", view.compare and len(steps) > 1)
            if self._right is not None and len(steps) > 1:
                step = self._right.step()
                self._step_link.show(steps.index(step) if step in steps else len(steps) - 1, max=len(steps) - 1)
        if view.compare and self._comparison.stale(view.scene):
            self._session.redraw_canvas()

    def _seek(self, place: int) -> None:
        assert self._right is not None
        self._right.seek(self._right.steps[place])
        self._session.redraw_canvas()
