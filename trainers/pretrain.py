"""The pre-training loop: one engine for `ns-train`, for plain installs and for the benchmarks."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from ..core.batch import Batch
from ..core.config import from_dict, to_dict
from ..core.errors import InputError
from ..core.io.checkpoint import latest_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from ..core.live import LiveFeed, Snapshot
from ..core.metrics import psnr
from ..core.models import GaussianCross, Prediction
from .config import DataConfig, OptimConfig, PretrainConfig
from .data import PretrainData
from .evaluation import evaluate
from .interrupt import InterruptFlag
from .log import MetricLog
from .probe import LinearProbe, OnlineProbe, split_probe, with_probe
from .schedule import WarmStatistics, one_cycle
from .timeline import Timeline

__all__ = ["DataConfig", "OptimConfig", "PretrainConfig", "Pretrainer", "load_probe", "load_run", "make_optimizer"]

MAX_BAD_STEPS = 20
"""Consecutive steps with a non-finite loss or gradient after which a run stops."""


class Pretrainer:
    """Owns model, optimiser, step counter and run folder; everything else is passed in.

    The run folder holds ``config.json``, ``metrics.jsonl``, ``tensorboard/``, ``checkpoints/`` and ``timeline/``.

    Args:
        config: the run. ``model.teacher_dim`` is overwritten by the data's.
        run_dir: created if need be; when it holds a checkpoint, `resume` continues it.
        data: opened from the config unless given.
        device: "cuda" when there is one, unless given.
        feed: where to publish for viewers; None publishes nothing.
        model: the network to train; built from the config and its seed unless given.
        after_save: called with the step after each checkpoint that was written (to keep copies in other formats).

    Attributes:
        step: optimiser steps taken.
        nan_steps: how many of them changed nothing because a loss or gradient was not finite.
        interrupted: the signal that ended the last `fit`, or None.
        probe: the linear probe that watches the features; None where it is off or the data have no classes.
    """

    def __init__(
        self,
        config: PretrainConfig,
        run_dir: Path,
        data: PretrainData | None = None,
        device: str | torch.device | None = None,
        feed: LiveFeed | None = None,
        model: GaussianCross | None = None,
        after_save: Callable[[int], None] | None = None,
    ) -> None:
        if config.steps < 1 or config.save_every < 1:
            found = f"{config.steps} and {config.save_every}"
            raise InputError("steps and save_every", "at least 1 each", found)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.data = data or PretrainData(config.data, config.model.input, config.seed)
        self.config = replace(config, model=replace(config.model, teacher_dim=self.data.teacher_dim))
        if model is None:
            torch.manual_seed(config.seed)
            model = GaussianCross(self.config.model)
        self.model = model.to(self.device)
        self.optimizer = make_optimizer(self.model, config.optim)
        self._statistics = WarmStatistics(self.model)
        self.run_dir, self.feed, self._after_save = Path(run_dir), feed, after_save
        self.step = 0
        self.nan_steps = 0
        self.interrupted: signal.Signals | None = None
        self._bad_in_a_row = 0
        self.probe: OnlineProbe | None = None
        if config.probe and self.data.class_names:
            width = config.model.channels[-1]
            self.probe = OnlineProbe(width, self.data.class_names, config.seed, self.device)
        if feed is not None:
            feed.config = to_dict(self.config)

    # --- one step -------------------------------------------------------------------------------------------

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Forward, backward and update on one batch; returns scalars. A step whose loss or gradient is not finite
        changes nothing but the counters ``step`` and ``nan_steps``."""
        self.model.train()
        batch = batch.to(self.device)
        lr = one_cycle(self.step, self.config.steps, self.config.optim.lr, self.config.optim.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._statistics.before(self.step)
        # The forward pass updates running statistics, which one bad batch would spoil for good.
        statistics = [(b, b.clone()) for b in self.model.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        amp = self.config.optim.amp and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=amp):
            predictions = self.model(batch)
            loss, terms = self.model.losses(predictions, batch)
        loss.backward()
        loss = loss.detach()
        grad_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.grad_clip)
        if bool(torch.isfinite(loss)) and bool(torch.isfinite(grad_norm)):
            self.optimizer.step()
            self._bad_in_a_row = 0
            probe_loss = self._teach_probe(predictions, batch)
        else:
            for buffer, before in statistics:
                buffer.copy_(before)
            self.nan_steps += 1
            self._bad_in_a_row += 1
            probe_loss = None
        self.step += 1
        metrics = {
            "loss/total": float(loss),
            "lr": lr,
            "grad_norm": float(grad_norm),
            "nan_steps": float(self.nan_steps),
        }
        metrics |= {f"loss/{k}": float(v.detach()) for k, v in terms.items()}
        if probe_loss is not None:
            metrics["probe/loss"] = probe_loss
        metrics["gaussians"] = sum(len(p.gaussians) for p in predictions) / len(predictions)
        metrics["train/psnr"] = float(
            torch.cat(
                [psnr(p.splats.color.detach(), v.color) for p, v in zip(predictions, batch.views, strict=True)]
            ).mean()
        )
        return metrics

    def _teach_probe(self, predictions: list[Prediction], batch: Batch) -> float | None:
        features = [p.point_features for p in predictions if p.point_features is not None]
        if self.probe is None or len(features) < len(predictions):
            return None
        return self.probe.learn(self.step, torch.cat(features), batch.points.segment)

    def evaluate(self, on_scene: Callable[[str, Batch, Prediction], object] | None = None) -> dict[str, float]:
        """Means of `trainers.evaluation.evaluate` over the held-out views, NaN left out; and where there is a probe
        and labels, ``probe/miou`` (over the classes that occur) and ``probe/acc`` of all held-out voxels."""

        def seen(name: str, batch: Batch, prediction: Prediction) -> None:
            if self.probe is not None:
                self.probe.observe(prediction.point_features, batch.points.segment)
            if on_scene is not None:
                on_scene(name, batch, prediction)

        metrics = {k: float(v.nanmean()) for k, v in evaluate(self.model, self.data, seen).items()}
        scores = None if self.probe is None else self.probe.take_scores()
        return metrics if scores is None else metrics | {"probe/miou": scores.miou_present, "probe/acc": scores.allacc}

    # --- checkpoints ----------------------------------------------------------------------------------------

    @property
    def checkpoint_dir(self) -> Path:
        return self.run_dir / "checkpoints"

    def save(self) -> Path:
        """Write a checkpoint of this very step, atomically.

        Raises:
            InputError: the disk is full or the folder cannot be written. Earlier checkpoints are untouched.
        """
        extra = {"optimizer": self.optimizer.state_dict(), "nan_steps": self.nan_steps}
        meta = {"config": to_dict(self.config), "step": self.step}
        keep = self.config.keep or sys.maxsize
        if self.probe is not None:
            extra["probe"] = self.probe.state()
        path = save_checkpoint(self.checkpoint_dir, self.step, self._weights(), meta, extra, keep=keep)
        if self._after_save is not None:
            self._after_save(self.step)
        return path

    def _weights(self) -> dict[str, Tensor]:
        return with_probe(self.model.state_dict(), None if self.probe is None else self.probe.weights())

    def resume(self, path: Path | None = None) -> bool:
        """Continue from the checkpoint ``path`` or from the run's latest. Returns whether there was one.

        Exact: weights, optimiser and step come back; batches and learning rates are functions of the step.

        Raises:
            InputError: a damaged checkpoint, or one of another model.
        """
        path = path or latest_checkpoint(self.checkpoint_dir)
        if path is None:
            return False
        tensors, meta, extra = load_checkpoint(path)
        saved, mine = meta.get("config", {}).get("model", {}), to_dict(self.config)["model"]
        changed = sorted(k for k in {*saved, *mine} if saved.get(k) != mine.get(k))
        if changed:
            hint = "give the options that it was trained with, or start a new run"
            raise InputError(path, "the model that this run builds", f"another {', '.join(changed)}", hint)
        weights, probe = split_probe(tensors)
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(extra["optimizer"])
        if self.probe is not None and probe is not None:
            self.probe.load(probe, extra.get("probe", {}))
        self.step, self.nan_steps = int(meta["step"]), int(extra["nan_steps"])
        return True

    # --- the loop -------------------------------------------------------------------------------------------

    def fit(self, seconds: float | None = None, console: Console | None = None) -> dict[str, float]:
        """Train until ``config.steps``, for at most ``seconds``, or until SIGINT (Ctrl-C) or SIGTERM, which finishes
        the step, writes a checkpoint and returns with ``interrupted`` set.

        Returns:
            the last evaluation.

        Raises:
            InputError: the folder cannot be written, no finite losses any more, or no room for the last checkpoint.
        """
        console = console or Console()
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            (self.run_dir / "config.json").write_text(json.dumps(to_dict(self.config), indent=1))
            log = MetricLog(self.run_dir, self.step, self.feed)
            timeline = Timeline(self.run_dir, int(self.config.timeline_mb * 1e6), self.step)
        except OSError as error:
            raise InputError(self.run_dir, "a folder that can be written to", str(error)) from error
        ends = time.monotonic() + (float("inf") if seconds is None else seconds)
        first_step, evaluated_at, saved_at = self.step, -1, -1
        evaluation: dict[str, float] = {}
        first = "the first step takes longer" + (": kernels are compiled, once" if self.device.type == "cpu" else "")
        columns = (
            TextColumn("[bold]pre-training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        with (
            closing(log),
            InterruptFlag() as interrupted,
            Progress(*columns, console=console) as bar,
            closing(self.data.batches(self.step)) as batches,
        ):
            task = bar.add_task("steps", total=self.config.steps, completed=self.step, note=first)
            self._publish()
            timeline.offer(self.step, self._weights)
            while self.step < self.config.steps and time.monotonic() < ends and not self._held(interrupted, console):
                begun = time.perf_counter()
                metrics = self.train_step(next(batches))
                metrics["its_per_s"] = 1 / (time.perf_counter() - begun)
                if self._bad_in_a_row >= MAX_BAD_STEPS:
                    raise InputError(
                        self.run_dir,
                        "finite losses",
                        f"{MAX_BAD_STEPS} steps in a row without one",
                        "lower --optim.lr or check the depth and poses of the data",
                    )
                last = self.step == self.config.steps
                if last or (self.config.eval_every and self.step % self.config.eval_every == 0):
                    evaluation, evaluated_at = self.evaluate(), self.step
                    metrics |= evaluation
                metrics["memory_gb"] = memory_gb(self.device)
                log(self.step, metrics)
                loss, quality = metrics["loss/total"], metrics["train/psnr"]
                note = f"{metrics['its_per_s']:.2f} it/s  loss {loss:.3f}  PSNR {quality:.1f} dB"
                bar.update(task, completed=self.step, note=note)
                if not last and self.step % self.config.save_every == 0 and self._try_save(console):
                    saved_at = self.step
                timeline.offer(self.step, self._weights)
                self._answer(console)
            self.interrupted = interrupted()
            if saved_at != self.step and self.step > first_step:
                self.save()
            if self.interrupted is None and evaluated_at != self.step:
                evaluation = self.evaluate()
                if self.step > first_step:
                    log(self.step, evaluation)
            self._publish(always=True)
        return evaluation

    def _held(self, interrupted: Callable[[], signal.Signals | None], console: Console) -> bool:
        """Wait while a viewer has paused the run, answering what it asks for; True when the run was interrupted."""
        while self.feed is not None and not self.feed.wait_while_paused(lambda: interrupted() is not None):
            if interrupted() is not None:
                break
            self._answer(console)
        return interrupted() is not None

    def _answer(self, console: Console) -> None:
        """Give viewers what they asked for: a checkpoint, a newer snapshot."""
        if self.feed is not None and self.feed.take_save_request():
            self._try_save(console)
        self._publish()

    def _publish(self, always: bool = False) -> None:
        """A new snapshot if a viewer wants one, or the first, or ``always``."""
        feed = self.feed
        if feed is not None and (always or feed.snapshot is None or feed.wants_snapshot.is_set()):
            weights = {k: v.detach().to("cpu", copy=True) for k, v in self.model.state_dict().items()}
            feed.publish(Snapshot(self.step, weights, None if self.probe is None else self.probe.weights()))

    def _try_save(self, console: Console) -> bool:
        """Save on the way: a full disk is told, and costs no more than this checkpoint."""
        try:
            self.save()
        except InputError as error:
            console.print(f"{error} Training goes on.", style="yellow", soft_wrap=True, markup=False)
            return False
        return True


def make_optimizer(model: torch.nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW with decay on matrices only."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


def find_checkpoint(path: Path, step: int | None = None) -> Path | None:
    """The checkpoint that ``path`` means: itself, or the latest (or ``step``'s) of a run folder or of its
    ``checkpoints/``."""
    if (path / "model.safetensors").exists():
        return path
    found = list_checkpoints(path / "checkpoints") or list_checkpoints(path)
    return next((p for s, p in reversed(found) if step is None or s == step), None)


def load_run(path: Path) -> tuple[GaussianCross, PretrainConfig, int]:
    """Model (CPU, eval mode), config and step from a run folder or one of its checkpoints."""
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        raise InputError(path, "a run folder with checkpoints/, or one checkpoint", "neither")
    tensors, meta, _ = load_checkpoint(checkpoint)
    config = from_dict(PretrainConfig, meta["config"], str(checkpoint))
    model = GaussianCross(config.model)
    model.load_state_dict(split_probe(tensors)[0])
    return model.eval(), config, int(meta["step"])


def load_probe(path: Path) -> LinearProbe | None:
    """The probe that watched the run, from the same place; None where there was none."""
    checkpoint = find_checkpoint(path)
    probe = None if checkpoint is None else split_probe(load_checkpoint(checkpoint)[0])[1]
    return None if probe is None else LinearProbe.of(probe)


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
