"""Encode phrases as query vectors: text encoders, prompt templates, vocabularies of precomputed vectors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..io.arrays import read_array
from ..io.json_files import read_json
from .scoring import unit

CANONICAL = ("object", "things", "stuff", "texture")
"""LERF's canonical phrases, the default negatives."""

PLAIN = ("{}",)
PHOTO = ("a photo of a {}",)
SCENE = ("a photo of a {}", "a photo of a {} in a room", "a {} in a scene", "a close-up of a {}", "a 3D render of a {}")
"""Prompt templates for text towers; several reduce the effect of the wording and cost one encoding each."""


class EncodedPhrases(NamedTuple):
    """Vectors [P, D] float32 of P phrases, of any length, and known [P] bool; vectors of unknown phrases are zero."""

    vectors: Tensor
    known: Tensor


@runtime_checkable
class TextEncoder(Protocol):
    """Text tower of a teacher: encodes phrases into its feature space."""

    @property
    def dim(self) -> int:
        """D, the width of the vectors."""
        ...

    def encode(self, phrases: list[str]) -> EncodedPhrases:
        """One vector per phrase; phrases that the encoder does not know are marked unknown."""
        ...


@runtime_checkable
class ClosedVocabularyEncoder(TextEncoder, Protocol):
    """A `TextEncoder` with a fixed vocabulary."""

    def find(self, phrase: str) -> str | UnknownPhrase:
        """The vocabulary name that a phrase matches, or an `UnknownPhrase` with suggestions."""
        ...


@dataclass(frozen=True)
class UnknownPhrase:
    """A phrase that an encoder does not know, with similar phrases of its vocabulary, nearest first.

    ``str()`` returns the message for the user.
    """

    phrase: str
    suggestions: tuple[str, ...]

    def __str__(self) -> str:
        similar = f" Similar: {', '.join(self.suggestions)}." if self.suggestions else ""
        return f"Unknown phrase '{self.phrase}'.{similar}"


def expand(phrase: str, templates: Iterable[str] = PHOTO) -> list[str]:
    """Insert a phrase into every template: ("red chair", ["a photo of a {}"]) → ["a photo of a red chair"].

    "a" becomes "an" before a vowel. Braces in the phrase are not templates.

    Raises:
        InputError: a template without exactly one {}.
    """
    out = []
    for template in templates:
        if template.count("{}") != 1:
            raise InputError("prompt template", "exactly one {}", repr(template))
        article = re.sub(r"\b([Aa])(?= \{\})", r"\1n", template) if re.match("[aeiou]", phrase, re.I) else template
        out.append(article.replace("{}", phrase))
    return out


def encode(encoder: TextEncoder, phrases: Sequence[str], templates: Iterable[str] = PLAIN) -> EncodedPhrases:
    """Encode phrases as unit vectors, the mean direction over the templates; known if every filled-in template is.

    Args:
        templates: `PLAIN` for closed vocabularies, which do not know sentences.

    Raises:
        InputError: no phrase or no template.
    """
    filled = [expand(phrase, templates) for phrase in phrases]
    if not filled or not filled[0]:
        raise InputError("query", "at least one phrase and one template", f"{len(filled)} phrases")
    vectors, known = encoder.encode([text for texts in filled for text in texts])
    directions, usable = unit(vectors)
    shape = (len(filled), len(filled[0]))
    known = (known.to(usable.device) & usable).unflatten(0, shape).all(1)
    mean, usable = unit(directions.unflatten(0, shape).mean(1))
    known = known & usable
    return EncodedPhrases(mean * known[:, None], known)


