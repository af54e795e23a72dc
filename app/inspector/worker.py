"""One thread does all the rendering, within a budget, for all browsers together. What other threads of the page do for
them (network, callbacks, pulse) is charged to the same budget.

A training and its viewer share one machine. Whatever happens in the browsers, the training gives up at most the
share of time it was asked for: requests replace each other instead of queueing, and time spent is earned first.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Literal

log = logging.getLogger(__name__)

Lane = Literal["interactive", "background"]
"""interactive: frames of somebody who moves the camera. background: new weights, strips of dataset views."""

LANE_SHARE: dict[Lane, float] = {"interactive": 0.7, "background": 0.3}
"""How the lanes divide the budget: loading new weights never freezes a camera that is being moved. What one lane
leaves, the other may use."""

URGENT_CHARGE = 0.5
"""Seconds that an urgent job is charged at most. The first picture reads files and compiles; were that charged in full,
the page would stand still for a minute after it."""


class RenderBudget:
    """A purse of seconds. It fills at ``share`` seconds per second up to ``burst``, and every job takes out what it
    cost; a job may start while there is something in it. So over any time T at most ``share`` · T + ``burst`` + one
    job is spent.

    Args:
        share: in (0, 1]; 1 never waits.
        burst: seconds that an idle viewer may save up, so that the first touch answers at once.
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
        if share >= 1:  # nobody is waiting any more: debts are forgiven
            self._balance = self.burst
        self._share = share

    def wait(self) -> float:
        """Seconds until a job may start; 0 when it may now."""
        self._fill()
        if self._share >= 1 or self._balance > 0:
            return 0.0
        return max(1e-3, -self._balance / self._share)

    def spend(self, seconds: float) -> None:
        """Take out what a job cost; the purse may go negative."""
        self._fill()
        self._balance -= seconds

    def earn(self, seconds: float) -> float:
        """Put something in; returns what did not fit."""
        total = self._balance + seconds
        self._balance = min(self.burst, total)
        return total - self._balance

    def overflow(self) -> float:
        """What was earned while the purse was full, since the last call."""
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
    """Runs jobs one at a time in a thread of its own.

    Each job has a key; a newer job of the same key replaces one that has not started (latest wins), and keys take
    turns, so eight browsers get an eighth each. An exception goes to ``on_error`` and the log, and work goes on.

    Args:
        share: share of wall-clock time that all jobs together may take, divided by `LANE_SHARE`.
        on_error: called with the job's key and the exception, in the worker's thread.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        share: float = 1.0,
        on_error: Callable[[Hashable, Exception], None] = lambda key, error: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._on_error = clock, on_error
        self._condition = threading.Condition()
        self._jobs: dict[Hashable, _Job] = {}
        self._stopped = False
        self._budgets: dict[Lane, RenderBudget] = {
            lane: RenderBudget(_lane_share(lane, share), clock=clock) for lane in LANE_SHARE
        }
        self._share = share
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
        """Ask for ``run()``.

        Args:
            urgent: start without waiting for the budget, which is charged all the same (up to `URGENT_CHARGE`): for
                what a person clicked and would not see at all otherwise, such as another scene.
        """
        with self._condition:
            waiting = self._jobs.get(key)
            if waiting is not None and not urgent and (waiting.urgent or waiting.lane == "interactive"):
                lane, urgent = waiting.lane, waiting.urgent  # what replaces it is at least as wanted
            self._jobs[key] = _Job(run, lane, urgent)
            self._condition.notify_all()

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        with self._condition:
            return len(self._jobs)

    def charge(self, seconds: float) -> None:
        """Take out of the budget what another thread has done for the browsers, processor time."""
        with self._condition:
            self.spent += seconds
            self._budgets["interactive"].spend(seconds)

    def cancel(self, matches: Callable[[Hashable], bool]) -> None:
        """Forget the waiting jobs whose key matches."""
        with self._condition:
            for key in [k for k in self._jobs if matches(k)]:
                del self._jobs[key]

    def close(self, timeout: float = 5.0) -> None:
        """Stop after the job that runs now."""
        with self._condition:
            self._stopped = True
            self._jobs.clear()
            self._condition.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def run_one(self) -> float:
        """Run the next job that may start. Returns 0 when one ran, else the seconds to wait (inf without jobs)."""
        with self._condition:
            key, wait = self._next()
            if key is None:
                return wait
            job = self._jobs.pop(key)
        begun = self._clock()
        try:
            job.run()
        except Exception as error:
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
    """Processor time of other threads; always 0 where the system does not tell (macOS, Windows).

    Args:
        threads: running ones.
    """

    def __init__(self, threads: Iterable[threading.Thread]) -> None:
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        # The clocks are looked up now: asking for that of a thread that has ended is not safe, reading it is.
        self._clocks = [] if clock_of is None else [clock_of(t.ident) for t in threads if t.ident is not None]
        self._before = 0.0
        self.since()

    def since(self) -> float:
        """Seconds since the last call. What a thread that has ended did at last is lost."""
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
