"""Source of data-set scenes whose points carry teacher features lifted from the frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...core.data.scene import PointScene, PosedFrames, SceneDataset
from ...core.errors import InputError
from ...core.features.lifting import LiftConfig, Lifted, lift
from ...core.geometry.gaussians import Gaussians
from ...core.io.lru import LruCache
from ...core.query import Calibration, TextEncoder
from ...core.report import report_of
from ...core.teachers import Teacher
from .geometry import point_size
from .source import SceneState

WIDTH = 0.75
"""Standard deviation of a surfel, as a factor of the distance between neighbouring points."""


class LiftedSource:
    """Scenes whose points are drawn as small round Gaussians with lifted features.

    Args:
        dataset: scenes with posed frames.
        teacher: teacher of the lifted features.
        title: name in the viewer.
        config: lifting options.
        keep: number of scenes kept in memory.

    Attributes:
        calibration: the cut for "not in this scene" that was fitted for this teacher's lifted features, or None.
    """

    calibration: Calibration | None = None

    def __init__(
        self,
        dataset: SceneDataset,
        teacher: Teacher,
        title: str = "lifted",
        config: LiftConfig | None = None,
        keep: int = 3,
    ) -> None:
        self.title = title
        self.scene_names, self.class_names = tuple(dataset.names), tuple(dataset.class_names)
        self._dataset, self._teacher, self._config = dataset, teacher, config
        self._states: LruCache[int, SceneState] = LruCache(keep)
        self._targets: LruCache[tuple[int, int], Tensor] = LruCache(48)

    @property
    def channels(self) -> tuple[str, ...] | None:
        """Names of the teacher's channels, where those are classes."""
        return getattr(self._teacher, "channels", None)

    @property
    def text(self) -> TextEncoder | None:
        """The teacher's own text encoder."""
        return getattr(self._teacher, "text", None)

    def preview(self, index: int) -> tuple[PointScene | None, PosedFrames | None] | None:
        """Frames for a thumbnail of a scene; None if they would have to be rendered first."""
        ready = getattr(self._dataset, "ready", None)
        return None if ready is not None and not ready(index) else (None, self._dataset.frames(index))

    def step(self) -> int | None:
        return None

    def load(self, index: int) -> SceneState:
        return self._states.get(index, lambda: self._lifted(index))

    def teacher_features(self, index: int, frame: int) -> Tensor | None:
        def compute() -> Tensor:
            frames, name = self._frames(index), self.scene_names[index]
            return torch.nn.functional.normalize(self._teacher.features(name, frames, [frame])[0].float(), dim=-1)

        return self._targets.get((index, frame), compute)

    def _frames(self, index: int) -> PosedFrames:
        frames = self._dataset.frames(index)
        if frames is None:
            raise InputError(self.scene_names[index], "posed frames to lift features from", "none")
        return frames

    def _lifted(self, index: int) -> SceneState:
        scene, frames, name = self._dataset.scene(index), self._frames(index), self.scene_names[index]
        report, what = report_of(self._dataset), f"{name}: lifting features"
        lifted = lift(
            scene.coord,
            frames,
            self._teacher,
            name,
            self._config,
            lambda done, total: report.progress(what, done, total),
        )
        return lifted_state(scene, frames, lifted)


def lifted_state(scene: PointScene, frames: PosedFrames | None, lifted: Lifted) -> SceneState:
    """A scene whose points are drawn as Gaussians with lifted features."""
    return SceneState(
        scene.name,
        points=scene,
        frames=frames,
        gaussians=surfels(scene, point_size(SceneState(scene.name, points=scene))),
        embeddings=lifted.features,
        has_teacher=frames is not None,
        gaussian_per_point=True,
    )


def surfels(scene: PointScene, step: float) -> Gaussians:
    """Points as flat round Gaussians across their normals (round ones where a normal is zero), so wide that the
    surfaces are closed.

    Args:
        step: the usual distance between neighbours, metres.
    """
    normal = torch.from_numpy(scene.normal)
    known = normal.norm(dim=1) > 0.5
    # the rotation from z to the normal: w = 1 + n_z, (x, y) = (−n_y, n_x); any half turn where it looks down
    quats = torch.stack([1 + normal[:, 2], -normal[:, 1], normal[:, 0], torch.zeros(len(normal))], 1)
    quats[quats.norm(dim=1) < 1e-3] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    scales = torch.full((len(scene), 3), WIDTH * step)
    scales[known, 2] = 0.2 * WIDTH * step
    return Gaussians(
        torch.from_numpy(scene.coord),
        torch.where(known[:, None], quats, torch.tensor([1.0, 0, 0, 0])),
        scales,
        torch.full((len(scene),), 0.999),
        torch.from_numpy(np.ascontiguousarray(scene.color)).float() / 255,
    )
