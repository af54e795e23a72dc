"""`Pretrainer`: GaussianCross pre-training, used by the command line, `ns-train` and the benchmarks."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from ...core.config import to_dict
from ...core.data.batch import Batch
from ...core.device import default_device, has_bfloat16
from ...core.errors import InputError
from ...core.metrics import psnr
from ...core.models import GaussianCross, GaussianCrossConfig, Prediction
from ..engine.live import LiveFeed, Snapshot
from ..engine.log import MetricLog
from ..engine.loop import Trainer, TrainSchedule
from ..engine.optimizer import adamw, load_optimizer
from ..engine.schedule import WarmStatistics, one_cycle
from .config import DataConfig, OptimConfig, PretrainConfig
from .cuda import prepare
from .data import PretrainData
from .evaluation import evaluate
from .feed import feed
from .online_probe import OnlineProbe, split_probe, with_probe
from .timeline import Timeline

__all__ = ["DataConfig", "OptimConfig", "PretrainConfig", "Pretrainer", "make_optimizer"]

TOLERANCE = 1.1
"""Factor by which a schedule may exceed its time limit before it is shortened or cut off."""


@dataclass(frozen=True)
class _Output:
    """What a step keeps of the prediction for one scene: number of Gaussians and backbone features [V, C]."""

    gaussians: int
    features: Tensor | None


class Pretrainer(Trainer[Batch]):
    """Trains a `GaussianCross` and, where scenes have labels, a linear probe beside it; see `Trainer`.

    The run folder also holds ``timeline/``.

    Args:
        config: options of the run. ``model.teacher_dim`` is overwritten by the data's.
        run_dir: created if missing; when it holds a checkpoint, `resume` continues it, exactly on a CPU.
        data: data of the run; by default opened from the config.
        device: device of the training; by default "cuda" if available.
        feed: receives snapshots and curves for viewers; None publishes nothing.
        model: the network to train; by default built from the config and its seed.
        after_save: called with the step after each checkpoint (to write copies in other formats).

    Attributes:
        probe: the online linear probe; None where it is off, the data have no classes, and on ranks other than 0.
    """

    kind, title = "GaussianCross", "pre-training"
    divergence_hint = "lower --optim.lr or check the depth and poses of the data"
    memory_hint = "set data.micro_batch, the number of scenes per forward pass, or lower it"

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
        super().__init__(
            config, run_dir, TrainSchedule(config.steps, config.eval_every, config.save_every, config.keep)
        )
        if config.data.micro_batch < 0:
            raise InputError("data.micro_batch", "0 or a number of scenes", str(config.data.micro_batch))
        if self.ranks.world > 1 and config.model.lattice == "cuboid" and config.model.unet_norm == "batch":
            found = 'model.lattice "cuboid", whose scenes may pass the network one by one'
            raise InputError("model.unet_norm", '"group" in several processes', found)
        self.device = default_device(device)
        self.data = data or PretrainData(config.data, config.model.input, config.seed)
        if self.data.input.pairs != config.model.input.pairs:
            found = f"{self.data.input.pairs} in the data, {config.model.input.pairs} in the model"
            raise InputError("pairs", "one number of them", found)
        self.config: PretrainConfig = replace(config, model=replace(config.model, teacher_dim=self.data.teacher_dim))
        if model is None:
            torch.manual_seed(config.seed)
            model = GaussianCross(self.config.model)
        self.model = model.to(self.device)
        if self.device.type == "cuda":
            prepare(self.model, config.optim.amp)
        self.optimizer = make_optimizer(self.model, config.optim)
        self._statistics = WarmStatistics(self.model)
        self._amp = config.optim.amp and self.device.type == "cuda" and has_bfloat16(self.device)
        self._shortened_at = (0, 0.0)  # step and position of the last `shorten`
        self._time_limit: tuple[float, int, float] | None = None  # start of `fit`, its first step, seconds
        self._next_check = 0.0  # when to compare the remaining steps with the time limit, seconds since `fit` began
        self._paused = 0.0  # seconds that viewers have paused the run after its first step
        self._first_ended = 0.0  # when the first step ended, seconds since `fit` began
        self.feed, self._after_save = feed, after_save
        self.probe: OnlineProbe | None = None
        if config.probe and self.data.class_names and self.ranks.is_first:
            width = config.model.channels[-1]
            self.probe = OnlineProbe(width, self.data.class_names, config.seed, self.device)
        if feed is not None:
            feed.config = to_dict(self.config)

    # --- the schedule ---------------------------------------------------------------------------------------

    @property
    def position(self) -> float:
        """Position of the next step in the schedule of ``config.steps``: its number, or more after `shorten`."""
        if self.schedule.steps == self.config.steps:
            return self.step
        step, position = self._shortened_at
        last = self.config.steps - 1
        if self.step >= self.schedule.steps - 1:  # the last step has the lowest rate, also if it is the only one left
            return last
        return position + (self.step - step) * (last - position) / (self.schedule.steps - 1 - step)

    def shorten(self, steps: int) -> None:
        """End at ``steps`` instead of later: the remaining schedule is compressed into fewer steps."""
        self._shortened_at = (self.step, self.position)
        self.schedule = replace(self.schedule, steps=max(steps, self.step + 1))

    def _fit_time_limit(self) -> None:
        """Shorten the schedule when the steps are too slow for the time limit.

        Checked after a quarter of the time, by the mean of all steps but the first, which waits for the first batch.
        """
        if self._time_limit is None:
            return
        begun, first, seconds = self._time_limit
        done, elapsed = self.step - first, time.monotonic() - begun
        if done == 1:
            self._first_ended = elapsed
        if done < 2 or elapsed < self._next_check:
            return
        self._next_check = elapsed + seconds / 20
        per_step = (elapsed - self._first_ended - self._paused) / (done - 1)
        affordable = max(1, int((seconds - elapsed) / per_step))
        if TOLERANCE * affordable < self.schedule.steps - self.step:
            self.shorten(self.step + affordable)

    # --- one step -------------------------------------------------------------------------------------------

    def batch(self, step: int) -> Batch:
        return self.data.batch(step)

    def batches(self) -> Generator[Batch, None, None]:
        return feed(self.data, self.step, self.device)

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Update the network and, unless that failed, the probe; return scalars.

        A step with a non-finite loss or gradient changes only the counters ``step`` and ``nan_steps``.
        """
        self.model.train()
        labels = batch.points.segment  # on the CPU: see `OnlineProbe.learn`
        batch = batch.to(self.device)
        optim = self.config.optim
        lr = one_cycle(self.position, self.config.steps, optim.lr, optim.warmup)
        micro = self.config.data.micro_batch
        parts = batch.split(math.ceil(len(batch.views) / micro)) if micro else [batch]
        outputs: list[_Output] = []
        first = len(parts) * self.step
        losses = [
            partial(self._losses, part, first + k, len(parts) / len(batch.views), outputs)
            for k, part in enumerate(parts)
        ]
        step, bad = self.step, self.nan_steps
        metrics = self.update(self.model, self.optimizer, losses, lr, optim.grad_clip, self.model.parameters())
        features = [output.features for output in outputs if output.features is not None]
        if self.probe is not None and self.nan_steps == bad and len(features) == len(outputs):
            probe_loss = self.probe.learn(step, torch.cat(features), labels)
            if probe_loss is not None:
                metrics["probe/loss"] = probe_loss
        metrics["gaussians"] = sum(output.gaussians for output in outputs) / len(outputs)
        return metrics

    def _losses(
        self, part: Batch, number: int, scale: float, outputs: list[_Output]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the losses of a part of a batch, the ``number``-th part since the run began, and keep its outputs.

        Args:
            scale: parts per scene of the batch. A part counts by its scenes: the mean over parts is that over scenes.
            outputs: receives one entry per scene.
        """
        self._statistics.before(number)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp):
            predictions = self.model(part)
            total, terms = self.model.losses(predictions, part)
        shown = []
        for prediction, views in zip(predictions, part.views, strict=True):
            features = prediction.point_features
            outputs.append(_Output(len(prediction.gaussians), None if features is None else features.detach()))
            shown.append(psnr(prediction.splats.color.detach(), views.color))
        terms = {**terms, "train/psnr": torch.cat(shown).mean()}  # read from the device with the losses
        weight = scale * len(part.views)
        return (total, terms) if weight == 1 else (weight * total, {name: weight * t for name, t in terms.items()})

    def evaluate(self, on_scene: Callable[[str, Batch, Prediction], object] | None = None) -> dict[str, float]:
        """Return the means of `pretraining.evaluation.evaluate` over the held-out views, ignoring NaN.

        With a probe and labels also ``probe/miou`` (over the classes that occur) and ``probe/acc`` of all held-out
        voxels.
        """

        def observe(name: str, batch: Batch, prediction: Prediction) -> None:
            if self.probe is not None:
                self.probe.observe(prediction.point_features, batch.points.segment)
            if on_scene is not None:
                on_scene(name, batch, prediction)

        metrics = {k: float(v.nanmean()) for k, v in evaluate(self.model, self.data, observe, amp=self._amp).items()}
        scores = None if self.probe is None else self.probe.take_scores()
        return metrics if scores is None else metrics | {"probe/miou": scores.miou_present, "probe/acc": scores.allacc}

    # --- checkpoints ----------------------------------------------------------------------------------------

    def weights(self) -> dict[str, Tensor]:
        return with_probe(self.model.state_dict(), None if self.probe is None else self.probe.weights())

    def state(self) -> dict[str, Any]:
        probe = {} if self.probe is None else {"probe": self.probe.state()}
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict(), **probe}
        if self.schedule.steps != self.config.steps:
            state["shortened"] = [self.config.steps, self.schedule.steps, *self._shortened_at]
        return state

    def load(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        network, probe = split_probe(weights)
        self.model.load_state_dict(network)
        load_optimizer(self.optimizer, state["optimizer"])
        planned, steps, step, position = state.get("shortened", [0, 0, 0, 0.0])
        if planned == self.config.steps:
            self.schedule, self._shortened_at = replace(self.schedule, steps=steps), (step, position)
        if self.probe is not None and probe is not None:
            self.probe.load(probe, state.get("probe", {}))

    def resume_signature(self) -> dict[str, Any]:
        return to_dict(self.config.model)

    def read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
        """Return weights, meta and extra of a checkpoint, converted from earlier formats."""
        weights, meta, extra = super().read(path)
        if "kind" not in meta:
            meta = {**meta, "kind": self.kind, "match": meta.get("config", {}).get("model", {})}
            extra = {"state": extra, "nan_steps": extra["nan_steps"]}
        if meta["kind"] == self.kind:
            defaults = to_dict(GaussianCrossConfig())  # of options that the run did not have yet
            nested = {name: {**defaults[name], **meta["match"].get(name, {})} for name in ("input", "head")}
            meta = {**meta, "match": {**defaults, **meta["match"], **nested}}
        return weights, meta, extra

    def save(self) -> Path:
        path = super().save()
        if self._after_save is not None:
            self._after_save(self.step)
        return path

    # --- the loop -------------------------------------------------------------------------------------------

    def fit(
        self, seconds: float | None = None, console: Console | None = None, to_the_end: bool = False
    ) -> dict[str, float]:
        """See `Trainer.fit`.

        Args:
            to_the_end: shorten the schedule when the steps are too slow, so that the learning rate reaches its end
                within about ``seconds``, at most `TOLERANCE` times as long. The remaining steps then depend on the
                machine; checkpoints store them.
        """
        self._time_limit = (time.monotonic(), self.step, seconds) if to_the_end and seconds is not None else None
        if seconds is not None and to_the_end:
            self._next_check = seconds / 4
            seconds *= TOLERANCE
        evaluation = super().fit(seconds, console)
        self._publish(always=True)
        return evaluation

    def open_log(self) -> MetricLog:
        """Open log and time line; publish the initial state to the feed and the time line."""
        log = MetricLog(self.run_dir, self.step, self.feed)
        self._timeline = Timeline(self.run_dir, int(self.config.timeline_mb * 1e6), self.step)
        self._publish()
        self._timeline.offer(self.step, self.weights)
        return log

    def should_stop(self, interrupted: Callable[[], signal.Signals | None], console: Console) -> bool:
        """Wait while a viewer has paused the run, serving its requests."""
        self._fit_time_limit()
        began = time.monotonic()
        while self.feed is not None and not self.feed.wait_while_paused(lambda: interrupted() is not None):
            if interrupted() is not None:
                break
            self._serve_requests(console)
        if self._time_limit is not None and self.step > self._time_limit[1]:
            self._paused += time.monotonic() - began
        return interrupted() is not None

    def after_step(self, console: Console) -> None:
        self._timeline.offer(self.step, self.weights)
        self._serve_requests(console)

    def progress_text(self, metrics: dict[str, float]) -> str:
        if metrics:
            return f"{super().progress_text(metrics)}  PSNR {metrics['train/psnr']:.1f} dB"
        on_cpu = self.device.type == "cpu"
        return "the first step takes longer: " + (
            "kernels are compiled, once" if on_cpu else "CUDA loads its libraries"
        )

    def _serve_requests(self, console: Console) -> None:
        """Write a checkpoint and publish a snapshot, where viewers requested them."""
        if self.feed is not None and self.feed.take_save_request():
            self.save_or_warn(console)
        self._publish()

    def _publish(self, always: bool = False) -> None:
        """Publish a snapshot if a viewer requested one, if it is the first, or ``always``."""
        feed = self.feed
        if feed is not None and (always or feed.snapshot is None or feed.wants_snapshot.is_set()):
            weights = {k: v.detach().to("cpu", copy=True) for k, v in self.model.state_dict().items()}
            feed.publish(Snapshot(self.step, weights, None if self.probe is None else self.probe.weights()))


def make_optimizer(model: torch.nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Create AdamW with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return adamw(groups, config.lr)
