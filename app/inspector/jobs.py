"""Exports as jobs in short slices, which report progress, can be stopped and never block rendering."""

from __future__ import annotations

import time

from ...core.errors import InputError
from ..export.work import Work
from .browser import Browser

SLICE = 0.05
"""Duration (s) of a slice; rendering one image may take longer."""


MAX_BYTES = 1 << 29
"""Largest file (bytes) sent to a browser; the command line has no limit."""


def limited(work: Work, limit: int = MAX_BYTES) -> Work:
    """Wrap work to refuse files larger than ``limit`` bytes."""
    download = yield from work
    if len(download.content) > limit:
        found = f"{len(download.content) / 1e6:.0f} MB"
        raise InputError(download.name, f"at most {limit / 1e6:.0f} MB", found, "use `gaussiancross export`")
    return download


class Exports:
    """The exports of one browser, one at a time."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.job: Job | None = None

    def start(self, title: str, work: Work) -> None:
        """Begin an export; `InputError` while another one runs."""
        if self.job is not None and not self.job.done:
            raise InputError("exports", "one at a time", f"{self.job.title} at {self.job.share:.0%}", "wait or stop it")
        self.job = Job(self._browser, title, limited(work))

    def stop(self) -> None:
        """Cancel the running export."""
        if self.job is not None:
            self.job.stop()

    def pulse(self) -> None:
        """Called ten times a second."""
        if self.job is not None:
            self.job.pulse()


class Job:
    """One export, run in slices in the background lane of the render thread.

    Attributes:
        title: what is made.
        share: progress in [0, 1].
        error: the exception that ended it, or None.
        done: whether it has ended, failed or been stopped.
    """

    def __init__(self, browser: Browser, title: str, work: Work) -> None:
        self.title, self.share = title, 0.0
        self.error: Exception | None = None
        self.done = self._stopped = self._waiting = False
        self._browser, self._work = browser, work
        self._ask()

    def stop(self) -> None:
        """Cancel before the next slice."""
        self._stopped = True
        self._ask()

    def pulse(self) -> None:
        """Called ten times a second: continue a job that waits for something outside."""
        if self._waiting:
            self._ask()

    def _ask(self) -> None:
        self._waiting = False
        self._browser.ask("export", self._slice, "background")

    def _slice(self) -> None:
        if self.done:
            return
        if self._stopped or self._browser.closed:
            self._work.close()
            self.done = True
            return
        ends = time.monotonic() + SLICE
        try:
            while True:  # at least one piece of work per slice
                progress = next(self._work)
                self.share = progress.share
                if progress.waiting:
                    self._waiting = True
                    return
                if time.monotonic() >= ends:
                    break
        except StopIteration as end:
            self.share, self.done = 1.0, True
            self._browser.client.send_file_download(end.value.name, end.value.content, save_immediately=True)
            return
        except Exception as error:
            self.error, self.done = error, True
            raise  # the worker logs it and tells the page
        self._ask()
