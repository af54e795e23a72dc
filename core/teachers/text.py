"""Text towers of checkpoints as `core.query.TextEncoder`."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..query.text import EncodedPhrases, TextEncoder

_CHUNK = 256
"""Number of phrases per pass."""


class TransformerText:
    """Text tower of a CLIP or SigLIP checkpoint. Every phrase is known except blank ones.

    Args:
        model: a model with ``get_text_features``.
        tokenizer: tokenizer of the same checkpoint.
        style: format of phrases, see `Family.text`.
        dim: width of the vectors.
        autocast: makes the autocast context of the model.
    """

    def __init__(self, model: Any, tokenizer: Any, style: str, dim: int, autocast: Callable[[], Any]) -> None:
        self._model, self._tokenizer, self._style, self._dim = model, tokenizer, style, dim
        self._autocast = autocast
        self._length = int(model.config.text_config.max_position_embeddings)

    @property
    def dim(self) -> int:
        return self._dim

    @torch.no_grad()
    def encode(self, phrases: list[str]) -> EncodedPhrases:
        """Vectors [P, D] float32 on the CPU, not normalised; blank phrases are unknown."""
        known = torch.tensor([bool(p.strip()) for p in phrases], dtype=torch.bool)
        chunks = [self._encode(phrases[k : k + _CHUNK]) for k in range(0, len(phrases), _CHUNK)]
        vectors = torch.cat(chunks) if chunks else torch.zeros(0, self._dim)
        return EncodedPhrases(vectors * known[:, None], known)

    def _encode(self, phrases: list[str]) -> Tensor:
        siglip = self._style == "siglip"
        texts = [normalize_phrase(p) for p in phrases] if siglip else phrases
        batch = self._tokenizer(
            texts,
            padding="max_length" if siglip else True,
            truncation=True,
            max_length=self._length,
            return_tensors="pt",
        )
        # SigLIP was trained without masking the padding.
        names = ("input_ids",) if siglip else ("input_ids", "attention_mask")
        with self._autocast():
            out = self._model.get_text_features(**{k: batch[k].to(self._model.device) for k in names if k in batch})
        # A plain tensor before version 5 of the library.
        return (out if isinstance(out, Tensor) else out.pooler_output).float().cpu()


class LateText:
    """A text tower that is loaded on first use.

    Args:
        make: loads the text tower; `encode` passes on its `InputError`.
        dim: required width of the vectors.
        where: name of the teacher, for messages.
    """

    def __init__(self, make: Callable[[], TextEncoder | None], dim: int, where: str) -> None:
        self._make, self._dim, self._where = make, dim, where
        self._encoder: TextEncoder | None = None

    @property
    def dim(self) -> int:
        return self._dim

    def encode(self, phrases: list[str]) -> EncodedPhrases:
        if self._encoder is None:
            encoder = self._make()
            if encoder is None or encoder.dim != self._dim:
                found = "none" if encoder is None else f"vectors of {encoder.dim}"
                raise InputError(self._where, f"a text tower with vectors of {self._dim}", found)
            self._encoder = encoder
        return self._encoder.encode(phrases)


def normalize_phrase(phrase: str) -> str:
    """Normalise a phrase as in the training of SigLIP: lower case, no punctuation, single spaces."""
    letters = phrase.replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    return " ".join(letters.lower().split())
