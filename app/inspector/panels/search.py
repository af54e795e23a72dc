"""Search tab: picks and text queries give scores, a threshold and objects."""

from __future__ import annotations

from ...query.picking import prepare
from ...query.search import QueryResult
from ...scenes.source import SceneState
from ..context import PanelContext
from .base import Panel, register
from .pick import PickPanel
from .query import QueryPanel
from .result import ResultPanel


@register("search", tab="Search")
class SearchTab(Panel):
    """Picks, text queries and their result, in the order of the tab."""

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._seen: tuple[int, int | None] | None = None
        self.pick = PickPanel(context, self)
        self.query = QueryPanel(context, self)
        self.result = ResultPanel(context, self)

    def on_loaded(self, scene: int, state: SceneState) -> None:
        seen = (scene, state.step)
        if seen == self._seen:
            return
        new_scene = self._seen is None or self._seen[0] != scene
        self._seen = seen
        if new_scene:
            self.context.model.history.clear()
            self.pick.clear()
            if self.result.result is not None:
                self.result.clear(quiet=self.query.active)
        self.pick.renew(state)
        self.query.renew(state)
        if state.step is None or self.context.shared.feed is None:  # the weights stay: prepare for the first click
            self.context.ask("prepare", lambda: prepare(state))

    def show_result(
        self, state: SceneState, result: QueryResult, present: bool = True, again: bool = False, fly: bool = False
    ) -> None:
        self.result.show(state, result, present, again, fly)

    def remember(self, kind: str, merge: bool = False) -> None:
        context = self.context
        parts = self.query.snapshot(), self.pick.snapshot(), self.result.snapshot()

        def restore() -> None:
            state = context.state()
            if state is not None:
                for part in parts:
                    part(state)

        context.model.history.record(kind, lambda: context.ask("undo", restore, urgent=True), merge)

    def clear_result(self) -> None:
        self.result.clear()

    def clear_picks(self) -> None:
        self.pick.clear()

    def forget_query(self) -> None:
        self.query.forget()
