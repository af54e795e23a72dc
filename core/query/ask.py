"""Score the features of a scene against phrases and examples, and report unknown and absent phrases."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..errors import InputError
from .channels import ChannelText
from .decide import Calibration, Presence, present
from .scoring import centred_cosine, combine, margin_to_relevancy
from .store import FeatureStore
from .text import CANONICAL, PHOTO, PLAIN, ClosedVocabularyEncoder, TextEncoder, UnknownPhrase, encode, expand

Mode = Literal["Relevancy", "Cosine"]
Memo = Callable[[str, Callable[[], Any]], Any]
"""(name, make) → the value of ``make``, made once per name."""

PRESENT = 0.5
"""Default cut of the peak relevancy for "in this scene", without a calibration: more similar to the phrase than to any
negative."""

UNFITTED = "no cut was fitted to these features"
"""Doubt of every phrase without a calibration: `PRESENT` alone cannot tell that an object is absent."""

ALIKE = 0.5
"""Cosine to an example, both relative to the scene's mean feature, that maps to relevancy 0.5 (an angle of 60°)."""

MAX_PHRASES = 16
"""Largest number of phrases in one query."""

MAX_LETTERS = 80
"""Largest number of characters in one phrase."""


@dataclass(frozen=True)
class QueryableFeatures:
    """Features of one scene that phrases can be compared with.

    Attributes:
        store: returns the `FeatureStore` of the features in the text space, built on the first call.
        encoder: encodes phrases into the same space.
        common: [K, D] negatives of every query.
        channels: maps class scores to the text space; None if the features lie in it already.
        calibration: fitted cuts for presence and selection; None uses `PRESENT`.
        doubt: returns why no cut can decide in this scene, "" if one can.
    """

    store: Callable[[], FeatureStore]
    encoder: TextEncoder
    common: Tensor
    channels: ChannelText | None = None
    calibration: Calibration | None = None
    doubt: Callable[[], str] = lambda: ""

    @staticmethod
    def build(
        features: Tensor,
        encoder: TextEncoder | None = None,
        channels: Sequence[str] | None = None,
        calibration: Calibration | None = None,
        memo: Memo | None = None,
        searched: Callable[[], Tensor] | None = None,
    ) -> QueryableFeatures:
        """Pair features with the text encoder that they can be compared with.

        Args:
            features: [N, D], in the encoder's space or one column per class.
            encoder: text tower of the teacher behind the features; any text encoder if ``channels`` are named.
            channels: [D] class names of the columns, for class scores.
            calibration: fitted for this model.
            memo: (name, make) → what ``make`` returns, to share it between queries. By default each
                `QueryableFeatures` has its own.
            searched: returns the [N, D] features to search, called by the first query; ``features`` by default.

        Raises:
            InputError: neither a text encoder of the features' width nor channel names; says what is missing.
        """
        width = features.shape[1]
        memo = memo or _Memo()
        rows = searched or (lambda: features)

        def doubt() -> str:
            if calibration is None:
                return UNFITTED
            fitted = calibration
            return memo(f"doubt {fitted.data} {fitted.elsewhere}", lambda: fitted.doubt(rows()))

        if encoder is not None and encoder.dim == width:
            make = lambda: memo("feature store", lambda: FeatureStore.build(rows()))  # noqa: E731
            return QueryableFeatures(make, encoder, negatives_of(encoder), None, calibration, doubt)
        if channels is not None and len(channels) == width:
            text = ChannelText.build(tuple(channels), encoder)
            return QueryableFeatures(
                lambda: memo("word store", lambda: text.store(rows())), text, text.common(), text, calibration, doubt
            )
        if encoder is None:
            raise InputError(
                f"features of width {width}",
                "the text encoder of their teacher, or names of their channels",
                "neither",
            )
        raise InputError(
            f"features of width {width}",
            f"text vectors of that width, or names of their channels, not text vectors of width {encoder.dim}",
            "features and text vectors of different models",
        )

    @property
    def cut(self) -> float:
        """Peak relevancy above which a phrase counts as present in the scene."""
        return PRESENT if self.calibration is None else self.calibration.cut

    def min_threshold(self, scores: Tensor) -> float:
        """Lower bound of the selection threshold for the relevancy [N] of a phrase."""
        return 0.5 if self.calibration is None else self.calibration.min_threshold(scores)


class _Memo:
    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def negatives_of(encoder: TextEncoder) -> Tensor:
    """[K, D] default negatives of an encoder: ``encoder.common()``, the mean direction of its vocabulary, where it has
    one; LERF's canonical phrases otherwise.

    Raises:
        InputError: the encoder knows none of the canonical phrases.
    """
    common = getattr(encoder, "common", None)
    if common is not None:
        return common()
    vectors, known = encode(encoder, CANONICAL)
    if not known.any():
        raise InputError("text encoder", f"at least one of the canonical phrases {', '.join(CANONICAL)}", "none known")
    return vectors[known]


