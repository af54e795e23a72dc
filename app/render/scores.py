"""Scores per Gaussian for the renderer: one number, or one row of class scores.

`Heat` belongs to one browser session; `ClassScores` come from providers that all sessions share
(``renderer.add_classes``), such as a probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..scenes.geometry import centers_in_world
from ..scenes.nearest import tree
from .colors import class_colors

if TYPE_CHECKING:
    from ..scenes.source import SceneState


@dataclass(frozen=True)
class Heat:
    """One score per Gaussian, drawn by splatting one channel.

    Attributes:
        scores: [N] float; NaN = no score, drawn dark.
        scene: index of the scene.
        step: step of the state (`SceneState.step`).
        low, high: scores at the two ends of the colour bar.
        label: name of the scores ("similarity to your click"); "" draws no legend.
    """

    scores: Tensor
    scene: int
    step: int | None
    low: float = 0.0
    high: float = 1.0
    label: str = ""

    def fits(self, scene: int, state: SceneState) -> bool:
        """Whether the scores belong to this state's Gaussians."""
        same = self.scene == scene and self.step == state.step
        return same and state.gaussians is not None and len(self.scores) == len(state.gaussians)


@dataclass(frozen=True)
class ClassScores:
    """Scores of K classes per Gaussian. A pixel shows the class whose splatted score is the largest.

    Attributes:
        scores: [N, K] float ≥ 0 (probabilities, one-hot rows, …); a row of zeros has no class.
        names: [K] names of the classes.
        colors: [K, 3] in [0, 1]; None = the palette of the labels.
        visible: [K] bool, False = drawn as unlabelled; None = all are shown.
    """

    scores: Tensor
    names: tuple[str, ...]
    colors: Tensor | None = None
    visible: Tensor | None = None

    def palette(self) -> Tensor:
        """[K, 3] colours; hidden classes have the grey of unlabelled Gaussians."""
        k = self.scores.shape[1]
        colors = class_colors(torch.arange(k)) if self.colors is None else self.colors.detach().float().cpu()
        if self.visible is None:
            return colors
        return torch.where(self.visible.cpu()[:, None], colors, class_colors(torch.tensor([-1])))


ClassProvider = Callable[[int, "SceneState"], "ClassScores | None"]
"""(scene index, its state) → scores, or None where there are none. Called in the render thread for every picture;
store slow results with ``state.memo``."""

LABEL_REACH = 0.25
"""Metres from a labelled point beyond which a Gaussian has no label."""


def label_scores(state: SceneState, class_names: tuple[str, ...]) -> ClassScores | None:
    """Ground truth per Gaussian: one-hot rows of the nearest labelled point, zeros beyond `LABEL_REACH`."""
    if state.points is None or state.points.segment is None or state.gaussians is None:
        return None
    segment, device = state.points.segment, state.gaussians.means.device

    def compute() -> ClassScores:
        count = max(len(class_names), int(segment.max(initial=-1)) + 1, 1)
        names = class_names + tuple(f"class {i}" for i in range(len(class_names), count))
        assert state.points is not None
        labelled = np.flatnonzero(segment >= 0)
        scores = torch.zeros(len(centers := centers_in_world(state)), count, device=device)
        if len(labelled):
            labelled_tree = tree(state.points.coord[labelled])
            queries = np.where(np.isfinite(centers), centers, 1e6)  # non-finite centres: far from every point
            distance, nearest = (np.asarray(v) for v in labelled_tree.query(queries, distance_upper_bound=LABEL_REACH))
            near = np.flatnonzero(np.isfinite(distance))
            scores[near, torch.from_numpy(segment[labelled[nearest[near]]]).to(device)] = 1.0
        return ClassScores(scores, names)

    return state.memo("label scores", compute)
