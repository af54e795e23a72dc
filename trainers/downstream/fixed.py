"""`CachedFeatureProbe`: linear probes of features that are computed once per scene.

They come from a frozen backbone, a feature field, or a 2D teacher without a 3D network. Training voxels are not
augmented; a step samples voxels of all scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from ...core.data.batch import PointBatch, make_points
from ...core.data.scene import IGNORE, SceneDataset
from ...core.device import default_device
from ...core.errors import InputError
from ...core.features.interpolate import features_at
from ...core.features.lifting import lift
from ...core.io.cache import cache_folder
from ...core.metrics import SemanticScores, confusion_matrix, semantic_scores
from ...core.models import GaussianCross
from ...core.models.pretrained import load_pretrained
from ...core.nn.spunet import SpUNet
from ...core.teachers import Teacher, make_teacher, memoize_features
from ..engine.loop import Trainer, TrainSchedule
from ..engine.optimizer import adamw
from ..engine.schedule import one_cycle
from .config import SemanticTraining
from .scenes import LabelledScenes, labels_of
from .segmenter import Segmenter, backbone_of, fingerprint
from .semantic import Model, score_scalars, segmentation_losses
from .trainer import Clock, training_signature

Source = Callable[[SceneDataset, int, PointBatch], Tensor]
"""(dataset, index of the scene, its voxels) → features [V, C] of the voxels, on any device."""

VOXELS_PER_SCENE = 4096
"""Maximum number of labelled voxels per training scene."""

VOXELS_PER_STEP = 8_192
"""Number of voxels per step."""

DEFAULT_STEPS = 500
"""Number of steps if the config sets none; enough for a linear layer on fixed features to converge."""


@dataclass(frozen=True)
class _Voxels:
    """Features [V, C] and labels [V] of a scene's voxels; voxel [N] and label [N] of its points."""

    features: Tensor
    segment: Tensor
    inverse: Tensor
    target: Tensor


