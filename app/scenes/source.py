"""Sources of scenes for viewer, queries and export."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.config import from_dict
from ...core.data.batch import InputConfig, make_input
from ...core.data.scene import PointScene, PosedFrames, SceneDataset
from ...core.datasets.rooms import Rooms
from ...core.device import default_device, has_bfloat16
from ...core.errors import InputError
from ...core.features.lifting import lift_voxels
from ...core.geometry.cameras import Cameras
from ...core.geometry.gaussians import Gaussians
from ...core.io.lru import LruCache
from ...core.models.blocks import predict_scene
from ...core.models.gaussiancross import GaussianCross, GaussianCrossConfig
from ...core.query import Calibration, TextEncoder
from ...core.report import report_of
from ...core.teachers import Teacher
from ...trainers.engine.live import LiveFeed
from ...trainers.pretraining.online_probe import LinearProbe, split_probe, with_probe

T = TypeVar("T")


@dataclass(frozen=True)
class SceneState:
    """One scene at one step of a run. Immutable, shared by all browsers.

    Attributes:
        name: name of the scene.
        step: optimiser step of the weights; None for scenes that do not change.
        points: the scene's points, or None.
        frames: posed frames, or None.
        gaussians: Gaussians to render, or None; without ``features`` (see ``embeddings``).
        transform: [4, 4] world → the Gaussians' world (see `Cameras.transformed`); None = the same world.
        embeddings: [N, D] features of the Gaussians, comparable with the teacher's if there is a teacher.
        point_features: [V, C] features of voxels, with ``point_voxel`` [P] the voxel of each point.
        has_teacher: whether `SceneSource.teacher_features` has features of this scene's frames.
        codes: [N, F] the Gaussians' own features, which `lift` takes to the teacher's space *after* blending, as the
            training does; None without a teacher.
        lift: blended codes [..., F] → [..., D] features comparable with the teacher's by their cosine.
        input: how the points become network input, or None.
        point_classes: [V, K] probabilities of the classes per voxel, from the run's probe; None without one.
        gaussian_per_point: Gaussian i draws point i, so that a selection of Gaussians [N] is one of the points, too.
        sh: [N, K, 3] view-dependent harmonics of the Gaussians' file, which exports write again; None without.
        labels: [N] labels of the Gaussians' file; None without.
    """

    name: str
    step: int | None = None
    points: PointScene | None = None
    frames: PosedFrames | None = None
    gaussians: Gaussians | None = None
    transform: Tensor | None = None
    embeddings: Tensor | None = None
    point_features: Tensor | None = None
    point_voxel: Tensor | None = None
    has_teacher: bool = False
    codes: Tensor | None = None
    lift: Callable[[Tensor], Tensor] | None = None
    input: InputConfig | None = None
    point_classes: Tensor | None = None
    gaussian_per_point: bool = False
    sh: Tensor | None = None
    labels: NDArray[np.int64] | None = None
    _memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def has_embeddings(self) -> bool:
        """Whether there are ``embeddings``; reading these may compute them (`predicted.PredictedState`)."""
        return self.embeddings is not None

    @property
    def embedding_width(self) -> int | None:
        """D of the ``embeddings``, or None without any."""
        return None if self.embeddings is None else self.embeddings.shape[1]

    def copy(self) -> SceneState:
        """This state without what `memo` has stored."""
        return replace(self)

    def memo(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return ``compute()``, evaluated once per key and stored with this state. Render thread only."""
        if key not in self._memo:
            self._memo[key] = compute()
        return self._memo[key]

    def cameras(self, cameras: Cameras) -> Cameras:
        """World cameras → cameras that see the Gaussians, on their device."""
        if self.transform is not None:
            cameras = cameras.transformed(self.transform.to(cameras.viewmats.device))
        return cameras if self.gaussians is None else cameras.to(self.gaussians.means.device)


def calibration_for(dataset: SceneDataset, calibration: Calibration | None) -> Calibration | None:
    """The calibration for scenes of a dataset: those shipped were fitted on procedural rooms, and decide nothing about
    scenes of another kind."""
    if calibration is None:
        return None
    return calibration._replace(elsewhere=calibration.data.startswith("rooms") and not isinstance(dataset, Rooms))


class SceneSource(Protocol):
    """Implementations are called from the render thread only, except for the attributes and ``step``.

    Attributes:
        title: name in the viewer.
        scene_names: names of the scenes.
        class_names: names of ``points.segment``'s classes; empty without labels.
    """

    title: str
    scene_names: tuple[str, ...]
    class_names: tuple[str, ...]

    def step(self) -> int | None:
        """The newest step that ``load`` would return; None when it does not change. Cheap, any thread."""
        ...

    def load(self, index: int) -> SceneState:
        """Scene ``index`` at the newest step. May be slow."""
        ...

    def teacher_features(self, index: int, frame: int) -> Tensor | None:
        """[h, w, D] unit-length teacher features of one frame, or None without a teacher."""
        ...


