"""Actions that the parts of the Search tab offer each other."""

from __future__ import annotations

from typing import Protocol

from ...query.search import QueryResult
from ...scenes.source import SceneState


class SearchActions(Protocol):
    """Implemented by the tab, used by its parts."""

    def show_result(
        self, state: SceneState, result: QueryResult, present: bool = True, again: bool = False, fly: bool = False
    ) -> None:
        """Show new scores; arguments as in `ResultPanel.show`."""

    def clear_result(self) -> None:
        """Remove the result."""

    def clear_picks(self) -> None:
        """Remove the picks."""

    def remember(self, kind: str, merge: bool = False) -> None:
        """Record what is shown before a change of it; arguments as in `History.record`."""

    def forget_query(self) -> None:
        """Remove the text query."""
