"""Small trainings for tests of the training loop."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from gaussiancross.trainers.engine.loop import Trainer, TrainSchedule
from rich.console import Console
from torch import Tensor

QUIET = Console(quiet=True)


@dataclass(frozen=True)
class LineConfig:
    lr: float = 0.1
    path: str = ""


class Line(Trainer[Tensor]):
    """Fits y = 3 x. ``event`` is called in every step with its number."""

    kind, title = "line", "a line"

    def __init__(
        self, run_dir: Path, config: LineConfig = LineConfig(), event=lambda step: None, **schedule: int
    ) -> None:
        super().__init__(config, run_dir, TrainSchedule(**{"steps": 9, "save_every": 4, **schedule}))
        torch.manual_seed(0)
        self.model = torch.nn.Linear(1, 1)
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.event = event
        self.evaluated: list[int] = []

    def batch(self, step: int) -> Tensor:
        return torch.rand(8, 1, generator=torch.Generator().manual_seed(step))

    def train_step(self, batch: Tensor) -> dict[str, float]:
        self.event(self.step)
        error = lambda: {"square": (self.model(batch) - 3 * batch).square().mean()}  # noqa: E731
        return self.update(self.model, self.optimizer, error, self.config.lr)

    def evaluate(self) -> dict[str, float]:
        self.evaluated.append(self.step)
        return {"val/slope": float(self.model.weight.detach())}


class Shared(Line):
    """A line of which every rank sees its half of each batch."""

    def batch(self, step: int) -> Tensor:
        return super().batch(step).chunk(self.ranks.world)[self.ranks.rank]


def one_of_two(rank: int, run_dir: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{run_dir}/meeting", rank=rank, world_size=2)
    terminated = {"event": lambda step: os.kill(os.getpid(), signal.SIGTERM)} if rank == 1 else {}
    for name, options in (("whole", {}), ("ended", terminated)):
        line = Shared(run_dir / name, **options)
        found = line.fit(console=QUIET)
        assert bool(found) == bool(line.evaluated) == (rank == 0) and line.step == (9 if name == "whole" else 1)
        torch.save(line.weights(), run_dir / f"{name}{rank}.pt")
    torch.distributed.destroy_process_group()
