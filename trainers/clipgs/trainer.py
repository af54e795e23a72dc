"""CLIP-GS training on triplets: the 3D encoder is trained to match precomputed image and text embeddings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.config import from_dict, to_dict
from ...core.datasets.objects.triplets import Triplets, splits
from ...core.device import default_device, has_bfloat16
from ...core.errors import InputError
from ...core.io.checkpoint import load_checkpoint
from ...core.losses.clipgs import image_voting, text_contrast, voting_weights
from ...core.metrics.retrieval import retrieval_scores
from ...core.metrics.zero_shot import zero_shot_scores
from ...core.models.clipgs import MAX_LOGIT_SCALE, ClipGS, Precision
from ...core.models.uni3d import load_uni3d
from ..engine.loop import Trainer, TrainSchedule
from ..engine.optimizer import adamw
from ..engine.ranks import Ranks
from ..engine.schedule import WarmStatistics, warmup_cosine
from ..pretraining.runs import find_checkpoint
from .config import ClipGSOptim, ClipGSRun
from .data import ClipGSData, TripletBatch


class ClipGSTrainer(Trainer[TripletBatch]):
    """Trains a `ClipGS`; see `Trainer`. In a distributed run the losses use the batches of all ranks.

    Args:
        config: options of the run; ``model.embed_dim`` is overwritten by the data's.
        run_dir: created if missing; when it holds a checkpoint, `resume` continues it, exactly on a CPU.
        train, val: by default opened from the config; ``val`` is None where the data have no such split.
        device: by default "cuda" when available.

    Raises:
        InputError: epochs, batch size or views that are not positive.
    """

    kind, title = "clipgs", "CLIP-GS"

    def __init__(
        self,
        config: ClipGSRun,
        run_dir: Path,
        train: Triplets | None = None,
        val: Triplets | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        if config.epochs <= 0 or min(config.batch_size, config.views) < 1:
            found = f"{config.epochs}, {config.batch_size} and {config.views}"
            raise InputError("epochs, batch_size and views", "positive numbers", found)
        ranks = Ranks.current()
        self.data = ClipGSData(config, train, ranks.rank, ranks.world)
        self.val = val if train is not None else _held_out(config)
        config = replace(config, model=replace(config.model, embed_dim=self.data.train.dim))
        schedule = TrainSchedule(self.data.steps, config.eval_every, config.save_every, config.keep)
        super().__init__(config, run_dir, schedule)
        self.config: ClipGSRun = config
        self.device = default_device(device)
        torch.manual_seed(config.seed)
        self.model = ClipGS(config.model)
        if config.init:
            load_uni3d(self.model, config.init)
        self.model.to(self.device)
        self.optimizer = adamw(parameter_groups(self.model, config.optim), config.optim.lr)
        self._amp = config.optim.amp and has_bfloat16(self.device)
        self._statistics = WarmStatistics(self.model)

    # --- training -------------------------------------------------------------------------------------------

    def batch(self, step: int) -> TripletBatch:
        return self.data.batch(step)

    def losses(self, batch: TripletBatch) -> dict[str, Tensor]:
        """Compute the weighted terms "text" and "image"; a term of weight 0 is omitted."""
        config, scale = self.config, self.model.temperature()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._amp):
            objects = self.model(batch.attributes)
        ids = batch.captions if config.same_caption else None
        terms = {}
        if config.text_weight:
            terms["text"] = config.text_weight * text_contrast(objects, batch.texts, scale, ids)
        if config.image_weight:
            weights = voting_weights(batch.texts, batch.images, config.voting)
            terms["image"] = config.image_weight * image_voting(objects, batch.images, weights, scale)
        if not terms:
            raise InputError("text_weight and image_weight", "at least one above 0", "0 and 0")
        return terms

    def train_step(self, batch: TripletBatch) -> dict[str, float]:
        """Update once; return scalars."""
        # Dropped patches and blocks and the order within patches come from the global generator: seeded by the step,
        # they are the same in a resumed run.
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) * 1009 + self.ranks.rank)
        self.model.train()
        batch = batch.to(self.device)
        optim = self.config.optim
        lr = warmup_cosine(self.step, self.schedule.steps, optim.lr, optim.warmup)
        if not self.config.init:
            self._statistics.before(self.step)
        scalars = self.update(self.model, self.optimizer, lambda: self.losses(batch), lr, optim.grad_clip)
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        return scalars | {"temperature": float(self.model.temperature().detach())}

    def evaluate(self) -> dict[str, float]:
        """Return `evaluate_clipgs` on the held-out objects; empty without any."""
        if self.val is None:
            return {}
        self.model.eval()
        return evaluate_clipgs(self.model, self.val, "auto" if self._amp else "float32")

    # --- checkpoints ----------------------------------------------------------------------------------------

    def metadata(self) -> dict[str, Any]:
        return {"tower": self.data.train.tower}

    def resume_signature(self) -> dict[str, Any]:
        return to_dict(self.config.model)


def parameter_groups(model: ClipGS, config: ClipGSOptim) -> list[dict[str, Any]]:
    """Group the parameters by learning rate and weight decay.

    ``lr_scale`` is layer_decay ^ (layers from the output); only matrices have weight decay. Tokenizer and position
    embedding are layer 0, block i is layer i + 1; output, refinement branch and temperature are the last layer.
    """
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
    """Return unit embeddings [M, D] of the objects of a split, on the CPU."""
    parts = [
        model.encode([triplets.gaussians(i) for i in range(start, min(start + batch_size, len(triplets)))], precision)
        for start in range(0, len(triplets), batch_size)
    ]
    return torch.cat(parts)


def evaluate_clipgs(model: ClipGS, triplets: Triplets, precision: Precision = "auto") -> dict[str, float]:
    """Measure retrieval in four directions and, with class vectors, zero-shot accuracy.

    Args:
        model: in eval mode.
        triplets: objects to embed; the first render of each is its image.

    Returns:
        ``eval/text→3D R@1``, …, ``eval/top1``, ….
    """
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
    """Load model (CPU, eval mode), config and ``meta`` ("step", "tower") of a run folder or a checkpoint.

    Raises:
        InputError: no checkpoint, a damaged one, or a run of another method.
    """
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        raise InputError(path, "a CLIP-GS run folder with checkpoints/, or one checkpoint", "neither")
    tensors, meta, _ = load_checkpoint(checkpoint)
    if meta.get("kind") != ClipGSTrainer.kind:
        raise InputError(checkpoint, "a CLIP-GS run", f"a run of {meta.get('kind', 'GaussianCross')}")
    config = from_dict(ClipGSRun, meta["config"], str(checkpoint))
    model = ClipGS(config.model)
    model.load_state_dict(tensors)
    return model.eval(), config, meta


def _held_out(config: ClipGSRun) -> Triplets | None:
    return Triplets(config.data, config.eval_split) if config.eval_split in splits(config.data) else None
