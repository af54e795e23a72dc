"""``python -m gaussiancross.trainers.teachers.two_tower`` trains the built-in image/text model on renders with captions.

Every region of a picture (an object, a wall, or the whole) is contrasted with phrases that are true or false of it:

- *relevancy*: the score that queries use (LERF, arXiv 2303.09553 §3.3), σ(10 (φ·q − max_i φ·canon_i)), must be 1 for
  true phrases and 0 for false ones, so that one half is where "is it there?" is decided;
- *contrast*: InfoNCE between regions and their own phrases (CLIP), phrases that are true by chance left out.

Captions carry class names and regions are object masks of the renders: nothing trained with it is label-free.
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
from ...core.datasets.captioned_rooms import CaptionedRoom, captioned_room
from ...core.datasets.rooms import Rooms
from ...core.errors import InputError
from ...core.io.atomic import atomic_dir
from ...core.nn.two_tower import TwoTower, TwoTowerConfig
from ...core.query.text import CANONICAL
from ...core.synthetic.objects import CATEGORIES, wording
from ...core.synthetic.rooms.captions import vocabulary
from ...core.teachers.builtin import CARD, WEIGHTS, BuiltinTeacher
from ...core.teachers.vocabulary import Vocabulary
from ..engine.loop import Trainer, TrainSchedule
from ..engine.schedule import one_cycle
from .caption_scores import caption_scores
from .captions import CaptionedObject, Crop, RegionBatch, captioned_object, object_crop, region_batch, room_crop

OBJECT_SHARE = 0.25
"""Of the crops."""
SCALE = 10.0
"""LERF's factor on cosines."""


@dataclass(frozen=True)
class TwoTowerTraining:
    """Train the built-in image/text model. A folder that holds a checkpoint is continued, exactly."""

    run_dir: Path = Path("runs/two-tower")
    """Checkpoints, metrics and TensorBoard logs."""
    model: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    """Sizes."""
    rooms: int = 400
    """Training rooms, seeds 0 and up."""
    objects: int = 12
    """Procedural objects of each category, seeds 0 and up: a quarter of the crops. 0 = rooms alone."""
    init: Path | None = None
    """Folder of an exported model to start from (assets) instead of from random weights."""
    bf16: bool = False
    """Convolutions in bfloat16: faster where the processor has AVX-512 BF16 or better."""
    steps: int = 4000
    """Optimiser steps."""
    batch: int = 24
    """Crops per step."""
    lr: float = 2e-3
    """Peak learning rate of AdamW, OneCycle."""
    weight_decay: float = 0.05
    """On matrices."""
    seed: int = 0
    """Of weights and batches."""
    save_every: int = 250
    """Steps between checkpoints."""
    seconds: float | None = None
    """Stop (with a checkpoint) after so many seconds; the same command goes on."""
    export: Path | None = None
    """When done, measure on held-out rooms and write weights and card to this folder (the project's: assets)."""
    held_out: int = 20
    """Rooms that the scores of the card are measured on, validation seeds."""


class TwoTowerTrainer(Trainer[RegionBatch]):
    """Owns model and optimiser; see `Trainer`.

    Args:
        config: the training.
        rooms: what to learn from.
        words: the text tower's vocabulary.
        objects: what else to learn from; may be empty.
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
        """The weights of an exported model; words that it did not have keep their random rows."""
        before = BuiltinTeacher(folder)
        weights = {k: v.float() for k, v in before.towers.state_dict().items()}
        rows, table = weights["text.words.weight"], self.model.text.words.weight.detach().clone()
        known = {word: number for number, word in enumerate(before.card["words"], 1)}
        for number, word in enumerate(self.vocabulary.words, 1):
            if word in known:
                table[number] = rows[known[word]]
        self.model.load_state_dict(weights | {"text.words.weight": table})

    def batch(self, step: int) -> RegionBatch:
        """The batch of that step."""
        rng = np.random.default_rng([self.config.seed, step])
        return region_batch([self._crop(rng) for _ in range(self.config.batch)], rng)

    def _crop(self, rng: np.random.Generator) -> Crop:
        if self.objects and rng.uniform() < OBJECT_SHARE:
            return object_crop(self.objects, rng)
        return room_crop(self.rooms[int(rng.integers(len(self.rooms)))], rng)

    def losses(self, batch: RegionBatch) -> dict[str, Tensor]:
        """ "relevancy" and "contrast", see the module."""
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
        """One update; returns scalars."""
        self.model.train()
        # dropout draws from the global generator: seeded by the step, so that a resumed run draws the same
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
    """The two terms.

    Args:
        regions: [R, D], phrases: [P, D], canon: [K, D] unit vectors.
        true: [R, P] which phrases are true of which regions. own: [R] each region's phrase.
        scale: of the contrast's cosines.
    """
    cosine = regions @ phrases.T
    against = (SCALE * (regions @ canon.T)).logsumexp(1, keepdim=True)  # a smooth maximum over the negatives
    logits = SCALE * cosine - against
    each = F.binary_cross_entropy_with_logits(logits, true.to(logits), reduction="none")
    # Every pair counts the same: were the few true ones raised to half of the weight, a relevancy of one half would
    # mean a rarer thing than it says, and select far too much.
    relevancy = each.sum() / true.sum().clamp_min(1)
    rows = torch.arange(len(regions))
    chance = true.clone()
    chance[rows, own] = False
    contrast = (scale * cosine).masked_fill(chance, -torch.inf)
    to_text = F.cross_entropy(contrast, own)
    # Towards regions: each region's phrase must find it, and not those of which the phrase is false.
    others = (scale * cosine.T[own]).masked_fill(true.T[own] & ~torch.eye(len(regions), dtype=torch.bool), -torch.inf)
    to_region = F.cross_entropy(others, rows)
    return {"relevancy": relevancy, "contrast": 0.5 * (to_text + to_region)}


def export(trainer: TwoTowerTrainer, folder: Path) -> dict[str, float]:
    """Write weights (half precision) and card to a folder, measured there as they will be used; returns the scores.

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
    """The first rooms of a split with their captions."""
    rooms = Rooms(split, count)
    return [captioned_room(rooms, i, every) for i in track(range(count), description=f"{split} rooms")]


def load_objects(each: int) -> list[CaptionedObject]:
    """The first training objects of every category. Those that CLIP-GS holds out are among them: to it, these towers
    are what CLIP is to the paper, and have seen the world."""
    asked = [(category, seed) for seed in range(each) for category in CATEGORIES]
    if not asked:
        return []
    with multiprocessing.get_context("spawn").Pool(initializer=torch.set_num_threads, initargs=(1,)) as pool:
        made = pool.imap(_captioned_object, asked, chunksize=8)
        return list(track(made, description="train objects", total=len(asked)))


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
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def training_vocabulary() -> tuple[str, ...]:
    """Words of the captions and of the canonical negatives."""
    from ...core.synthetic.rooms.recipes import KINDS

    return vocabulary([*CANONICAL, *KINDS, "room", *wording.phrases()])


if __name__ == "__main__":
    sys.exit(main())
