"""Text towers of checkpoints as `core.query.TextEncoder`."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..query.text import Encoded, TextEncoder

_CHUNK = 256
"""Phrases per call of a tower."""


class TransformerText:
    """The text side of a CLIP or SigLIP checkpoint. It knows every phrase that is not blank.

    Args:
        model: with ``get_text_features``.
        tokenizer: of the same checkpoint.
        style: see `Family.text`.
        dim: width of its vectors.
        autocast: makes the context in which the model computes.
    """

    def __init__(self, model: Any, tokenizer: Any, style: str, dim: int, autocast: Callable[[], Any]) -> None:
        self._model, self._tokenizer, self._style, self._dim = model, tokenizer, style, dim
        self._autocast = autocast
        self._length = int(model.config.text_config.max_position_embeddings)

    @property
    def dim(self) -> int:
        return self._dim

    @torch.no_grad()
    def encode(self, phrases: list[str]) -> Encoded:
        """Vectors [P, D] float32 on the CPU, not normalised; blank phrases are unknown."""
        known = torch.tensor([bool(p.strip()) for p in phrases], dtype=torch.bool)
        chunks = [self._encode(phrases[k : k + _CHUNK]) for k in range(0, len(phrases), _CHUNK)]
        vectors = torch.cat(chunks) if chunks else torch.zeros(0, self._dim)
        return Encoded(vectors * known[:, None], known)

    def _encode(self, phrases: list[str]) -> Tensor:
        siglip = self._style == "siglip"
        texts = [plain(p) for p in phrases] if siglip else phrases
        batch = self._tokenizer(
            texts,
            padding="max_length" if siglip else True,
            truncation=True,
            max_length=self._length,
            return_tensors="pt",
        )
        # SigLIP was trained with its padding in sight: a mask would be wrong
        names = ("input_ids",) if siglip else ("input_ids", "attention_mask")
        with self._autocast():
            out = self._model.get_text_features(**{k: batch[k].to(self._model.device) for k in names if k in batch})
        # a plain tensor before version 5 of the library
        return (out if isinstance(out, Tensor) else out.pooler_output).float().cpu()


class LateText:
    """A text tower that is loaded when it is first asked: the one thing of a teacher that its cached features lack.

    Args:
        make: makes it; an `InputError` of it is what `encode` raises.
        dim: width that its vectors must have.
        where: whose text tower, for messages.
    """

    def __init__(self, make: Callable[[], TextEncoder | None], dim: int, where: str) -> None:
        self._make, self._dim, self._where = make, dim, where
        self._encoder: TextEncoder | None = None

    @property
    def dim(self) -> int:
        return self._dim

    def encode(self, phrases: list[str]) -> Encoded:
        if self._encoder is None:
            encoder = self._make()
            if encoder is None or encoder.dim != self._dim:
                found = "none" if encoder is None else f"vectors of {encoder.dim}"
                raise InputError(self._where, f"a text tower with vectors of {self._dim}", found)
            self._encoder = encoder
        return self._encoder.encode(phrases)


def plain(phrase: str) -> str:
    """A phrase as SigLIP was trained on it: small letters, no punctuation, single spaces."""
    letters = phrase.replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    return " ".join(letters.lower().split())
