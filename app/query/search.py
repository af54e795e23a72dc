"""Text encoders, queryable features and query results of a loaded scene. Independent of viser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.query import (
    Answer,
    Calibration,
    Mode,
    PhraseAnswer,
    Query,
    QueryableFeatures,
    QueryObject,
    TextEncoder,
    ask,
    choose_cut,
    group,
    read_phrases,
    spacing,
)
from ...core.teachers import make_teacher
from ..scenes.geometry import centers_in_world, point_size
from ..scenes.source import SceneSource, SceneState

__all__ = [
    "Answer",
    "Mode",
    "PhraseAnswer",
    "Query",
    "QueryResult",
    "QueryableFeatures",
    "TextEncoderChoice",
    "ask",
    "objects",
    "read_phrases",
    "words_for",
]


FAINT = 0.05
"""Opacity below which a Gaussian is not searched: no picture shows it."""

OWN, VECTORS, BUILTIN = "The teacher's own", "Text vectors", "Built-in"


class TextEncoderChoice:
    """Text encoders of a page, best first: the teacher's own, the vectors of ``--text-vectors``, the built-in one.

    Args:
        source: scenes that the page shows.
        vectors: encoder of ``--text-vectors``, or None.
    """

    def __init__(self, source: SceneSource, vectors: TextEncoder | None) -> None:
        self._source, self._vectors = source, vectors

    def names(self) -> tuple[str, ...]:
        """Names of the available encoders."""
        available = {OWN: self.get(OWN) is not None, VECTORS: self._vectors is not None, BUILTIN: has_builtin()}
        return tuple(name for name, is_available in available.items() if is_available)

    def get(self, name: str | None) -> TextEncoder | None:
        """Return the text encoder of that name; None if it is not available."""
        if name == OWN:
            return getattr(self._source, "text", None)
        return self._vectors if name == VECTORS else builtin_encoder() if name == BUILTIN and has_builtin() else None

    def fitting(self, state: SceneState) -> str | None:
        """Return the name of the encoder for a scene: the first of the features' width, else the first that is not
        built in (channel names may connect it to the features); None if there is neither."""
        width = state.embedding_width
        encoders = {name: self.get(name) for name in self.names()}
        same = next((n for n, e in encoders.items() if e is not None and e.dim == width), None)
        return same or next((n for n in encoders if n != BUILTIN), None)

    def calibration(self, name: str | None) -> Calibration | None:
        """Return the calibration of the source's features with the teacher's own text encoder, or None."""
        return getattr(self._source, "calibration", None) if name == OWN else None


def has_builtin() -> bool:
    return files("gaussiancross.assets").joinpath("builtin.safetensors").is_file()


@lru_cache(maxsize=1)
def builtin_encoder() -> TextEncoder | None:
    teacher = make_teacher("builtin")
    return getattr(teacher, "text", None)


def words_for(
    state: SceneState,
    encoder: TextEncoder | None,
    channels: Sequence[str] | None,
    calibration: Calibration | None = None,
) -> QueryableFeatures | str:
    """Return the queryable features of a scene, or a sentence that tells why there are none.

    Args:
        encoder: text encoder chosen in the page, or None.
        channels: names of the teacher's channels, if they are classes.
        calibration: calibration of this model, or None.
    """
    if state.gaussians is None:
        return "Words need Gaussians with features; this scene has points only."
    width = state.embedding_width
    if width is None:
        return "Words need features, and these Gaussians carry none."
    if (encoder is not None and encoder.dim == width) or (channels is not None and len(channels) == width):
        assert state.embeddings is not None
        visible = partial(state.memo, "visible features", partial(_visible_features, state))
        return QueryableFeatures.build(state.embeddings, encoder, channels, calibration, state.memo, visible)
    if encoder is None:
        return (
            "No text encoder: name the teacher behind these features with --teacher, or give "
            f"--text-vectors FILE.npy, made by its text encoder ({width} channels)."
        )
    return (
        f"The text vectors are {encoder.dim} wide, the features {width}, and no channel names lead from one to the "
        "other: they come from different models."
    )


def _visible_features(state: SceneState) -> Tensor:
    """[N, D] features of the Gaussians, NaN (never found) for those that are almost transparent, see `FAINT`."""
    assert state.gaussians is not None and state.embeddings is not None
    faint = (state.gaussians.opacities < FAINT).to(state.embeddings.device)
    return torch.where(faint[:, None], torch.nan, state.embeddings) if bool(faint.any()) else state.embeddings


@dataclass(frozen=True)
class QueryResult:
    """Scores of one scene's Gaussians, with their meaning and threshold.

    Attributes:
        scores: [N] float32, CPU.
        scene: index of the scene.
        step: step of the state.
        label: name of the scores.
        what: short text of the query ("sofa", "2 picks").
        low, high: range of the colours and the histogram.
        cut: the automatic threshold.
        method: method of the threshold, see `core.query.Cut`; "box": no threshold.
    """

    scores: Tensor
    scene: int
    step: int | None
    label: str
    what: str
    low: float
    high: float
    cut: float
    method: str

    @staticmethod
    def of(
        scores: Tensor, state: SceneState, scene: int, label: str, what: str, floor: float | None = None
    ) -> QueryResult:
        """Build the result of scores, with the threshold and colour range of `core.query.choose_cut`."""
        scores = scores.detach().float().cpu()
        cut = choose_cut(scores, floor)
        return QueryResult(scores, scene, state.step, label, what, cut.low, cut.high, cut.value, cut.method)

    def selected(self, cut: float) -> NDArray[np.bool_]:
        """[N] whether the score is above the cut."""
        return (self.scores > cut).numpy()


def objects(state: SceneState, selected: NDArray[np.bool_], scores: Tensor | None) -> list[QueryObject]:
    """Connected groups of the selected Gaussians or points, see `core.query.group`."""
    coord = centers_in_world(state) if state.gaussians is not None else state.points.coord if state.points else None
    if coord is None or len(coord) != len(selected):
        return []
    # Predicted Gaussians lie farther apart than the points that they were predicted from.
    step = state.memo("spacing", lambda: point_size(state) if state.gaussians is None else spacing(coord))
    return group(coord, selected, scores, step)
