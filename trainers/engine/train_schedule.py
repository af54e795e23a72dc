"""When a training saves, evaluates and ends."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainSchedule:
    """Number of training steps, and intervals of evaluations and checkpoints."""

    steps: int
    """Optimiser steps of the whole schedule."""
    eval_every: int = 0
    """Steps between evaluations; one is also done at the end. 0: only at the end."""
    save_every: int = 1000
    """Steps between checkpoints; one is also written at the end and on interruption, each before the evaluation."""
    keep: int = 2
    """Number of checkpoints that stay on disk; 0 keeps all."""


@dataclass
class FitState:
    """Bookkeeping of one call of `Trainer.fit`; steps are -1 until the event has happened."""

    first_step: int
    saved_at: int = -1
    evaluated_at: int = -1
    evaluation: dict[str, float] = field(default_factory=dict)

    def unsaved(self, step: int) -> bool:
        """Whether this `Trainer.fit` took steps and ``step`` has no checkpoint of it."""
        return step > self.first_step and step != self.saved_at
