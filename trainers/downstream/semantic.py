"""`SemanticTrainer`: linear probing, fine-tuning and training from scratch for semantic segmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.data.batch import PointBatch
from ...core.data.scene import IGNORE, PointScene
from ...core.errors import InputError
from ...core.losses.segmentation import lovasz_softmax
from ...core.metrics import SemanticScores, confusion_matrix, semantic_scores
from ...core.models import GaussianCross
from ...core.nn.spunet import SpUNet
from .config import SemanticTraining, TestConfig
from .scenes import LabelledScenes, SemanticData, labels_of
from .segmenter import Segmenter, backbone_of, fingerprint
from .testing import cached_prediction, vote
from .trainer import SceneTrainer

Model = str | Path | GaussianCross | SpUNet | None
"""A pre-trained model, the path of one, or None for random weights."""


class SemanticTrainer(SceneTrainer[Segmenter]):
    """Trains and tests a `Segmenter`.

        trainer = SemanticTrainer(config, run_dir, LabelledScenes(Rooms("train", 20), Rooms("val", 4)), model)
        trainer.resume()
        trainer.fit()
        trainer.test().miou

    Args:
        config: options of the run.
        run_dir: created if missing; when it holds a checkpoint, `resume` continues it exactly.
        scenes: by default opened from the config.
        model: pre-trained model, copied; by default loaded from ``config.init``.
        device: by default "cuda" when available.

    Attributes:
        model: the `Segmenter`.
        confusion: [K, K] of the last `test`, or None.
    """

    kind, test_only_options = "semantic", ("test",)

    def __init__(
        self,
        config: SemanticTraining,
        run_dir: Path | str,
        scenes: LabelledScenes | None = None,
        model: Model = None,
        device: str | torch.device | None = None,
    ) -> None:
        if config.fixed:
            found = "cache" if config.cache else config.features
            hint = "use `CachedFeatureProbe`"
            raise InputError("SemanticTrainer", "features of a backbone that runs in every step", found, hint)
        scenes = LabelledScenes.open(config.labels, config.seed) if scenes is None else scenes
        backbone = backbone_of(model or config.init, config.network, config.seed)
        start = fingerprint(backbone) if model or config.init else ""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + 1)
            network = Segmenter(backbone, len(scenes.class_names), config.features, config.norm, config.frozen)
        data, groups = SemanticData(config, scenes), parameter_groups(network, config)
        super().__init__(config, run_dir, data, network, groups, start, device)
        self.config: SemanticTraining = config
        self.title = "linear probe" if config.frozen else "fine-tuning" if model or config.init else "from scratch"
        self.confusion: Tensor | None = None

    def losses(self, batch: PointBatch) -> dict[str, Tensor]:
        """Compute the losses of labelled voxels."""
        return segmentation_losses(self.forward(batch).float(), batch.segment, self.config.lovasz)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return scores of one pass over each held-out scene's voxels, counted on its points."""
        self.model.eval()
        confusion = torch.zeros(len(self.class_names), len(self.class_names), dtype=torch.int64)
        for index in range(len(self.data.scenes.val)):
            points, inverse, target = self.data.held_out(index)
            predicted = self.predict(points).argmax(1).cpu()[inverse]
            confusion += confusion_matrix(predicted, target, len(self.class_names))
        return score_scalars(semantic_scores(confusion))

    @torch.no_grad()
    def predict(self, points: PointBatch) -> Tensor:
        """Return class logits [V, K] of one scene's voxels; sets the model to eval mode."""
        self.model.eval()
        return self.forward(points.to(self.device))

    def test(
        self,
        config: TestConfig | None = None,
        folder: Path | None = None,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> SemanticScores:
        """Score the votes (`testing.vote`) for all held-out scenes on their original points.

        Args:
            config: by default the run's.
            folder: cache of the predicted classes [N] of each scene, ``<scene>.npy``; None caches nothing.
            progress: called with the number of scenes done and their total; may raise to stop.
        """
        val, classes = self.data.scenes.val, len(self.class_names)
        confusion = torch.zeros(classes, classes, dtype=torch.int64)
        for index, name in enumerate(val.names):
            scene = val.scene(index)

            def predict(scene: PointScene = scene) -> Tensor:
                votes = vote(scene, self.predict, classes, self.config.voxel_size, config or self.config.test)
                return votes.argmax(1)

            predicted = predict() if folder is None else cached_prediction(folder / f"{name}.npy", len(scene), predict)
            confusion += confusion_matrix(predicted, labels_of(scene), classes)
            progress(index + 1, len(val))
        self.confusion = confusion
        return semantic_scores(confusion)


def score_scalars(scores: SemanticScores) -> dict[str, float]:
    """Return scores of held-out scenes under their names in the log."""
    return {"val/miou": scores.miou, "val/miou_present": scores.miou_present, "val/allacc": scores.allacc}


def segmentation_losses(logits: Tensor, segment: Tensor | None, lovasz: float = 1.0) -> dict[str, Tensor]:
    """Compute cross-entropy and weighted Lovász-softmax of logits [V, K] and labels [V] (−1 = ignore).

    Both are 0, with zero gradients, without labelled voxels.
    """
    if segment is None:
        segment = logits.new_full((len(logits),), IGNORE, dtype=torch.int64)
    labelled = int((segment != IGNORE).sum())
    entropy = F.cross_entropy(logits, segment, ignore_index=IGNORE, reduction="sum") / max(1, labelled)
    return {"entropy": entropy} | ({"lovasz": lovasz * lovasz_softmax(logits, segment)} if lovasz else {})


def parameter_groups(model: Segmenter, config: SemanticTraining) -> list[dict[str, Any]]:
    """Group the trained parameters by learning rate; all have weight decay, as in the released configs."""
    groups: list[dict[str, Any]] = [{"params": list(model.head.parameters()), "lr_scale": 1.0}]
    if not model.frozen:
        groups.append({"params": list(model.backbone.parameters()), "lr_scale": config.optim.backbone_lr})
    return groups
