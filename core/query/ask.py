"""A whole question: words and examples in, scores of every feature out, and an honest word about each of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from .channels import ChannelText
from .decide import Calibration, Presence, present
from .scoring import centred_cosine, combine, margin_to_relevancy
from .store import FeatureStore
from .text import CANONICAL, PHOTO, PLAIN, ClosedVocabularyEncoder, TextEncoder, UnknownPhrase, encode, expand

Mode = Literal["Relevancy", "Cosine"]

PRESENT = 0.5
"""Relevancy above which something is said to be in the scene where nothing was calibrated: more like the phrase than
like any negative."""

ALIKE = 0.5
"""Cosine to an example, both less the mean of the scene, that counts as relevancy 0.5: 60°."""

MAX_PHRASES = 16
MAX_LETTERS = 80
"""Of one phrase. What arrives from a browser has a limit."""


@dataclass(frozen=True)
class QueryableFeatures:
    """Features of one scene that words can be compared with.

    Attributes:
        store: makes, once, the store of the features in the text space, or in coordinates of it.
        encoder: into the same space.
        common: [K, D] negatives that always count.
        channels: the class channels in between, or None where features are text features themselves.
        calibration: the cut for "not in this scene", or None (`PRESENT`).
    """

    store: Callable[[], FeatureStore]
    encoder: TextEncoder
    common: Tensor
    channels: ChannelText | None = None
    calibration: Calibration | None = None

    @staticmethod
    def build(
        features: Tensor,
        encoder: TextEncoder | None = None,
        channels: Sequence[str] | None = None,
        calibration: Calibration | None = None,
        keep: Callable[[str, Callable[[], FeatureStore]], FeatureStore] | None = None,
    ) -> QueryableFeatures:
        """What can be asked of features.

        Args:
            features: [N, D], in the encoder's space or one column per channel.
            encoder: the text side of what made the features, or any other where channels have names.
            channels: [D] names of the columns, if they are classes.
            calibration: of this model.
            keep: (name, make) → the store, to share it between questions; by default every `QueryableFeatures` has its own.

        Raises:
            InputError: nothing leads from words to these features; says what is missing.
        """
        width = features.shape[1]
        keep = keep or _Once()
        if encoder is not None and encoder.dim == width:
            make = lambda: keep("feature store", lambda: FeatureStore.build(features))  # noqa: E731
            return QueryableFeatures(make, encoder, negatives_of(encoder), None, calibration)
        if channels is not None and len(channels) == width:
            text = ChannelText.build(tuple(channels), encoder)
            return QueryableFeatures(
                lambda: keep("word store", lambda: text.store(features)), text, text.common(), text, calibration
            )
        if encoder is None:
            raise InputError(
                f"features of width {width}",
                "text vectors from the text side of the teacher behind them, or names of their channels",
                "neither",
            )
        raise InputError(
            f"features of width {width}",
            f"text vectors as wide, or channel names that lead from one to the other, not {encoder.dim} values",
            "features and words of different models",
        )

    @property
    def cut(self) -> float:
        """Peak relevancy above which something is in the scene."""
        return PRESENT if self.calibration is None else self.calibration.cut

    def least(self, scores: Tensor) -> float:
        """The least threshold for the relevancy [N] of a phrase."""
        return 0.5 if self.calibration is None else self.calibration.least(scores)


class _Once:
    def __init__(self) -> None:
        self._made: dict[str, FeatureStore] = {}

    def __call__(self, name: str, make: Callable[[], FeatureStore]) -> FeatureStore:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


def negatives_of(encoder: TextEncoder) -> Tensor:
    """[K, D] what every phrase has to beat: what all words have in common where the encoder can tell
    (``encoder.common()``), LERF's canonical words otherwise."""
    common = getattr(encoder, "common", None)
    if common is not None:
        return common()
    vectors, known = encode(encoder, CANONICAL)
    if not known.any():
        raise InputError("text encoder", f"at least one of the canonical words {', '.join(CANONICAL)}", "none known")
    return vectors[known]