class PointsSource:
    """Static point scenes: one `PointScene` or a data set.

    The ``keep`` most recently used scenes and their computed values stay in memory for all browsers.
    """

    def __init__(self, scenes: PointScene | SceneDataset, title: str = "points", keep: int = 3) -> None:
        self.title = title
        self._scenes = scenes
        self._states: LruCache[int, SceneState] = LruCache(keep)
        if isinstance(scenes, PointScene):
            self.scene_names, self.class_names = (scenes.name,), ()
        else:
            self.scene_names, self.class_names = tuple(scenes.names), tuple(scenes.class_names)

    def step(self) -> int | None:
        return None

    def preview(self, index: int) -> tuple[PointScene | None, PosedFrames | None] | None:
        """Points or frames for a small picture of a scene; None if they are not yet available."""
        return (self._scenes, None) if isinstance(self._scenes, PointScene) else _preview(self._scenes, index)

    def load(self, index: int) -> SceneState:
        return self._states.get(index, lambda: self._read(index))

    def _read(self, index: int) -> SceneState:
        if isinstance(self._scenes, PointScene):
            return SceneState(self._scenes.name, points=self._scenes)
        return SceneState(self.scene_names[index], points=self._scenes.scene(index), frames=self._scenes.frames(index))

    def teacher_features(self, index: int, frame: int) -> Tensor | None:
        return None


class SplatsSource:
    """Static Gaussians, such as a PLY. Their ``features``, if any, become the feature layer.

    Args:
        frames: posed frames to compare with, in the Gaussians' world, or None.
        device: device of the rendering; by default "cuda" if available.
        sh, labels: see `SceneState`.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        name: str = "splats",
        title: str = "splats",
        frames: PosedFrames | None = None,
        device: torch.device | str | None = None,
        sh: Tensor | None = None,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        self.title, self.scene_names, self.class_names = title, (name,), ()
        gaussians = gaussians.to(default_device(device))
        plain = replace(gaussians, features=None)
        features = gaussians.features
        self._state = SceneState(name, frames=frames, gaussians=plain, embeddings=features, sh=sh, labels=labels)

    def step(self) -> int | None:
        return None

    def load(self, index: int) -> SceneState:
        return self._state

    def teacher_features(self, index: int, frame: int) -> Tensor | None:
        return None


def _preview(dataset: SceneDataset, index: int) -> tuple[PointScene | None, PosedFrames | None] | None:
    ready = getattr(dataset, "ready", None)  # only datasets that make scenes on demand have it
    if ready is not None and not ready(index):
        return None
    frames = dataset.frames(index)
    return (None, frames) if frames is not None else (dataset.scene(index), None)


class ModelSource:
    """Scenes of a dataset encoded by a model with fixed weights, such as a checkpoint.

    Args:
        model: model that is put in eval mode; everything is computed on its device.
        dataset: scenes and frames.
        teacher: the frozen 2D teacher of the run, or None.
        step: optimiser step of the weights.
        keep: number of encoded scenes in memory.
        probe: classifier of the backbone's features, or None.
    """

    opens_on_points: bool = False
    """Whether the viewer opens the scenes on their points, which show more than the render of an unfitted model."""

    def __init__(
        self,
        model: GaussianCross,
        dataset: SceneDataset,
        teacher: Teacher | None = None,
        title: str = "checkpoint",
        step: int | None = None,
        keep: int = 3,
        probe: LinearProbe | None = None,
    ) -> None:
        self.title = title
        self.scene_names, self.class_names = tuple(dataset.names), tuple(dataset.class_names)
        self._model, self._dataset, self._teacher = model.eval(), dataset, teacher
        self._step = self._in_model = step
        self._probe = None if probe is None else probe.eval().to(next(model.parameters()).device)
        self._data: LruCache[int, tuple[PointScene, PosedFrames | None]] = LruCache(keep)
        self._states: LruCache[int, SceneState] = LruCache(keep)
        self._targets: LruCache[tuple[int, int], Tensor] = LruCache(48)

    _amp = False
    calibration: Calibration | None = None
    """The cut for "not in this scene" that was fitted for this model and its teacher's text encoder."""

    @property
    def teacher(self) -> Teacher | None:
        """The run's frozen 2D teacher."""
        return self._teacher

    @property
    def channels(self) -> tuple[str, ...] | None:
        """Names of the teacher's channels, where those are classes."""
        return getattr(self._teacher, "channels", None)

    @property
    def text(self) -> TextEncoder | None:
        """The teacher's own text encoder."""
        return getattr(self._teacher, "text", None)

    def preview(self, index: int) -> tuple[PointScene | None, PosedFrames | None] | None:
        """Points or frames for a small picture of a scene; None if they are not yet available."""
        return _preview(self._dataset, index)

    def step(self) -> int | None:
        return self._step

    def load(self, index: int) -> SceneState:
        return self._encoded(index, self._step)

    def at(self, index: int, step: int, weights: Callable[[], Mapping[str, Tensor]]) -> SceneState:
        """Return scene ``index`` with the weights of another ``step`` of the same network.

        The model keeps these weights, so afterwards only the caller may use `load` (see `TimelineSource`).
        """
        if self._in_model != step:
            self._in_model = None  # stays None if loading fails half-way
            own, probe = split_probe(weights())
            self._model.load_state_dict(own)
            self._probe = None if probe is None else LinearProbe.of(probe).to(next(self._model.parameters()).device)
            self._in_model = step
        return self._encoded(index, step)

    def teacher_features(self, index: int, frame: int) -> Tensor | None:
        if self._teacher is None:
            return None

        def compute() -> Tensor:
            assert self._teacher is not None
            frames = self._scene(index)[1]
            if frames is None:
                raise InputError(self.scene_names[index], "posed frames for the teacher", "none")
            features = self._teacher.features(self.scene_names[index], frames, [frame])[0].float()
            return torch.nn.functional.normalize(features, dim=-1)

        return self._targets.get((index, frame), compute)

    def _scene(self, index: int) -> tuple[PointScene, PosedFrames | None]:
        return self._data.get(index, lambda: (self._dataset.scene(index), self._dataset.frames(index)))

    @torch.no_grad()
    def _encoded(self, index: int, step: int | None) -> SceneState:
        known = self._states.find(index)
        if known is not None and known.step == step:
            return known
        scene, frames = self._scene(index)
        model_input = make_input(scene, self._model.config.input)
        points = model_input.points
        if self._model.config.input.lifted_frames and self._teacher is not None and frames is not None:
            report, what = report_of(self._dataset), f"{scene.name}: lifting features"
            points = lift_voxels(
                scene, model_input, frames, self._teacher, progress=lambda done, of: report.progress(what, done, of)
            )
        device = next(self._model.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, self._amp, cache_enabled=False):
            features, gaussians = predict_scene(self._model, points, report_of(self._dataset))
        plain = replace(gaussians, features=None)
        projection = None if self._teacher is None else getattr(self._model, "projection", None)
        projection = copy.deepcopy(projection)  # of this step: a live model's weights move on
        from .predicted import PredictedState

        make = SceneState if projection is None else PredictedState
        state = make(
            name=self.scene_names[index],
            step=step,
            points=scene,
            frames=frames,
            gaussians=plain,
            transform=model_input.transform,
            embeddings=gaussians.features.float() if projection is None and gaussians.features is not None else None,
            point_features=features.float(),
            point_voxel=model_input.inverse,
            has_teacher=self._teacher is not None and frames is not None,
            codes=None if projection is None else gaussians.features,
            lift=projection,
            input=self._model.config.input,
            point_classes=None if self._probe is None else self._probe(features).softmax(1),
        )
        self._states.put(index, state)
        return state


