"""Training of the built-in image/text teacher on captioned renders.

    python -m gaussiancross.trainers.teachers.two_tower

Regions of images (an object, a wall, or the whole image) are contrasted with true and false phrases:

- *relevancy*: the score of queries (LERF, arXiv 2303.09553 §3.3), σ(10 (φ·q − max_i φ·canon_i)), is trained towards 1
  for true phrases and 0 for false ones, so that 0.5 is the threshold of presence;
- *contrast*: InfoNCE between regions and their own phrases (CLIP), without negatives that happen to be true.

Captions contain class names and regions are object masks of the renders: nothing trained with it is label-free.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ...core.config import to_dict
from ...core.datasets.captioned_rooms import CaptionedRoom, read_captioned_room
from ...core.datasets.rooms import Rooms
from ...core.errors import InputError, RunError
from ...core.io.atomic import atomic_dir
from ...core.nn.two_tower import TwoTower, TwoTowerConfig
from ...core.query.text import CANONICAL
from ...core.synthetic.objects import CATEGORIES
from ...core.synthetic.objects.captions import all_names
from ...core.synthetic.rooms.captions import vocabulary
from ...core.teachers.builtin import CARD, WEIGHTS, BuiltinTeacher
from ...core.teachers.vocabulary import Vocabulary
from ..engine.loop import Trainer, TrainSchedule
from ..engine.schedule import one_cycle
from .caption_scores import caption_scores
from .captions import CaptionedObject, Crop, RegionBatch, captioned_object, object_crop, region_batch, room_crop

OBJECT_SHARE = 0.25
"""Share of crops that show procedural objects instead of rooms."""
SCALE = 10.0
"""Factor on cosines in LERF's relevancy."""


@dataclass(frozen=True)
class TwoTowerTraining:
    """Train the built-in image/text teacher. A run folder with a checkpoint is continued exactly."""

    run_dir: Path = Path("runs/two-tower")
    """Folder of checkpoints, metrics and TensorBoard logs."""
    model: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    """Sizes of the two towers."""
    rooms: int = 400
    """Number of training rooms (seeds from 0)."""
    objects: int = 12
    """Procedural objects per category (seeds from 0), shown in a quarter of the crops; 0: rooms alone."""
    init: Path | None = None
    """Folder of an exported model to start from, such as assets; None: random weights."""
    bf16: bool = False
    """Convolutions in bfloat16, faster on processors with AVX-512 BF16."""
    steps: int = 4000
    """Optimiser steps."""
    batch: int = 24
    """Crops per step."""
    lr: float = 2e-3
    """Peak learning rate (AdamW, OneCycle)."""
    weight_decay: float = 0.05
    """Decoupled weight decay of matrices."""
    seed: int = 0
    """Random seed of weights and batches."""
    save_every: int = 250
    """Steps between checkpoints."""
    seconds: float | None = None
    """Time limit in seconds; the same command continues from the checkpoint. None: no limit."""
    export: Path | None = None
    """Folder for weights and card, with scores on held-out rooms; None exports nothing."""
    held_out: int = 20
    """Number of held-out rooms for the card's scores (validation seeds)."""


