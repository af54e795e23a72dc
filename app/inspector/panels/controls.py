"""Controls that stay in step with a value, and small pieces of HTML for panels."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import viser

from ..context import PanelContext

_DOT = "● "


class Link:
    """A control and the value that it shows, free of echoes and lost updates.

    The user may move the control while the panel writes to it from another thread. What the page sent wins over the
    older value, and a value that it sent a moment ago is not sent back while the user drags.

    Args:
        handle: the control; both sides agree on its value at first.
        context: lock of the view, and error reports.
        change: called with the value when the user moved the control, under ``context.lock``; when it raises, the next
            `show` resets the control.

    Attributes:
        handle: the control.
    """

    def __init__(self, handle: Any, context: PanelContext, change: Callable[[Any], None]) -> None:
        self.handle, self._lock, self._change = handle, context.lock, change
        self._agreed = handle.value
        handle.on_update(context.guarded(self._moved))

    def _moved(self, event: viser.GuiEvent) -> None:
        if event.client is None:  # an assignment by the server
            return
        with self._lock:
            value = self.handle.value
            if value != self._agreed:
                self._agreed = value
                self._change(value)

    def show(self, value: Any, **limits: Any) -> None:
        """Set the control to a value that was changed elsewhere.

        A caller that reads the value in another thread than it is changed in holds ``context.lock`` from the reading
        on.

        Args:
            value: the value; if it is none of the options, the control shows the first option.
            limits: properties that restrict the value: ``options`` or ``min`` and ``max``.
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
                return  # the user has moved it, which `_moved` is about to handle
            if other or value != self._agreed:
                self.handle.value = self._agreed = type(self._agreed)(value)


def assign(handle: object, name: str, value: object) -> None:
    """Assign a property only if it differs, since every assignment is a message to the browser."""
    if getattr(handle, name) != value:
        setattr(handle, name, value)


def mark_chosen(option: str, chosen: str) -> str:
    """The option of a button group, with a dot if it is the chosen one."""
    return _DOT + option if option == chosen else option


def unmark(option: str) -> Any:
    """The option without the dot of `mark_chosen`."""
    return option.removeprefix(_DOT)


def note_html(text: str) -> str:
    """A small grey paragraph."""
    return f'<div style="padding:.2em .9em .4em;font-size:.85em;opacity:.8">{html.escape(text)}</div>'


def table_html(title: str, rows: Sequence[tuple[str, str]], note: str = "") -> str:
    """A small table of (name, HTML) pairs under a title."""
    cells = "".join(
        f'<div style="opacity:.6">{name}</div><div style="overflow-wrap:anywhere">{value}</div>' for name, value in rows
    )
    head = f'<div style="font-weight:600;margin-bottom:.25em">{html.escape(title)}</div>' if title else ""
    foot = f'<div style="margin-top:.3em;opacity:.75">{html.escape(note)}</div>' if note else ""
    return (
        f'<div style="padding:.2em .9em .4em;font-size:.85em;font-variant-numeric:tabular-nums">{head}'
        f'<div style="display:grid;grid-template-columns:max-content 1fr;gap:.1em .9em">{cells}</div>{foot}</div>'
    )