@dataclass(frozen=True)
class Example:
    """A query by example: an image crop, a Gaussian or a point.

    Attributes:
        name: label in results.
        features: [A, D] tokens of the crop or rows of the scene, in the space of the scene's features.
    """

    name: str
    features: Tensor


@dataclass(frozen=True)
class Query:
    """Phrases and examples to score a scene against.

    Attributes:
        phrases: one or more phrases or examples.
        negatives: phrases to exclude.
        template: prompt template with one {}, see `text.expand`.
        mode: kind of the returned scores.
    """

    phrases: tuple[str | Example, ...]
    negatives: tuple[str, ...] = ()
    template: str = "{}"
    mode: Mode = "Relevancy"


@dataclass(frozen=True)
class PhraseAnswer:
    """Result for one phrase.

    Attributes:
        phrase: as in the query.
        canonical: the encoder's name for it.
        unknown: why the phrase could not be encoded, or None.
        presence: whether it is in the scene, by its peak relevancy in either mode; None for an unknown phrase.
        nearest: for class channels without this name: the channel nearest in meaning and its cosine.
    """

    phrase: str
    canonical: str = ""
    unknown: UnknownPhrase | None = None
    presence: Presence | None = None
    nearest: tuple[str, float] | None = None


@dataclass(frozen=True)
class Answer:
    """Result of a query; tensors are on the CPU.

    Attributes:
        scores: [N] highest score over the known phrases; None if no phrase is known.
        phrases: one result per phrase, in the order of the query.
        unknown_negatives: negatives that the encoder does not know; they are left out.
        phrase_scores: [N, P'] scores of the P' known phrases, in order; None if no phrase is known.
    """

    scores: Tensor | None
    phrases: tuple[PhraseAnswer, ...]
    unknown_negatives: tuple[UnknownPhrase, ...] = ()
    phrase_scores: Tensor | None = None

    @property
    def any_present(self) -> bool:
        """Whether at least one phrase is in the scene."""
        return any(p.presence is not None and p.presence.present for p in self.phrases)

    @property
    def known_phrases(self) -> tuple[PhraseAnswer, ...]:
        """The phrases that the encoder knows: the columns of ``phrase_scores``."""
        return tuple(p for p in self.phrases if p.unknown is None)

    def classes(self, cuts: Sequence[float]) -> Tensor:
        """[N] int64 index of the best known phrase whose score exceeds its cut; −1 where none does.

        Args:
            cuts: P' thresholds, one per known phrase.

        Raises:
            InputError: no phrase is known.
        """
        if self.phrase_scores is None:
            raise InputError("classes of an answer", "at least one known phrase", "none")
        above = torch.where(self.phrase_scores > torch.tensor(cuts), self.phrase_scores, -torch.inf)
        best, label = above.max(1)
        return torch.where(best > -torch.inf, label, -1)


def ask(features: QueryableFeatures, query: Query) -> Answer:
    """Score every feature against every phrase and example of a query.

    Phrases: LERF's relevancy against `QueryableFeatures.common` and the negatives of the query. Examples:
    sigmoid(10 (c − max(`ALIKE`, c⁻))), with c the cosine to the mean direction of the example and c⁻ those to the
    negatives, all relative to the scene's mean feature (features of one scene resemble each other more than any text).
    0.5 is the decision boundary in both cases.

    Raises:
        InputError: no phrase, or a template without exactly one {}.
    """
    expand("word", [query.template])  # checks the template
    if not query.phrases:
        raise InputError("the query", "at least one phrase", "none")
    texts = [p for p in query.phrases if isinstance(p, str)]
    vectors_of, unknown = _encode_known(features.encoder, texts, query.template)
    negatives, unknown_negatives = _encode_known(features.encoder, query.negatives, query.template)
    usable = [p for p in query.phrases if not isinstance(p, str) or p in vectors_of]
    if not usable:
        missing = tuple(PhraseAnswer(p, unknown=unknown[p]) for p in texts)
        return Answer(None, missing, (*unknown_negatives.values(),))
    store = features.store()
    vectors = torch.stack([vectors_of[p] if isinstance(p, str) else _vector(features, p) for p in usable])  # [P', D]
    relevancy = _relevancy(features, store, usable, vectors, [*negatives.values()])  # [N, P']
    scores = relevancy if query.mode == "Relevancy" else store.scores(vectors).cpu()
    columns = iter(relevancy.unbind(1))
    doubt = features.doubt()
    answers = []
    for phrase in query.phrases:
        if not isinstance(phrase, str):
            answers.append(PhraseAnswer(phrase.name, phrase.name, None, present(next(columns), PRESENT)))
        elif phrase in unknown:
            answers.append(PhraseAnswer(phrase, unknown=unknown[phrase]))
        else:
            column = next(columns)
            presence = (
                replace(present(column, PRESENT), doubt=doubt)
                if features.calibration is None
                else features.calibration.judge(column, doubt)
            )
            canonical = _canonical_name(features.encoder, phrase)
            answers.append(PhraseAnswer(phrase, canonical, None, presence, _nearest(features, phrase)))
    return Answer(scores.amax(1), tuple(answers), (*unknown_negatives.values(),), scores)


