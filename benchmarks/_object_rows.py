"""Trainings compared by the benchmark "objects", and their scores."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from ..core.config import to_dict
from ..core.datasets.objects.point_clouds import CloudTriplets
from ..core.datasets.objects.triplets import Triplets
from ..core.errors import InputError
from ..core.io.checkpoint import MODEL, latest_checkpoint
from ..core.metrics.few_shot import draw_episodes, few_shot_scores
from ..core.metrics.retrieval import retrieval_scores
from ..core.metrics.zero_shot import zero_shot_scores
from ..core.models.clipgs import ClipGS
from ..trainers.clipgs.config import ClipGSRun
from ..trainers.clipgs.trainer import ClipGSTrainer, embed_triplets, load_clipgs

SCORES, VECTORS = "scores.json", "vectors.pt"
SHOTS, WAYS = 5, 10

Tokenizer = Literal["points", "all", "gs"]


@dataclass(frozen=True)
class Row:
    """One row of the ablation (arXiv 2412.19142, table 5).

    Attributes:
        name: name in options and folders.
        title: label in the table.
        short: label in the chart.
        tokenizer: see `ClipGSConfig`.
        fine_tuned: trained on Gaussians, not only on point clouds.
        voting: several renders per object and step, weighted by their similarity to the caption; otherwise one.
    """

    name: str
    title: str
    short: str
    tokenizer: Tokenizer
    fine_tuned: bool
    voting: bool


ROWS = (
    Row("clouds", "trained on point clouds, as is", "not fine-tuned", "points", False, False),
    Row("points", "fine-tuned: position + colour", "position + colour", "points", True, False),
    Row("all", "fine-tuned: all attributes, old tokenizer", "all, old tokenizer", "all", True, False),
    Row("gs", "fine-tuned: all attributes, GS tokenizer", "all, GS tokenizer", "gs", True, False),
    Row("voting", "… and image voting (CLIP-GS)", "... and voting", "gs", True, True),
)
MAIN = ROWS[-1]
BY_NAME = {row.name: row for row in ROWS}


@dataclass(frozen=True)
class Sets:
    """Objects of the benchmark.

    Attributes:
        root: folder of the triplets.
        train: objects of the seen categories.
        test: other objects of the seen categories.
        unseen: objects of the held-out categories.
        gallery: number of ``test`` objects in the retrieval gallery.
    """

    root: Path
    train: Triplets
    test: Triplets
    unseen: Triplets
    gallery: int

    @staticmethod
    def open(root: Path, gallery: int) -> Sets:
        """Open the splits of a folder of triplets."""
        return Sets(root, Triplets(root, "train"), Triplets(root, "test"), Triplets(root, "unseen"), gallery)

    @property
    def view(self) -> int:
        """Index of the render used as image query, a view from slightly above."""
        return self.test.views // 2


class Interrupted(KeyboardInterrupt):
    """A signal ended a training, which has written a checkpoint."""


def run_row(
    row: Row, base: ClipGSRun, pretrain_epochs: float, seed: int, sets: Sets, runs: Path, key: str, console: Console
) -> dict[str, float]:
    """Train one row with one seed, or continue its training; return its scores.

    Args:
        base: options of the fine-tuning.
        pretrain_epochs: epochs of the preceding training on point clouds.
        runs: folder of the runs.
        key: identifies data and towers.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM.
    """
    voting = {"views": base.views, "voting": "share"} if row.voting else {"views": 1, "voting": "none"}
    base = replace(base, data=str(sets.root), seed=seed)
    cloud = replace(base.model, tokenizer="points")
    start = replace(base, model=cloud, epochs=pretrain_epochs, views=1, voting="none")
    first = _trained(start, CloudTriplets(sets.root, "train"), runs, "clouds", key, console)
    folder = first
    if row.fine_tuned:
        init = latest_checkpoint(first / "checkpoints")
        if init is None:
            raise InputError(first, "a finished training on point clouds", "no checkpoint")
        run = replace(base, init=str(init / MODEL), model=replace(base.model, tokenizer=row.tokenizer), **voting)
        folder = _trained(run, sets.train, runs, row.name, key, console)
    done = folder / SCORES
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    model, _, _ = load_clipgs(folder)
    scores, vectors = score_model(model, sets)
    torch.save(vectors, folder / VECTORS)
    done.write_text(json.dumps(scores, indent=1), encoding="utf-8")
    return scores


def run_folder(row: Row, runs: Path, seed: int) -> Path:
    """Return the newest folder of a finished row.

    Raises:
        InputError: none finished.
    """
    found = sorted(runs.glob(f"{row.name}-s{seed}-*/{SCORES}"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise InputError(runs, f"a finished run of the row {row.name!r}", "none")
    return found[-1].parent


def _trained(config: ClipGSRun, train: Triplets, runs: Path, name: str, key: str, console: Console) -> Path:
    options = {k: v for k, v in to_dict(config).items() if k not in ("data", "init")}
    identity = json.dumps([key, options], sort_keys=True)
    folder = runs / f"{name}-s{config.seed}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    trainer = ClipGSTrainer(config, folder, train)
    trainer.resume()
    if not trainer.finished:
        console.print(f"{name}, seed {config.seed}: {trainer.schedule.steps - trainer.step} steps", highlight=False)
        trainer.fit(console=console)
        if trainer.interrupted is not None:
            raise Interrupted
    return folder


# --- scores -------------------------------------------------------------------------------------------------


def score_model(model: ClipGS, sets: Sets) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return all scores of a model in eval mode, and its embeddings of "test" [M, D] and "unseen" [U, D]."""
    vectors = {"test": embed_triplets(model, sets.test), "unseen": embed_triplets(model, sets.unseen)}
    return scores_of(vectors["test"], vectors["unseen"], sets), vectors


