"""Source of a run's stored steps."""

from __future__ import annotations

import dataclasses
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.data.scene import PointScene, PosedFrames
from ...core.errors import InputError
from ...core.io.lru import LruCache
from ...trainers.pretraining.timeline import TimelineFrame, list_frames
from .predicted import PredictedState
from .source import ModelSource, SceneState

LOOK_AGAIN = 2.0
"""Seconds between two listings of a run's folder: a running training adds frames."""

CACHE_BYTES = 512 << 20
"""Size limit of the encoded scenes in memory; replaying a timeline uses them."""


class TimelineSource:
    """A run at any of its stored steps. The position belongs to the source; each browser has its own `twin`.

    Args:
        base: a model of the run, checkpoint or live; this source sets its weights.
        run_dir: the run's folder, with ``timeline/`` and ``checkpoints/``.
        position: the step to begin with; None = the newest.
        live: whether the newest step is that of ``base`` (a running training), not the last frame on disk.

    Attributes:
        base: the model that holds the weights.
        position: the step that is shown; None = the newest.
    """

    def __init__(
        self, base: ModelSource, run_dir: Path, position: int | None = None, live: bool = False, title: str = ""
    ) -> None:
        self.base, self.live, self.position = base, live, position
        self.title = title or base.title
        self.scene_names, self.class_names = base.scene_names, base.class_names
        self._run_dir = run_dir
        self._list = FrameList(run_dir, live)
        self._cache = StateCache(CACHE_BYTES)

    def __getattr__(self, name: str) -> Any:
        """Return other attributes of the base (names of a teacher's channels, …), which are the same at every step."""
        if name == "base":
            raise AttributeError(name)
        return getattr(self.base, name)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that can be shown, oldest first. Any thread."""
        return tuple(frame.step for frame in self.frames())

    def frames(self) -> list[TimelineFrame]:
        """The same with where their weights are."""
        return self._list.frames()

    def seek(self, step: int | None) -> None:
        """Show the weights of ``step`` (one of `steps`); None: the newest, and follow a training. Any thread."""
        if step is not None and step not in self.steps:
            raise InputError("the time line", f"one of {len(self.steps)} steps", f"step {step}")
        self.position = step

    def twin(self, position: int | None) -> TimelineSource:
        """The same run at a position of its own, for another browser or the other side of a comparison. Shares model
        and memory."""
        other = TimelineSource(self.base, self._run_dir, position, self.live, self.title)
        other._list, other._cache = self._list, self._cache
        return other

    def step(self) -> int | None:
        if self.position is not None:
            return self.position
        if self.live:
            return self.base.step()
        steps = self.steps
        return steps[-1] if steps else self.base.step()

    def load(self, index: int) -> SceneState:
        frames, step = self.frames(), self.step()
        if (self.position is None and self.live) or not frames:
            return self.base.load(index)
        frame = next((f for f in frames if f.step == step), None)
        if step is None or frame is None:
            raise InputError("the time line", "a step of the run", f"step {step}", "move on to another one")
        known = self._cache.get((index, step))
        if known is None:
            known = self.base.at(index, step, frame.weights)
            self._cache.put((index, step), known)
        return known

    def preview(self, index: int) -> tuple[PointScene | None, PosedFrames | None] | None:
        return self.base.preview(index)

    def teacher_features(self, index: int, frame: int) -> Tensor | None:
        return self.base.teacher_features(index, frame)


class FrameList:
    """The frames of a run on disk, shared by all browsers. Any thread."""

    def __init__(self, run_dir: Path, live: bool) -> None:
        self._run_dir, self._live = run_dir, live
        self._lock = threading.Lock()
        self._frames: list[TimelineFrame] = []
        self._looked = -LOOK_AGAIN

    def frames(self) -> list[TimelineFrame]:
        """Oldest first; those of a run that goes on are looked for again now and then."""
        with self._lock:
            if (self._live or not self._frames) and time.monotonic() - self._looked >= LOOK_AGAIN:
                self._frames, self._looked = list_frames(self._run_dir), time.monotonic()
            return list(self._frames)


class StateCache:
    """The states that were used last, bounded by bytes. For the render thread.

    A state that a browser still shows is returned as the same object, with everything that is memoised in it.

    Args:
        max_bytes: total size of the states, see `state_bytes`.
    """

    def __init__(self, max_bytes: int) -> None:
        self._states: LruCache[tuple[int, int], SceneState] = LruCache(max_bytes=max_bytes, nbytes=state_bytes)
        self._shown: weakref.WeakValueDictionary[tuple[int, int], SceneState] = weakref.WeakValueDictionary()

    def get(self, key: tuple[int, int]) -> SceneState | None:
        stored, shown = self._states.find(key), self._shown.get(key)
        if stored is not None and shown is None:
            shown = self._shown[key] = stored.copy()
        return shown

    def put(self, key: tuple[int, int], state: SceneState) -> None:
        """Store a copy without memoised values, which may be larger than the state."""
        self._shown[key] = state
        self._states.put(key, state.copy())

    def __len__(self) -> int:
        return len(self._states)


def state_bytes(state: SceneState) -> int:
    """Bytes of the tensors that belong to this state alone (points and frames are shared by all steps)."""
    lifted = isinstance(state, PredictedState) and not state.is_lifted  # computed only when it is read
    own = [None if lifted else state.embeddings, state.point_features, state.point_voxel, state.codes]
    if state.gaussians is not None:
        own += [getattr(state.gaussians, f.name) for f in dataclasses.fields(state.gaussians)]
    return sum(t.nbytes for t in own if isinstance(t, torch.Tensor))
