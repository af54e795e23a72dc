"""Training of `builtin-dino`: a head on the stored tokens of a frozen DINOv2, on captioned views.

    python -m gaussiancross.trainers.teachers.token_shards --checkpoint FOLDER --out TOKENS
    python -m gaussiancross.trainers.teachers.dino_head --tokens TOKENS --export assets

Every token is classified by the name of the thing that it shows (cross-entropy; names count by the square root of their
tokens). Tokens are first projected to their linear discriminants, and shifted at random per view, as another camera or
light shifts them. Names are those of the captions, so nothing trained with the head is label-free.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ...core.config import to_dict
from ...core.errors import InputError, RunError
from ...core.io.atomic import atomic_dir
from ...core.nn.token_head import TokenHead, TokenHeadConfig, discriminants
from ...core.teachers.builtin_dino import CARD, WEIGHTS
from ..engine.loop import Trainer, TrainSchedule
from ..engine.schedule import one_cycle
from .token_shards import ABOUT, TokenShard, read_about, read_shard

FITTED = 60_000
"""Tokens that the discriminants are fitted to."""


@dataclass(frozen=True)
class DinoHeadTraining:
    """Train the head of `builtin-dino`. A run folder with a checkpoint is continued exactly."""

    tokens: Path
    """Folder written by token_shards."""
    run_dir: Path = Path("runs/dino-head")
    """Folder of checkpoints, metrics and TensorBoard logs."""
    model: TokenHeadConfig = field(default_factory=TokenHeadConfig)
    """Sizes of the head; the number of names follows from the captions."""
    held_out: int = 8
    """Every n-th room is held out, to score the head; 0: none."""
    style: float = 0.4
    """Standard deviation of the random shift of a view, per channel; the deviation within a name is 1."""
    noise: float = 0.3
    """Standard deviation of the noise of a token."""
    weight: float = 0.5
    """Weight of the head's features beside the small tower's."""
    steps: int = 1000
    """Optimiser steps."""
    batch: int = 16
    """Views per step."""
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
    """Folder for weights and card; None exports nothing."""


@dataclass(frozen=True)
class LabelledTokens:
    """Tokens of V views with the names of things.

    Attributes:
        tokens: [V, h, w, C] float16.
        label: [V, h, w] index into ``names``, −1 for none.
        names: K names, each with its synonyms: (name, synonym, …).
    """

    tokens: Tensor
    label: Tensor
    names: tuple[tuple[str, ...], ...]

    @staticmethod
    def of(shards: Sequence[TokenShard], names: Sequence[tuple[str, ...]] = ()) -> LabelledTokens:
        """Label the tokens of which at least three quarters show one thing.

        Args:
            names: known names, to label held-out views; by default those of the views.
        """
        known = {entry[0]: entry for entry in names} or {
            d.name: d.words for shard in shards for one in shard.things for d in one.values()
        }
        order = {name: k for k, name in enumerate(known if names else sorted(known))}
        label = [
            view_labels(shard.ids[v], {i: order.get(d.name, -1) for i, d in shard.things[v].items()})
            for shard in shards
            for v in range(len(shard.tokens))
        ]
        stacked = torch.from_numpy(np.stack(label))
        return LabelledTokens(torch.cat([s.tokens for s in shards]), stacked, tuple(known[name] for name in order))


def view_labels(ids: NDArray[np.int16], number: dict[int, int], cells: int = 2) -> NDArray[np.int64]:
    """[h, w] number of the thing that covers at least three quarters of a token, −1 without one.

    Args:
        ids: [h · cells, w · cells] ids.
        number: id → number.
    """
    h, w = ids.shape[0] // cells, ids.shape[1] // cells
    parts = ids.reshape(h, cells, w, cells).transpose(0, 2, 1, 3).reshape(h, w, cells * cells)
    label = np.full((h, w), -1, np.int64)
    for i, k in number.items():
        label[(parts == i).sum(-1) >= 0.75 * cells * cells] = k
    return label


class DinoHeadTrainer(Trainer[tuple[Tensor, Tensor]]):
    """Trains a `TokenHead`; see `Trainer`.

    Args:
        config: options of the run.
        data: labelled tokens.
    """

    kind, title = "DinoHead", "head on tokens"

    def __init__(self, config: DinoHeadTraining, data: LabelledTokens) -> None:
        super().__init__(config, config.run_dir, TrainSchedule(config.steps, save_every=config.save_every))
        self.names, self.label = data.names, data.label
        self.model = TokenHead(replace(config.model, inputs=data.tokens.shape[-1], names=len(data.names)))
        torch.manual_seed(config.seed)
        for module in self.model.modules():
            if module is not self.model and hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
        for block in self.model.blocks:
            torch.nn.init.zeros_(block.down.weight)  # type: ignore[union-attr]
        flat, label = data.tokens.flatten(0, 2), data.label.flatten()
        index = (label >= 0).nonzero()[:, 0]
        index = index[torch.randperm(len(index))[:FITTED]]
        center, projection = discriminants(
            flat[index].float(), label[index], len(data.names), self.model.config.reduced
        )
        self.model.get_buffer("center").copy_(center)
        self.model.get_buffer("projection").copy_(projection)
        self.reduced = torch.cat([self.model.reduce(part).half() for part in data.tokens.split(64)])
        count = torch.bincount(label[label >= 0], minlength=len(data.names)).float().clamp_min(30)
        self.balance = count.rsqrt() / count.rsqrt().mean()
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.lr,
        )

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return projected tokens [B, h, w, C] and labels [B, h, w] of ``step``, mirrored in every second step."""
        rng = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        views = torch.randint(len(self.reduced), (self.config.batch,), generator=rng)
        x, label = self.reduced[views].float(), self.label[views]
        x = x + self.config.style * torch.randn(len(x), 1, 1, x.shape[-1], generator=rng)
        x = x + self.config.noise * torch.randn(x.shape, generator=rng)
        return (x.flip(2), label.flip(2)) if step % 2 else (x, label)

    def train_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Update once; return scalars."""
        self.model.train()
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # dropout of a resumed run is the same
        lr = one_cycle(self.step, self.config.steps, self.config.lr, 0.15)
        return self.update(self.model, self.optimizer, lambda: self.losses(batch), lr, grad_clip=1.0)

    def losses(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Compute the term "names"."""
        logits = self.model.classify(batch[0]).flatten(0, 2)
        label = batch[1].flatten()
        return {"names": F.cross_entropy(logits, label, self.balance, ignore_index=-1, label_smoothing=0.05)}

    def state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def load(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(state["optimizer"])

    def resume_signature(self) -> dict[str, Any]:
        return {"model": to_dict(self.model.config), "names": [list(entry) for entry in self.names]}


@torch.no_grad()
def token_accuracy(model: TokenHead, data: LabelledTokens) -> dict[str, float]:
    """Share of right tokens, and its mean over the names with at least 20 tokens."""
    model.eval()
    best = torch.cat([model(part).argmax(-1) for part in data.tokens.split(32)])
    right, label = best[data.label >= 0] == data.label[data.label >= 0], data.label[data.label >= 0]
    count = torch.bincount(label, minlength=len(data.names))
    hits = torch.bincount(label, right.float(), minlength=len(data.names))
    often = count >= 20
    return {"tokens": float(right.float().mean()), "names": float((hits[often] / count[often]).mean())}


def export(trainer: DinoHeadTrainer, held: LabelledTokens | None, folder: Path) -> None:
    """Write weights (half precision) and card.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    config = trainer.config
    weights = {k: v.half().contiguous() for k, v in trainer.model.state_dict().items()}
    about = read_about(config.tokens / ABOUT)
    options = ("held_out", "style", "noise", "weight", "steps", "batch", "lr", "seed")
    scores = {} if held is None else {k: round(v, 4) for k, v in token_accuracy(trainer.model, held).items()}
    card = {
        "name": "builtin-dino",
        "licence": "Apache-2.0",
        "description": "Head on the tokens of a frozen DINOv2-S, which is not part of this file. Captions carry class "
        "names, so nothing trained with it is label-free.",
        "command": "python -m gaussiancross.trainers.teachers.dino_head --tokens TOKENS "
        + " ".join(f"--{k.replace('_', '-')} {getattr(config, k)}" for k in options)
        + " --export assets",
        "data": about["command"],
        "views": len(trainer.reduced),
        "teacher": about["backbone"],
        "backbone_digest": about["digest"][:12],
        "layers": about["layers"],
        "patch": about["patch"],
        "weight": config.weight,
        "config": to_dict(trainer.model.config),
        "accuracy_on_held_out_rooms": scores,
        "names": [list(entry) for entry in trainer.names],
    }
    with atomic_dir(folder) as staging:
        save_file(weights, staging / WEIGHTS)
        (staging / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    config = tyro.cli(DinoHeadTraining, prog="python -m gaussiancross.trainers.teachers.dino_head")
    try:
        paths = sorted(config.tokens.glob("train_*.safetensors"))
        held_paths = paths[:: config.held_out] if config.held_out else []
        shards = [read_shard(path) for path in paths if path not in held_paths]
        if not shards:
            raise InputError(config.tokens, "files of token_shards", f"{len(paths)}")
        trainer = DinoHeadTrainer(config, LabelledTokens.of(shards))
        del shards
        if not trainer.complete(config.seconds):
            print(f"Checkpoint of step {trainer.step} written; the same command continues.")
            return 130
        held = LabelledTokens.of([read_shard(p) for p in held_paths], trainer.names) if held_paths else None
        if held is not None:
            print(", ".join(f"{k} {v:.3f}" for k, v in token_accuracy(trainer.model, held).items()))
        if config.export is not None:
            export(trainer, held, config.export)
    except (InputError, RunError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