class CachedFeatureProbe(Trainer[tuple[Tensor, Tensor]]):
    """Trains and tests a linear layer on standardised features; same `fit`, `test` and run folder as `SemanticTrainer`.

    Args:
        config: options; ``labels``, ``optim``, ``lovasz``, ``steps``, ``seed`` and ``voxel_size`` are used.
        run_dir: created if missing; when it holds a checkpoint, `resume` continues it exactly.
        scenes: by default opened from the config.
        model: pre-trained model; by default loaded from ``config.init``.
        source: computes the features; by default made from config and model.
        device: by default "cuda" when available.
        console: shows the progress of computing features; None shows none.
        test_follows: skip the evaluation at the last step, because the caller runs `test` afterwards.

    Attributes:
        model: the linear layer.
        confusion: [K, K] of the last `test`, or None.
        clock: duration of the run.
    """

    kind = "fixed-probe"
    title = "linear probe"

    def __init__(
        self,
        config: SemanticTraining,
        run_dir: Path | str,
        scenes: LabelledScenes | None = None,
        model: Model = None,
        source: Source | None = None,
        device: str | torch.device | None = None,
        console: Console | None = None,
        test_follows: bool = False,
    ) -> None:
        super().__init__(
            config, run_dir, TrainSchedule(config.steps or DEFAULT_STEPS, config.eval_every, config.save_every)
        )
        self.config: SemanticTraining = config
        self.clock, self._test_follows = Clock(), test_follows
        self.scenes = LabelledScenes.open(config.labels, config.seed) if scenes is None else scenes
        self.scenes.check_labels()
        self.device = default_device(device)
        if source is None:
            model = _load_model(config, model)
        self.start = _model_fingerprint(config, model)
        self.source = source or make_source(config, model, self.device)
        self.features, self.segment = self._training_set(console)
        self.mean = self.features.mean(0)
        self.std = self.features.std(0).clamp_min(1e-6)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + 1)
            self.model = nn.Linear(self.features.shape[1], len(self.scenes.class_names)).to(self.device)
        optim = config.optim
        self.optimizer = adamw(self.model.parameters(), optim.lr, optim.weight_decay)
        self._held_out = lru_cache(maxsize=8)(lambda index: self._voxels(self.scenes.val, index))
        self.confusion: Tensor | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.scenes.class_names

    # --- features -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _voxels(self, dataset: SceneDataset, index: int) -> _Voxels:
        scene = dataset.scene(index)
        points, inverse = make_points(scene, self.config.voxel_size)
        target = labels_of(scene)
        segment = torch.full((len(points.coord),), IGNORE) if points.segment is None else points.segment.clone()
        labelled = target != IGNORE  # the voxel of every labelled point is labelled
        segment[inverse[labelled].flip(0)] = target[labelled].flip(0)
        features = self.source(dataset, index, points).float().cpu()
        if features.shape[:1] != segment.shape or not bool(torch.isfinite(features).all()):
            raise InputError(scene.name, f"finite features [{len(segment)}, C]", f"{list(features.shape)}")
        return _Voxels(features, segment, inverse, target)

    def _training_set(self, console: Console | None) -> tuple[Tensor, Tensor]:
        features, segments = [], []
        indices = range(len(self.scenes.train))
        title = "features of the training scenes"
        for index in indices if console is None else track(indices, title, console=console):
            voxels = self._voxels(self.scenes.train, index)
            labelled = torch.nonzero(voxels.segment != IGNORE)[:, 0]
            generator = torch.Generator().manual_seed(self.config.seed + (index << 20))
            sampled = labelled[torch.randperm(len(labelled), generator=generator)[:VOXELS_PER_SCENE]]
            features.append(voxels.features[sampled])
            segments.append(voxels.segment[sampled])
        if not sum(map(len, segments)):
            raise InputError("training scenes", "labelled points", "none")
        return torch.cat(features), torch.cat(segments)

    # --- training -------------------------------------------------------------------------------------------------

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed((self.config.seed << 32) + step)
        draw = torch.randint(len(self.segment), (min(VOXELS_PER_STEP, len(self.segment)),), generator=generator)
        draw = draw[self.ranks.rank :: self.ranks.world]
        return self._standard(self.features[draw]), self.segment[draw]

    def _standard(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std

    def train_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, float]:
        features, segment = (t.to(self.device) for t in batch)
        optim = self.config.optim
        lr = one_cycle(self.step, self.schedule.steps, optim.lr, optim.warmup)

        def losses() -> dict[str, Tensor]:
            return segmentation_losses(self.model(features), segment, self.config.lovasz)

        return self.update(self.model, self.optimizer, losses, lr, optim.grad_clip)

    def evaluate(self) -> dict[str, float]:
        """Return scores on the original points of the held-out scenes; none at the last step if a test follows."""
        if self.finished and self._test_follows:
            return {}
        return score_scalars(self.test())

    @torch.no_grad()
    def test(self, progress: Callable[[int, int], object] = lambda done, total: None) -> SemanticScores:
        """Score the held-out scenes in one pass; each voxel's prediction counts for its original points.

        Args:
            progress: called with the number of scenes done and their total; may raise to stop.
        """
        classes = len(self.class_names)
        confusion = torch.zeros(classes, classes, dtype=torch.int64)
        for index in range(len(self.scenes.val)):
            voxels = self._held_out(index)
            logits = self.model(self._standard(voxels.features).to(self.device))
            predicted = logits.argmax(1).cpu()[voxels.inverse]
            confusion += confusion_matrix(predicted, voxels.target, classes)
            progress(index + 1, len(self.scenes.val))
        self.confusion = confusion
        return semantic_scores(confusion)

    def weights(self) -> dict[str, Tensor]:
        return self.model.state_dict() | {"mean": self.mean, "std": self.std}

    def resume_signature(self) -> dict[str, Any]:
        return training_signature(self.config, self.scenes, self.start, ("test",))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "classes": list(self.class_names), "seconds": self.clock.seconds}

    def load(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        same = weights["mean"].shape == self.mean.shape and state["classes"] == list(self.class_names)
        if not same:
            raise InputError(self.run_dir, "a probe of these features and classes", "another")
        self.mean, self.std = weights.pop("mean"), weights.pop("std")
        super().load(weights, state)
        self.clock.earlier = float(state.get("seconds", 0.0))


# --- sources of features ----------------------------------------------------------------------------------------------


def _load_model(config: SemanticTraining, model: Model) -> GaussianCross | SpUNet | None:
    """Load the pre-trained model if it is a path; None without one and for "lifted" features."""
    source = None if config.features == "lifted" else model or config.init or None
    return load_pretrained(source) if isinstance(source, (str, Path)) else source


def _model_fingerprint(config: SemanticTraining, model: Model) -> str:
    """Fingerprint of the model that computes the features; "" if there is none or it is not loaded here."""
    if model is None or isinstance(model, (str, Path)):
        return ""
    if isinstance(model, GaussianCross) and config.features != "field":
        return fingerprint(model.backbone)
    return fingerprint(model)


def make_source(config: SemanticTraining, model: Model = None, device: torch.device | str = "cpu") -> Source:
    """Create the source of the config's features: a frozen backbone, the feature field, or lifting.

    Raises:
        InputError: no feature field in the model, or a norm that does not fit precomputed features.
    """
    if config.features == "lifted":
        return lifted_source(_teacher(config))
    if config.features == "field":
        whole = load_pretrained(config.init) if model is None or isinstance(model, (str, Path)) else model
        if not isinstance(whole, GaussianCross):
            raise InputError(config.init or "model", "a GaussianCross, which has a feature field", "a backbone alone")
        return field_source(whole, device, _teacher(config) if whole.config.input.lifted_frames else None)
    if config.norm == "train":
        raise InputError("norm", '"eval" or "own" for features that are computed once', "train")
    return backbone_source(backbone_of(model or config.init, config.network, config.seed), config, device)


def _teacher(config: SemanticTraining) -> Teacher:
    """Create the config's teacher, with a cache of its features."""
    data = config.labels.data  # unnamed data are cached in memory only, to avoid confusion with other data
    teacher = memoize_features(make_teacher(config.teacher), data, cache_folder() if data else None)
    if teacher is None:
        raise InputError("teacher", "one whose features can be lifted", config.teacher)
    return teacher


def backbone_source(backbone: Any, config: SemanticTraining, device: torch.device | str = "cpu") -> Source:
    """Create a source of a backbone's features, selected by ``config.features`` and ``config.norm``."""
    net = Segmenter(backbone, 1, config.features, config.norm, frozen=True).to(device).eval()
    return lambda dataset, index, points: net.features(points.to(device))


def field_source(model: GaussianCross, device: torch.device | str = "cpu", teacher: Teacher | None = None) -> Source:
    """Create a source of the feature field at the voxels, projected to the teacher's space if there was a teacher.

    Args:
        teacher: for models with lifted features as input; None replaces them by zeros.
    """
    model = model.to(device).eval()
    lifted = None if teacher is None else lifted_source(teacher)

    def features(dataset: SceneDataset, index: int, points: PointBatch) -> Tensor:
        if lifted is not None:
            points = replace(points, lifted=lifted(dataset, index, points))
        points = points.to(device)
        field = features_at(model.gaussians(points)[0], points.coord)
        return field if model.projection is None else model.projection(field)

    return features


def lifted_source(teacher: Teacher) -> Source:
    """Create a source of a 2D teacher's features, averaged over the frames that see a voxel; zeros if none does."""

    def features(dataset: SceneDataset, index: int, points: PointBatch) -> Tensor:
        frames = dataset.frames(index)
        if frames is None:
            raise InputError(dataset.names[index], "posed frames to lift features from", "none")
        return lift(points.coord, frames, teacher, dataset.names[index]).features

    return features
