"""Signals during a training."""

from __future__ import annotations

import signal
import threading

from gaussiancross.trainers.engine.interrupt import InterruptFlag


def test_signals_are_left_alone_outside_the_main_thread():
    handler, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with InterruptFlag() as interrupted:
            seen.append((signal.getsignal(signal.SIGINT) is handler, interrupted()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, None)]
