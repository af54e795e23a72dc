"""`LiveFeed`: connects a running training with viewers.

The trainer publishes immutable snapshots and reads requests; viewers subscribe. Neither imports the other.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Snapshot:
    """One published state of the model. Shares no memory with the trainer.

    Attributes:
        step: optimiser steps taken.
        weights: the model's state dict, cloned to the CPU.
        probe: the online probe's state dict, or None for a run without one.
    """

    step: int
    weights: Mapping[str, Tensor]
    probe: Mapping[str, Tensor] | None = None


class Curve:
    """A scalar over the steps in bounded memory.

    Exact below ``size`` values. Beyond, each point is the mean of equally many consecutive values, at the step of the
    last of them, so that no peak is invented or moved.

    Args:
        size: maximum number of points, even.
    """

    def __init__(self, size: int = 512) -> None:
        self._size, self._per = size, 1
        self._points: list[tuple[int, float]] = []
        self._step, self._values = 0, 0  # step and number of values of the last, incomplete point
        self._sum, self._finite, self._latest = 0.0, 0, math.nan

    def add(self, step: int, value: float) -> None:
        """Append a value. Non-finite values count only in a point without finite ones."""
        self._step, self._values, self._latest = step, self._values + 1, value
        if math.isfinite(value):
            self._sum, self._finite = self._sum + value, self._finite + 1
        if self._values < self._per:
            return
        self._points.append(self._open())
        self._values, self._sum, self._finite = 0, 0.0, 0
        if len(self._points) == self._size:
            self._points = [(b[0], _mean(a[1], b[1])) for a, b in zip(*[iter(self._points)] * 2, strict=True)]
            self._per *= 2

    def points(self) -> list[tuple[int, float]]:
        """[(step, value), …], oldest first; a copy."""
        return [*self._points, self._open()] if self._values else list(self._points)

    def _open(self) -> tuple[int, float]:
        return self._step, self._sum / self._finite if self._finite else self._latest


def _mean(a: float, b: float) -> float:
    """Mean of the finite ones of two values; ``b`` if there are none."""
    finite = [v for v in (a, b) if math.isfinite(v)] or [b]
    return sum(finite) / len(finite)


@dataclass
class LiveFeed:
    """Snapshots, curves and requests shared by one training run and its viewers. Thread-safe.

    Attributes:
        config: the run's configuration as JSON-ready dicts.
        wants_snapshot: set by a viewer to request a newer snapshot; the trainer clears it when it publishes, so weights
            are copied only while a viewer needs them.
    """

    config: dict[str, Any] = field(default_factory=dict)
    wants_snapshot: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._condition = threading.Condition()
        self._snapshot: Snapshot | None = None
        self._series: dict[str, Curve] = {}
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._paused = False
        self._steps_allowed = 0
        self._save = False

    # --- for the trainer ------------------------------------------------------------------------------------

    def publish(self, snapshot: Snapshot) -> None:
        """Make ``snapshot`` the latest. Listeners run in the caller's thread and must return at once."""
        with self._condition:
            self._snapshot = snapshot
            self.wants_snapshot.clear()
            listeners = list(self._listeners)
            self._condition.notify_all()
        for listener in listeners:
            listener(snapshot)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append scalars to the run's curves."""
        with self._condition:
            for name, value in metrics.items():
                self._series.setdefault(name, Curve()).add(step, float(value))

    def wait_while_paused(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Block while the run is paused; called before each step. `single_step` lets one call through.

        Returns:
            True when a step may be taken. False when still paused, but ``stop()`` is true or a viewer requests a
            snapshot or a checkpoint: serve the request and call again.
        """
        with self._condition:
            while self._paused and self._steps_allowed == 0:
                if stop() or self._save or self.wants_snapshot.is_set():
                    return False
                self._condition.wait(0.1)
            if self._paused:
                self._steps_allowed -= 1
            return True

    def take_save_request(self) -> bool:
        """Return True once after a viewer requested a checkpoint."""
        with self._condition:
            requested, self._save = self._save, False
            return requested

    # --- for viewers ----------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot | None:
        with self._condition:
            return self._snapshot

    def subscribe(self, listener: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call ``listener`` with every new snapshot; returns a function that unsubscribes it."""
        with self._condition:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._condition:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    def series(self) -> dict[str, list[tuple[int, float]]]:
        """Return a copy of the curves: metric name → [(step, value), …]; long ones are averaged (see `Curve`)."""
        with self._condition:
            return {k: v.points() for k, v in self._series.items()}

    @property
    def paused(self) -> bool:
        with self._condition:
            return self._paused

    def pause(self, paused: bool = True) -> None:
        """Pause the run before its next step, or let it continue."""
        with self._condition:
            self._paused, self._steps_allowed = paused, 0
            self._condition.notify_all()

    def single_step(self) -> None:
        """Let one step through while paused."""
        with self._condition:
            self._steps_allowed += 1
            self._condition.notify_all()

    def request_save(self) -> None:
        """Request a checkpoint; the trainer writes it after the current step."""
        with self._condition:
            self._save = True
