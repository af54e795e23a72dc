"""The render thread of all browsers, with a time budget that protects a training on the same machine.

Work of other threads for the browsers (network, callbacks, pulse) is charged to the same budget. A newer request
replaces an older one instead of queueing behind it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from ...core.errors import InputError

log = logging.getLogger(__name__)

Lane = Literal["interactive", "background"]
"""interactive: images for a moving camera. background: new weights, dataset views, exports."""

LANE_SHARE: dict[Lane, float] = {"interactive": 0.7, "background": 0.3}
"""Share of the budget per lane, so that loading new weights never stalls a moving camera. Time that one lane does not
use goes to the other."""

HURRY = 0.5
"""Seconds after a motion of the camera for which background work waits."""

URGENT_CHARGE = 0.5
"""Largest charge (s) for an urgent job. The first image reads files and compiles kernels; charged in full, it would
stall the page for a minute."""


class RenderBudget:
    """Token bucket that limits render time to `share` of wall-clock time.

    The balance grows by ``share`` seconds per second up to ``burst``; each job subtracts its duration, and a job may
    start while the balance is positive. Over any time T at most ``share`` · T + ``burst`` + one job is spent.

    Args:
        share: in (0, 1]; 1 never waits.
        burst: largest balance, seconds; it lets an idle viewer answer at once.
        clock: seconds, monotonic.
    """

    def __init__(self, share: float, burst: float = 0.25, clock: Callable[[], float] = time.monotonic) -> None:
        self.burst, self._clock = burst, clock
        self._share, self._balance, self._at, self._overflow = _checked_share(share), burst, clock(), 0.0

    @property
    def share(self) -> float:
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        share = _checked_share(share)
        self._fill()
        if share >= 1:  # nothing to protect any more: a negative balance is cleared
            self._balance = self.burst
        self._share = share

    def wait(self) -> float:
        """Seconds until a job may start; 0 when it may now."""
        self._fill()
        if self._share >= 1 or self._balance > 0:
            return 0.0
        return max(1e-3, -self._balance / self._share)

    def spend(self, seconds: float) -> None:
        """Subtract a job's duration; the balance may become negative."""
        self._fill()
        self._balance -= seconds

    def earn(self, seconds: float) -> float:
        """Add to the balance; returns the seconds beyond ``burst``."""
        total = self._balance + seconds
        self._balance = min(self.burst, total)
        return total - self._balance

    def give(self) -> float:
        """Take what the balance holds, and set it to 0."""
        self._fill()
        given = max(0.0, self._balance)
        self._balance -= given
        return given

    def overflow(self) -> float:
        """Seconds earned beyond ``burst`` since the last call."""
        self._fill()
        overflow, self._overflow = self._overflow, 0.0
        return overflow

    def _fill(self) -> None:
        now = self._clock()
        self._overflow += self.earn(self._share * (now - self._at))
        self._at = now


@dataclass(frozen=True)
class _Job:
    run: Callable[[], None]
    lane: Lane
    urgent: bool