@dataclass(frozen=True)
class Example:
    """Something to look for that is not words: a crop of an image, a Gaussian, a point.

    Attributes:
        name: what it is called.
        features: [A, D] of it (tokens of the crop, rows of the scene), in the space of the scene's features.
    """

    name: str
    features: Tensor


@dataclass(frozen=True)
class Query:
    """What was asked.

    Attributes:
        phrases: at least one; words or examples. negatives: what is not meant.
        template: with one {}, see `text.expand`.
        mode: what the scores are.
    """

    phrases: tuple[str | Example, ...]
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
    """Scores on the CPU, and what to say.

    Attributes:
        scores: [N] the best over all known phrases; None when none is known.
        phrases: P answers, in the order of the question.
        unknown_negatives: what was not meant, and is not known either.
        each: [N, P'] of the P' known phrases, in order; None when none is known.
    """

    scores: Tensor | None
    phrases: tuple[PhraseAnswer, ...]
    unknown_negatives: tuple[UnknownPhrase, ...] = ()
    each: Tensor | None = None

    @property
    def somewhere(self) -> bool:
        """Whether at least one phrase is in the scene."""
        return any(p.presence is not None and p.presence.present for p in self.phrases)

    @property
    def known(self) -> tuple[PhraseAnswer, ...]:
        """The phrases that could be asked: the columns of ``each``."""
        return tuple(p for p in self.phrases if p.unknown is None)

    def classes(self, cuts: Sequence[float]) -> Tensor:
        """[N] int64: which known phrase scores highest there, of those above their cut; −1 where none does.

        Args:
            cuts: P' thresholds, one per known phrase.
        """
        if self.each is None:
            raise InputError("classes of an answer", "at least one known phrase", "none")
        above = torch.where(self.each > torch.tensor(cuts), self.each, -torch.inf)
        best, label = above.max(1)
        return torch.where(best > -torch.inf, label, -1)


def ask(words: QueryableFeatures, question: Query) -> Answer:
    """Scores of all features.

    Words: LERF's relevancy against `QueryableFeatures.common` and the question's negatives. Examples: sigmoid(10 (c − max(`ALIKE`,
    c⁻))), c the cosine with the mean direction of the example and c⁻ those with the question's negatives, all less the
    mean of the scene (an image is like any other image of the scene more than like any word). Either way 0.5 is where
    it stops being what was asked for.
    """
    expand("word", [question.template])  # refuses a template without {}
    if not question.phrases:
        raise InputError("words", "at least one", "none")
    texts = [p for p in question.phrases if isinstance(p, str)]
    known, unknown = _encode_known(words.encoder, texts, question.template)
    against, unknown_negatives = _encode_known(words.encoder, question.negatives, question.template)
    asked = [p for p in question.phrases if not isinstance(p, str) or p in known]
    if not asked:
        missing = tuple(PhraseAnswer(p, unknown=unknown[p]) for p in texts)
        return Answer(None, missing, (*unknown_negatives.values(),))
    store = words.store()
    vectors = torch.stack([known[p] if isinstance(p, str) else _vector(words, p) for p in asked])
    relevancy = _relevancy(words, store, asked, vectors, against)
    scores = relevancy if question.mode == "Relevancy" else store.scores(vectors).cpu()
    columns = iter(relevancy.unbind(1))
    answers = []
    for phrase in question.phrases:
        if isinstance(phrase, str) and phrase in unknown:
            answers.append(PhraseAnswer(phrase, unknown=unknown[phrase]))
        elif isinstance(phrase, str):
            found = present(next(columns), words.cut)
            answers.append(PhraseAnswer(phrase, _canonical_name(words, phrase), None, found, _nearest(words, phrase)))
        else:
            answers.append(PhraseAnswer(phrase.name, phrase.name, None, present(next(columns), PRESENT)))
    return Answer(scores.amax(1), tuple(answers), (*unknown_negatives.values(),), scores)


