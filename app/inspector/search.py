"""From words to scores of Gaussians, and from scores to what is meant. Knows nothing of browsers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import InputError
from ...core.query import (
    CANONICAL,
    ChannelText,
    FeatureStore,
    Presence,
    QueryObject,
    TextEncoder,
    TextVectors,
    UnknownPhrase,
    auto_threshold,
    components,
    encode,
    expand,
    present,
)
from .clouds import centers_in_world, point_size
from .picking import feature_store
from .source import SceneState

Mode = Literal["Relevancy", "Cosine"]

PRESENT = 0.5
"""Relevancy above which something is said to be in the scene: more like the phrase than like any negative."""

MAX_PHRASES = 16
MAX_LETTERS = 80
"""Of one phrase. What arrives from a browser has a limit."""

MAX_OBJECTS = 2_000_000
"""Selected Gaussians beyond which no objects are formed: everything was selected."""


@dataclass(frozen=True)
class Words:
    """Features of one scene that words can be compared with.

    Attributes:
        store: makes, once, the store of the Gaussians' features in the text space, or in coordinates of it.
        encoder: into the same space.
        common: [K, D] negatives that always count.
        channels: the class channels in between, or None where features are text features themselves.
    """

    store: Callable[[], FeatureStore]
    encoder: TextEncoder
    common: Tensor
    channels: ChannelText | None


def words_for(state: SceneState, encoder: TextEncoder | None, channels: Sequence[str] | None) -> Words | str:
    """What words can be asked of a scene; else a sentence that says what is missing.

    Args:
        encoder: of the page, or None.
        channels: names of the teacher's channels, if they are classes.
    """
    if state.gaussians is None:
        return "Words need Gaussians with features; this scene has points only."
    if state.embeddings is None:
        return "Words need features, and these Gaussians carry none."
    embeddings, width = state.embeddings, state.embeddings.shape[1]
    if encoder is not None and encoder.dim == width:
        return Words(lambda: feature_store(state, embeddings), encoder, _negatives(encoder), None)
    if channels is not None and len(channels) == width:
        text = ChannelText.build(tuple(channels), encoder)
        return Words(lambda: state.memo("word store", lambda: text.store(embeddings)), text, text.common(), text)
    if encoder is None:
        return (
            "No text vectors: start with `gaussiancross view … --text-vectors FILE.npy`, made by the text side of the "
            f"teacher behind these {width} features."
        )
    return (
        f"The text vectors are {encoder.dim} wide, the features {width}, and no channel names lead from one to the "
        "other: they come from different models."
    )


def _negatives(encoder: TextEncoder) -> Tensor:
    if isinstance(encoder, TextVectors):
        return encoder.common()
    return encode(encoder, CANONICAL).vectors


def read_phrases(text: str, what: str = "words") -> tuple[str, ...]:
    """ "sofa, Red chair" or one per line → phrases without repetition; `InputError` for too much of it."""
    found = [" ".join(part.split()) for part in re.split(r"[,;\n]", text[: 10 * MAX_PHRASES * MAX_LETTERS])]
    phrases = tuple(dict.fromkeys(p for p in found if p))
    if len(phrases) > MAX_PHRASES or any(len(p) > MAX_LETTERS for p in phrases):
        raise InputError(what, f"at most {MAX_PHRASES} phrases of {MAX_LETTERS} letters", f"{len(text):,} letters")
    return phrases


@dataclass(frozen=True)
class Question:
    """What was asked.

    Attributes:
        phrases: at least one. negatives: what is not meant.
        template: with one {}, see `core.query.expand`.
        mode: what the scores are.
    """

    phrases: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    template: str = "{}"
    mode: Mode = "Relevancy"


@dataclass(frozen=True)
class PhraseAnswer:
    """About one phrase.

    Attributes:
        phrase: as asked. meant: as the encoder knows it.
        unknown: why it could not be asked, or None.
        presence: whether it is in the scene (by its relevancy, whatever the mode); None if it could not be asked.
        nearest: with class channels that do not have it by name: the one nearest in meaning, and their cosine.
    """

    phrase: str
    meant: str = ""
    unknown: UnknownPhrase | None = None
    presence: Presence | None = None
    nearest: tuple[str, float] | None = None


@dataclass(frozen=True)
class Answer:
    """Scores [N] on the CPU, the best over all known phrases (None when none is known), and what to say."""

    scores: Tensor | None
    phrases: tuple[PhraseAnswer, ...]
    unknown_negatives: tuple[UnknownPhrase, ...] = ()

    @property
    def somewhere(self) -> bool:
        """Whether at least one phrase is in the scene."""
        return any(p.presence is not None and p.presence.present for p in self.phrases)


def ask(words: Words, question: Question) -> Answer:
    """Scores of all Gaussians."""
    expand("word", [question.template])  # refuses a template without {}
    if not question.phrases:
        raise InputError("words", "at least one", "none")
    known, unknown = _split(words.encoder, question.phrases, question.template)
    against, unknown_negatives = _split(words.encoder, question.negatives, question.template)
    if not known:
        return Answer(
            None, tuple(PhraseAnswer(p, unknown=u) for p, u in unknown.items()), (*unknown_negatives.values(),)
        )
    store, vectors = words.store(), torch.stack(list(known.values()))
    negatives = torch.cat([words.common.to(vectors), *(v[None] for v in against.values())])
    relevancy = store.relevancy(vectors, negatives).cpu()
    scores = relevancy if question.mode == "Relevancy" else store.scores(vectors).cpu()
    answers = []
    for phrase in question.phrases:
        if phrase in unknown:
            answers.append(PhraseAnswer(phrase, unknown=unknown[phrase]))
            continue
        column = relevancy[:, list(known).index(phrase)]
        answers.append(
            PhraseAnswer(phrase, _meant(words, phrase), None, present(column, PRESENT), _nearest(words, phrase))
        )
    return Answer(scores.amax(1), tuple(answers), (*unknown_negatives.values(),))


def _split(
    encoder: TextEncoder, phrases: Sequence[str], template: str
) -> tuple[dict[str, Tensor], dict[str, UnknownPhrase]]:
    """Phrase → vector, and phrase → why there is none."""
    if not phrases:
        return {}, {}
    # A dictionary knows words, not sentences about them.
    bare = isinstance(encoder, TextVectors | ChannelText)
    vectors, known = encode(encoder, phrases, ["{}"] if bare else [template])
    good = {p: v for p, v, k in zip(phrases, vectors.cpu(), known.tolist(), strict=True) if k}
    return good, {p: _why(encoder, p) for p in phrases if p not in good}


def _why(encoder: TextEncoder, phrase: str) -> UnknownPhrase:
    found = encoder.find(phrase) if isinstance(encoder, TextVectors | ChannelText) else phrase
    return UnknownPhrase(phrase, ()) if isinstance(found, str) else found


def _meant(words: Words, phrase: str) -> str:
    encoder = words.encoder
    found = encoder.find(phrase) if isinstance(encoder, TextVectors | ChannelText) else phrase
    return found if isinstance(found, str) else phrase


def _nearest(words: Words, phrase: str) -> tuple[str, float] | None:
    if words.channels is None or words.channels.channel(phrase) is not None:
        return None
    return words.channels.nearest(phrase)


@dataclass(frozen=True)
class Found:
    """Scores of one scene's Gaussians, and what they mean.

    Attributes:
        scores: [N] float32, CPU.
        scene, stage: of the state they belong to.
        label: what the numbers are. what: what was asked for ("sofa", "2 picks").
        low, high: range that the colours and the histogram cover.
        cut: the automatic threshold. method: how it was found, see `core.query.Threshold`;
            "best": the best hundredth; "box": there is nothing to cut.
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
        """With a threshold from the scores, and the range of the colours.

        Args:
            floor: the natural middle of scores in [0, 1], and their least threshold; None = their range is what they
                cover, and the best hundredth is selected where nothing stands out.
        """
        scores = scores.detach().float().cpu()
        known = scores[scores.isfinite() & (scores != 0)]
        sample = known[:: max(1, len(known) // 100_000)]
        low, high = _range(sample, known) if floor is None else (0.0, 1.0)
        threshold = auto_threshold(scores, floor)
        cut, method = threshold.value, threshold.method
        if floor is None and len(known) and cut >= float(known.max()):
            cut, method = float(torch.quantile(sample, 0.99)), "best"
        return Found(scores, scene, state.stage, label, what, low, high, min(max(cut, low), high), method)

    def selected(self, cut: float) -> NDArray[np.bool_]:
        """[N] whether the score is above the cut."""
        return (self.scores > cut).numpy()


def _range(sample: Tensor, known: Tensor) -> tuple[float, float]:
    """From the lowest 2 % to the best score, in steps of a twentieth."""
    if len(sample) == 0:
        return 0.0, 1.0
    low = float(np.floor(20 * float(torch.quantile(sample, 0.02))) / 20)
    return low, max(float(np.ceil(20 * float(known.max()) - 1e-4) / 20), low + 0.05)


def objects(state: SceneState, selected: NDArray[np.bool_], scores: Tensor | None) -> list[QueryObject]:
    """Connected groups of the selected Gaussians or points, the largest of the good ones first.

    Neighbours are joined across three times the usual distance between neighbours.
    """
    if not selected.any() or selected.sum() > MAX_OBJECTS:
        return []
    coord = centers_in_world(state) if state.gaussians is not None else state.points.coord if state.points else None
    if coord is None or len(coord) != len(selected):
        return []
    spacing = state.memo("spacing", lambda: point_size(state) / 0.6)
    minimum = max(5, int(selected.sum()) // 50)
    found = components(coord, selected, max(3 * spacing, 0.02), scores, minimum)
    return sorted(found, key=lambda o: -o.size * (1.0 if np.isnan(o.score_mean) else o.score_mean))
