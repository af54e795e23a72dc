"""The loop that trains the label-free built-in teacher."""

from __future__ import annotations

import copy
import math
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from ...core.config import to_dict
from ...core.errors import InputError
from ...core.io.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from ...core.metrics.representation import effective_rank
from ...core.nn.tokens import TokenNet, TokenNetConfig
from ..interrupt import InterruptFlag
from ..log import MetricLog
from .crops import ColorFrames, CropConfig, CropPairs, crop_pairs
from .objective import ClusterHead, ObjectiveConfig, distillation, tokens

WARMUP = 100
"""Steps over which the learning rate rises."""
RANK_EVERY = 50
"""Steps between looks at the rank of the features: a collapse shows there first."""


@dataclass(frozen=True)
class SslTraining:
    """Train the label-free built-in teacher on colour images of the rooms alone. A folder that holds a checkpoint is
    continued, exactly."""

    run_dir: Path = Path("runs/builtin-ssl")
    """Checkpoints, metrics and TensorBoard logs."""
    model: TokenNetConfig = field(default_factory=TokenNetConfig)
    """Sizes of the network."""
    crops: CropConfig = field(default_factory=CropConfig)
    """How pairs of crops are drawn."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """Clusters and temperatures."""
    rooms: int = 400
    """Training rooms, seeds 0 and up."""
    steps: int = 2200
    """Optimiser steps. No rate depends on it: a finished run goes on when it is raised."""
    batch: int = 8
    """Frames per step, two crops each."""
    lr: float = 1e-3
    """Learning rate of AdamW after `WARMUP` steps; the teacher's average stands in for a decay."""
    weight_decay: float = 0.04
    """On matrices."""
    momentum: tuple[float, float] = (0.98, 0.998)
    """Of the teacher's moving average, least and most: in between it averages over about a tenth of the run so far."""
    seed: int = 0
    """Of weights and batches."""
    bfloat16: bool = True
    """Convolutions in bfloat16 (weights and sums stay in float32)."""
    threads: int = 0
    """Processor threads; 0 takes all. The shipped weights were made with 1."""
    save_every: int = 250
    """Steps between checkpoints."""
    seconds: float | None = None
    """Stop (with a checkpoint) after so many seconds; the same command goes on."""
    export: Path | None = None
    """When done, measure on held-out rooms and write weights, card and picture to this folder (the project's:
    assets)."""
    held_out: int = 20
    """Rooms that the scores of the card are measured on, validation seeds."""