class RenderWorker:
    """Runs jobs one at a time in its own thread.

    A newer job replaces a waiting one with the same key, and keys take turns, so eight browsers get an eighth of the
    time each. Exceptions are logged and passed to ``on_error``.

    Args:
        share: share of wall-clock time that all jobs together may take, divided between lanes by `LANE_SHARE`.
        on_error: called with the job's key and the exception, in the worker's thread.
        clock: seconds, monotonic.
        context: entered around each job.
    """

    def __init__(
        self,
        share: float = 1.0,
        on_error: Callable[[Hashable, Exception], None] = lambda key, error: None,
        clock: Callable[[], float] = time.monotonic,
        context: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self._clock, self._on_error, self._context = clock, on_error, context
        self._condition = threading.Condition()
        self._jobs: dict[Hashable, _Job] = {}
        self._stopped = False
        self._budgets: dict[Lane, RenderBudget] = {
            lane: RenderBudget(_lane_share(lane, share), clock=clock) for lane in LANE_SHARE
        }
        self._share, self._hurry_until = share, -math.inf
        self.spent = 0.0
        """Seconds of work done so far."""
        self._thread = threading.Thread(target=self._loop, name="inspector-render", daemon=True)

    def start(self) -> RenderWorker:
        self._thread.start()
        return self

    @property
    def share(self) -> float:
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        with self._condition:
            if share == self._share:
                return
            self._share = share
            for lane, budget in self._budgets.items():
                budget.share = _lane_share(lane, share)
            self._condition.notify_all()

    def submit(self, key: Hashable, run: Callable[[], None], lane: Lane = "interactive", urgent: bool = False) -> None:
        """Request a call of ``run()``.

        Args:
            key: a waiting job with this key is replaced.
            urgent: start without waiting for the budget, which is charged up to `URGENT_CHARGE`; for user actions
                such as choosing another scene.
        """
        with self._condition:
            waiting = self._jobs.get(key)
            if waiting is not None and not urgent and (waiting.urgent or waiting.lane == "interactive"):
                lane, urgent = waiting.lane, waiting.urgent  # the replacement keeps its priority
            self._jobs[key] = _Job(run, lane, urgent)
            self._condition.notify_all()

    @property
    def waiting(self) -> int:
        """Number of jobs that have not begun."""
        with self._condition:
            return len(self._jobs)

    def charge(self, seconds: float) -> None:
        """Charge processor time that another thread spent for the browsers."""
        with self._condition:
            self.spent += seconds
            self._budgets["interactive"].spend(seconds)

    def hurry(self) -> None:
        """Give the whole budget to the interactive lane for `HURRY` seconds, since a person moves the camera."""
        with self._condition:
            self._hurry_until = self._clock() + HURRY

    def cancel(self, matches: Callable[[Hashable], bool]) -> None:
        """Remove the waiting jobs whose key matches."""
        with self._condition:
            for key in [k for k in self._jobs if matches(k)]:
                del self._jobs[key]

    def close(self, timeout: float = 5.0) -> None:
        """Stop after the current job."""
        with self._condition:
            self._stopped = True
            self._jobs.clear()
            self._condition.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def run_one(self) -> float:
        """Run the next job that may start.

        Returns:
            0 if a job ran, otherwise the seconds to wait (inf without jobs).
        """
        with self._condition:
            key, wait = self._next()
            if key is None:
                return wait
            job = self._jobs.pop(key)
        begun = self._clock()
        try:
            with self._context():
                job.run()
        except Exception as error:
            if isinstance(error, InputError):  # a mistake of the user, which the page explains
                log.info("inspector: %s", error)
            else:
                log.exception("inspector: rendering %s failed", key)
            try:
                self._on_error(key, error)
            except Exception:
                log.exception("inspector: reporting the failure of %s failed", key)
        spent = self._clock() - begun
        with self._condition:
            self.spent += spent
            self._budgets[job.lane].spend(min(spent, URGENT_CHARGE) if job.urgent else spent)
        return 0.0

    def _next(self) -> tuple[Hashable | None, float]:
        front, back = self._budgets["interactive"], self._budgets["background"]
        back.earn(front.overflow())
        front.earn(back.overflow())
        if self._clock() < self._hurry_until:
            front.earn(back.give())
        waits = {lane: budget.wait() for lane, budget in self._budgets.items()}
        for key, job in self._jobs.items():
            if job.urgent or (job.lane == "interactive" and waits["interactive"] == 0):
                return key, 0.0
        for key, job in self._jobs.items():
            if waits[job.lane] == 0:
                return key, 0.0
        return None, min((waits[job.lane] for job in self._jobs.values()), default=float("inf"))

    def _loop(self) -> None:
        while True:
            wait = self.run_one()
            with self._condition:
                if self._stopped:
                    return
                if wait > 0 and self._next()[0] is None:
                    self._condition.wait(min(wait, 1.0))


class ThreadTime:
    """Processor time of other threads; always 0 where the system does not report it (macOS, Windows).

    Args:
        threads: running threads.
    """

    def __init__(self, threads: Iterable[threading.Thread]) -> None:
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        # Looking up the clock of a thread that has ended is unsafe, reading it is safe; so they are looked up now.
        self._clocks = [] if clock_of is None else [clock_of(t.ident) for t in threads if t.ident is not None]
        self._before = 0.0
        self.since()

    def since(self) -> float:
        """Seconds since the last call; the last moments of a thread that has ended are lost."""
        total = 0.0
        for clock in self._clocks:
            with contextlib.suppress(OSError):
                total += time.clock_gettime(clock)
        spent, self._before = total - self._before, total
        return max(0.0, spent)


def _checked_share(share: float) -> float:
    if not 0 < share <= 1:
        raise ValueError(f"render share must lie in (0, 1], got {share}")
    return share


def _lane_share(lane: Lane, share: float) -> float:
    return share if share >= 1 else share * LANE_SHARE[lane]