def _relevancy(
    features: QueryableFeatures,
    store: FeatureStore,
    phrases: list[str | Example],
    vectors: Tensor,
    negatives: list[Tensor],
) -> Tensor:
    """[N, P] relevancy of P phrases and examples with the vectors [P, D], on the CPU."""
    rows = [vector[None] for vector in negatives]
    is_text = torch.tensor([isinstance(p, str) for p in phrases])
    parts = {}
    if is_text.any():
        parts[True] = store.relevancy(vectors[is_text], torch.cat([features.common.to(vectors), *rows])).cpu()
    if not is_text.all():
        examples = vectors[~is_text]
        cosine = centred_cosine(store, torch.cat([examples, *rows])).cpu()
        floor = torch.full((len(cosine), 1), ALIKE)
        negative = torch.cat([floor, cosine[:, len(examples) :]], 1)
        parts[False] = margin_to_relevancy(cosine[:, : len(examples)], negative)
    if len(parts) == 1:
        return next(iter(parts.values()))
    # Contiguous per phrase, like the scores of the store.
    out = torch.empty(len(phrases), len(store)).T
    for kind, part in parts.items():
        out[:, is_text if kind else ~is_text] = part
    return out


def _vector(features: QueryableFeatures, example: Example) -> Tensor:
    """[D] query vector of an example."""
    rows = example.features.detach().float().cpu()
    if features.channels is not None:
        rows = features.channels.features(rows)
    return combine(rows)


def _encode_known(
    encoder: TextEncoder, phrases: Sequence[str], template: str
) -> tuple[dict[str, Tensor], dict[str, UnknownPhrase]]:
    """Known phrase → vector [D], and unknown phrase → the reason."""
    if not phrases:
        return {}, {}
    # A closed vocabulary holds phrases, not sentences about them.
    templates = PLAIN if isinstance(encoder, ClosedVocabularyEncoder) else [template]
    vectors, known = encode(encoder, phrases, templates)
    vectors_of = {p: v for p, v, k in zip(phrases, vectors.cpu(), known.tolist(), strict=True) if k}
    return vectors_of, {p: _unknown_phrase(encoder, p) for p in phrases if p not in vectors_of}


def _unknown_phrase(encoder: TextEncoder, phrase: str) -> UnknownPhrase:
    name = encoder.find(phrase) if isinstance(encoder, ClosedVocabularyEncoder) else phrase
    return UnknownPhrase(phrase, ()) if isinstance(name, str) else name


def _canonical_name(encoder: TextEncoder, phrase: str) -> str:
    name = encoder.find(phrase) if isinstance(encoder, ClosedVocabularyEncoder) else phrase
    return name if isinstance(name, str) else phrase


def _nearest(features: QueryableFeatures, phrase: str) -> tuple[str, float] | None:
    if features.channels is None or features.channels.channel(phrase) is not None:
        return None
    return features.channels.nearest(phrase)


def template_for(encoder: TextEncoder | None) -> str:
    """Default prompt template: "{}" for a closed vocabulary or no encoder, "a photo of a {}" for a text tower."""
    return (PLAIN if encoder is None or isinstance(encoder, ClosedVocabularyEncoder) else PHOTO)[0]


def read_phrases(text: str, what: str = "phrases") -> tuple[str, ...]:
    """Split a comma- or line-separated list into phrases: trimmed, without repetition.

    Raises:
        InputError: more than `MAX_PHRASES` phrases or a phrase longer than `MAX_LETTERS`.
    """
    parts = [" ".join(part.split()) for part in re.split(r"[,;\n]", text[: 10 * MAX_PHRASES * MAX_LETTERS])]
    phrases = tuple(dict.fromkeys(p for p in parts if p))
    expected = f"at most {MAX_PHRASES} phrases of {MAX_LETTERS} letters"
    if (longest := max(map(len, phrases), default=0)) > MAX_LETTERS:
        raise InputError(what, expected, f"one of {longest:,} letters")
    if len(phrases) > MAX_PHRASES:
        raise InputError(what, expected, f"{len(phrases)} phrases")
    return phrases
