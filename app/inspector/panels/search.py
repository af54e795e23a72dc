"""The search tab: picks and questions lead to the same scores, threshold and objects."""

from __future__ import annotations

from ...query.picking import prepare
from ...query.search import QueryResult
from ...scenes.source import SceneState
from ..context import PanelContext
from .base import Panel, register
from .found import ResultPanel
from .pick import PickPanel
from .query import QueryPanel


@register("search", tab="Search")
class SearchTab(Panel):
    """Picks, questions and what they found, in the order in which they stand in the tab."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._seen: tuple[int, int | None] | None = None
        self.pick = PickPanel(context, self)
        self.query = QueryPanel(context, self)
        self.found = ResultPanel(context, self)

    def on_loaded(self, scene: int, state: SceneState) -> None:
        seen = (scene, state.step)
        if seen == self._seen:
            return
        moved = self._seen is None or self._seen[0] != scene
        self._seen = seen
        if moved:
            self.pick.clear()
            if self.found.found is not None:
                self.found.clear(quiet=self.query.asking)
        self.pick.renew(state)
        self.query.renew(state)
        if state.step is None or self.context.shared.feed is None:  # it stays: be ready for the first click
            self.context.ask("prepare", lambda: prepare(state))

    def show_result(self, state: SceneState, result: QueryResult, present: bool = True, again: bool = False) -> None:
        self.found.show(state, result, present, again)

    def clear_result(self) -> None:
        self.found.clear()

    def clear_picks(self) -> None:
        self.pick.clear()

    def forget_query(self) -> None:
        self.query.forget()
