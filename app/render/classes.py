"""Colours and visibility of classes, predictions of the probe and their scores."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.metrics import SemanticScores, confusion_matrix, semantic_scores
from ..scenes.geometry import centers_in_world
from ..scenes.nearest import tree
from .colors import class_colors
from .scores import ClassScores

if TYPE_CHECKING:
    from ..scenes.source import SceneState

Rgb = tuple[int, int, int]

UNLABELLED = class_colors(torch.tensor([-1]))
"""[1, 3] grey of points without a class or with a hidden one."""


@lru_cache
def _palette() -> dict[str, Rgb]:
    """ScanNet's colours by class name."""
    text = files("gaussiancross.assets").joinpath("scannet20.json").read_text(encoding="utf-8")
    values = json.loads(text)
    return {name: tuple(color) for name, color in zip(values["names"], values["palette"], strict=True)}


def default_colors(names: tuple[str, ...]) -> Tensor:
    """[K, 3] in [0, 1]: ScanNet's colours if all classes are ScanNet's, else distinct colours."""
    known = _palette()
    if names and all(name in known for name in names):
        return torch.tensor([known[name] for name in names]) / 255
    return class_colors(torch.arange(len(names)))


@dataclass(frozen=True)
class ClassStyle:
    """Visibility and colours of classes in one browser.

    Attributes:
        hidden: names of the classes drawn as unlabelled.
        colors: (name, 8-bit RGB) of recoloured classes.
    """

    hidden: frozenset[str] = frozenset()
    colors: tuple[tuple[str, Rgb], ...] = ()

    def recoloured(self, name: str, color: Rgb) -> ClassStyle:
        others = tuple((n, c) for n, c in self.colors if n != name)
        return replace(self, colors=(*others, (name, color)))

    def toggled(self, name: str) -> ClassStyle:
        return replace(self, hidden=self.hidden ^ {name})

    def palette(self, names: tuple[str, ...], base: Tensor | None = None) -> Tensor:
        """[K, 3] colours of classes, hidden or not."""
        colors = default_colors(names) if base is None else base.detach().float().cpu().clone()
        for name, color in self.colors:
            if name in names:
                colors[names.index(name)] = torch.tensor(color) / 255
        return colors

    def apply(self, scores: ClassScores) -> ClassScores:
        """Return the scores with these colours and hidden classes."""
        names = scores.names
        visible = torch.tensor([name not in self.hidden for name in names], dtype=torch.bool)
        if scores.visible is not None:
            visible &= scores.visible.cpu()
        return replace(scores, colors=self.palette(names, scores.colors), visible=visible)

    def paint(self, names: tuple[str, ...], segment: NDArray[np.int64]) -> Tensor:
        """Class indices [P] (−1 or beyond the names = none) → colours [P, 3]."""
        names = names + tuple(f"class {i}" for i in range(len(names), int(segment.max(initial=-1)) + 1))
        colors = self.palette(names)
        hidden = torch.tensor([name in self.hidden for name in names], dtype=torch.bool)
        colors[hidden] = UNLABELLED
        table = torch.cat([colors, UNLABELLED])
        return table[torch.from_numpy(np.where(segment < 0, len(names), segment))]


DEFAULT_STYLE = ClassStyle()
"""Every class in its own colour, all of them shown."""

# --- the probe ------------------------------------------------------------------------------------------------


def probe_scores(state: SceneState, names: tuple[str, ...]) -> ClassScores | None:
    """The probe's probabilities on the Gaussians, each from the voxel nearest to its centre; None without a probe."""
    if state.point_classes is None or state.gaussians is None or state.points is None or state.point_voxel is None:
        return None
    points, voxel, classes = state.points, state.point_voxel.cpu().numpy(), state.point_classes
    if classes.shape[1] != len(names):
        return None

    def compute() -> ClassScores:
        first = np.full(len(classes), -1)
        first[voxel[::-1]] = np.arange(len(voxel))[::-1]  # one point of each voxel
        filled = np.flatnonzero(first >= 0)
        centers = centers_in_world(state)
        finite = np.asarray(np.isfinite(centers).all(1))
        nearest = tree(points.coord[first[filled]]).query(np.where(finite[:, None], centers, 0.0), workers=-1)[1]
        assert state.gaussians is not None
        pick = torch.from_numpy(filled[nearest]).to(classes.device)
        scores = classes[pick] * torch.from_numpy(finite)[:, None].to(classes.device)
        return ClassScores(scores.to(state.gaussians.means.device), names)

    return state.memo(("probe scores", names), compute)


def point_segment(state: SceneState, mode: Literal["Labels", "Probe"]) -> NDArray[np.int64] | None:
    """[P] class index of every point, from labels or the probe; None without them."""
    if state.points is None:
        return None
    if mode == "Labels":
        return state.points.segment
    if state.point_classes is None or state.point_voxel is None:
        return None
    classes, voxel = state.point_classes, state.point_voxel
    return state.memo("probe segment", lambda: classes.argmax(1).cpu().numpy()[voxel.cpu().numpy()])


@dataclass(frozen=True)
class ClassTable:
    """The classes of one scene.

    Attributes:
        names: [K].
        labelled: [K] number of points labelled so, or None without labels.
        predicted: [K] number of points that the probe predicts so, or None without a probe.
        scores: scores of the probe against the labels, per point; None without either.
    """

    names: tuple[str, ...]
    labelled: NDArray[np.int64] | None
    predicted: NDArray[np.int64] | None
    scores: SemanticScores | None

    def present(self) -> list[int]:
        """Indices of the classes that occur, most frequent first."""
        counts = self.labelled if self.labelled is not None else self.predicted
        assert counts is not None
        other = np.zeros_like(counts) if self.predicted is None else self.predicted
        # Classes that occur only in predictions come last.
        order = np.lexsort((-other, -counts))
        return [i for i in order.tolist() if counts[i] > 0 or other[i] > 0]


def class_table(state: SceneState, names: tuple[str, ...]) -> ClassTable | None:
    """Count the classes of scene ``state``; None without labels and probe."""
    labels, guesses = point_segment(state, "Labels"), point_segment(state, "Probe")
    known = [s for s in (labels, guesses) if s is not None]
    count = max([len(names), *(int(s.max(initial=-1)) + 1 for s in known)])
    if not known or count == 0:
        return None
    names = names + tuple(f"class {i}" for i in range(len(names), count))

    def compute() -> ClassTable:
        counts = [
            None if s is None else np.bincount(s[(s >= 0) & (s < count)], minlength=count) for s in (labels, guesses)
        ]
        scores = None
        if labels is not None and guesses is not None:
            matrix = confusion_matrix(torch.from_numpy(guesses), torch.from_numpy(labels), count)
            scores = semantic_scores(matrix) if int(matrix.sum()) else None
        return ClassTable(names, counts[0], counts[1], scores)

    return state.memo(("class table", names), compute)
