"""What every training here has in common: a loop with a progress bar, scalars, checkpoints, interruption and a time
limit; steps that a bad batch cannot spoil; batches that are prepared ahead.

A subclass of `Trainer` says what one step is. Resuming is exact where batches and learning rates are functions of the
step, and everything else is in what `Trainer.weights` and `Trainer.state` return.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from rich.console import Console
from torch import Tensor, nn

from ...core.config import to_dict
from ...core.errors import InputError
from ...core.io.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from .interrupt import InterruptFlag
from .log import MetricLog
from .progress import progress_bar
from .ranks import Ranks

T = TypeVar("T")

Losses = Callable[[], dict[str, Tensor] | tuple[Tensor, dict[str, Tensor]]]
"""What `Trainer.update` calls."""

MAX_BAD_STEPS = 20
"""Consecutive steps with a non-finite loss or gradient after which a run stops."""


@dataclass(frozen=True)
class TrainSchedule:
    """How long a training is, and what happens on the way."""

    steps: int
    """Optimiser steps of the whole schedule."""
    eval_every: int = 0
    """Steps between evaluations; one is also done at the end. 0: only that one."""
    save_every: int = 1000
    """Steps between checkpoints; one is also written at the end and when interrupted. Where both are due, the
    checkpoint comes before the evaluation."""
    keep: int = 2
    """Checkpoints kept; 0 keeps all."""


class Trainer(ABC, Generic[T]):
    """Owns step counter and run folder (``config.json, metrics.jsonl, tensorboard/, checkpoints/``).

    In a distributed run (`torch.distributed` initialised) every rank has one; gradients are averaged over ranks, and
    rank 0 alone writes and evaluates.

    Args:
        config: a frozen dataclass that describes the run; it is written beside the checkpoints.
        run_dir: created if need be; when it holds a checkpoint, `resume` continues it.
        rhythm: how long, and how often what.

    Attributes:
        kind: how checkpoints say what they are. title: on the progress bar.
        remedy: what helps against losses that are not finite. smaller: what helps where memory is short.
        step: optimiser steps taken.
        nan_steps: how many of them changed nothing because a loss or gradient was not finite.
        interrupted: the signal that ended the last `fit`, or None.
        ranks: this process among those that train together.
        workers: threads that prepare batches. device: where the training runs.
        model, optimizer: a subclass's; what a checkpoint keeps unless it says otherwise.
    """

    kind: str
    title: str
    model: Any  # of a type that each subclass knows better
    optimizer: torch.optim.Optimizer
    remedy = "lower the learning rate or check the data"
    smaller = "a smaller batch needs less"
    workers = 1
    device = torch.device("cpu")  # unless the subclass chooses another

    def __init__(self, config: Any, run_dir: Path | str, rhythm: TrainSchedule) -> None:
        if rhythm.steps < 1 or rhythm.save_every < 1 or rhythm.keep < 0 or rhythm.eval_every < 0:
            raise InputError("steps and save_every", "at least 1 each", f"{rhythm.steps} and {rhythm.save_every}")
        self.config, self.run_dir, self.rhythm = config, Path(run_dir), rhythm
        self.ranks = Ranks.here()
        self.step = self.nan_steps = 0
        self.interrupted: signal.Signals | None = None
        self._bad_in_a_row = 0
        self._weights_modified = False  # whether the step at work has begun to change what is learned

    # --- what a training is ---------------------------------------------------------------------------------------

    @abstractmethod
    def batch(self, step: int) -> T:
        """What the step of that number learns from: a function of the step alone. Called from threads."""

    @abstractmethod
    def train_step(self, batch: T) -> dict[str, float]:
        """One update, which counts up ``step``; scalars, "loss/total" among them."""

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the model, by name."""
        return self.model.state_dict()

    def state(self) -> dict[str, Any]:
        """What else an exact continuation needs: tensors, numbers, strings, lists and dicts."""
        return {"optimizer": self.optimizer.state_dict()}

    def load(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Take back what `weights` and `state` returned."""
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(state["optimizer"])

    def evaluate(self) -> dict[str, float]:
        """Scalars of held-out data. It must leave alone what `weights` and `state` return."""
        return {}

    def about(self) -> dict[str, Any]:
        """What else a checkpoint tells those who use its weights, in JSON types."""
        return {}

    def resume_signature(self) -> dict[str, Any]:
        """The part of the config, in JSON types, that a checkpoint has to share; all of it by default."""
        return to_dict(self.config)

    # --- what may be added to the loop ----------------------------------------------------------------------------

    def open_log(self) -> MetricLog:
        """Where scalars go. `fit` calls it on rank 0 before the first step, when the run folder is there."""
        return MetricLog(self.run_dir, self.step, None)

    def should_stop(self, interrupted: Callable[[], signal.Signals | None], console: Console) -> bool:
        """Whether to end before the next step, which this may hold back."""
        return interrupted() is not None

    def after_step(self, console: Console) -> None:
        """On rank 0, when a step is logged, and saved where a checkpoint was due."""

    def note(self, metrics: dict[str, float]) -> str:
        """What the progress bar says of the last step; of none yet when there are no ``metrics``."""
        return f"{metrics['its_per_s']:.2f} it/s  loss {metrics['loss/total']:.3f}" if metrics else ""

    # --- checkpoints ----------------------------------------------------------------------------------------------

    @property
    def checkpoint_dir(self) -> Path:
        return self.run_dir / "checkpoints"

    def save(self) -> Path:
        """Write a checkpoint of this very step, atomically.

        Raises:
            InputError: the disk is full or the folder cannot be written. Earlier checkpoints are untouched.
        """
        meta = {"kind": self.kind, "config": to_dict(self.config), "match": self.resume_signature(), "step": self.step}
        meta |= self.about()
        extra = {"state": self.state(), "nan_steps": self.nan_steps}
        keep = self.rhythm.keep or sys.maxsize
        return save_checkpoint(self.checkpoint_dir, self.step, self.weights(), meta, extra, keep=keep)

    def resume(self, path: Path | None = None) -> bool:
        """Continue from the checkpoint ``path`` or from the run's latest. Returns whether there was one.

        Raises:
            InputError: a damaged checkpoint, one of another kind of training, or of another config (says which keys).
        """
        path = path or latest_checkpoint(self.checkpoint_dir)
        if path is None:
            return False
        weights, meta, extra = self.read(path)
        if meta.get("kind") != self.kind:
            raise InputError(path, f"a run of kind {self.kind}", f"{meta.get('kind', 'GaussianCross')}")
        saved, mine = meta.get("match", {}), json.loads(json.dumps(self.resume_signature()))
        changed = sorted(k for k in {*saved, *mine} if saved.get(k) != mine.get(k))
        if changed:
            hint = "give the options that it was trained with, or start a new run folder"
            raise InputError(path, "the run that these options describe", f"another {', '.join(changed)}", hint)
        self.load(weights, extra["state"])
        self.step, self.nan_steps = int(meta["step"]), int(extra["nan_steps"])
        return True

    def read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
        """Weights, meta and extra of a checkpoint, as `save` writes them."""
        return load_checkpoint(path)

    # --- the loop -------------------------------------------------------------------------------------------------

    def complete(self, seconds: float | None = None, console: Console | None = None) -> bool:
        """`resume`, `fit` what is left, and say whether all steps are done."""
        console = console or Console()
        if self.resume() and not self.finished:
            console.print(f"Continuing from step {self.step} of {self.run_dir}.", soft_wrap=True, markup=False)
        if not self.finished:
            self.fit(seconds, console)
        return self.finished

    def fit(self, seconds: float | None = None, console: Console | None = None) -> dict[str, float]:
        """Train to the last step, for at most ``seconds``, or until SIGINT (Ctrl-C) or SIGTERM, which finishes the
        step, writes a checkpoint and returns with ``interrupted`` set.

        Returns:
            the last evaluation; nothing on ranks other than 0.

        Raises:
            InputError: the folder cannot be written, no finite losses any more, no memory for a step (rank 0 saves what
                was learned until then), or no room for the last checkpoint.
        """
        console = console or Console()
        log = self._prepare() if self.ranks.first else None
        ends = time.monotonic() + (float("inf") if seconds is None else seconds)
        begun_at, evaluated_at, saved_at = self.step, -1, -1
        evaluation: dict[str, float] = {}
        eval_every = self.rhythm.eval_every
        with (
            closing(log) if log else nullcontext(),
            InterruptFlag() as interrupted,
            progress_bar(self.title, console, disable=log is None) as bar,
            closing(prefetched(self.batch, self.step, self.workers)) as batches,
        ):
            task = bar.add_task("steps", total=self.rhythm.steps, completed=self.step, note=self.note({}))
            while not self.finished:
                if self.ranks.any(time.monotonic() >= ends or self.should_stop(interrupted, console), self.device):
                    break
                begun = time.perf_counter()
                with self._memory(f"step {self.step + 1}", bool(log) and saved_at != self.step > begun_at):
                    metrics = self.train_step(next(batches))
                metrics["its_per_s"] = 1 / (time.perf_counter() - begun)
                if self._bad_in_a_row >= MAX_BAD_STEPS:
                    found = f"{MAX_BAD_STEPS} steps in a row without one"
                    raise InputError(self.run_dir, "finite losses", found, self.remedy)
                if log is None:
                    continue
                # First of all: an evaluation may fail, or be killed, where training did not.
                if (self.finished or self.step % self.rhythm.save_every == 0) and self.save_or_warn(console):
                    saved_at = self.step
                try:
                    if self.finished or (eval_every and self.step % eval_every == 0):
                        with self._memory("the evaluation", saved_at != self.step):
                            evaluation, evaluated_at = self.evaluate(), self.step
                        metrics |= evaluation
                finally:
                    log(self.step, metrics | {"memory_gb": memory_gb(self.device)})
                bar.update(task, completed=self.step, total=self.rhythm.steps, note=self.note(metrics))
                self.after_step(console)
            self.interrupted = interrupted()
            if log is None:
                return {}
            if saved_at != self.step and self.step > begun_at:
                self.save()
            if self.interrupted is None and evaluated_at != self.step:
                with self._memory("the evaluation", unsaved=False):
                    evaluation = self.evaluate()
                unheard = self.finished and not evaluation.keys() & log.last.keys()  # the run ended while evaluating
                if evaluation and (self.step > begun_at or unheard):
                    log(self.step, evaluation)
        return evaluation

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.rhythm.steps

    def update(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        losses: Losses | Sequence[Losses],
        lr: float,
        grad_clip: float = 0.0,
        learning: Iterable[nn.Parameter] | None = None,
    ) -> dict[str, float]:
        """One step of the optimiser on the sum of the losses, counted; returns scalars ("loss/…", "grad_norm", …).

        When the loss or the gradient is not finite, parameters and buffers stay as they were.

        Args:
            losses: computes the weighted terms, by name; or their sum, and the terms as they are to be logged. Several
                are of parts of the batch, one after the other in memory: what counts is their mean.
            lr: this step's learning rate, times each group's "lr_scale" where there is one.
            grad_clip: largest norm of the gradient; 0 does not clip.
            learning: what has a gradient, in the order in which its norm is summed; by default the optimiser's.
        """
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        # The forward pass updates running statistics, which one bad batch would spoil for good.
        before = [(b, b.clone()) for b in model.buffers()]
        optimizer.zero_grad(set_to_none=True)
        try:
            loss, terms = _backward(losses if isinstance(losses, Sequence) else [losses])
        except torch.cuda.OutOfMemoryError:
            _put_back(before)
            raise
        self._weights_modified = True
        learning = list(learning or (p for group in optimizer.param_groups for p in group["params"]))
        self.ranks.average_gradients(learning)
        norm = nn.utils.clip_grad_norm_(learning, grad_clip or float("inf"))
        if bool(torch.isfinite(loss)) and bool(torch.isfinite(norm)):
            optimizer.step()
            self._bad_in_a_row = 0
        else:
            _put_back(before)
            self.nan_steps += 1
            self._bad_in_a_row += 1
        self.step += 1
        scalars = {"loss/total": float(loss), "lr": lr, "grad_norm": float(norm), "nan_steps": float(self.nan_steps)}
        return scalars | {f"loss/{k}": float(v) for k, v in terms.items()}

    @contextmanager
    def _memory(self, what: str, unsaved: bool) -> Iterator[None]:
        """Memory that does not suffice for ``what`` is told in a sentence; steps that are ``unsaved`` are saved first,
        where the step at work has changed nothing yet."""
        self._weights_modified = False
        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            if unsaved and not self._weights_modified:
                self.save()
            found = f"{what} does not ({str(error).splitlines()[0]})"
            raise InputError(
                self.run_dir, f"what fits into the memory of {self.device}", found, self.smaller
            ) from error

    def _prepare(self) -> MetricLog:
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            (self.run_dir / "config.json").write_text(json.dumps(to_dict(self.config), indent=1))
            return self.open_log()
        except OSError as error:
            raise InputError(self.run_dir, "a folder that can be written to", str(error)) from error

    def save_or_warn(self, console: Console) -> bool:
        """Save on the way: a full disk is told, and costs no more than this checkpoint. `fit` tries the last one once
        more after the evaluation."""
        try:
            self.save()
        except InputError as error:
            then = "It is tried again after the evaluation." if self.finished else "Training goes on."
            console.print(f"{error} {then}", style="yellow", soft_wrap=True, markup=False)
            return False
        return True


def _backward(parts: Sequence[Losses]) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean of the parts' losses and of their terms, without graphs; gradients are added up on the way."""
    sums: list[Tensor] = []
    logged: list[dict[str, Tensor]] = []
    for part in parts:
        found = part()
        loss, terms = found if isinstance(found, tuple) else (torch.stack(list(found.values())).sum(), found)
        (loss / len(parts) if len(parts) > 1 else loss).backward()
        sums.append(loss.detach())
        logged.append({name: term.detach() for name, term in terms.items()})
    names = dict.fromkeys(name for terms in logged for name in terms)
    means = {name: torch.stack([terms[name] for terms in logged if name in terms]).mean() for name in names}
    return torch.stack(sums).mean(), means


def _put_back(before: Sequence[tuple[Tensor, Tensor]]) -> None:
    for buffer, old in before:
        buffer.copy_(old)


def default_workers() -> int:
    """Threads that prepare batches: half the cores, 8 at most."""
    return max(1, min(8, (os.cpu_count() or 2) // 2))


def prefetched(make: Callable[[int], T], start: int, workers: int = 1) -> Generator[T, None, None]:
    """``make(start)``, ``make(start + 1)``, … in order, the next ones made in threads while the current one is used.
    Close the generator to end the threads; what ``make`` raises is raised here.

    Args:
        workers: threads. One more than these are made ahead, so that none waits for a slow step.
    """
    with ThreadPoolExecutor(workers, "batches") as pool:
        ahead = deque(pool.submit(make, start + i) for i in range(workers + 1))
        try:
            for step in count(start + workers + 1):
                item = ahead.popleft().result()
                ahead.append(pool.submit(make, step))
                yield item
        finally:
            for future in ahead:
                future.cancel()


def memory_gb(device: torch.device) -> float:
    """Peak memory so far in GB: the device's on CUDA, else the process's (NaN where the system does not tell)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9
