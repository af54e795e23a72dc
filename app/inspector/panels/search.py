"""The search tab: picks and questions lead to the same scores, threshold and objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...query.picking import prepare
from ...scenes.source import SceneState
from .found import ResultPanel
from .pick import PickPanel
from .query import QueryPanel

if TYPE_CHECKING:
    from ..session import Session


class SearchTab:
    """Picks, questions and what they found, in the order in which they stand in the tab."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: tuple[int, int | None] | None = None
        self.pick = PickPanel(session, self)
        self.query = QueryPanel(session, self)
        self.found = ResultPanel(session, self)

    def loaded(self, index: int, state: SceneState) -> None:
        """A scene is shown, or the same one with newer weights. In the render thread."""
        seen = (index, state.step)
        if seen == self._seen:
            return
        moved = self._seen is None or self._seen[0] != index
        self._seen = seen
        if moved:
            self.pick.clear()
            if self.found.found is not None:
                self.found.clear(quiet=self.query.asking)
        self.pick.renew(state)
        self.query.renew(state)
        if state.step is None or self._session.inspector.feed is None:  # it stays: be ready for the first click
            self._session.work("prepare", lambda: prepare(state))
