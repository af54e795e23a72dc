"""Vocabulary of the bundled text tower: phrases → word numbers, with a report of unknown words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ..query.text import UnknownPhrase, spellings

IGNORED = frozenset(["a", "an", "the", "some", "this", "that", "of", "in", "with", "and", "is", "are", "my"])
"""Words that are skipped."""


class Vocabulary:
    """The words of one text tower; word ``i`` has number ``i + 1``, 0 is padding.

    Args:
        words: words in the order of the tower's embedding table.
        length: largest number of words in a phrase.
    """

    def __init__(self, words: Sequence[str], length: int) -> None:
        self.words, self.length = tuple(words), length
        self._number = {word: i + 1 for i, word in enumerate(self.words)}

    def numbers(self, phrase: str) -> list[int] | UnknownPhrase:
        """Word numbers of a phrase, or its first unknown word with suggestions."""
        numbers = []
        for word in re.findall(r"[^\W_]+", phrase.casefold()):
            if word in IGNORED:
                continue
            spelling = next((s for s in spellings(word) if s in self._number), None)
            if spelling is None:
                return UnknownPhrase(word, tuple(difflib.get_close_matches(word, self.words, 5, cutoff=0.7)))
            numbers.append(self._number[spelling])
        if not numbers or len(numbers) > self.length:
            return UnknownPhrase(phrase, ())
        return numbers

    def table(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """[P, L] word numbers padded with 0, and known [P] bool; rows of unknown phrases hold word 1."""
        rows = [self.numbers(phrase) for phrase in phrases]
        known = torch.tensor([isinstance(row, list) for row in rows], dtype=torch.bool)
        lists = [row if isinstance(row, list) else [1] for row in rows]
        length = max(map(len, lists), default=1)
        return torch.tensor([row + [0] * (length - len(row)) for row in lists]).reshape(-1, length), known
