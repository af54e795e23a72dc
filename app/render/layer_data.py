"""Scenes of one source and the data that their layers are painted from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.io.lru import LruCache
from ..scenes.geometry import depth_range
from ..scenes.source import SceneSource, SceneState
from .catalog import Layer, available
from .classes import DEFAULT_STYLE, ClassStyle, point_segment, probe_scores
from .clouds import PointColor, cloud
from .colors import Image, embedding_colors, feature_colors
from .feature_colors import ColorBasis, FeatureColors
from .scores import ClassProvider, ClassScores, label_scores
from .views import Targets

PROBE = "Probe"
"""Name of the class provider for a run's own probe."""


class LayerData:
    """Loaded scenes with their depth ranges, feature colours, class scores, points and recorded pictures.

    For the render thread, except where a method says otherwise.

    Args:
        source: scenes to draw.
        keep: number of scenes whose state stays in memory.

    Attributes:
        colors: bases of the feature colours.
        targets: recorded pictures and feature errors.
        thumbnails: scene index → thumbnail; None = not available before the scene is loaded.
    """

    def __init__(self, source: SceneSource, keep: int = 3) -> None:
        self.source = source
        self.colors = FeatureColors()
        self.targets = Targets(source)
        self.thumbnails: dict[int, Image | None] = {}
        self._states: LruCache[int, SceneState] = LruCache(keep)
        self._ranges: LruCache[int, tuple[float, float]] = LruCache(64)
        self._classes: dict[str, ClassProvider] = {}
        self._added: list[SceneState] = []

    # --- scenes ---------------------------------------------------------------------------------------------

    def load(self, index: int) -> SceneState:
        """Bring scene ``index`` to the newest step."""
        count = len(self.source.scene_names)
        if self._states.find(index) is None:
            self.thumbnails.pop(index, None)  # a better one can be made from the loaded scene
        state = self.source.load(index) if index < count else self._added[index - count]
        self._states.put(index, state)
        self._ranges.get(index, lambda: depth_range(state))
        if state.point_classes is not None and PROBE not in self._classes:
            names = tuple(self.source.class_names)
            self.add_classes(PROBE, lambda _, state: probe_scores(state, names))
        return state

    @property
    def scene_names(self) -> tuple[str, ...]:
        """Names of the source's scenes, then of the added ones. Any thread."""
        return (*self.source.scene_names, *(state.name for state in tuple(self._added)))

    def add_scene(self, state: SceneState) -> int:
        """Add a static scene without frames after the source's scenes; returns its index. Any thread."""
        taken, name, number = self.scene_names, state.name, 2
        while name in taken:
            name, number = f"{state.name}-{number}", number + 1
        self._added.append(replace(state, name=name))
        return len(self.scene_names) - 1

    def replace_scene(self, index: int, state: SceneState) -> None:
        """Replace an added scene, under its name. Render thread."""
        at = index - len(self.source.scene_names)
        self._added[at] = replace(state, name=self._added[at].name)
        self.load(index)

    def state(self, index: int) -> SceneState | None:
        """Scene ``index`` as last loaded, or None."""
        return self._states.find(index)

    def depth_range(self, index: int) -> tuple[float, float]:
        """Near and far end (m) of the depth colours; fixed per scene so that colours do not flicker."""
        return self._ranges.find(index) or (0.0, 10.0)

    def layers(self, index: int, heat: bool = False) -> frozenset[Layer]:
        """The layers that can be drawn for scene ``index``."""
        return available(self.state(index), heat, bool(self._classes))

    # --- classes --------------------------------------------------------------------------------------------

    def add_classes(self, name: str, provider: ClassProvider) -> None:
        """Offer the scores of ``provider`` to the "Classes" layer; replaces a provider of the same name."""
        self._classes[name] = provider

    @property
    def class_providers(self) -> tuple[str, ...]:
        """Names of the providers for the "Classes" layer."""
        return tuple(self._classes)

    def class_scores(
        self, index: int, layer: Layer, name: str = "", style: ClassStyle = DEFAULT_STYLE
    ) -> ClassScores | None:
        """Scores that the "Labels" or "Classes" layer of scene ``index`` draws, or None without any."""
        state = self.state(index)
        if state is None or state.gaussians is None:
            return None
        if layer == "Labels":
            scores = label_scores(state, tuple(self.source.class_names))
        else:
            provider = self._classes.get(name) or next(iter(self._classes.values()), None)
            scores = None if provider is None else provider(index, state)
        return None if scores is None else style.apply(scores)

    # --- feature colours ------------------------------------------------------------------------------------

    def embedding_colors(self, index: int, state: SceneState) -> tuple[Tensor | None, int]:
        """[N, 3] feature colours of the Gaussians, and the number of features that are not finite."""
        if not state.has_embeddings:
            return None, 0
        basis = self._embedding_basis(index, state)
        # One slot, overwritten when the basis changes: a scene that stays open holds one set of colours.
        slot: list[tuple[int, tuple[Tensor, int]]] = state.memo("embedding colors", list)
        if not slot or slot[0][0] != self.colors.version:
            slot[:] = [(self.colors.version, embedding_colors(state, basis))]
        return slot[0][1]

    def _embedding_basis(self, index: int, state: SceneState) -> ColorBasis:
        """The basis of the feature colours, fitted to the teacher's features (they never change) if there is one."""
        assert state.gaussians is not None
        device = state.gaussians.means.device
        if state.frames is not None and len(state.frames):
            picks = np.unique(np.linspace(0, len(state.frames) - 1, 6).astype(int))
            first = self.source.teacher_features(index, int(picks[0]))
            if first is not None:
                fitted = self.colors.fitted("embedding")
                if fitted is not None and not self.colors.stale("embedding"):
                    return fitted
                maps = [first] + [self.source.teacher_features(index, int(i)) for i in picks[1:]]
                stacked = torch.cat([m.flatten(0, 1) for m in maps if m is not None])
                return self.colors.basis("embedding", stacked.to(device), None)
        assert state.embeddings is not None
        return self.colors.basis("embedding", state.embeddings, state.step)

    # --- points ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def points(
        self, index: int, mode: PointColor, limit: int, masked: bool = False, style: ClassStyle = DEFAULT_STYLE
    ) -> tuple[NDArray[np.float32], Image, str] | None:
        """Coordinates [P, 3] (m), colours [P, 3] uint8 and a note (or "") of at most ``limit`` points, or of the
        Gaussians' centres in a scene without points; None without either.

        Args:
            masked: draw in grey the points that one of the training's masks hides.
            style: colours of the classes.
        """
        state = self.state(index)
        if state is None:
            return None
        features, bad, classes = None, 0, None
        if mode == "Features" and state.points is None:
            features, bad = self.embedding_colors(index, state)
        elif mode == "Features" and state.point_features is not None:
            basis = self.colors.basis("backbone", state.point_features, state.step)
            features, bad = feature_colors(state.point_features, basis)
        elif mode in ("Labels", "Probe") and (segment := point_segment(state, mode)) is not None:
            classes = style.paint(tuple(self.source.class_names), segment)
        points = cloud(state, mode, limit, masked, features, classes)
        if points is None or not bad:
            return points
        unit = "Gaussians" if state.points is None else "voxels"
        return points[0], points[1], f"{bad:,} {unit} with features that are not finite (magenta)"
