"""Tasks of one row and one seed: pre-training, probing, fine-tuning, instance segmentation."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from ...core.datasets.rooms import Rooms
from ...core.io.pretrained import Pretrained
from ...core.models import GaussianCross
from ...trainers.downstream import CachedFeatureProbe, LabelConfig, LabelledScenes, NetworkConfig, SemanticTrainer
from ...trainers.downstream.fixed import field_source
from ...trainers.downstream.instances import InstanceTrainer
from ...trainers.downstream.scenes import SceneSubset, fewer_labels
from ...trainers.engine.log import read_metrics
from ...trainers.engine.loop import Trainer
from ...trainers.pretraining.config import PretrainConfig
from ...trainers.pretraining.contrastive_baseline import ContrastiveConfig, ContrastiveTrainer
from ...trainers.pretraining.data import PretrainData
from ...trainers.pretraining.trainer import Pretrainer
from .config import BenchConfig
from .data import RoomCacheConfig, SmallRooms, SmallTeacher, lifted_source
from .rows import LABEL_FREE_TEACHER, Row

MODEL = "model"
"""Folder of a job's pre-trained model, as `save_pretrained` writes it."""

Scores = dict[str, Any]
"""Results of a task, in JSON types."""


class Interrupted(Exception):
    """A signal ended the task, which has written a checkpoint."""


@dataclass(frozen=True)
class Job:
    """One row with one seed.

    Attributes:
        row, seed: identify the job.
        folder: holds its results, its model and, while it runs, its checkpoints.
    """

    row: Row
    seed: int
    folder: Path


