"""Deferred handling of SIGINT, SIGTERM and SIGHUP: a training ends between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable


class InterruptFlag:
    """Context manager in which signals set a flag instead of interrupting; entering returns its reader.

    Signals are SIGINT, SIGTERM and, where a lost terminal would end the process, SIGHUP (`nohup` has it ignored).
    A second SIGINT raises KeyboardInterrupt, unless it comes within a second: wrappers such as `timeout` or `uv run`
    forward a Ctrl-C that the terminal has already sent. Has no effect outside the main thread.
    """

    def __enter__(self) -> Callable[[], signal.Signals | None]:
        self._seen: signal.Signals | None = None
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
                numbers.append(signal.SIGHUP)
            self._previous = {number: signal.signal(number, self._handle) for number in numbers}
        return lambda: self._seen

    def _handle(self, signum: int, frame: object) -> None:
        now = time.monotonic()
        if self._seen is None:
            self._seen, self._at = signal.Signals(signum), now
        elif signum == signal.SIGINT and now - self._at > 1.0:
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
