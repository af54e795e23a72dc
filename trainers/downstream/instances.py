"""Instance segmentation: `PointGroup` trained and tested on labelled scenes."""

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
    """How a network did on the held-out scenes, on their original points.

    Attributes:
        instances: AP, AP50 and AP25.
        semantic: what the semantic head says by itself, in one pass.
        scenes: how many.
        proposals: of all scenes.
        network_s, grouping_s: seconds per scene, of the network and from its output to proposals.
    """

    instances: InstanceScores
    semantic: SemanticScores
    scenes: int
    proposals: int
    network_s: float
    grouping_s: float


@dataclass(frozen=True)
class InstancePrediction:
    """What was predicted for one scene of N points.

    Attributes:
        scene: with its true labels.
        proposals: on the scene's points.
        segment: [N] class of each point.
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
        """One point per voxel of a sphere in the augmented scene."""
        scene = super().augmented(scene, rng)
        return scene[sphere_crop(scene.coord, max(2, round(self._crop * len(scene))), rng)]


class InstanceTrainer(SceneTrainer[PointGroup]):
    """Trains a `PointGroup`, and tests it.

        trainer = InstanceTrainer(ROOMS, run_dir, LabelledScenes(Rooms("train", 20), Rooms("val", 4)), model)
        trainer.resume()
        trainer.fit()
        trainer.test().instances.mean_ap50

    Args:
        config: the run.
        run_dir: created if need be; when it holds a checkpoint, `resume` continues it exactly.
        scenes: opened from the config unless given.
        model: pre-trained; what ``config.init`` names unless given. It is copied, not changed.
        device: "cuda" when there is one, unless given.

    Attributes:
        model: the `PointGroup`.
    """

    kind, for_tests = "instances", ("norm", "cluster", "min_region")

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
        """Of the classes, and of the way to the instances' centres."""
        return self.model.losses(self.forward(batch), batch)[1]

    def evaluate(self) -> dict[str, float]:
        """AP of the held-out scenes, and the semantic head's mIoU."""
        results = self.test()
        found, semantic = results.instances, results.semantic
        scores = {"val/ap": found.mean_ap, "val/ap50": found.mean_ap50, "val/ap25": found.mean_ap25}
        return scores | {"val/miou": semantic.miou, "val/miou_present": semantic.miou_present}

    @torch.no_grad()
    def test(self, on_scene: Callable[[InstancePrediction], object] | None = None) -> InstanceResults:
        """Scores over all held-out scenes: one pass over their voxels, counted on their points.

        Args:
            on_scene: called with what was predicted for each scene.
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
            found = InstancePrediction(scene, proposals.at(inverse), output.logits.argmax(1).cpu()[inverse])
            confusion += confusion_matrix(found.segment, labels_of(scene), classes)
            masks = [mask.cpu() for mask in found.proposals.masks()]
            metric.add(labels_of(scene), instances_of(scene), masks, proposals.classes.cpu(), proposals.scores.cpu())
            count += len(proposals)
            if on_scene is not None:
                on_scene(found)
        scenes = len(self.data.scenes.val)
        scores = metric.scores(), semantic_scores(confusion)
        return InstanceResults(*scores, scenes, count, network / scenes, grouping / scenes)

    def _wait(self) -> None:
        """Until the device has done what it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def build_pointgroup(config: InstanceTraining, backbone: SpUNet, class_names: tuple[str, ...]) -> PointGroup:
    """A `PointGroup` on the weights of ``backbone``, with fresh heads drawn from the run's seed."""
    known = backbone.to_config()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        model = PointGroup(
            PointGroupConfig(
                classes=len(class_names),
                ignored=tuple(k for k, name in enumerate(class_names) if name in config.without_instances),
                base_channels=known["base_channels"],
                channels=tuple(known["channels"]),
                layers=tuple(known["layers"]),
                voxel_size=config.voxel_size,
                own_statistics=config.norm == "own",
                cluster=config.cluster,
            )
        )
    model.backbone.load_state_dict(backbone.state_dict())
    return model


def instances_of(scene: PointScene) -> Tensor:
    """[N] instance ids, −1 where there is none."""
    return torch.full((len(scene),), IGNORE) if scene.instance is None else torch.from_numpy(scene.instance)
