"""Phrases → query vectors: what a text tower must offer, prompt templates, and a dictionary of precomputed vectors."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .scoring import unit

CANONICAL = ("object", "things", "stuff", "texture")
"""LERF's canonical phrases: the negatives that every phrase has to beat."""

PLAIN = ("{}",)
PHOTO = ("a photo of a {}",)
SCENE = ("a photo of a {}", "a photo of a {} in a room", "a {} in a scene", "a close-up of a {}", "a 3D render of a {}")
"""Templates for text towers; more of them average away the wording, at one encoding each."""


class Encoded(NamedTuple):
    """Vectors [P, D] float32 of P phrases, any length, and which of them are known [P] bool; unknown ones are zero."""

    vectors: Tensor
    known: Tensor


@runtime_checkable
class TextEncoder(Protocol):
    """The text side of a teacher: whatever turns phrases into vectors of its feature space."""

    @property
    def dim(self) -> int:
        """D, the width of the vectors."""
        ...

    def encode(self, phrases: list[str]) -> Encoded:
        """One vector per phrase. A phrase that the encoder cannot answer for is marked unknown, never guessed."""
        ...


@runtime_checkable
class ClosedVocabularyEncoder(TextEncoder, Protocol):
    """A `TextEncoder` that knows so many words and no others, and says which."""

    def find(self, phrase: str) -> str | UnknownPhrase:
        """What a phrase means here, or why it means nothing."""
        ...


@dataclass(frozen=True)
class UnknownPhrase:
    """An encoder's "I don't know this word", with what it does know that looks or reads alike, nearest first.

    ``str()`` of it is the sentence to show.
    """

    phrase: str
    suggestions: tuple[str, ...]

    def __str__(self) -> str:
        near = f" Near it: {', '.join(self.suggestions)}." if self.suggestions else ""
        return f"I don't know '{self.phrase}'.{near}"


def expand(phrase: str, templates: Iterable[str] = PHOTO) -> list[str]:
    """The phrase in every template: ``expand("red chair", ["a photo of a {}"])`` → ``["a photo of a red chair"]``.

    "a" becomes "an" before a vowel. Braces in the phrase stay as they are.
    """
    out = []
    for template in templates:
        if template.count("{}") != 1:
            raise InputError("prompt template", "exactly one {}", repr(template))
        article = re.sub(r"\b([Aa])(?= \{\})", r"\1n", template) if re.match("[aeiou]", phrase, re.I) else template
        out.append(article.replace("{}", phrase))
    return out


def encode(encoder: TextEncoder, phrases: Sequence[str], templates: Iterable[str] = PLAIN) -> Encoded:
    """Unit vectors of phrases: each the mean direction over the templates; known only if every filled-in template is.

    Args:
        templates: `PLAIN` for `TextVectors` and other encoders that take the bare word.
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
    return Encoded(mean * known[:, None], known)


class TextVectors:
    """A dictionary of precomputed text vectors: a `TextEncoder` without a model, and without guesses.

    Names are matched whatever their case, hyphens, underscores, spaces, leading article and plural ("The Book-cases"
    finds "bookcase"); synonyms count as names, and a note in brackets may be left out where that leaves no doubt
    ("glass" finds "glass_(drink_container)").
    """

    def __init__(
        self, vectors: NDArray | Tensor, names: Sequence[str], synonyms: Sequence[Sequence[str]] | None = None
    ):
        """
        Args:
            vectors: [V, D], any lengths; all rows finite and not zero.
            names: V names. synonyms: V lists of further names, or None.
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
        """
        path = Path(vectors)
        names_path = Path(names) if names is not None else path.with_name(f"{path.stem}_names.json")
        for file in (path, names_path):
            if not file.is_file():
                raise InputError(file, "text vectors (.npy) with names (.json)", "no such file")
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(path, "a .npy array", str(error)) from error
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
            raise InputError(path, "a floating-point array [V, D]", f"{getattr(array, 'dtype', type(array).__name__)}")
        try:
            entries = json.loads(names_path.read_text(encoding="utf-8"))
            pairs = [(e, []) if isinstance(e, str) else (e["name"], e.get("synonyms", [])) for e in entries]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
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
        """The name that a phrase means here, or why not."""
        i = self._find(phrase)
        return self.names[i] if i is not None else UnknownPhrase(phrase, self._suggest(phrase))

    def encode(self, phrases: list[str]) -> Encoded:
        """Unit vectors [P, D] of the phrases; zero and not ``known`` where a phrase is not in the dictionary."""
        found = [self._find(p) for p in phrases]
        known = torch.tensor([i is not None for i in found], dtype=torch.bool)
        return Encoded(self._vectors[[i or 0 for i in found]] * known[:, None], known)

    def common(self) -> Tensor:
        """[1, D] unit vector of what all names share: the negative to use where the dictionary lacks `CANONICAL`."""
        return unit(self._vectors.mean(0, keepdim=True))[0]

    def nearness(self) -> float:
        """The median cosine of a name with `common`."""
        return float((self._vectors @ self.common()[0]).median())

    def _find(self, phrase: str) -> int | None:
        return next((self._index[k] for k in spellings(phrase) if k in self._index), None)

    def _suggest(self, phrase: str, limit: int = 5) -> tuple[str, ...]:
        key = _normal(phrase)
        words = set(key.split())
        # Names within the phrase ("chair" in "red chair") and names that hold it ("wall clock" for "wall") say more
        # than those that are spelt alike.
        within = sorted((k for k in self._index if words.issuperset(k.split())), key=len, reverse=True)
        around = sorted((k for k in self._index if words and words.issubset(k.split())), key=len)
        near = within + around + difflib.get_close_matches(key, self._index, limit, cutoff=0.7)
        # Several spellings lead to one name; dict keeps the first place of each.
        return tuple(dict.fromkeys(self.names[self._index[k]] for k in near))[:limit]


def _index(names: Sequence[str], synonyms: Sequence[Sequence[str]]) -> dict[str, int]:
    """Spelling → number. Names win over synonyms, those over forms without brackets, those over singulars and forms in
    one word; a form without brackets that would mean two entries means none."""
    index: dict[str, int] = {}
    for i, name in enumerate(names):
        index.setdefault(_normal(name), i)
    for i, others in enumerate(synonyms):
        for name in others:
            index.setdefault(_normal(name), i)
    written = [(i, n) for i, (name, others) in enumerate(zip(names, synonyms, strict=True)) for n in (name, *others)]
    owners: dict[str, set[int]] = {}
    for i, name in written:
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
    """What phrases of the same meaning share: the normal form, what its singular may be (English, last word only), and
    all of them in one word."""
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
