"""The pre-training loop: one engine for `ns-train`, for plain installs and for the benchmarks."""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from ..core.batch import Batch
from ..core.config import from_dict, to_dict
from ..core.errors import InputError
from ..core.io.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from ..core.live import LiveFeed, Snapshot
from ..core.metrics import depth_error, effective_rank, feature_spread, psnr, token_cosine
from ..core.models import GaussianCross, GaussianCrossConfig, Prediction
from .data import DataConfig, PretrainData
from .schedule import one_cycle


@dataclass(frozen=True)
class OptimConfig:
    """AdamW + OneCycle. The paper does not publish its optimiser: all inferred."""

    lr: float = 2e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """Decoupled weight decay, on matrices only (biases and norms have none)."""
    warmup: float = 0.05
    """Share of the steps spent rising to the peak."""
    grad_clip: float = 1.0
    """Largest gradient norm."""
    amp: bool = True
    """Mixed precision (bfloat16 autocast) for backbone and dense network, on CUDA only."""


@dataclass(frozen=True)
class PretrainConfig:
    """One pre-training run."""

    model: GaussianCrossConfig = field(default_factory=GaussianCrossConfig)
    """The network; ``teacher_dim`` is set from the data."""
    data: DataConfig = field(default_factory=DataConfig)
    """Scenes, views and teacher."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    steps: int = 100_000
    """Optimiser steps of the whole schedule."""
    seed: int = 0
    """Of weights, scene order, masks, augmentations and views."""
    save_every: int = 1000
    """Steps between checkpoints; one is also written at the end and on Ctrl-C."""
    keep: int = 2
    """Checkpoints kept, at least 2; 0 keeps all."""
    eval_every: int = 500
    """Steps between evaluations on held-out views; one is also done at the end."""


MAX_BAD_STEPS = 20
"""Consecutive steps with a non-finite loss or gradient after which a run stops."""


class Pretrainer:
    """Owns model, optimiser, step counter and run folder; everything else is passed in.

    The run folder holds ``config.json``, ``metrics.jsonl``, ``tensorboard/`` and ``checkpoints/``.

    Args:
        config: the run. ``model.teacher_dim`` is overwritten by the data's.
        run_dir: created if need be; when it holds a checkpoint, `resume` continues it.
        data: opened from the config unless given.
        device: "cuda" when there is one, unless given.
        feed: where to publish for viewers; None publishes nothing.
    """

    def __init__(
        self,
        config: PretrainConfig,
        run_dir: Path,
        data: PretrainData | None = None,
        device: str | torch.device | None = None,
        feed: LiveFeed | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.data = data or PretrainData(config.data, config.model.input, config.seed)
        self.config = replace(config, model=replace(config.model, teacher_dim=self.data.teacher_dim))
        torch.manual_seed(config.seed)
        self.model = GaussianCross(self.config.model).to(self.device)
        self.optimizer = make_optimizer(self.model, config.optim)
        self.run_dir, self.feed = Path(run_dir), feed
        self.step = 0
        self.nan_steps = 0
        self._bad_in_a_row = 0
        if feed is not None:
            feed.config = to_dict(self.config)

    # --- one step -------------------------------------------------------------------------------------------

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Forward, backward and update on one batch; returns scalars. A step whose loss or gradient is not finite
        changes nothing but the counter ``nan_steps``."""
        self.model.train()
        batch = batch.to(self.device)
        lr = one_cycle(self.step, self.config.steps, self.config.optim.lr, self.config.optim.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        amp = self.config.optim.amp and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=amp):
            predictions = self.model(batch)
            loss, terms = self.model.losses(predictions, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.grad_clip)
        if bool(torch.isfinite(loss)) and bool(torch.isfinite(norm)):
            self.optimizer.step()
            self._bad_in_a_row = 0
        else:
            self.nan_steps += 1
            self._bad_in_a_row += 1
        self.step += 1
        metrics = {"loss/total": float(loss), "lr": lr, "grad_norm": float(norm), "nan_steps": float(self.nan_steps)}
        metrics |= {f"loss/{k}": float(v) for k, v in terms.items()}
        metrics["gaussians"] = sum(len(p.gaussians) for p in predictions) / len(predictions)
        metrics["train/psnr"] = float(
            torch.cat(
                [psnr(p.splats.color.detach(), v.color) for p, v in zip(predictions, batch.views, strict=True)]
            ).mean()
        )
        return metrics

    # --- evaluation -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, on_scene: Callable[[str, Batch, Prediction], None] | None = None) -> dict[str, float]:
        """Held-out views: PSNR and its gain over the mean colour, median relative depth error, teacher cosine; and two
        measures of collapse of the backbone's features.

        Args:
            on_scene: called with every scene's name, batch and prediction (to keep pictures).
        """
        self.model.eval()
        rows: dict[str, list[Tensor]] = {}

        def add(name: str, values: Tensor) -> None:
            rows.setdefault(name, []).append(values.float().cpu())

        for name, batch in self.data.held_out():
            batch = batch.to(self.device)
            views = batch.views[0]
            features = self.model.backbone_features(batch.points)
            prediction = self.model.predict_views(self.model.gaussians(batch.points, features)[0], views)
            mean = self.mean_color().to(self.device)
            quality = psnr(prediction.splats.color, views.color)
            add("eval/psnr", quality)
            add("eval/psnr_gain", quality - psnr(mean.expand_as(views.color), views.color))
            add("eval/depth_error", depth_error(prediction.splats.depth[..., 0], views.depth))
            if prediction.tokens is not None and views.teacher is not None:
                add("eval/teacher_cosine", token_cosine(prediction.tokens, views.teacher))
            add("eval/effective_rank", torch.tensor([effective_rank(features)]))
            add("eval/feature_spread", torch.tensor([feature_spread(features.float())]))
            if on_scene is not None:
                on_scene(name, batch, prediction)
        return {k: float(torch.cat(v).nanmean()) for k, v in rows.items()}

    def mean_color(self) -> Tensor:
        """[3] mean colour of some training views: the trivial prediction that a render must beat."""
        if not hasattr(self, "_mean_color"):
            batches = [self.data.batch(s) for s in range(min(4, len(self.data.train)))]
            self._mean_color = torch.cat([v.color.flatten(0, 2) for b in batches for v in b.views]).mean(0)
        return self._mean_color

    # --- checkpoints ----------------------------------------------------------------------------------------

    @property
    def checkpoint_dir(self) -> Path:
        return self.run_dir / "checkpoints"

    def save(self) -> Path:
        """Write a checkpoint of this very step, atomically."""
        extra = {"optimizer": self.optimizer.state_dict(), "nan_steps": self.nan_steps}
        meta = {"config": to_dict(self.config), "step": self.step}
        keep = self.config.keep
        return save_checkpoint(self.checkpoint_dir, self.step, self.model.state_dict(), meta, extra, keep=keep)

    def resume(self, path: Path | None = None) -> bool:
        """Continue from ``path`` or from the run's latest checkpoint. Returns whether there was one.

        Exact: weights, optimiser and step come back; batches and learning rates are functions of the step.
        """
        path = path or latest_checkpoint(self.checkpoint_dir)
        if path is None:
            return False
        tensors, meta, extra = load_checkpoint(path)
        saved, mine = meta["config"]["model"], to_dict(self.config)["model"]
        if saved != mine:
            changed = sorted(k for k in {*saved, *mine} if saved.get(k) != mine.get(k))
            raise InputError(path, "the model that this run builds", f"another {changed}", "start a new run folder")
        self.model.load_state_dict(tensors)
        self.optimizer.load_state_dict(extra["optimizer"])
        self.step, self.nan_steps = int(meta["step"]), int(extra["nan_steps"])
        return True

    # --- the loop -------------------------------------------------------------------------------------------

    def fit(self, seconds: float | None = None, console: Console | None = None) -> dict[str, float]:
        """Train until ``config.steps``, for at most ``seconds``, or until Ctrl-C (which saves and returns).

        Returns:
            the last evaluation.
        """
        console = console or Console()
        self.run_dir.mkdir(parents=True, exist_ok=True)
        (self.run_dir / "config.json").write_text(json.dumps(to_dict(self.config), indent=1))
        log = MetricLog(self.run_dir, self.step, self.feed)
        started, evaluation, saved_at = time.monotonic(), {}, -1
        batches = self.data.batches(self.step)
        columns = (
            TextColumn("[bold]pre-training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with (
            _InterruptFlag() as interrupted,
            Progress(*columns, TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(), console=console) as bar,
        ):
            task = bar.add_task("steps", total=self.config.steps, completed=self.step, note="")

            def out_of_time() -> bool:
                return seconds is not None and time.monotonic() - started > seconds

            try:
                self._publish()
                while self.step < self.config.steps and not interrupted() and not out_of_time():
                    if self.feed is not None:
                        self.feed.wait_while_paused(interrupted)
                        if interrupted():
                            break
                    begun = time.perf_counter()
                    metrics = self.train_step(next(batches))
                    metrics["its_per_s"] = 1 / (time.perf_counter() - begun)
                    if self._bad_in_a_row >= MAX_BAD_STEPS:
                        raise InputError(
                            str(self.run_dir),
                            "finite losses",
                            f"{MAX_BAD_STEPS} steps in a row without one",
                            "lower --optim.lr or check the depth and poses of the data",
                        )
                    if self.step % self.config.eval_every == 0:
                        evaluation = self.evaluate()
                        metrics |= evaluation
                    metrics["memory_gb"] = memory_gb(self.device)
                    log(self.step, metrics)
                    loss, quality = metrics["loss/total"], metrics["train/psnr"]
                    note = f"{metrics['its_per_s']:.2f} it/s  loss {loss:.3f}  PSNR {quality:.1f} dB"
                    bar.update(task, completed=self.step, note=note)
                    asked = self.feed is not None and self.feed.take_save_request()
                    if asked or self.step % self.config.save_every == 0:
                        self.save()
                        saved_at = self.step
                    self._publish()
            finally:
                batches.close()
        if saved_at != self.step and self.step > 0:
            self.save()
        if interrupted():
            console.print(
                f"Interrupted: checkpoint of step {self.step} written to {self.checkpoint_dir}; run again to resume."
            )
        else:
            evaluation = self.evaluate()
            log(self.step, evaluation)
        log.close()
        return evaluation

    def _publish(self) -> None:
        """A new snapshot if a viewer wants one, or the first."""
        if self.feed is not None and (self.feed.snapshot is None or self.feed.wants_snapshot.is_set()):
            weights = {k: v.detach().to("cpu", copy=True) for k, v in self.model.state_dict().items()}
            self.feed.publish(Snapshot(self.step, weights))


def make_optimizer(model: torch.nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW with decay on matrices only."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


def load_run(path: Path) -> tuple[GaussianCross, PretrainConfig, int]:
    """Model (CPU, eval mode), config and step from a run folder or one of its checkpoints."""
    checkpoint = path if (path / "model.safetensors").exists() else latest_checkpoint(path / "checkpoints")
    if checkpoint is None:
        raise InputError(path, "a run folder with checkpoints/, or one checkpoint", "neither")
    tensors, meta, _ = load_checkpoint(checkpoint)
    config = from_dict(PretrainConfig, meta["config"], str(checkpoint))
    model = GaussianCross(config.model)
    model.load_state_dict(tensors)
    return model.eval(), config, int(meta["step"])


def memory_gb(device: torch.device) -> float:
    """Peak memory so far in GB: the device's on CUDA, else the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9


class MetricLog:
    """Scalars to ``metrics.jsonl``, TensorBoard and the live feed. Opened at ``step``, it forgets what a run that was
    cut off had logged beyond its checkpoint, and gives the feed the curves so far."""

    def __init__(self, run_dir: Path, step: int, feed: LiveFeed | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        path = run_dir / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        rows = [r for r in rows if r["step"] <= step]
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        if feed is not None:
            for row in rows:
                feed.log(row["step"], {k: v for k, v in row.items() if k != "step"})
        self._file, self._feed = path.open("a"), feed
        self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1)

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        finite = {k: v for k, v in metrics.items() if math.isfinite(v)}
        self._file.write(json.dumps({"step": step, **finite}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)
        if self._feed is not None:
            self._feed.log(step, finite)

    def close(self) -> None:
        self._file.close()
        self._board.close()


class _InterruptFlag:
    """Ctrl-C sets a flag that the loop reads between steps, so that a step is never cut in half; a second one raises.
    Does nothing outside the main thread."""

    def __enter__(self) -> Callable[[], bool]:
        self._set = False
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return lambda: self._set

    def _handle(self, signum: int, frame: object) -> None:
        if self._set:
            raise KeyboardInterrupt
        self._set = True

    def __exit__(self, *_: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._previous)