def _relevancy(
    words: QueryableFeatures,
    store: FeatureStore,
    asked: list[str | Example],
    vectors: Tensor,
    against: dict[str, Tensor],
) -> Tensor:
    """[N, P] of words and examples, on the CPU."""
    unwanted = list(against.values())
    is_text = torch.tensor([isinstance(p, str) for p in asked])
    parts = {}
    if is_text.any():
        negatives = torch.cat([words.common.to(vectors), *(v[None] for v in unwanted)])
        parts[True] = store.relevancy(vectors[is_text], negatives).cpu()
    if not is_text.all():
        examples = vectors[~is_text]
        likeness = centred_cosine(store, torch.cat([examples, *(v[None] for v in unwanted)])).cpu()
        floor = torch.full((len(likeness), 1), ALIKE)
        negative = torch.cat([floor, likeness[:, len(examples) :]], 1)
        parts[False] = margin_to_relevancy(likeness[:, : len(examples)], negative)
    if len(parts) == 1:
        return next(iter(parts.values()))
    # query by query, as the store lays it out
    out = torch.empty(len(asked), len(store)).T
    for kind, part in parts.items():
        out[:, is_text if kind else ~is_text] = part
    return out


def _vector(words: QueryableFeatures, example: Example) -> Tensor:
    rows = example.features.detach().float().cpu()
    if words.channels is not None:
        rows = words.channels.features(rows)
    return combine(rows)


def _encode_known(
    encoder: TextEncoder, phrases: Sequence[str], template: str
) -> tuple[dict[str, Tensor], dict[str, UnknownPhrase]]:
    """Phrase → vector, and phrase → why there is none."""
    if not phrases:
        return {}, {}
    # What knows words does not know sentences about them.
    vectors, known = encode(encoder, phrases, PLAIN if isinstance(encoder, ClosedVocabularyEncoder) else [template])
    good = {p: v for p, v, k in zip(phrases, vectors.cpu(), known.tolist(), strict=True) if k}
    return good, {p: _why(encoder, p) for p in phrases if p not in good}


def _why(encoder: TextEncoder, phrase: str) -> UnknownPhrase:
    found = encoder.find(phrase) if isinstance(encoder, ClosedVocabularyEncoder) else phrase
    return UnknownPhrase(phrase, ()) if isinstance(found, str) else found


def _canonical_name(words: QueryableFeatures, phrase: str) -> str:
    found = words.encoder.find(phrase) if isinstance(words.encoder, ClosedVocabularyEncoder) else phrase
    return found if isinstance(found, str) else phrase


def _nearest(words: QueryableFeatures, phrase: str) -> tuple[str, float] | None:
    if words.channels is None or words.channels.channel(phrase) is not None:
        return None
    return words.channels.nearest(phrase)


def template_for(encoder: TextEncoder | None) -> str:
    """What a phrase is put into by default: itself for what knows words, "a photo of a {}" for text towers."""
    return (PLAIN if encoder is None or isinstance(encoder, ClosedVocabularyEncoder) else PHOTO)[0]


def read_phrases(text: str, what: str = "words") -> tuple[str, ...]:
    """ "sofa, Red chair" or one per line → phrases without repetition; `InputError` for too much of it."""
    found = [" ".join(part.split()) for part in re.split(r"[,;\n]", text[: 10 * MAX_PHRASES * MAX_LETTERS])]
    phrases = tuple(dict.fromkeys(p for p in found if p))
    if len(phrases) > MAX_PHRASES or any(len(p) > MAX_LETTERS for p in phrases):
        raise InputError(what, f"at most {MAX_PHRASES} phrases of {MAX_LETTERS} letters", f"{len(text):,} letters")
    return phrases