class TwoTowerTrainer(Trainer[RegionBatch]):
    """Trains a `TwoTower`; see `Trainer`.

    Args:
        config: options of the run.
        rooms: captioned training rooms.
        words: vocabulary of the text tower.
        objects: captioned training objects; may be empty.

    Raises:
        InputError: a vocabulary larger than the text tower's table.
    """

    kind, title = "TwoTower", "two towers"

    def __init__(
        self,
        config: TwoTowerTraining,
        rooms: list[CaptionedRoom],
        words: tuple[str, ...],
        objects: Sequence[CaptionedObject] = (),
    ) -> None:
        if len(words) >= config.model.words:
            raise InputError("--model.words", f"more than the vocabulary's {len(words)}", str(config.model.words))
        super().__init__(config, config.run_dir, TrainSchedule(config.steps, save_every=config.save_every))
        torch.manual_seed(config.seed)
        self.rooms, self.objects = rooms, objects
        self.model = TwoTower(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.vocabulary = Vocabulary(words, config.model.length)
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(14.0)))
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": [*others, self.log_scale], "weight_decay": 0.0},
            ],
            lr=config.lr,
            betas=(0.9, 0.98),
        )
        if config.init is not None:
            self._start_from(config.init)

    def _start_from(self, folder: Path) -> None:
        """Load the weights of an exported model; words that it lacks keep their random rows."""
        exported = BuiltinTeacher(folder)
        weights = {k: v.float() for k, v in exported.towers.state_dict().items()}
        rows, table = weights["text.words.weight"], self.model.text.words.weight.detach().clone()
        row_of = {word: number for number, word in enumerate(exported.card["words"], 1)}
        for number, word in enumerate(self.vocabulary.words, 1):
            if word in row_of:
                table[number] = rows[row_of[word]]
        self.model.load_state_dict(weights | {"text.words.weight": table})

    def batch(self, step: int) -> RegionBatch:
        """Return the batch of ``step``."""
        rng = np.random.default_rng([self.config.seed, step])
        return region_batch([self._crop(rng) for _ in range(self.config.batch)], rng)

    def _crop(self, rng: np.random.Generator) -> Crop:
        if self.objects and rng.uniform() < OBJECT_SHARE:
            return object_crop(self.objects, rng)
        return room_crop(self.rooms[int(rng.integers(len(self.rooms)))], rng)

    def losses(self, batch: RegionBatch) -> dict[str, Tensor]:
        """Compute the terms "relevancy" and "contrast" (see the module)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
            pooled = self.model.image(batch.images.contiguous(memory_format=torch.channels_last))
        pooled = pooled._replace(values=pooled.values.float(), logits=pooled.logits.float())
        regions = F.normalize(self.model.image.pool(pooled, batch.coverage, batch.image), dim=-1)
        table, known = self.vocabulary.table([*batch.phrases, *CANONICAL])
        if not bool(known.all()):
            unknown = batch.phrases[int((~known).nonzero()[0])]
            raise InputError("vocabulary", "every word of the captions", f"none for {unknown!r}")
        texts = F.normalize(self.model.text(table), dim=-1)
        phrases, canon = texts[: len(batch.phrases)], texts[len(batch.phrases) :]
        return region_losses(regions, phrases, canon, batch.true, batch.own, self.log_scale.exp().clamp(max=100.0))

    def train_step(self, batch: RegionBatch) -> dict[str, float]:
        """Update once; return scalars."""
        self.model.train()
        # Dropout draws from the global generator: seeded by the step, so that a resumed run draws the same.
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        lr = one_cycle(self.step, self.config.steps, self.config.lr, 0.1)
        return self.update(self.model, self.optimizer, lambda: self.losses(batch), lr, grad_clip=1.0)

    def weights(self) -> dict[str, Tensor]:
        return {**self.model.state_dict(), "log_scale": self.log_scale}

    def state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def load(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.log_scale.data.copy_(weights.pop("log_scale"))
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(state["optimizer"])

    def resume_signature(self) -> dict[str, Any]:
        return {"model": to_dict(self.config.model), "words": list(self.vocabulary.words)}


def region_losses(
    regions: Tensor, phrases: Tensor, canon: Tensor, true: Tensor, own: Tensor, scale: Tensor
) -> dict[str, Tensor]:
    """Compute the terms "relevancy" and "contrast" of R regions and P phrases.

    Args:
        regions: [R, D], phrases: [P, D], canon: [K, D] unit vectors; ``canon`` are the canonical negatives.
        true: [R, P] whether each phrase is true of each region.
        own: [R] each region's own phrase.
        scale: factor on the cosines of the contrast.
    """
    cosine = regions @ phrases.T
    negatives = (SCALE * (regions @ canon.T)).logsumexp(1, keepdim=True)  # a smooth maximum over the negatives
    logits = SCALE * cosine - negatives
    each = F.binary_cross_entropy_with_logits(logits, true.to(logits), reduction="none")
    # All pairs have equal weight: balancing true and false pairs would shift the threshold of 0.5 and select too much.
    relevancy = each.sum() / true.sum().clamp_min(1)
    rows = torch.arange(len(regions))
    other_true = true.clone()
    other_true[rows, own] = False
    contrast = (scale * cosine).masked_fill(other_true, -torch.inf)
    to_text = F.cross_entropy(contrast, own)
    # Towards regions: each region's phrase must select it among the regions of which the phrase is false.
    others = (scale * cosine.T[own]).masked_fill(true.T[own] & ~torch.eye(len(regions), dtype=torch.bool), -torch.inf)
    to_region = F.cross_entropy(others, rows)
    return {"relevancy": relevancy, "contrast": 0.5 * (to_text + to_region)}


def export(trainer: TwoTowerTrainer, folder: Path) -> dict[str, float]:
    """Write weights (half precision) and card to a folder; return the scores of the exported weights.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    config = trainer.config
    half = {k: v.half() if v.is_floating_point() else v for k, v in trainer.model.state_dict().items()}
    weights = {k: v.contiguous() for k, v in half.items()}
    command = (
        f"python -m gaussiancross.trainers.teachers.two_tower --rooms {config.rooms} --objects {config.objects} "
        + ("" if config.init is None else "--init assets ")
        + ("--bf16 " if config.bf16 else "")
        + f"--steps {config.steps} --batch {config.batch} --lr {config.lr} --seed {config.seed} --export assets"
    )
    card = {
        "name": "builtin",
        "licence": "Apache-2.0",
        "description": "Small image and text towers that know the built-in rooms and their things: a demonstration "
        "vocabulary, not CLIP. Its captions carry class names and its regions are object masks of renders, so nothing "
        "trained with it is label-free.",
        "command": command,
        "started_from": None if config.init is None else BuiltinTeacher(config.init).card["command"],
        "training_seeds": [0, config.rooms - 1],
        "objects_per_category": config.objects,
        "config": to_dict(config.model),
        "words": list(trainer.vocabulary.words),
    }
    with atomic_dir(folder) as staging:
        save_file(weights, staging / WEIGHTS)
        (staging / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    scores = caption_scores(BuiltinTeacher(folder), load_rooms(config.held_out, "val", every=3))
    card["scores_on_held_out_rooms"] = {k: round(v, 4) for k, v in scores.items()}
    with atomic_dir(folder) as staging:
        (staging / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return scores


def load_rooms(count: int, split: str = "train", every: int = 1) -> list[CaptionedRoom]:
    """Load the first ``count`` rooms of a split with their captions, and every ``every``-th of their frames."""
    rooms = Rooms(split, count)
    return [read_captioned_room(rooms, i, every) for i in track(range(count), description=f"{split} rooms")]


def load_objects(each: int) -> list[CaptionedObject]:
    """Build the first ``each`` training objects of every category, in processes.

    They include the categories that CLIP-GS holds out: these towers play the role of CLIP, which has seen all of them.
    """
    keys = [(category, seed) for seed in range(each) for category in CATEGORIES]
    if not keys:
        return []
    with multiprocessing.get_context("spawn").Pool(initializer=torch.set_num_threads, initargs=(1,)) as pool:
        objects = pool.imap(_captioned_object, keys, chunksize=8)
        return list(track(objects, description="train objects", total=len(keys)))


def _captioned_object(key: tuple[str, int]) -> CaptionedObject:
    return captioned_object(*key)


def main() -> int:
    config = tyro.cli(TwoTowerTraining, prog="python -m gaussiancross.trainers.teachers.two_tower")
    try:
        trainer = TwoTowerTrainer(config, load_rooms(config.rooms), training_vocabulary(), load_objects(config.objects))
        if not trainer.complete(config.seconds):
            print(f"Checkpoint of step {trainer.step} written; the same command continues.")
            return 130
        if config.export is not None:
            for name, value in export(trainer, config.export).items():
                print(f"{name:<16}{value:.4g}")
    except (InputError, RunError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


def training_vocabulary() -> tuple[str, ...]:
    """Return all words of the captions and of the canonical negatives."""
    from ...core.synthetic.rooms.recipes import ROOM_KINDS

    return vocabulary([*CANONICAL, *ROOM_KINDS, "room", *all_names()])


if __name__ == "__main__":
    sys.exit(main())