class SslTrainer:
    """Owns student, teacher, optimiser and step counter.

    Args:
        config: the training.
        frames: colour images to learn from.

    Attributes:
        student, teacher: networks with their heads under "net" and "head"; the teacher is what is shipped.
        step: optimiser steps taken.
    """

    def __init__(self, config: SslTraining, frames: ColorFrames) -> None:
        if config.steps < 1 or config.batch < 1 or config.save_every < 1:
            found = f"{config.steps}, {config.batch} and {config.save_every}"
            raise InputError("steps, batch and save_every", "at least 1 each", found)
        self.config, self.frames, self.step = config, frames, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            net = TokenNet(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.student = nn.ModuleDict({"net": net, "head": ClusterHead(config.model.dim, config.objective)})
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        decayed = [p for p in self.student.parameters() if p.ndim > 1]
        others = [p for p in self.student.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.lr,
        )

    def batch(self, step: int) -> CropPairs:
        """The crops of that step: a function of the seed and the step alone."""
        rng = np.random.default_rng([self.config.seed, step])
        return crop_pairs(self.frames, self.config.batch, rng, self.config.crops)

    def train_step(self, pairs: CropPairs) -> dict[str, float]:
        """One update of the student, then of the teacher; returns scalars."""
        config = self.config
        lr = config.lr * min(1.0, (self.step + 1) / WARMUP)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        images = pairs.images.contiguous(memory_format=torch.channels_last)
        self.student.train()
        self.teacher.train()  # normalised by the batch at hand, like the student
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            with torch.no_grad():
                target = self.teacher["net"](images)
            seen = self.student["net"](images, pairs.hide)
        terms = distillation(seen, self.student["head"], target, self.teacher["head"], pairs, config.objective)  # type: ignore[arg-type]
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        if not (bool(torch.isfinite(loss)) and bool(torch.isfinite(norm))):
            raise InputError(config.run_dir, "finite losses", f"{float(loss)} at step {self.step}", "lower --lr")
        self.optimizer.step()
        self._follow(min(max(1 - 10 / (self.step + 1), config.momentum[0]), config.momentum[1]))
        metrics = {f"loss/{k}": float(v.detach()) for k, v in terms.items()}
        metrics |= {"loss/total": float(loss.detach()), "lr": lr, "grad_norm": float(norm)}
        if self.step % RANK_EVERY == 0:
            metrics["rank"] = effective_rank(tokens(target))
        self.step += 1
        return metrics

    @torch.no_grad()
    def _follow(self, momentum: float) -> None:
        """Teacher ← momentum · teacher + (1 − momentum) · student."""
        for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.lerp_(theirs, 1 - momentum)

    # --- checkpoints ----------------------------------------------------------------------------------------

    @property
    def checkpoint_dir(self) -> Path:
        return self.config.run_dir / "checkpoints"

    def save(self) -> Path:
        """Write a checkpoint of this very step, atomically."""
        weights = {f"student.{k}": v for k, v in self.student.state_dict().items()}
        weights |= {f"teacher.{k}": v for k, v in self.teacher.state_dict().items()}
        meta = {"step": self.step, "training": self._fixed()}
        return save_checkpoint(
            self.checkpoint_dir, self.step, weights, meta, {"optimizer": self.optimizer.state_dict()}
        )

    def resume(self) -> bool:
        """Continue from the run's latest checkpoint; whether there was one.

        Raises:
            InputError: a damaged checkpoint, or one of another training.
        """
        path = latest_checkpoint(self.checkpoint_dir)
        if path is None:
            return False
        weights, meta, extra = load_checkpoint(path)
        saved, mine = meta.get("training", {}), self._fixed()
        changed = sorted(k for k in {*saved, *mine} if saved.get(k) != mine.get(k))
        if changed:
            hint = "give the options that it was started with, or another --run-dir"
            raise InputError(path, "the training of this command", f"another {', '.join(changed)}", hint)
        for name in ("student", "teacher"):
            own = {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}
            getattr(self, name).load_state_dict(own)
        self.optimizer.load_state_dict(extra["optimizer"])
        self.step = int(meta["step"])
        return True

    def _fixed(self) -> dict[str, object]:
        """What may not change while a run goes on."""
        free = {"run_dir", "steps", "threads", "save_every", "seconds", "export", "held_out"}
        return {k: v for k, v in to_dict(self.config).items() if k not in free}

    # --- the loop -------------------------------------------------------------------------------------------

    def fit(self, console: Console | None = None) -> bool:
        """Train to the end; False when SIGINT (Ctrl-C), SIGTERM or the time limit came first, between two steps. A
        checkpoint is written either way."""
        config, console = self.config, console or Console()
        ends = time.monotonic() + (math.inf if config.seconds is None else config.seconds)
        config.run_dir.mkdir(parents=True, exist_ok=True)
        columns = (
            TextColumn("[bold]label-free teacher"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        rank = float("nan")
        with (
            closing(MetricLog(config.run_dir, self.step, None)) as log,
            InterruptFlag() as interrupted,
            Progress(*columns, console=console) as bar,
        ):
            task = bar.add_task("steps", total=config.steps, completed=self.step, note="")
            while self.step < config.steps and time.monotonic() < ends and interrupted() is None:
                metrics = self.train_step(self.batch(self.step))
                rank = metrics.get("rank", rank)
                log(self.step, metrics)
                note = f"loss {metrics['loss/total']:.3f}  rank {rank:.1f} of {config.model.dim}"
                bar.update(task, completed=self.step, note=note)
                if self.step % config.save_every == 0 and self.step < config.steps:
                    self.save()
        self.save()
        return self.step >= config.steps
