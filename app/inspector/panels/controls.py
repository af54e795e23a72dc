"""Controls that a page moves, and that say what was chosen elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import viser

from ..context import PanelContext


class Link:
    """A control and what it stands for, without echoes and without losses.

    Somebody may move the control while the panel is writing to it, from another thread: what the page sent wins over
    what was true before, and a value that it sent a moment ago is not sent back while it is being dragged.

    Args:
        handle: the control; its value is what the two agree on at first.
        change: called with the value when somebody moved the control, under ``context.lock``; when it raises, the next
            `show` puts the control back.

    Attributes:
        handle: the control.
    """

    def __init__(self, handle: Any, context: PanelContext, change: Callable[[Any], None]) -> None:
        self.handle, self._lock, self._change = handle, context.lock, change
        self._agreed = handle.value
        handle.on_update(context.guarded(self._moved))

    def _moved(self, event: viser.GuiEvent) -> None:
        if event.client is None:  # an assignment of ours
            return
        with self._lock:
            value = self.handle.value
            if value != self._agreed:
                self._agreed = value
                self._change(value)

    def show(self, value: Any, **limits: Any) -> None:
        """Make the control say what has been chosen elsewhere. Whoever reads that in another thread than it is changed
        in holds ``context.lock`` from the reading on.

        Args:
            value: of no effect where it is none of the options: the control says the first of them then.
            limits: properties that decide which values the control can take: ``options`` or ``min`` and ``max``.
        """
        options = limits.get("options", ())
        if options and value not in options:
            value = options[0]
        with self._lock:
            sent = self.handle.value
            other = {name: limit for name, limit in limits.items() if getattr(self.handle, name) != limit}
            for name, limit in other.items():
                setattr(self.handle, name, limit)
            if sent != self._agreed and self.handle.value == sent:
                return  # a page has moved it, which `_moved` is about to hear
            if other or value != self._agreed:
                self.handle.value = self._agreed = type(self._agreed)(value)


def assign(handle: object, name: str, value: object) -> None:
    """Assign only what differs: every assignment is a message to the browser."""
    if getattr(handle, name) != value:
        setattr(handle, name, value)
