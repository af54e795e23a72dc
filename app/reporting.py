"""Progress and notices of `core.report` on stderr: bars for what takes longer than a second, a line per notice."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..core.report import Report

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE = 1.0
"""Seconds that work may take before it is shown."""


class ConsoleReport(Report):
    """Show running work as bars once it takes longer than `PATIENCE`, and every different notice once.

    Where stderr is no terminal, work that takes so long is named in one line instead. As a context manager it also
    shows that ``title`` goes on, from start to end.

    Args:
        title: name of the work inside the ``with`` block.
        bars: False names work in a line also on a terminal, for when another bar is shown there.
    """

    def __init__(self, title: str = "reading", bars: bool = True) -> None:
        self.title, self.bars = title, bars
        self._console = Console(stderr=True)
        self._lock = threading.RLock()
        self._running: dict[str, tuple[int, int | None]] = {}
        self._tasks: dict[str, TaskID] = {}
        self._named: set[str] = set()
        self._noticed: set[str] = set()
        self._bar: Progress | None = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> ConsoleReport:
        self._update(self.title, 0, None)
        return self

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            self._running.clear()
            self._hide()

    def __reduce__(self) -> tuple[Any, ...]:
        return Report, ()  # datasets are pickled for workers, which have no terminal

    def progress(self, what: str, done: int, total: int) -> None:
        self._update(what, done, total)

    def notice(self, text: str) -> None:
        with self._lock:
            if text in self._noticed:
                return
            self._noticed.add(text)
            console = self._console if self._bar is None else self._bar.console
            console.print(text, style="yellow", soft_wrap=True, markup=False, highlight=False)

    def _update(self, what: str, done: int, total: int | None) -> None:
        with self._lock:
            if total is not None and done >= total:
                self._running.pop(what, None)
                self._named.discard(what)
                if self._bar is not None and what in self._tasks:
                    self._bar.remove_task(self._tasks.pop(what))
                if not self._running:
                    self._hide()
                return
            self._running[what] = (done, total)
            if self._bar is not None:
                self._draw(what)
            elif self._timer is None:
                self._timer = threading.Timer(PATIENCE, self._show)
                self._timer.daemon = True
                self._timer.start()

    def _show(self) -> None:
        with self._lock:
            self._timer = None
            if not self._running:
                return
            if not (self.bars and self._console.is_terminal):
                for what in self._running.keys() - self._named:
                    self._named.add(what)
                    self._console.print(f"{what} …", soft_wrap=True, markup=False, highlight=False)
                return
            # Imported here: most work ends before a bar is shown.
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            for what in self._running:
                self._draw(what)
            self._bar.start()

    def _draw(self, what: str) -> None:
        assert self._bar is not None
        done, total = self._running[what]
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)

    def _hide(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._tasks.clear()
        self._named.clear()