class LiveSource(ModelSource):
    """A running training: the newest published weights, loaded into a separate model.

    The feed is all that it shares with the trainer; weights arrive as CPU copies.

    Args:
        feed: feed of the training; ``feed.config["model"]`` describes the network.
        dataset: scenes to show.
        teacher: the run's frozen 2D teacher, or None.
        device: device of the model; by default "cuda" if available.
        make_model: builds the network; from ``feed.config`` by default.
    """

    def __init__(
        self,
        feed: LiveFeed,
        dataset: SceneDataset,
        teacher: Teacher | None = None,
        title: str = "live training",
        device: torch.device | str | None = None,
        make_model: Callable[[], GaussianCross] | None = None,
    ) -> None:
        model = (make_model or (lambda: model_from_config(feed.config)))().to(default_device(device))
        on_cuda = next(model.parameters()).is_cuda  # beside the training: little memory, and its precision
        super().__init__(model, dataset, teacher, title, keep=1 if on_cuda else 3)
        self._feed, self._amp = feed, on_cuda and has_bfloat16(next(model.parameters()).device)

    def step(self) -> int | None:
        snapshot = self._feed.snapshot
        return None if snapshot is None else snapshot.step

    def load(self, index: int) -> SceneState:
        snapshot = self._feed.snapshot
        if snapshot is None:  # nothing published yet: the points and frames can be looked at already
            scene, frames = self._scene(index)
            return SceneState(self.scene_names[index], points=scene, frames=frames)
        return self.at(index, snapshot.step, lambda: with_probe(snapshot.weights, snapshot.probe))


def model_from_config(config: dict[str, Any]) -> GaussianCross:
    """The network that a run's config (as `LiveFeed.config` and checkpoints carry it) describes.

    The random generator is left as it was: building a model draws from it, and a training may be running.
    """
    if "model" not in config:
        raise InputError("the run's config", "a key 'model'", str(sorted(config)))
    with torch.random.fork_rng(devices=[]):  # building draws on the CPU; a GPU's state would open it
        return GaussianCross(from_dict(GaussianCrossConfig, config["model"], "model"))
