"""Rooms, models and cameras for tests of the inspector: a closed box room and networks that need no training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gaussiancross.app.inspector import ModelSource, SplatsSource, TimelineSource
from gaussiancross.app.scenes.source import SceneState
from gaussiancross.core.data.batch import InputConfig
from gaussiancross.core.data.scene import Frame, PointScene, PosedFrames
from gaussiancross.core.geometry.cameras import Cameras, intrinsics, look_at
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.query import TextVectors
from gaussiancross.core.teachers import TeacherInfo
from gaussiancross.trainers.pretraining.online_probe import LinearProbe
from gaussiancross.trainers.pretraining.timeline import Timeline


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# --- a small world: a coloured box room, seen by four cameras -------------------------------------------------
def box_room(n: int = 12, seed: int = 0) -> PointScene:
    """Six coloured walls of a 4 × 3 × 2.5 m room."""
    rng = np.random.default_rng(seed)
    size = np.array([4.0, 3.0, 2.5])
    coord, color, normal, segment = [], [], [], []
    for axis in range(3):
        for side in (0, 1):
            uv = rng.random((n * n, 3)) * size
            uv[:, axis] = side * size[axis]
            coord.append(uv)
            base = np.array([60, 60, 60]) + 150 * np.eye(3)[axis] + 40 * side
            color.append(np.tile(base, (n * n, 1)))
            normal.append(np.tile(np.eye(3)[axis] * (1 - 2 * side), (n * n, 1)))
            segment.append(np.full(n * n, 2 * axis + side))
    return PointScene(
        f"box{seed}",
        np.concatenate(coord).astype(np.float32),
        np.concatenate(color).astype(np.uint8),
        np.concatenate(normal).astype(np.float32),
        np.concatenate(segment),
    )


def as_gaussians(scene: PointScene, features: torch.Tensor | None = None, scale: float = 0.12) -> Gaussians:
    n = len(scene)
    return Gaussians(
        torch.from_numpy(scene.coord),
        torch.tensor([[1.0, 0, 0, 0]]).expand(n, 4),
        torch.full((n, 3), scale),
        torch.full((n,), 0.95),
        torch.from_numpy(scene.color).float() / 255,
        features,
    )


def box_frames(count: int = 4, width: int = 64, height: int = 48) -> PosedFrames:
    middle = torch.tensor([2.0, 1.5, 1.2])
    angles = [2 * np.pi * i / count for i in range(count)]
    views = [look_at(middle, middle + torch.tensor([np.cos(a), np.sin(a), 0.0]).float()) for a in angles]
    ks = intrinsics(1.3, width, height).expand(count, 3, 3)

    def read(index: int, w: int, h: int) -> Frame:
        return Frame(np.full((h, w, 3), 0.2 + 0.1 * index, np.float32), np.full((h, w), 2.0, np.float32))

    cameras = Cameras(torch.stack(views), ks, width, height)
    return PosedFrames(tuple(f"f{i}" for i in range(count)), cameras, read)


class Boxes:
    """A dataset of box rooms."""

    names = ("box0", "box1")
    class_names = ("west", "east", "south", "north", "floor", "ceiling")

    def __len__(self) -> int:
        return 2

    def scene(self, index: int) -> PointScene:
        return box_room(seed=index)

    def frames(self, index: int) -> PosedFrames | None:
        return box_frames()


class FlatTeacher:
    """Features that say where in the image a token lies."""

    info = TeacherInfo("flat", 5, "none", (3, 4), True)

    def features(self, scene_name: str, frames: PosedFrames, index: list[int]) -> torch.Tensor:
        rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(4.0), indexing="ij")
        one = torch.stack([rows, columns, torch.ones(3, 4), rows * columns, columns**2], -1)
        return one.expand(len(index), 3, 4, 5)


@dataclass
class StubConfig:
    input: InputConfig


class StubModel(torch.nn.Module):
    """Stands for GaussianCross: one weight, the grey level of its Gaussians."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = torch.nn.Parameter(torch.tensor(0.5))
        self.config = StubConfig(InputConfig(voxel_size=0.05))
        self.calls = 0

    def backbone_features(self, points):
        self.calls += 1
        return torch.cat([points.feat, points.coord], 1)

    def gaussians(self, points, features=None):
        n = len(points.coord)
        return [
            Gaussians(
                points.coord,
                torch.tensor([[1.0, 0, 0, 0]]).expand(n, 4),
                torch.full((n, 3), 0.1),
                torch.full((n,), 0.9),
                self.grey.expand(n, 3),
                features[:, :8],
            )
        ]