class TextVectors:
    """Precomputed text vectors of a vocabulary: a `ClosedVocabularyEncoder` without a model.

    Matching ignores case, hyphens, underscores, spaces, a leading article and the plural ("The Book-cases" matches
    "bookcase"). Synonyms count as names, and a note in brackets may be omitted if the rest is unique ("glass" matches
    "glass_(drink_container)").
    """

    def __init__(
        self, vectors: NDArray | Tensor, names: Sequence[str], synonyms: Sequence[Sequence[str]] | None = None
    ):
        """
        Args:
            vectors: [V, D], of any length; all rows finite and not zero.
            names: V names.
            synonyms: V lists of further names, or None.

        Raises:
            InputError: another number of names, or vectors that are zero or not finite.
        """
        self._vectors, usable = unit(torch.as_tensor(vectors).float().reshape(len(vectors), -1))
        if len(names) != len(vectors) or (synonyms is not None and len(synonyms) != len(names)):
            raise InputError("text vectors", f"{len(vectors)} names, one per vector", f"{len(names)}")
        if len(names) == 0 or not usable.all():
            raise InputError("text vectors", "at least one, all finite and not zero", f"{int(usable.sum())} such")
        self.names = tuple(names)
        self._index = _index(names, synonyms or [[] for _ in names])

    @staticmethod
    def load(vectors: str | PathLike[str], names: str | PathLike[str] | None = None) -> TextVectors:
        """Read ``X.npy`` [V, D] and its names: a JSON list of V strings or of ``{"name": …, "synonyms": [… ]}``.

        Args:
            names: ``X_names.json`` beside the vectors by default.

        Raises:
            InputError: a missing or damaged file.
        """
        path = Path(vectors)
        names_path = Path(names) if names is not None else path.with_name(f"{path.stem}_names.json")
        for file in (path, names_path):
            if not file.is_file():
                raise InputError(file, "text vectors (.npy) with names (.json)", "no such file")
        array = read_array(path)
        if array.ndim != 2 or array.dtype.kind != "f":
            raise InputError(path, "a floating-point array [V, D]", f"{getattr(array, 'dtype', type(array).__name__)}")
        try:
            entries = read_json(names_path)
            pairs = [(e, []) if isinstance(e, str) else (e["name"], e.get("synonyms", [])) for e in entries]
            if not all(isinstance(word, str) for name, synonyms in pairs for word in (name, *synonyms)):
                raise TypeError("a name that is no text")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(names_path, "a JSON list of names or of {name, synonyms}", repr(error)) from error
        if len(pairs) != len(array):
            raise InputError(names_path, f"{len(array)} names, one per vector of {path.name}", str(len(pairs)))
        return TextVectors(array, [n for n, _ in pairs], [s for _, s in pairs])

    @property
    def dim(self) -> int:
        return self._vectors.shape[1]

    def __len__(self) -> int:
        return len(self.names)

    def find(self, phrase: str) -> str | UnknownPhrase:
        """The name that a phrase matches, or an `UnknownPhrase` with suggestions."""
        i = self._find(phrase)
        return self.names[i] if i is not None else UnknownPhrase(phrase, self._suggest(phrase))

    def encode(self, phrases: list[str]) -> EncodedPhrases:
        """Unit vectors [P, D] of the phrases; zero and not ``known`` for phrases outside the vocabulary."""
        rows = [self._find(p) for p in phrases]
        known = torch.tensor([i is not None for i in rows], dtype=torch.bool)
        return EncodedPhrases(self._vectors[[i or 0 for i in rows]] * known[:, None], known)

    def common(self) -> Tensor:
        """[1, D] unit mean direction of all names, the default negative of a vocabulary."""
        return unit(self._vectors.mean(0, keepdim=True))[0]

    def nearness(self) -> float:
        """Median cosine of a name with `common`."""
        return float((self._vectors @ self.common()[0]).median())

    def _find(self, phrase: str) -> int | None:
        return next((self._index[k] for k in spellings(phrase) if k in self._index), None)

    def _suggest(self, phrase: str, limit: int = 5) -> tuple[str, ...]:
        key = _normal(phrase)
        words = set(key.split())
        # Names within the phrase ("chair" in "red chair") and names that contain it ("wall clock" for "wall") come
        # before names with a similar spelling.
        within = sorted((k for k in self._index if words.issuperset(k.split())), key=len, reverse=True)
        around = sorted((k for k in self._index if words and words.issubset(k.split())), key=len)
        near = within + around + difflib.get_close_matches(key, self._index, limit, cutoff=0.7)
        # Several spellings lead to one name; dict.fromkeys keeps the first of each.
        return tuple(dict.fromkeys(self.names[self._index[k]] for k in near))[:limit]


def _index(names: Sequence[str], synonyms: Sequence[Sequence[str]]) -> dict[str, int]:
    """Spelling → index of the name. In order of precedence: names, synonyms, forms without brackets (if unique),
    singulars and forms in one word."""
    index: dict[str, int] = {}
    for i, name in enumerate(names):
        index.setdefault(_normal(name), i)
    for i, others in enumerate(synonyms):
        for name in others:
            index.setdefault(_normal(name), i)
    spelled = [(i, n) for i, (name, others) in enumerate(zip(names, synonyms, strict=True)) for n in (name, *others)]
    owners: dict[str, set[int]] = {}
    for i, name in spelled:
        owners.setdefault(_normal(re.sub(r"[_ ]*\(.*?\)", "", name)), set()).add(i)
    for key, numbers in owners.items():
        if len(numbers) == 1 and key:
            index.setdefault(key, numbers.pop())
    for key, i in list(index.items()):
        for spelling in spellings(key)[1:]:
            index.setdefault(spelling, i)
    return index


def _normal(phrase: str) -> str:
    words = re.sub(r"[\s_\-]+", " ", phrase.casefold()).strip(" .,!?").split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words)


_IRREGULAR = {
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "men": "man",
    "mice": "mouse",
    "people": "person",
    "teeth": "tooth",
    "women": "woman",
}


def spellings(phrase: str) -> list[str]:
    """Spellings under which a phrase is matched: its normal form, possible English singulars of the last word, and all
    of them written as one word."""
    key = _normal(phrase)
    head, _, last = key.rpartition(" ")
    forms = []
    if last in _IRREGULAR:
        forms = [_IRREGULAR[last]]
    elif last.endswith("ies") and len(last) > 4:
        forms = [last[:-3] + "y", last[:-1]]
    elif last.endswith("ves"):
        forms = [last[:-3] + "f", last[:-3] + "fe", last[:-1]]
    elif last.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        forms = [last[:-2], last[:-1]]
    elif last.endswith("s") and not last.endswith("ss") and len(last) > 3:
        forms = [last[:-1]]
    forms = [key, *(f"{head} {f}" if head else f for f in forms)]
    return list(dict.fromkeys(forms + [f.replace(" ", "") for f in forms]))
