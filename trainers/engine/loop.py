"""Training loop shared by all trainings: progress bar, scalars, checkpoints, signals, time limit and bad batches.

A subclass of `Trainer` defines batches and steps. Resuming is exact when batches and learning rates are functions of
the step, and `Trainer.weights` and `Trainer.state` return everything else.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from rich.console import Console
from torch import Tensor, nn

from ...core.config import to_dict
from ...core.errors import InputError, RunError
from ...core.io.atomic import atomic_file
from ...core.io.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from .backward import Losses, backward, restore_buffers
from .interrupt import InterruptFlag
from .log import MetricLog
from .memory import memory_gb, tried_twice
from .optimizer import load_optimizer
from .prefetch import prefetched
from .progress import progress_bar
from .ranks import Ranks
from .run_lock import run_lock
from .safety import NotFiniteError, read_newest, require_finite, set_aside
from .sync_norm import start_together
from .train_schedule import FitState, TrainSchedule

T = TypeVar("T")

MAX_BAD_STEPS = 20
"""Consecutive steps with a non-finite loss or gradient after which a run stops."""


class Trainer(ABC, Generic[T]):
    """Owns step counter and run folder (``config.json, metrics.jsonl, tensorboard/, checkpoints/``).

    In a distributed run every rank has one; see `sync_norm.start_together`. Only rank 0 logs, writes and evaluates.

    Args:
        config: a frozen dataclass that describes the run; it is written beside the checkpoints.
        run_dir: created if missing; when it holds a checkpoint, `resume` continues it.
        schedule: number of steps and the intervals of evaluations and checkpoints.

    Attributes:
        kind: identifies this kind of training in checkpoints.
        title: label of the progress bar.
        divergence_hint: remedy for non-finite losses, for error messages.
        memory_hint: remedy for too little memory, for error messages.
        step: optimiser steps taken.
        nan_steps: number of steps that changed nothing because a loss or gradient was not finite.
        interrupted: the signal that ended the last `fit`, or None.
        ranks: rank of this process and number of ranks.
        workers: threads that prepare batches.
        device: where the training runs.
        model, optimizer: set by the subclass; saved in checkpoints by default.
    """

    kind: str
    title: str
    model: Any  # each subclass narrows the type
    optimizer: torch.optim.Optimizer
    divergence_hint = "lower the learning rate or check the data"
    memory_hint = "a smaller batch needs less"
    workers = 1
    device = torch.device("cpu")  # default of subclasses that do not set one

    def __init__(self, config: Any, run_dir: Path | str, schedule: TrainSchedule) -> None:
        for name, least in (("steps", 1), ("save_every", 1), ("keep", 0), ("eval_every", 0)):
            if getattr(schedule, name) < least:
                raise InputError(name, f"at least {least}", str(getattr(schedule, name)))
        self.config, self.run_dir, self.schedule = config, Path(run_dir), schedule
        self.ranks = Ranks.current()
        self.step = self.nan_steps = 0
        self.interrupted: signal.Signals | None = None
        self._bad_in_a_row = 0
        self._damaged: list[DamagedCheckpoint] = []  # newer than the one that `resume` read
        self._weights_modified = False  # whether the current step has begun to change the weights

    # --- to implement -----------------------------------------------------------------------------------------------

    @abstractmethod
    def batch(self, step: int) -> T:
        """Return the batch of ``step``, a function of the step alone. Called from threads."""

    @abstractmethod
    def train_step(self, batch: T) -> dict[str, float]:
        """Update once and increment ``step``; return scalars, "loss/total" among them."""

    def weights(self) -> dict[str, Tensor]:
        """Return the model's tensors that a checkpoint stores, by name."""
        return self.model.state_dict()

    def state(self) -> dict[str, Any]:
        """Return the rest of the state for an exact resume: tensors, numbers, strings, lists and dicts."""
        return {"optimizer": self.optimizer.state_dict()}

    def load(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Restore the return values of `weights` and `state`."""
        self.model.load_state_dict(weights)
        load_optimizer(self.optimizer, state["optimizer"])

    def evaluate(self) -> dict[str, float]:
        """Return scalars measured on held-out data; must not change what `weights` and `state` return."""
        return {}

    def metadata(self) -> dict[str, Any]:
        """Return additional entries (JSON types) of a checkpoint's ``meta``."""
        return {}

    def resume_signature(self) -> dict[str, Any]:
        """Return the part of the config (JSON types) that a resumed checkpoint must share; by default all of it."""
        return to_dict(self.config)

    def batches(self) -> Generator[T, None, None]:
        """Yield the batches from the next step on; by default `batch` in ``workers`` threads."""
        return prefetched(self.batch, self.step, self.workers)

    # --- hooks ------------------------------------------------------------------------------------------------------

    def open_log(self) -> MetricLog:
        """Open the log of scalars. `fit` calls it on rank 0 before the first step, when the run folder exists."""
        return MetricLog(self.run_dir, self.step, None)

    def should_stop(self, interrupted: Callable[[], signal.Signals | None], console: Console) -> bool:
        """Return whether to end before the next step; may block to delay that step."""
        return interrupted() is not None

    def after_step(self, console: Console) -> None:
        """Called on rank 0 after a step was logged, and saved if a checkpoint was due."""

    def progress_text(self, metrics: dict[str, float]) -> str:
        """Return the progress bar's text for the last step; ``metrics`` is empty before the first."""
        return f"{metrics['its_per_s']:.2f} it/s  loss {metrics['loss/total']:.3f}" if metrics else ""

    # --- checkpoints ------------------------------------------------------------------------------------------------

    @property
    def checkpoint_dir(self) -> Path:
        return self.run_dir / "checkpoints"

    def save(self) -> Path:
        """Write a checkpoint of the current step, atomically.

        Raises:
            InputError, RunError: the folder cannot be written, the disk is full, or something is not finite. Earlier
                checkpoints are untouched.
        """
        meta = {"kind": self.kind, "config": to_dict(self.config), "match": self.resume_signature(), "step": self.step}
        meta |= self.metadata()
        weights, extra = self.weights(), {"state": self.state(), "nan_steps": self.nan_steps}
        require_finite(self.checkpoint_dir, self.step, weights, extra["state"], self.divergence_hint)
        keep = self.schedule.keep or sys.maxsize
        return save_checkpoint(self.checkpoint_dir, self.step, weights, meta, extra, keep=keep)

    def resume(self, path: Path | None = None, console: Console | None = None) -> bool:
        """Continue from the checkpoint ``path``, or from the run's latest; return False if there is none.

        A damaged latest checkpoint is replaced by the one before it, with a warning on ``console`` (stderr by default).

        Raises:
            InputError: nothing but damaged checkpoints, one of another kind of training, or of another config (names
                the keys).
        """
        if path is not None:
            content = self.read(path)
        else:
            path, content, self._damaged = read_newest(self.checkpoint_dir, self.read)
        if path is None or content is None:
            return False
        weights, meta, extra = content
        if meta.get("kind") != self.kind:
            raise InputError(path, f"a run of kind {self.kind}", f"{meta.get('kind', 'GaussianCross')}")
        saved, current = meta.get("match", {}), json.loads(json.dumps(self.resume_signature()))
        changed = sorted(k for k in {*saved, *current} if saved.get(k) != current.get(k))
        if changed:
            hint = "give the options that it was trained with, or start a new run folder"
            raise InputError(path, "the run that these options describe", f"another {', '.join(changed)}", hint)
        self.load(weights, extra["state"])
        self.step, self.nan_steps = int(meta["step"]), int(extra["nan_steps"])
        for error in self._damaged if self.ranks.is_first else ():
            warning = f"{error} Training goes on from step {self.step}."
            where = console or Console(stderr=True)
            where.print(warning, style="yellow", soft_wrap=True, markup=False, highlight=False)
        return True

    def read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
        """Return weights, meta and extra of a checkpoint, as `save` writes them."""
        return load_checkpoint(path)

    def save_or_warn(self, console: Console, then: str = "Training goes on.") -> bool:
        """Save; print a warning that ends with ``then`` and return False when that fails.

        Raises:
            NotFiniteError: nothing can be saved any more.
        """
        try:
            self.save()
        except NotFiniteError:
            raise
        except (InputError, RunError) as error:
            console.print(f"{error} {then}", style="yellow", soft_wrap=True, markup=False)
            return False
        return True

    # --- the loop ---------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.schedule.steps

    def complete(self, seconds: float | None = None, console: Console | None = None) -> bool:
        """`resume`, then `fit` the remaining steps; return whether all steps are done."""
        console = console or Console()
        if self.resume(console=console) and not self.finished:
            console.print(f"Continuing from step {self.step} of {self.run_dir}.", soft_wrap=True, markup=False)
        if not self.finished:
            self.fit(seconds, console)
        return self.finished

    def fit(self, seconds: float | None = None, console: Console | None = None) -> dict[str, float]:
        """Train to the last step, for at most ``seconds``, or until SIGINT (Ctrl-C), SIGTERM or SIGHUP.

        A signal lets the current step finish, writes a checkpoint and returns with ``interrupted`` set.

        Returns:
            the last evaluation; empty on ranks other than 0.

        Raises:
            InputError: the run folder cannot be written, or another process trains in it.
            RunError: no finite losses or weights any more, too little memory, or a full disk at the last checkpoint.
                Before this and any error in the data, rank 0 saves the steps before.
        """
        console = console or Console()
        deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
        state, first = FitState(self.step), self.ranks.is_first
        with (
            self.ranks.failing_together(),
            run_lock(self.run_dir) if first else nullcontext(),
            closing(self._open_run()) if first else nullcontext() as log,
            InterruptFlag() as interrupted,
            progress_bar(self.title, console, disable=log is None) as bar,
            closing(self.batches()) as batches,
        ):
            start_together(self.ranks, self.model, self.step, self.device)
            task = bar.add_task("steps", total=self.schedule.steps, completed=self.step, note=self.progress_text({}))
            while not self.finished:
                if self.ranks.any(time.monotonic() >= deadline or self.should_stop(interrupted, console), self.device):
                    break
                metrics = self._timed_step(batches, bool(log) and state.unsaved(self.step), console)
                if log is None:
                    continue
                self._save_and_evaluate(state, log, metrics, console)
                bar.update(task, completed=self.step, total=self.schedule.steps, note=self.progress_text(metrics))
                self.after_step(console)
            self.interrupted = interrupted()
            if log is not None:
                self._save_and_evaluate_last(state, log)
        return state.evaluation

    def _open_run(self) -> MetricLog:
        """Create the run folder, write ``config.json`` and open the log."""
        try:
            if self._damaged:
                set_aside(self.checkpoint_dir, self.step)
            with atomic_file(self.run_dir / "config.json") as partial:
                partial.write_text(json.dumps(to_dict(self.config), indent=1))
            return self.open_log()
        except OSError as error:
            raise InputError(self.run_dir, "a folder that can be written to", str(error)) from error

    def _timed_step(self, batches: Iterator[T], unsaved: bool, console: Console) -> dict[str, float]:
        """Train one step; scalars with "its_per_s". See `_memory_errors` for ``unsaved``."""
        begun = time.perf_counter()
        try:
            with self._memory_errors("copying a batch", unsaved=False):
                batch = next(batches)
        except Exception:  # whatever is wrong with the data, the steps before it are worth keeping
            if unsaved:
                self.save_or_warn(console, then="Its steps are lost.")
            raise
        with self._memory_errors(f"step {self.step + 1}", unsaved):
            # Other ranks may be waiting in a sum over all of them, which a second try would begin again.
            repeatable = lambda: self.ranks.world == 1 and not self._weights_modified  # noqa: E731
            metrics = tried_twice(partial(self.train_step, batch), repeatable)
        metrics["its_per_s"] = 1 / (time.perf_counter() - begun)
        if self._bad_in_a_row >= MAX_BAD_STEPS:
            problem = f"loss or gradient were not finite in {MAX_BAD_STEPS} consecutive steps"
            raise RunError(f"{self.run_dir}: training stopped at step {self.step}, {problem}", self.divergence_hint)
        return metrics

    def _save_and_evaluate(self, state: FitState, log: MetricLog, metrics: dict[str, float], console: Console) -> None:
        """Write the checkpoint and do the evaluation that are due after this step, and log ``metrics`` with it.

        The checkpoint comes first: an evaluation may fail, or be killed, where training did not.
        """
        if self.finished or self.step % self.schedule.save_every == 0:
            log.flush()  # a checkpoint on the disk has its rows there, too
            then = "It is tried again after the evaluation." if self.finished else "Training goes on."
            if self.save_or_warn(console, then):
                state.saved_at = self.step
        try:
            if self.finished or (self.schedule.eval_every and self.step % self.schedule.eval_every == 0):
                with self._memory_errors("the evaluation", unsaved=False):
                    state.evaluation, state.evaluated_at = self.evaluate(), self.step
                metrics |= state.evaluation
        except BaseException:  # also a second Ctrl-C, for which no evaluation waits
            if state.unsaved(self.step):
                self.save()
            raise
        finally:
            log(self.step, metrics | {"memory_gb": memory_gb(self.device)})

    def _save_and_evaluate_last(self, state: FitState, log: MetricLog) -> None:
        """Write the last checkpoint and do the last evaluation, unless the loop did."""
        if state.unsaved(self.step):
            log.flush()
            self.save()
        if self.interrupted is None and state.evaluated_at != self.step:
            with self._memory_errors("the evaluation", unsaved=False):
                state.evaluation = self.evaluate()
            # An earlier process may have ended after the last step's row was logged and before its evaluation was.
            missing = self.finished and not state.evaluation.keys() & log.last.keys()
            if state.evaluation and (self.step > state.first_step or missing):
                log(self.step, state.evaluation)

    @contextmanager
    def _memory_errors(self, activity: str, unsaved: bool) -> Iterator[None]:
        """Turn a CUDA out-of-memory error during ``activity`` into a `RunError`. With ``unsaved``, the last step has no
        checkpoint: it is saved first, unless the weights changed since."""
        self._weights_modified = False
        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            if unsaved and not self._weights_modified:
                self.save()
            problem = f"{self.device} ran out of memory in {activity} ({str(error).splitlines()[0]})"
            raise RunError(f"{self.run_dir}: {problem}", self.memory_hint) from error

    def update(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        losses: Losses | Sequence[Losses],
        lr: float,
        grad_clip: float = 0.0,
        parameters: Iterable[nn.Parameter] | None = None,
    ) -> dict[str, float]:
        """Take one optimiser step and count it; return scalars ("loss/…", "grad_norm", …).

        When the loss or the gradient is not finite, parameters and buffers keep their values.

        Args:
            losses: computes the weighted terms by name, or (their sum, the terms to log as "loss/…", unless they have
                a slash). A sequence is run one part at a time to save memory; the gradient is that of their mean.
            lr: this step's learning rate, times each group's "lr_scale" where it has one.
            grad_clip: largest norm of the gradient; 0 does not clip.
            parameters: whose gradients are averaged and clipped, in this order; by default the optimiser's.
        """
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        # The forward pass updates running statistics, which one bad batch would spoil for good.
        saved = [(b, b.clone()) for b in model.buffers()]
        optimizer.zero_grad(set_to_none=True)
        try:
            loss, terms = backward(losses if isinstance(losses, Sequence) else [losses])
        except torch.cuda.OutOfMemoryError:
            restore_buffers(saved)
            raise
        self._weights_modified = True
        parameters = list(parameters or (p for group in optimizer.param_groups for p in group["params"]))
        self.ranks.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, grad_clip or float("inf"))
        # One read for all scalars: every one of them waits for a device.
        read = torch.stack([t.detach().float() for t in (loss, norm, *terms.values())]).tolist()
        finite = math.isfinite(read[0]) and math.isfinite(read[1])
        if not self.ranks.any(not finite, self.device):  # all ranks skip the same steps
            optimizer.step()
            self._bad_in_a_row = 0
        else:
            restore_buffers(saved)
            self.nan_steps += 1
            self._bad_in_a_row += 1
        self.step += 1
        scalars = {"loss/total": read[0], "lr": lr, "grad_norm": read[1], "nan_steps": float(self.nan_steps)}
        return scalars | {k if "/" in k else f"loss/{k}": v for k, v in zip(terms, read[2:], strict=True)}
