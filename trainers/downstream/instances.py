"""`InstanceTrainer`: training and testing of `PointGroup` on labelled scenes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.random import Generator
from torch import Tensor

from ...core.data.augment import sphere_crop
from ...core.data.batch import PointBatch, make_points
from ...core.data.scene import IGNORE, PointScene
from ...core.errors import InputError
from ...core.metrics import InstanceAP, InstanceScores, SemanticScores, confusion_matrix, semantic_scores
from ...core.models import PointGroup, PointGroupConfig
from ...core.models.pointgroup import Proposals
from ...core.nn.spunet import SpUNet
from .instance_config import InstanceTraining
from .scenes import LabelledScenes, SemanticData, labels_of
from .segmenter import backbone_of, fingerprint
from .semantic import Model
from .trainer import SceneTrainer


@dataclass(frozen=True)
class InstanceResults:
    """Scores on the original points of the held-out scenes.

    Attributes:
        instances: AP, AP50 and AP25.
        semantic: scores of the semantic head, in one pass.
        scenes: number of scenes.
        proposals: number of proposals in all scenes.
        network_s, grouping_s: seconds per scene of the network, and from its output to proposals.
    """

    instances: InstanceScores
    semantic: SemanticScores
    scenes: int
    proposals: int
    network_s: float
    grouping_s: float


@dataclass(frozen=True)
class InstancePrediction:
    """Prediction for one scene of N points.

    Attributes:
        scene: the scene with its true labels.
        proposals: proposed instances on the scene's points.
        segment: [N] predicted class of each point.
    """

    scene: PointScene
    proposals: Proposals
    segment: Tensor


class InstanceData(SemanticData):
    """Training batches and held-out scenes with instance ids."""

    def __init__(self, config: InstanceTraining, scenes: LabelledScenes) -> None:
        super().__init__(config.batches(), scenes)
        self._crop = config.crop
        first = self._scene(0)
        if first.instance is None:
            raise InputError(first.name, "instance ids to learn from (instance.npy)", "none")

    def augmented(self, scene: PointScene, rng: Generator) -> PointScene:
        """Augment a scene; return one point per voxel of a random sphere crop."""
        scene = super().augmented(scene, rng)
        return scene[sphere_crop(scene.coord, max(2, round(self._crop * len(scene))), rng)]


class InstanceTrainer(SceneTrainer[PointGroup]):
    """Trains and tests a `PointGroup`.

        trainer = InstanceTrainer(ROOMS, run_dir, LabelledScenes(Rooms("train", 20), Rooms("val", 4)), model)
        trainer.resume()
        trainer.fit()
        trainer.test().instances.mean_ap50

    Args:
        config: the run.
        run_dir: created if missing; when it holds a checkpoint, `resume` continues it exactly.
        scenes: by default opened from the config.
        model: pre-trained model, copied; by default loaded from ``config.init``.
        device: by default "cuda" when available.

    Attributes:
        model: the `PointGroup`.
    """

    kind, test_only_options = "instances", ("norm", "cluster", "min_region")

    def __init__(
        self,
        config: InstanceTraining,
        run_dir: Path | str,
        scenes: LabelledScenes | None = None,
        model: Model = None,
        device: str | torch.device | None = None,
    ) -> None:
        scenes = LabelledScenes.open(config.labels, config.seed) if scenes is None else scenes
        backbone = backbone_of(model or config.init, config.network, config.seed)
        start = fingerprint(backbone) if model or config.init else ""
        network = build_pointgroup(config, backbone, scenes.class_names)
        heads = [*network.bias_head.parameters(), *network.seg_head.parameters()]
        groups = [
            {"params": list(network.backbone.parameters()), "lr_scale": config.optim.backbone_lr},
            {"params": heads, "lr_scale": 1.0},
        ]
        super().__init__(config, run_dir, InstanceData(config, scenes), network, groups, start, device)
        self.config: InstanceTraining = config
        self.title = "PointGroup" if model or config.init else "PointGroup from scratch"

    def losses(self, batch: PointBatch) -> dict[str, Tensor]:
        """Compute the losses of classes and of offsets to the instances' centres."""
        return self.model.losses(self.forward(batch), batch)[1]

    def evaluate(self) -> dict[str, float]:
        """Return AP on the held-out scenes, and the semantic head's mIoU."""
        results = self.test()
        ap, semantic = results.instances, results.semantic
        scores = {"val/ap": ap.mean_ap, "val/ap50": ap.mean_ap50, "val/ap25": ap.mean_ap25}
        return scores | {"val/miou": semantic.miou, "val/miou_present": semantic.miou_present}

    @torch.no_grad()
    def test(self, on_scene: Callable[[InstancePrediction], object] | None = None) -> InstanceResults:
        """Score all held-out scenes: one pass over their voxels, counted on their points.

        Args:
            on_scene: called with the prediction for each scene.
        """
        self.model.eval()
        classes = len(self.class_names)
        metric = InstanceAP(classes, self.model.config.ignored, self.config.min_region)
        confusion = torch.zeros(classes, classes, dtype=torch.int64)
        network, grouping, count = 0.0, 0.0, 0
        for index in range(len(self.data.scenes.val)):
            scene = self.data.scenes.val.scene(index)
            points, inverse = make_points(scene, self.config.voxel_size)
            points = points.to(self.device)
            begun = time.perf_counter()
            output = self.forward(points)
            self._wait()
            between = time.perf_counter()
            proposals = self.model.proposals(output, points)[0]
            self._wait()
            network, grouping = network + between - begun, grouping + time.perf_counter() - between
            prediction = InstancePrediction(scene, proposals.at(inverse), output.logits.argmax(1).cpu()[inverse])
            confusion += confusion_matrix(prediction.segment, labels_of(scene), classes)
            masks = [mask.cpu() for mask in prediction.proposals.masks()]
            metric.add(labels_of(scene), instances_of(scene), masks, proposals.classes.cpu(), proposals.scores.cpu())
            count += len(proposals)
            if on_scene is not None:
                on_scene(prediction)
        scenes = len(self.data.scenes.val)
        scores = metric.scores(), semantic_scores(confusion)
        return InstanceResults(*scores, scenes, count, network / scenes, grouping / scenes)

    def _wait(self) -> None:
        """Wait until the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def build_pointgroup(config: InstanceTraining, backbone: SpUNet, class_names: tuple[str, ...]) -> PointGroup:
    """Create a `PointGroup` with the weights of ``backbone`` and random heads from the run's seed."""
    sizes = backbone.to_config()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        model = PointGroup(
            PointGroupConfig(
                classes=len(class_names),
                ignored=tuple(k for k, name in enumerate(class_names) if name in config.without_instances),
                base_channels=sizes["base_channels"],
                channels=tuple(sizes["channels"]),
                layers=tuple(sizes["layers"]),
                voxel_size=config.voxel_size,
                own_statistics=config.norm == "own",
                cluster=config.cluster,
            )
        )
    model.backbone.load_state_dict(backbone.state_dict())
    return model


def instances_of(scene: PointScene) -> Tensor:
    """Return instance ids [N], −1 for points without one."""
    return torch.full((len(scene),), IGNORE) if scene.instance is None else torch.from_numpy(scene.instance)
