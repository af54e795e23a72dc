"""Names outside the words of the bundled text tower: vectors of similar ones, suggestions for the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import InputError
from ..query.text import ClosedVocabularyEncoder, EncodedPhrases, TextVectors, UnknownPhrase, spellings

FILE = "builtin_names.safetensors"
"""File beside the weights of `builtin`; written by `trainers.teachers.text_bridge`."""


@dataclass(frozen=True)
class FurtherNames:
    """Names that a text tower does not know.

    Attributes:
        vectors: names with a vector in the tower's space.
        near: spelling of any further name → names of the tower that mean something similar, nearest first.
    """

    vectors: TextVectors
    near: dict[str, tuple[str, ...]]

    @staticmethod
    def load(folder: Path, digest: str) -> FurtherNames | None:
        """Read `FILE`; None without it, or if it belongs to other weights of the text tower.

        Args:
            digest: digest of the tower's weights.

        Raises:
            InputError: a damaged file.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                vectors, about = file.get_tensor("vectors").float(), json.loads(file.metadata()["about"])
            if about["tower"] != digest:
                return None
            near = {k: tuple(names) for name, names in about["near"].items() for k in spellings(name)}
            return FurtherNames(TextVectors(vectors, list(about["names"])), near)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(path, "further names of the text tower", repr(error)) from error


class WideText:
    """A text tower with further names: a `query.ClosedVocabularyEncoder`.

    Args:
        text: the tower.
        further: names that it does not know.
    """

    def __init__(self, text: ClosedVocabularyEncoder, further: FurtherNames) -> None:
        self.tower, self.further = text, further

    @property
    def dim(self) -> int:
        return self.tower.dim

    def encode(self, phrases: list[str]) -> EncodedPhrases:
        """[P, D] unit vectors, of the tower where it knows all words, else of the further names; zero and not known for
        other phrases."""
        vectors, known = self.tower.encode(phrases)
        if not bool(known.all()):
            more, named = self.further.vectors.encode(phrases)
            vectors, known = torch.where(known[:, None], vectors, more), known | named
        return EncodedPhrases(vectors, known)

    def find(self, phrase: str) -> str | UnknownPhrase:
        """The phrase, the further name that it matches, or the word that is not known, with similar known names."""
        found = self.tower.find(phrase)
        if isinstance(found, str):
            return found
        name = self.further.vectors.find(phrase)
        if isinstance(name, str):
            return name
        near = next((self.further.near[k] for k in spellings(phrase) if k in self.further.near), ())
        return UnknownPhrase(
            found.phrase if not near else phrase, tuple(dict.fromkeys((*near, *found.suggestions)))[:5]
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tower, name)  # the vocabulary's words


def save_further_names(
    folder: Path, digest: str, names: list[str], vectors: Tensor, near: dict[str, list[str]], source: str
) -> None:
    """Write `FILE`.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save_file

    from ..io.atomic import atomic_file

    about = {"tower": digest, "names": names, "near": near, "source": source, "licence": "Apache-2.0"}
    with atomic_file(folder / FILE) as partial:
        save_file({"vectors": vectors.half().contiguous()}, partial, {"about": json.dumps(about)})
