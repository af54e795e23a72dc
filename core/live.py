"""`LiveFeed`: how a running training is watched and steered without knowing who watches.

The trainer publishes immutable snapshots and reads a few requests; viewers subscribe. Neither imports the other.
"""

from __future__ import annotations

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
        self._series: dict[str, list[tuple[int, float]]] = {}
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
                self._series.setdefault(name, []).append((step, float(value)))

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
        """The curves so far: metric name → [(step, value), …], a copy."""
        with self._condition:
            return {k: list(v) for k, v in self._series.items()}

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