def score_renders(sets: Sets) -> dict[str, float]:
    """Score the image tower: each object's mean embedding of its other renders replaces that of its Gaussians."""

    def mean(triplets: Triplets) -> Tensor:
        others = [v for v in range(triplets.views) if v != sets.view] or [0]
        return torch.stack([F.normalize(triplets.images(i, others).mean(0), dim=0) for i in range(len(triplets))])

    return scores_of(mean(sets.test), mean(sets.unseen), sets)


def scores_of(test: Tensor, unseen: Tensor, sets: Sets) -> dict[str, float]:
    """Compute all scores from embeddings of the test and the unseen objects.

    Zero-shot accuracy on test objects among the names of the seen categories; on unseen categories among their own
    names and among all names; few-shot accuracy on unseen categories; retrieval in a gallery of test objects.
    """
    assert sets.test.class_vectors is not None
    names = sets.test.class_vectors
    out: dict[str, float] = {}
    for split, triplets, vectors in (("seen", sets.test, test), ("unseen", sets.unseen, unseen)):
        own, labels = triplets.labels.unique(return_inverse=True)
        scores = zero_shot_scores(vectors, labels, names[own])
        out |= {f"{split}/{k}": v for k, v in scores.items()} | {f"{split}/chance": 1 / len(own)}
        out[f"{split}/top1_all"] = zero_shot_scores(vectors, triplets.labels, names)["top1"]
    ways = min(WAYS, len(sets.unseen.labels.unique()))
    episodes = draw_episodes(sets.unseen.labels, ways, SHOTS)
    out["unseen/few_shot"] = few_shot_scores(unseen, episodes)["mean"]
    count = min(sets.gallery, len(sets.test))
    images = torch.stack([sets.test.images(i, [sets.view])[0] for i in range(count)])
    captions = sets.test.caption_ids[:count].tolist()
    for direction, row in retrieval_scores(test[:count], sets.test.text[:count], images, captions).items():
        out |= {f"{direction} {k}": v for k, v in row.items()}
    return out
