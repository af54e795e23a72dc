"""Training of CLIP-GS on triplets: the 3D encoder learns, the towers' embeddings are given."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from ..core.config import from_dict, to_dict
from ..core.contrastive import image_voting, text_contrast, voting_weights
from ..core.datasets.triplets import Triplets, splits
from ..core.errors import InputError
from ..core.io.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from ..core.metrics.retrieval import retrieval_scores
from ..core.metrics.zero_shot import zero_shot_scores
from ..core.models.clipgs import MAX_LOGIT_SCALE, ClipGS, Precision, has_bfloat16
from ..core.models.uni3d import load_uni3d
from .clipgs_config import ClipGSOptim, ClipGSRun
from .clipgs_data import ClipGSData, TripletBatch
from .interrupt import InterruptFlag
from .log import MetricLog
from .pretrain import MAX_BAD_STEPS, find_checkpoint, memory_gb
from .schedule import warmup_cosine

KIND = "clipgs"
"""How its checkpoints say what they are."""


class ClipGSTrainer:
    """Owns model, optimiser, step counter and run folder (``config.json, metrics.jsonl, tensorboard/, checkpoints/``).

    In a distributed run (`torch.distributed` initialised) every rank has one; gradients are averaged over ranks, losses
    see the whole batch, and rank 0 alone writes and evaluates.

    Args:
        config: the run; ``model.embed_dim`` is overwritten by the data's.
        run_dir: created if need be; when it holds a checkpoint, `resume` continues it.
        train, val: opened from the config unless given; None where the data have no such split.
        device: "cuda" when there is one, unless given.

    Attributes:
        step: optimiser steps taken. total: of the whole run.
        nan_steps: how many of them changed nothing because a loss or gradient was not finite.
        interrupted: the signal that ended the last `fit`, or None.
    """

    def __init__(
        self,
        config: ClipGSRun,
        run_dir: Path,
        train: Triplets | None = None,
        val: Triplets | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        if config.epochs <= 0 or min(config.batch_size, config.views, config.save_every) < 1:
            raise InputError("epochs, batch_size, views and save_every", "positive numbers", "others")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        ready = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank, world = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if ready else (0, 1)
        self.data = ClipGSData(config, train, rank, world)
        self.val = val if train is not None else _held_out(config)
        self.config = replace(config, model=replace(config.model, embed_dim=self.data.train.dim))
        torch.manual_seed(config.seed)
        self.model = ClipGS(self.config.model)
        if config.init:
            load_uni3d(self.model, config.init)
        self.model.to(self.device)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, config.optim), lr=config.optim.lr)
        self.run_dir = Path(run_dir)
        self.step, self.total, self.nan_steps = 0, self.data.steps, 0
        self.interrupted: signal.Signals | None = None
        self._bad_in_a_row = 0
        self._amp = config.optim.amp and has_bfloat16(self.device)
        self._norms = [m for m in self.model.modules() if isinstance(m, torch.nn.BatchNorm1d)]

    # --- one step -------------------------------------------------------------------------------------------

    def losses(self, batch: TripletBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and its unweighted terms."""
        config, scale = self.config, self.model.temperature()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp):
            objects = self.model(batch.attributes)
        ids = batch.captions if config.same_caption else None
        terms = {}
        if config.text_weight:
            terms["text"] = text_contrast(objects, batch.texts, scale, ids)
        if config.image_weight:
            weights = voting_weights(batch.texts, batch.images, config.voting)
            terms["image"] = image_voting(objects, batch.images, weights, scale)
        if not terms:
            raise InputError("text_weight and image_weight", "one that is not zero", "two zeros")
        factors = {"text": config.text_weight, "image": config.image_weight}
        return torch.stack([factors[k] * v for k, v in terms.items()]).sum(), terms

    def train_step(self, batch: TripletBatch) -> dict[str, float]:
        """Forward, backward and update; returns scalars. A step whose loss or gradient is not finite changes nothing
        but the counters ``step`` and ``nan_steps``."""
        # Dropped patches and blocks and the order within patches are drawn on the way: as functions of the step, they
        # are the same after a resumed run.
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) * 1009 + self.data.rank)
        self.model.train()
        batch = batch.to(self.device)
        lr = warmup_cosine(self.step, self.total, self.config.optim.lr, self.config.optim.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        if not self.config.init:  # running statistics start as the plain mean of what was seen
            for norm in self._norms:
                norm.momentum = max(0.1, 1 / (self.step + 1))
        statistics = [(b, b.clone()) for b in self.model.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        loss, terms = self.losses(batch)
        loss.backward()
        loss = loss.detach()
        self._average_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.grad_clip)
        if bool(torch.isfinite(loss)) and bool(torch.isfinite(norm)):
            self.optimizer.step()
            with torch.no_grad():
                self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
            self._bad_in_a_row = 0
        else:
            for buffer, before in statistics:
                buffer.copy_(before)
            self.nan_steps += 1
            self._bad_in_a_row += 1
        self.step += 1
        scalars = {"loss/total": float(loss), "lr": lr, "grad_norm": float(norm), "nan_steps": float(self.nan_steps)}
        scalars["temperature"] = float(self.model.temperature().detach())
        return scalars | {f"loss/{k}": float(v.detach()) for k, v in terms.items()}

    def _average_gradients(self) -> None:
        if self.data.world == 1:
            return
        for parameter in self.model.parameters():
            if parameter.grad is None:  # every rank has to take part in every sum
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= self.data.world

    def evaluate(self) -> dict[str, float]:
        """`evaluate_clipgs` on the held-out objects; empty without any."""
        if self.val is None:
            return {}
        self.model.eval()
        return evaluate_clipgs(self.model, self.val, "auto" if self._amp else "float32")

    # --- checkpoints ----------------------------------------------------------------------------------------

    @property
    def checkpoint_dir(self) -> Path:
        return self.run_dir / "checkpoints"

    def save(self) -> Path:
        """Write a checkpoint of this very step, atomically.

        Raises:
            InputError: the disk is full or the folder cannot be written. Earlier checkpoints are untouched.
        """
        meta = {"kind": KIND, "config": to_dict(self.config), "step": self.step, "tower": self.data.train.tower}
        extra = {"optimizer": self.optimizer.state_dict(), "nan_steps": self.nan_steps}
        keep = self.config.keep or sys.maxsize
        return save_checkpoint(self.checkpoint_dir, self.step, self.model.state_dict(), meta, extra, keep=keep)

    def resume(self, path: Path | None = None) -> bool:
        """Continue from the checkpoint ``path`` or from the run's latest. Returns whether there was one.

        Exact on a CPU: weights, optimiser and step come back; batches, learning rates and everything drawn are
        functions of the step.

        Raises:
            InputError: a damaged checkpoint, or one of another model.
        """
        path = path or latest_checkpoint(self.checkpoint_dir)
        if path is None:
            return False
        tensors, meta, extra = load_checkpoint(path)
        _require_kind(path, meta)
        saved, mine = meta["config"]["model"], to_dict(self.config)["model"]
        changed = sorted(k for k in {*saved, *mine} if saved.get(k) != mine.get(k))
        if changed:
            hint = "give the options that it was trained with, or start a new run"
            raise InputError(path, "the model that this run builds", f"another {', '.join(changed)}", hint)
        self.model.load_state_dict(tensors)
        self.optimizer.load_state_dict(extra["optimizer"])
        self.step, self.nan_steps = int(meta["step"]), int(extra["nan_steps"])
        return True

    # --- the loop -------------------------------------------------------------------------------------------

    def fit(self, seconds: float | None = None, console: Console | None = None) -> dict[str, float]:
        """Train to the end, for at most ``seconds``, or until SIGINT (Ctrl-C) or SIGTERM, which finishes the step,
        writes a checkpoint and returns with ``interrupted`` set.

        Returns:
            the last evaluation.

        Raises:
            InputError: the folder cannot be written, no finite losses any more, or no room for the last checkpoint.
        """
        console, first = console or Console(), self.data.rank == 0
        log = self._open_log() if first else None
        ends = time.monotonic() + (float("inf") if seconds is None else seconds)
        begun_at, evaluated_at, saved_at = self.step, -1, -1
        evaluation: dict[str, float] = {}
        columns = (
            TextColumn("[bold]CLIP-GS"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        with (
            closing(log) if log else nullcontext(),
            InterruptFlag() as interrupted,
            Progress(*columns, console=console, disable=not first) as bar,
        ):
            task = bar.add_task("steps", total=self.total, completed=self.step, note="")
            while self.step < self.total and not self._stop(interrupted() is not None or time.monotonic() > ends):
                begun = time.perf_counter()
                metrics = self.train_step(self.data.batch(self.step))
                metrics["its_per_s"] = 1 / (time.perf_counter() - begun)
                if self._bad_in_a_row >= MAX_BAD_STEPS:
                    found = f"{MAX_BAD_STEPS} steps in a row without one"
                    raise InputError(self.run_dir, "finite losses", found, "lower --config.optim.lr or check the data")
                note = f"{metrics['its_per_s']:.2f} it/s  loss {metrics['loss/total']:.3f}"
                bar.update(task, completed=self.step, note=note)
                if log is None:
                    continue
                last = self.step == self.total
                if last or (self.config.eval_every and self.step % self.config.eval_every == 0):
                    evaluation, evaluated_at = self.evaluate(), self.step
                    metrics |= evaluation
                log(self.step, metrics | {"memory_gb": memory_gb(self.device)})
                if not last and self.step % self.config.save_every == 0 and self._try_save(console):
                    saved_at = self.step
            self.interrupted = interrupted()
            if log is not None:
                if saved_at != self.step and self.step > begun_at:
                    self.save()
                if self.interrupted is None and evaluated_at != self.step:
                    evaluation = self.evaluate()
                    if self.step > begun_at:
                        log(self.step, evaluation)
        return evaluation

    def _open_log(self) -> MetricLog:
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            (self.run_dir / "config.json").write_text(json.dumps(to_dict(self.config), indent=1))
            return MetricLog(self.run_dir, self.step, None)
        except OSError as error:
            raise InputError(self.run_dir, "a folder that can be written to", str(error)) from error

    def _stop(self, wanted: bool) -> bool:
        """Whether any rank wants to: one that left alone would leave the others waiting."""
        if self.data.world == 1:
            return wanted
        flag = torch.tensor(float(wanted), device=self.device)
        torch.distributed.all_reduce(flag)
        return float(flag) > 0

    def _try_save(self, console: Console) -> bool:
        """Save on the way: a full disk is told, and costs no more than this checkpoint."""
        try:
            self.save()
        except InputError as error:
            console.print(f"{error} Training goes on.", style="yellow", soft_wrap=True, markup=False)
            return False
        return True


def parameter_groups(model: ClipGS, config: ClipGSOptim) -> list[dict[str, Any]]:
    """Groups with ``lr_scale`` = layer_decay ^ (layers from the output) and weight decay on matrices only. The
    tokenizer's and the position's weights are layer 0, block i is layer i + 1; the output's, the refinement's and the
    temperature are the last."""
    depth = model.config.depth
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        words = name.split(".")
        if "blocks" in words:
            layer = int(words[words.index("blocks") + 1]) + 1
        elif words[1:2] and words[1] in ("encoder", "encoder2trans", "pos_embed", "cls_token", "cls_pos"):
            layer = 0
        else:
            layer = depth + 1
        decays = parameter.ndim > 1
        group = groups.setdefault(
            (layer, decays),
            {
                "params": [],
                "lr_scale": config.layer_decay ** (depth + 1 - layer),
                "weight_decay": config.weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


@torch.no_grad()
def embed_triplets(model: ClipGS, triplets: Triplets, precision: Precision = "auto", batch_size: int = 8) -> Tensor:
    """[M, D] unit embeddings of the objects of a split, on the CPU."""
    parts = [
        model.encode([triplets.gaussians(i) for i in range(start, min(start + batch_size, len(triplets)))], precision)
        for start in range(0, len(triplets), batch_size)
    ]
    return torch.cat(parts)


def evaluate_clipgs(model: ClipGS, triplets: Triplets, precision: Precision = "auto") -> dict[str, float]:
    """Retrieval in four directions (one render per object, the first) and, with class vectors, zero-shot accuracy:
    ``eval/text→3D R@1``, …, ``eval/top1``, …; the model must be in eval mode."""
    objects = embed_triplets(model, triplets, precision)
    images = torch.stack([triplets.images(i, [0])[0] for i in range(len(triplets))])
    captions = triplets.caption_ids.tolist()
    scores = {
        f"eval/{direction} {name}": value
        for direction, row in retrieval_scores(objects, triplets.text, images, captions).items()
        for name, value in row.items()
    }
    labelled = triplets.labels >= 0
    if triplets.class_vectors is not None and bool(labelled.any()):
        zero_shot = zero_shot_scores(objects[labelled], triplets.labels[labelled], triplets.class_vectors)
        scores |= {f"eval/{k}": v for k, v in zero_shot.items()}
    return scores


def load_clipgs(path: Path) -> tuple[ClipGS, ClipGSRun, dict[str, Any]]:
    """Model (CPU, eval mode), config and the checkpoint's ``meta`` ("step", "tower") of a run folder or a checkpoint.

    Raises:
        InputError: nothing there, damaged, or a run of another method.
    """
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        raise InputError(path, "a CLIP-GS run folder with checkpoints/, or one checkpoint", "neither")
    tensors, meta, _ = load_checkpoint(checkpoint)
    _require_kind(checkpoint, meta)
    config = from_dict(ClipGSRun, meta["config"], str(checkpoint))
    model = ClipGS(config.model)
    model.load_state_dict(tensors)
    return model.eval(), config, meta


def _require_kind(path: Path, meta: dict[str, Any]) -> None:
    if meta.get("kind") != KIND:
        raise InputError(path, "a CLIP-GS run", f"a run of {meta.get('kind', 'GaussianCross')}")


def _held_out(config: ClipGSRun) -> Triplets | None:
    return Triplets(config.data, config.eval_split) if config.eval_split in splits(config.data) else None
