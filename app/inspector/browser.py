"""One connected browser: its viser client, its view, its jobs in the render thread, and error reports to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import viser

from ...core.errors import InputError
from .shared import Shared
from .view_state import ViewModel
from .worker import Lane

log = logging.getLogger(__name__)

REPEAT_AFTER = 5.0
"""Seconds before the same notification is shown again."""


class Browser:
    """Client, view and jobs of one browser, used by all parts of its session.

    Attributes:
        client: the viser client.
        shared: state of all browsers.
        source: scenes that the browser shows.
        renderer: renderer of ``source``.
        comparison: comparison with a second source, or None.
        model: view model.
        closed: whether the browser has disconnected.
    """

    def __init__(self, client: viser.ClientHandle, shared: Shared) -> None:
        self.client, self.shared = client, shared
        self.source, self.renderer, self.comparison = shared.open_view()
        self.model = ViewModel()
        self.closed = False
        self._notified: dict[str, float] = {}

    def ask(self, kind: str, run: Callable[[], None], lane: Lane = "interactive", urgent: bool = False) -> None:
        """Run ``run()`` in the render thread; a later request of the same kind replaces one that has not begun."""
        if not self.closed:
            self.shared.worker.submit((self.client.client_id, kind), run, lane, urgent)

    def guarded(self, callback: Callable[[Any], Any], alone: bool = False) -> Callable[[Any], None]:
        """Wrap a callback of viser: exceptions are reported to the page and the log, and its time is charged.

        Args:
            alone: hold the view's lock during the call, for callbacks that read the view before they change it.
        """

        def run(event: Any) -> None:
            begun = time.thread_time()
            try:
                with self.model.lock if alone else nullcontext():
                    callback(event)
            except Exception as error:
                if not isinstance(error, InputError):
                    log.exception("inspector: a callback failed")
                self.report(error)
            finally:
                self.shared.worker.charge(time.thread_time() - begun)

        return run

    def report(self, error: Exception) -> None:
        """Show an exception in the page."""
        if isinstance(error, InputError):
            self.notify("Not possible", str(error)[:400], "orange")
        else:
            self.notify("An operation failed; the viewer continues", f"{type(error).__name__}: {error}"[:400], "red")

    def notify(self, title: str, body: str, color: Any = "blue", seconds: float = 8.0) -> None:
        """Show a notification, the same body at most every `REPEAT_AFTER` seconds."""
        now = time.monotonic()
        if self.closed or now - self._notified.get(body, -1e9) < REPEAT_AFTER:
            return
        self._notified[body] = now
        self.client.add_notification(title, body, auto_close_seconds=seconds, color=color)

    def close(self) -> None:
        """Cancel the waiting jobs and accept no more."""
        self.closed = True
        self.shared.worker.cancel(lambda key: isinstance(key, tuple) and key[0] == self.client.client_id)
