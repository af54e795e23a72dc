"""Questions about the scene that is shown: `core.query` on the state of a page. Knows nothing of browsers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...core.query import (
    Answer,
    Calibration,
    Mode,
    PhraseAnswer,
    QueryObject,
    Question,
    TextEncoder,
    Words,
    ask,
    choose_cut,
    group,
    read_phrases,
)
from .clouds import centers_in_world, point_size
from .source import SceneState

__all__ = [
    "Answer",
    "Found",
    "Mode",
    "PhraseAnswer",
    "Question",
    "Words",
    "ask",
    "objects",
    "read_phrases",
    "words_for",
]


def words_for(
    state: SceneState,
    encoder: TextEncoder | None,
    channels: Sequence[str] | None,
    calibration: Calibration | None = None,
) -> Words | str:
    """What words can be asked of a scene; else a sentence that says what is missing.

    Args:
        encoder: chosen in the page, or None.
        channels: names of the teacher's channels, if they are classes.
        calibration: of this model, or None.
    """
    if state.gaussians is None:
        return "Words need Gaussians with features; this scene has points only."
    if state.embeddings is None:
        return "Words need features, and these Gaussians carry none."
    width = state.embeddings.shape[1]
    if (encoder is not None and encoder.dim == width) or (channels is not None and len(channels) == width):
        return Words.build(state.embeddings, encoder, channels, calibration, keep=state.memo)
    if encoder is None:
        return (
            "No text vectors: start with `gaussiancross view … --text-vectors FILE.npy`, made by the text side of the "
            f"teacher behind these {width} features."
        )
    return (
        f"The text vectors are {encoder.dim} wide, the features {width}, and no channel names lead from one to the "
        "other: they come from different models."
    )


@dataclass(frozen=True)
class Found:
    """Scores of one scene's Gaussians, and what they mean.

    Attributes:
        scores: [N] float32, CPU.
        scene, stage: of the state they belong to.
        label: what the numbers are. what: what was asked for ("sofa", "2 picks").
        low, high: range that the colours and the histogram cover.
        cut: the automatic threshold. method: how it was found, see `core.query.Cut`; "box": there is nothing to cut.
    """

    scores: Tensor
    scene: int
    stage: int | None
    label: str
    what: str
    low: float
    high: float
    cut: float
    method: str

    @staticmethod
    def of(scores: Tensor, state: SceneState, scene: int, label: str, what: str, floor: float | None = None) -> Found:
        """With a threshold from the scores, and the range of the colours; see `core.query.choose_cut`."""
        scores = scores.detach().float().cpu()
        cut = choose_cut(scores, floor)
        return Found(scores, scene, state.stage, label, what, cut.low, cut.high, cut.value, cut.method)

    def selected(self, cut: float) -> NDArray[np.bool_]:
        """[N] whether the score is above the cut."""
        return (self.scores > cut).numpy()


def objects(state: SceneState, selected: NDArray[np.bool_], scores: Tensor | None) -> list[QueryObject]:
    """Connected groups of the selected Gaussians or points, see `core.query.group`."""
    coord = centers_in_world(state) if state.gaussians is not None else state.points.coord if state.points else None
    if coord is None or len(coord) != len(selected):
        return []
    return group(coord, selected, scores, state.memo("spacing", lambda: point_size(state) / 0.6))
