"""Selections and objects for each phrase of a query, and examples made of pictures and positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.errors import InputError
from ...core.io.images import read_color
from ...core.query import Answer, Cut, Example, PhraseAnswer, QueryableFeatures, QueryObject, choose_cut
from ...core.teachers import ImageTeacher, Teacher
from ..scenes.geometry import centers_in_world
from ..scenes.source import SceneState
from .search import objects

NEAR = 0.05
"""Radius (m) around a position in which features count as its example."""


@dataclass(frozen=True)
class PhraseResult:
    """Scores and selection for one known phrase.

    Attributes:
        answer: the phrase, its meaning and its presence in the scene.
        scores: [N] float32, one per Gaussian.
        cut: the threshold of the selection, automatic or chosen by the user.
        selected: [N] bool; all False if the phrase is not in the scene.
        objects: connected groups of the selection, in the scene's world (m).
    """

    answer: PhraseAnswer
    scores: torch.Tensor
    cut: Cut
    selected: NDArray[np.bool_]
    objects: Sequence[QueryObject]

    @property
    def verdict(self) -> str:
        """Presence, peak relevancy and presence cut as text: "found: 0.83, cut 0.60"."""
        presence = self.answer.presence
        assert presence is not None
        return f"{presence.verdict}: {presence.score:.2f}, cut {presence.cut:.2f}"

    def to_json(self) -> dict[str, Any]:
        """The entry of the JSON report."""
        presence = self.answer.presence
        assert presence is not None
        return {
            "phrase": self.answer.phrase,
            "meant": self.answer.canonical,
            "known": True,
            "present": presence.present,
            "verdict": presence.verdict,
            "doubt": presence.doubt,
            "score": round(presence.score, 4),
            "presence_cut": round(presence.cut, 4),
            "threshold": round(self.cut.value, 4),
            "threshold_method": self.cut.method,
            "selected": int(self.selected.sum()),
            "share": round(float(self.selected.mean()), 6),
            "objects": [_object_json(o) for o in self.objects],
        }


def _object_json(o: QueryObject) -> dict[str, Any]:
    def three(values: NDArray) -> list[float]:
        return [round(float(v), 4) for v in values]

    return {
        "box_min": three(o.box_min),
        "box_max": three(o.box_max),
        "size": three(o.box_max - o.box_min),
        "centroid": three(o.centroid),
        "count": o.size,
        "score_mean": round(o.score_mean, 4),
        "score_max": round(o.score_max, 4),
    }


def select_phrases(
    answer: Answer,
    features: QueryableFeatures,
    state: SceneState,
    threshold: float | None = None,
    classes: bool = False,
) -> list[PhraseResult]:
    """Threshold the scores of each known phrase, and group the selection into objects.

    Args:
        threshold: the same one for all phrases; by default an automatic one for each.
        classes: assign every Gaussian to the best of the phrases that are in the scene and select it.
    """
    if answer.phrase_scores is None:
        return []
    cuts = [
        choose_cut(scores, features.min_threshold(scores)) if threshold is None else Cut(threshold, "given", 0.0, 1.0)
        for scores in answer.phrase_scores.T
    ]
    present = [phrase.presence is not None and phrase.presence.present for phrase in answer.known_phrases]
    best = answer.classes([cut.value if here else math.inf for cut, here in zip(cuts, present, strict=True)])
    results = []
    for k, phrase in enumerate(answer.known_phrases):
        scores = answer.phrase_scores[:, k]
        mask = (best == k) if classes else scores > cuts[k].value
        assert phrase.presence is not None
        selected = mask.numpy() if phrase.presence.present else np.zeros(len(scores), bool)
        results.append(PhraseResult(phrase, scores, cuts[k], selected, objects(state, selected, scores)))
    return results


def best_phrase(results: Sequence[PhraseResult], labels: Sequence[int]) -> NDArray[np.int64]:
    """[N] label of the best phrase that selects each Gaussian, −1 for none.

    Args:
        labels: one per result.
    """
    scores = torch.stack([torch.where(torch.from_numpy(r.selected), r.scores, -torch.inf) for r in results])
    best, which = scores.max(0)
    return np.where(torch.isfinite(best).numpy(), np.asarray(labels)[which.numpy()], -1)


def image_example(path: Path, teacher: Teacher | None) -> Example:
    """The teacher's features of a picture, as an example to search for."""
    if not isinstance(teacher, ImageTeacher):
        raise InputError("--images", "a teacher that computes features of any image", "none", "give --teacher builtin")
    image = torch.from_numpy(read_color(path)).float()[None] / 255  # [1, H, W, 3]
    return Example(path.stem, teacher.maps(image)[0].flatten(0, 1))


def position_examples(positions: Sequence[tuple[float, float, float]], state: SceneState) -> list[Example]:
    """Features of the Gaussians within `NEAR` of each position (m), or of the nearest one, as examples."""
    if not positions:
        return []
    assert state.embeddings is not None
    centers, examples = centers_in_world(state), []
    for x, y, z in positions:
        distance = np.linalg.norm(centers - np.array([x, y, z]), axis=1)
        near = np.flatnonzero(distance <= max(NEAR, float(np.nanmin(distance))))
        examples.append(Example(f"{x:g} {y:g} {z:g}", state.embeddings[torch.from_numpy(near)]))
    return examples