def free_camera(width: int = 40, height: int = 30) -> Cameras:
    view = look_at(torch.tensor([2.0, 1.5, 1.2]), torch.tensor([4.0, 2.0, 1.0]))
    return Cameras(view[None], intrinsics(1.2, width, height)[None], width, height)


def grey_run(folder: Path, model: Grey | None = None) -> TimelineSource:
    """A run of three stored steps (0, 10, 20) whose Gaussians have the grey levels 0.1, 0.5 and 0.9."""
    timeline = Timeline(folder, 10**6)
    for step, grey in ((0, 0.1), (10, 0.5), (20, 0.9)):
        timeline.offer(step, lambda grey=grey: {"grey": torch.tensor(grey)})
    return TimelineSource(ModelSource(model or Grey(), Boxes(), title="run"), folder)  # type: ignore[arg-type]


class Furnished:
    """A labelled box room whose points are its Gaussians, with frames and, if wanted, a teacher."""

    title, scene_names, class_names = "furnished", ("box",), Boxes.class_names

    def __init__(self, teacher: bool = False) -> None:
        scene = box_room(24)
        features = torch.cat([torch.from_numpy(scene.coord), torch.from_numpy(scene.normal)], 1)
        self._teacher = teacher
        self.state = SceneState(
            "box",
            points=scene,
            frames=box_frames(),
            gaussians=as_gaussians(scene),
            embeddings=features[:, :5],
            has_teacher=teacher,
        )

    def step(self):
        return None

    def load(self, index):
        return self.state

    def teacher_features(self, index, frame):
        if not self._teacher:
            return None
        return FlatTeacher().features("box", self.state.frames, [frame])[0]


def at_frame(state: SceneState, frame: int, width: int, height: int, turn: float = 0.0) -> Cameras:
    """A free camera where a dataset camera stands, looking ``turn`` radians further to the left."""
    eye = state.frames.cameras.centers[frame]
    ahead = state.frames.cameras.camera_to_worlds[frame, :3, 2]
    c, s = np.cos(turn), np.sin(turn)
    ahead = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]]).float() @ ahead
    return Cameras(look_at(eye, eye + ahead)[None], intrinsics(1.3, width, height)[None], width, height)


def stub_probe(classes: int = 6) -> LinearProbe:
    """Reads the floor and the ceiling off the stub's features (which hold the normal)."""
    probe = LinearProbe(9, classes)
    with torch.no_grad():
        probe.linear.weight[4, 5], probe.linear.weight[5, 5] = 9.0, -9.0  # normals up, normals down
    return probe.eval()


class Grey(StubModel):
    """Its Gaussians share no memory with its weights, as those of a real network."""

    def gaussians(self, points, features=None):
        return [g.map(torch.clone) for g in super().gaussians(points, features)]


def weights(value: float = 1.0, size: int = 64) -> dict[str, torch.Tensor]:
    return {"w": torch.full((size, size), value), "b": torch.full((3,), 1e-7), "n": torch.tensor(5)}


class NamedRoom(SplatsSource):
    """A room whose features are class scores: channel k on wall k; no Gaussian is a "giraffe"."""

    channels = ("front", "back", "left", "right", "floor", "ceiling", "lamp")

    def __init__(self) -> None:
        scene = box_room(20)
        scores = 8 * torch.nn.functional.one_hot(torch.from_numpy(scene.segment), 7).float() - 5
        super().__init__(as_gaussians(scene, scores), "box", frames=box_frames(), device="cpu")


def room_words() -> TextVectors:
    """Text vectors of a `NamedRoom`'s channels and of "giraffe"."""
    vectors = torch.eye(20)[1:9]
    vectors[:, 0] = 1.5
    return TextVectors(vectors, [*NamedRoom.channels, "giraffe"])


def control(session: Any, label: str) -> Any:
    """The first control of a page with this label, as viser's handle."""
    return next(h for h in session.client.gui._gui_input_handle_from_uuid.values() if getattr(h, "label", "") == label)
