"""`LiveFeed`: how a running training is watched and steered without knowing who watches.

The trainer publishes immutable snapshots and reads a few requests; viewers subscribe. Neither imports the other.
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
    """One published state of the model. Nothing in it is shared with the trainer.

    Attributes:
        step: optimiser steps taken.
        weights: the model's state dict, cloned to the CPU.
        probe: the online probe's, or None where the run has none.
    """

    step: int
    weights: Mapping[str, Tensor]
    probe: Mapping[str, Tensor] | None = None


class Curve:
    """A scalar over the steps in bounded memory: exact below ``size`` values; beyond, each point is the mean of equally
    many consecutive values, at the last one's step. So no peak is invented or moved, and a curve costs whoever copies
    or draws it the same after a million steps as after a thousand.

    Args:
        size: most points, even.
    """

    def __init__(self, size: int = 512) -> None:
        self._size, self._per = size, 1
        self._points: list[tuple[int, float]] = []
        self._step, self._values = 0, 0  # of the last point, which is not full yet
        self._sum, self._finite, self._latest = 0.0, 0, math.nan

    def add(self, step: int, value: float) -> None:
        """Append a value. What is not finite counts only where nothing else is."""
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
    """Of what is finite."""
    known = [v for v in (a, b) if math.isfinite(v)] or [b]
    return sum(known) / len(known)


@dataclass
class LiveFeed:
    """The meeting point of one training run and its viewers. Thread-safe.

    Attributes:
        config: plain-data description of the run (model and data configs as JSON-ready dicts).
        wants_snapshot: set by a viewer that would show a newer one; the trainer clears it when it publishes, so
            weights are copied only while somebody looks.
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

    # --- the trainer's side ---------------------------------------------------------------------------------

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
        """Called before each step: waits while paused; a single step lets one call through.

        Returns:
            True when a step may be taken. False when still paused, but ``stop()`` or a viewer asks for a snapshot or a
            checkpoint: answer and call again.
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
        """True once after a viewer asked for a checkpoint."""
        with self._condition:
            asked, self._save = self._save, False
            return asked

    # --- the viewer's side ----------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot | None:
        with self._condition:
            return self._snapshot

    def subscribe(self, listener: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call ``listener`` with every new snapshot; returns the function that ends it."""
        with self._condition:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._condition:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    def series(self) -> dict[str, list[tuple[int, float]]]:
        """The curves so far: metric name → [(step, value), …], a copy; long ones thinned (see `Curve`)."""
        with self._condition:
            return {k: v.points() for k, v in self._series.items()}

    @property
    def paused(self) -> bool:
        with self._condition:
            return self._paused

    def pause(self, paused: bool = True) -> None:
        with self._condition:
            self._paused, self._steps_allowed = paused, 0
            self._condition.notify_all()

    def single_step(self) -> None:
        """While paused, let one step through."""
        with self._condition:
            self._steps_allowed += 1
            self._condition.notify_all()

    def request_save(self) -> None:
        with self._condition:
            self._save = True