class TaskRunner:
    """Runs tasks; opens rooms and teachers when they are first needed.

    Args:
        setting: sizes and recipes.
        root: cache of rooms and tokens; by default `cache_folder`.
    """

    def __init__(self, setting: BenchConfig, root: Path | None = None) -> None:
        self.setting, self._root = setting, root
        self._console = Console(quiet=True)

    @cached_property
    def train(self) -> SmallRooms:
        return self._open("train", self.setting.size.train_rooms)

    @cached_property
    def unlabelled(self) -> SmallRooms:
        """Rooms for pre-training."""
        return self._open("train", self.setting.size.pretrain_rooms)

    @cached_property
    def held_out(self) -> SmallRooms:
        return self._open(self.setting.split, self.setting.size.held_out_rooms)

    def _open(self, split: str, count: int) -> SmallRooms:
        data = self.setting.pretrain.data
        size = self.setting.size
        cache = RoomCacheConfig(size.points, data.width, data.height, size.frames)
        return SmallRooms(Rooms(split, count, self.setting.rooms, self._root), cache, self._root)

    def teacher_spec(self, row: Row) -> str:
        """Return the name of a row's teacher, see `make_teacher`."""
        return self.setting.label_free_teacher if row.teacher == LABEL_FREE_TEACHER else row.teacher

    def teacher(self, spec: str) -> SmallTeacher | None:
        """Return the teacher with its cached tokens of all rooms; None for "none"."""
        return None if spec == "none" else SmallTeacher(spec, self.unlabelled, self.held_out)

    # --- tasks ----------------------------------------------------------------------------------------------------

    def run(self, job: Job, task: str) -> Scores:
        """Run one of ``job.row.tasks(size)``, or continue it; earlier tasks must be done.

        Its checkpoints in `work` stay: the caller removes them after storing the scores.

        Raises:
            Interrupted: by SIGINT or SIGTERM.
        """
        work = self.work(job, task)
        spent = work / "seconds"  # duration before an interruption
        started = time.perf_counter() - (float(spent.read_text()) if spent.is_file() else 0.0)
        try:
            scores = self.execute(job, task, work)
        except Interrupted:
            work.mkdir(parents=True, exist_ok=True)
            spent.write_text(str(time.perf_counter() - started))
            raise
        return {**scores, "seconds": time.perf_counter() - started}

    def execute(self, job: Job, task: str, work: Path) -> Scores:
        kind, _, detail = task.partition("-")
        if kind == "pretrain":
            return self._contrast(job, work) if job.row.start == "contrastive" else self._pretrain(job, work)
        if kind == "probe":
            return self._probe(job, work, detail)
        if kind == "finetune":
            return self._finetune(job, work, int(detail))
        return self._instances(job, work)

    @staticmethod
    def work(job: Job, task: str) -> Path:
        """Return the folder of a task's checkpoints, obsolete once its scores are stored."""
        return job.folder / "work" / task

    def pretrain_config(self, row: Row, seed: int) -> PretrainConfig:
        """Return the pre-training options of a row."""
        size, config = self.setting.size, row.change(self.setting.pretrain)
        steps = size.ablation_steps if row.group == "ablation" else size.pretrain_steps
        steps = size.longer_steps if row.longer else steps
        return replace(
            config,
            data=replace(config.data, teacher=self.teacher_spec(row)),
            steps=steps,
            eval_every=max(1, steps // size.evaluations),
            seed=seed,
        )

    def _pretrain(self, job: Job, work: Path) -> Scores:
        config = self.pretrain_config(job.row, job.seed)
        teacher = self.teacher(self.teacher_spec(job.row))
        data = PretrainData(config.data, config.model.input, job.seed, self.unlabelled, self.held_out, teacher)
        trainer = Pretrainer(config, work, data)
        trainer.resume()
        trainer.fit(console=self._console)
        if trainer.interrupted is not None:
            raise Interrupted
        return self._keep(job, work, trainer.model, teacher is None or teacher.info.label_free)

    def _contrast(self, job: Job, work: Path) -> Scores:
        size, model = self.setting.size, self.setting.pretrain.model
        config = ContrastiveConfig(
            model.base_channels,
            model.channels,
            model.layers,
            voxel_size=model.input.voxel_size,
            optim=self.setting.pretrain.optim,
            steps=size.contrastive_steps,
            eval_every=max(1, size.contrastive_steps // size.evaluations),
            save_every=self.setting.pretrain.save_every,
            seed=job.seed,
        )
        evaluated = SceneSubset(self.held_out, range(min(len(self.held_out), self.setting.pretrain.data.eval_scenes)))
        trainer = ContrastiveTrainer(config, work, self.unlabelled, evaluated)
        self._fit(trainer)
        return self._keep(job, work, trainer.model, label_free=True)

    def _keep(self, job: Job, work: Path, model: Pretrained, label_free: bool) -> Scores:
        """Save the model; return the curves of its features over the steps."""
        rows = read_metrics(work / "metrics.jsonl")
        names = {
            "rank": "eval/effective_rank",
            "spread": "eval/feature_spread",
            "online_miou": "probe/miou",
            "psnr": "eval/psnr",
            "teacher_cosine": "eval/teacher_cosine",
        }
        curves = {
            name: [[row["step"], row[key]] for row in rows if key in row]
            for name, key in names.items()
            if any(key in row for row in rows)
        }
        card = {"row": job.row.name, "seed": job.seed, "label_free": label_free, "steps": len(rows)}
        model.save_pretrained(job.folder / MODEL, card)
        seconds = [1 / row["its_per_s"] for row in rows if row.get("its_per_s")]
        return {
            "curves": curves,
            "width": self.setting.pretrain.model.channels[-1],
            "label_free": label_free,
            "seconds_per_step": sum(seconds) / max(1, len(seconds)),
        }

    def _probe(self, job: Job, work: Path, features: str) -> Scores:
        size = self.setting.size
        scenes = LabelledScenes(SceneSubset(self.train, range(min(len(self.train), size.probe_rooms))), self.held_out)
        config = replace(
            self.setting.probe,
            labels=LabelConfig("rooms"),
            features=features,
            network=self._network(),
            steps=size.probe_steps,
            seed=job.seed,
        )
        source = None
        if features == "field":
            source = field_source(GaussianCross.from_pretrained(job.folder / MODEL))
        elif features == "lifted":
            source = lifted_source(self.teacher_spec(job.row), config.voxel_size, self.train, self.held_out)
        trainer = CachedFeatureProbe(config, work, scenes, self._model(job), source)
        scores = self._fit(trainer)
        return {**_semantic(scores), "width": trainer.features.shape[1]}

    def _finetune(self, job: Job, work: Path, share: int) -> Scores:
        size = self.setting.size
        steps = size.full_steps if share == 100 else size.finetune_steps
        steps = size.scratch_steps if job.row.start == "scratch" else steps
        labels = LabelConfig("rooms", scenes=share)
        train = fewer_labels(self.train, labels, job.seed)
        config = replace(
            self.setting.finetune,
            labels=labels,
            network=self._network(),
            steps=steps,
            seed=job.seed,
        )
        trainer = SemanticTrainer(config, work, LabelledScenes(train, self.held_out), self._model(job))
        return {**_semantic(self._fit(trainer)), "rooms": len(train)}

    def _instances(self, job: Job, work: Path) -> Scores:
        config = replace(
            self.setting.instances,
            labels=LabelConfig("rooms"),
            network=self._network(),
            steps=self.setting.size.instance_steps,
            seed=job.seed,
        )
        trainer = InstanceTrainer(config, work, LabelledScenes(self.train, self.held_out), self._model(job))
        scores = self._fit(trainer)
        return {name: _number(scores[f"val/{name}"]) for name in ("ap", "ap50", "ap25")}

    def _network(self) -> NetworkConfig:
        model = self.setting.pretrain.model
        return NetworkConfig(model.base_channels, model.channels, model.layers)

    def _model(self, job: Job) -> Path | None:
        """Return the folder of the job's pre-trained model; None for random weights."""
        return job.folder / MODEL if "pretrain" in job.row.tasks(self.setting.size) else None

    def _fit(self, trainer: Trainer[Any]) -> dict[str, float]:
        trainer.resume()
        scores = trainer.fit(console=self._console)
        if trainer.interrupted is not None:
            raise Interrupted
        return scores


def _semantic(scores: dict[str, float]) -> Scores:
    return {"miou": _number(scores["val/miou"]), "allacc": _number(scores["val/allacc"])}


def _number(value: float) -> float | None:
    """Replace non-finite values by None, since JSON has no NaN."""
    return value if math.isfinite(value) else None


def read_results(job: Job) -> dict[str, Scores]:
    """Read the scores of the finished tasks: task → scores."""
    path = job.folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8"))["tasks"] if path.is_file() else {}


def open_tasks(job: Job, setting: BenchConfig) -> Sequence[str]:
    """Return the unfinished tasks, in order."""
    done = read_results(job)
    return [task for task in job.row.tasks(setting.size) if task not in done]
