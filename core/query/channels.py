"""Words for features that are class scores: a teacher with named channels, asked in the space of a text encoder."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import InputError
from .scoring import unit
from .store import FeatureStore
from .text import PLAIN, Encoded, TextEncoder, TextVectors, UnknownPhrase, encode, spellings

SHARPNESS = 50.0
"""Default factor from unit-length class scores to logits. Logits of a segmentation network with C = 32 classes are
about 50 long; a loss on the cosine forgets that length."""


@dataclass(frozen=True)
class ChannelText:
    """C class channels and the text vectors of their names: a `TextEncoder` whose space the class scores share.

    A feature with class probabilities p [C] means Σ_c p_c t_c, t_c being the text vector of class c. That vector is
    never made: what decides every cosine with it are its C coordinates in the span of the t_c. `features` gives those
    plus a zero, `encode` gives a phrase the same coordinates plus the length of what is left of it outside the span.
    All cosines between features and phrases are exactly those of the full text space.

    Class names that the encoder does not know (LVIS has no "wall") get a direction of their own, as near to the other
    words as these are to each other: a word like any other. Asked for by name, they are known.

    Attributes:
        names: [C] of the channels.
        vectors: [C, D + U] unit text vectors, U of them with a direction of their own.
        known: [C] bool, whether the encoder knew the name.
        root: [C, C] with ``root @ root.T`` the Gram matrix of the vectors.
        map: [C, D + U] from text vectors to coordinates.
        mean: [D] unit vector of what all words have in common.
    """

    names: tuple[str, ...]
    vectors: Tensor
    known: Tensor
    root: Tensor
    map: Tensor
    mean: Tensor
    _encoder: TextEncoder | None = field(default=None, repr=False)
    _templates: tuple[str, ...] = PLAIN

    @staticmethod
    def build(
        names: Sequence[str], encoder: TextEncoder | None = None, templates: Sequence[str] = PLAIN
    ) -> ChannelText:
        """
        Args:
            names: [C ≥ 1] of the channels; alternatives may be listed in one name ("chair; seat" or "chair, seat").
            encoder: gives text vectors of D dimensions. Without one the names are the only words.
            templates: for the encoder, see `encode`.
        """
        if not names:
            raise InputError("channel names", "at least one", "none")
        vectors, known = torch.zeros(len(names), 1), torch.zeros(len(names), dtype=torch.bool)
        if encoder is not None:
            vectors, known = _name_vectors(names, encoder, templates)
        common, nearness = _common(vectors[known], encoder)
        unknown = (~known).nonzero()[:, 0]
        wide = torch.nn.functional.pad(vectors, (0, len(unknown)))
        wide[unknown, : vectors.shape[1]] = nearness * common
        wide[unknown, vectors.shape[1] + torch.arange(len(unknown))] = math.sqrt(1 - nearness**2)
        wide = wide.double()
        values, axes = torch.linalg.eigh(wide @ wide.T)
        # Directions that (almost) no vector reaches stay zero: synonyms make the Gram matrix singular.
        reached = values > 1e-6 * values.max()
        values = values.clamp_min(1e-12)
        inverse = torch.where(reached, values.rsqrt(), 0.0)
        root, to_span = axes * torch.where(reached, values.sqrt(), 0.0), (inverse[:, None] * axes.T) @ wide
        tensors = wide.float(), known, root.float(), to_span.float(), common
        return ChannelText(tuple(names), *tensors, encoder, tuple(templates))

    @property
    def dim(self) -> int:
        """C + 1: the width of `features` and of encoded phrases."""
        return len(self.names) + 1

    def probabilities(self, scores: Tensor, sharpness: float = SHARPNESS) -> Tensor:
        """[N, C] softmax of ``sharpness`` times the unit-length class scores [N, C]; NaN rows stay NaN."""
        if scores.ndim != 2 or scores.shape[1] != len(self.names):
            raise InputError("class scores", f"shape [N, {len(self.names)}]", str(list(scores.shape)))
        return torch.softmax(sharpness * torch.nn.functional.normalize(scores.float(), dim=-1), -1)

    def features(self, scores: Tensor, sharpness: float = SHARPNESS) -> Tensor:
        """Class scores [N, C] of any length → [N, C + 1] float32, comparable with encoded phrases by their cosine."""
        flat = self.probabilities(scores, sharpness) @ self.root.to(scores.device)
        return torch.nn.functional.pad(flat, (0, 1))

    def store(self, scores: Tensor, sharpness: float = SHARPNESS) -> FeatureStore:
        """The `FeatureStore` of `features`."""
        return FeatureStore.build(self.features(scores, sharpness))

    def encode(self, phrases: list[str]) -> Encoded:
        """[P, C + 1] unit vectors: names of channels first, then what the encoder knows."""
        out = torch.zeros(len(phrases), self.vectors.shape[1])
        known = torch.zeros(len(phrases), dtype=torch.bool)
        rest = []
        for i, phrase in enumerate(phrases):
            channel = self.channel(phrase)
            if channel is None:
                rest.append(i)
            else:
                out[i], known[i] = self.vectors[channel], True
        if rest and self._encoder is not None:
            found = encode(self._encoder, [phrases[i] for i in rest], self._templates)
            out[rest, : found.vectors.shape[1]] = found.vectors.cpu()
            known[rest] = found.known.cpu()
        return Encoded(self.coordinates(out) * known[:, None], known)

    def coordinates(self, vectors: Tensor) -> Tensor:
        """Text vectors [Q, D] or [Q, D + U] → [Q, C + 1] unit coordinates."""
        direction = unit(torch.nn.functional.pad(vectors.float(), (0, self.map.shape[1] - vectors.shape[1])))[0]
        inside = direction @ self.map.T
        outside = (1 - inside.square().sum(-1, keepdim=True)).clamp_min(0).sqrt()
        return torch.cat([inside, outside], -1)

    def channel(self, phrase: str) -> int | None:
        """The channel that a phrase names, whatever its case, article and plural; None when there is none."""
        wanted = set(spellings(phrase))
        for i, name in enumerate(self.names):
            if any(wanted & set(spellings(part)) for part in _alternatives(name)):
                return i
        return None

    def common(self) -> Tensor:
        """[1, C + 1] what all words have in common: the negative that says "some other word"."""
        return self.coordinates(self.mean[None])

    def find(self, phrase: str) -> str | UnknownPhrase:
        """The name that a phrase means here, or why not."""
        channel = self.channel(phrase)
        if channel is not None:
            return self.names[channel]
        own = difflib.get_close_matches(phrase.casefold(), self.names, 3, cutoff=0.7)
        if isinstance(self._encoder, TextVectors):
            found = self._encoder.find(phrase)
            return (
                found
                if isinstance(found, str)
                else UnknownPhrase(phrase, tuple(dict.fromkeys((*own, *found.suggestions)))[:5])
            )
        if self._encoder is not None and bool(self.encode([phrase]).known[0]):
            return phrase
        return UnknownPhrase(phrase, tuple(own or self.names[:8]))

    def nearest(self, phrase: str) -> tuple[str, float]:
        """The channel most like a phrase, and their cosine in [−1, 1]; ("", 0) for an unknown phrase."""
        query, known = self.encode([phrase])
        if not known[0]:
            return "", 0.0
        cosine = query[0, :-1] @ self.root.T
        return self.names[int(cosine.argmax())], float(cosine.max())


NEARNESS = 0.86
"""Cosine of a word with what all words have in common, where nothing better is known (the median of CLIP ViT-B/32 on
the 1,203 words of LVIS)."""


def _alternatives(name: str) -> list[str]:
    return [part.strip() for part in re.split(r"[;,/]", name) if part.strip()] or [name]


def _common(known: Tensor, encoder: TextEncoder | None) -> tuple[Tensor, float]:
    """[D] unit vector that words have in common, and the typical cosine of a word with it."""
    if isinstance(encoder, TextVectors):
        return encoder.common()[0], encoder.nearness()
    if len(known) == 0:
        return torch.nn.functional.one_hot(torch.tensor(0), known.shape[1]).float(), NEARNESS
    mean = known.mean(0)
    return mean / mean.norm().clamp_min(1e-6), float(mean.norm().clamp_max(0.99))


def _name_vectors(names: Sequence[str], encoder: TextEncoder, templates: Sequence[str]) -> tuple[Tensor, Tensor]:
    """[C, D] unit vectors, the mean over a name's known alternatives, and [C] whether there was one."""
    parts = [_alternatives(name) for name in names]
    vectors, known = encode(encoder, [p for group in parts for p in group], templates)
    owner = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(group) for group in parts]))
    total = torch.zeros(len(parts), vectors.shape[1]).index_add_(0, owner, vectors.cpu() * known.cpu()[:, None])
    return unit(total)
