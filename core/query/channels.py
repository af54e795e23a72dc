"""Text queries on class scores: map the named channels of a teacher to the space of a text encoder."""

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
from .text import PLAIN, EncodedPhrases, TextEncoder, TextVectors, UnknownPhrase, encode, spellings

SHARPNESS = 50.0
"""Default factor from unit-length class scores to logits: the norm of the logits of a segmentation network with 32
classes, which a cosine loss does not preserve."""


@dataclass(frozen=True)
class ChannelText:
    """Text vectors of C class names: a `TextEncoder` into a space that class scores can be mapped to.

    A feature with class probabilities p [C] stands for Σ_c p_c t_c, with t_c the text vector of class c. Cosines need
    only its C coordinates in the span of the t_c: `features` returns these plus a zero, `encode` returns the same
    coordinates of a phrase plus the length of its part outside the span. All cosines between features and phrases equal
    those in the full text space.

    Class names that the encoder does not know (LVIS has no "wall") get an extra dimension each, with the typical cosine
    to other names. Queries by that name are known.

    Attributes:
        names: C names of the channels.
        vectors: [C, D + U] unit text vectors, with U extra dimensions for U unknown names.
        known: [C] bool, whether the encoder knows the name.
        root: [C, C] with ``root @ root.T`` the Gram matrix of the vectors.
        map: [C, D + U] from text vectors to coordinates.
        mean: [D] unit mean direction of the vocabulary.
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
        """Compute the text vectors of channel names.

        Args:
            names: C ≥ 1 names of the channels; alternatives may be listed in one name ("chair; seat" or "chair, seat").
            encoder: encodes names and phrases into D dimensions. Without one only the names are known.
            templates: prompt templates for the encoder, see `encode`.

        Raises:
            InputError: no names.
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
        # Synonyms make the Gram matrix singular: axes with (almost) no component stay zero.
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

    def encode(self, phrases: list[str]) -> EncodedPhrases:
        """[P, C + 1] unit vectors of P phrases: from the channel for channel names, else from the encoder."""
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
            encoded = encode(self._encoder, [phrases[i] for i in rest], self._templates)
            out[rest, : encoded.vectors.shape[1]] = encoded.vectors.cpu()
            known[rest] = encoded.known.cpu()
        return EncodedPhrases(self.coordinates(out) * known[:, None], known)

    def coordinates(self, vectors: Tensor) -> Tensor:
        """Text vectors [Q, D] or [Q, D + U] → [Q, C + 1] unit coordinates."""
        direction = unit(torch.nn.functional.pad(vectors.float(), (0, self.map.shape[1] - vectors.shape[1])))[0]
        inside = direction @ self.map.T
        outside = (1 - inside.square().sum(-1, keepdim=True)).clamp_min(0).sqrt()
        return torch.cat([inside, outside], -1)

    def channel(self, phrase: str) -> int | None:
        """Index of the channel with this name, ignoring case, article and plural; None without one."""
        wanted = set(spellings(phrase))
        for i, name in enumerate(self.names):
            if any(wanted & set(spellings(part)) for part in _alternatives(name)):
                return i
        return None

    def common(self) -> Tensor:
        """[1, C + 1] mean direction of the vocabulary, the default negative."""
        return self.coordinates(self.mean[None])

    def find(self, phrase: str) -> str | UnknownPhrase:
        """The channel or vocabulary name that a phrase matches, or an `UnknownPhrase` with suggestions."""
        channel = self.channel(phrase)
        if channel is not None:
            return self.names[channel]
        similar = difflib.get_close_matches(phrase.casefold(), self.names, 3, cutoff=0.7)
        if isinstance(self._encoder, TextVectors):
            name = self._encoder.find(phrase)
            if isinstance(name, str):
                return name
            return UnknownPhrase(phrase, tuple(dict.fromkeys((*similar, *name.suggestions)))[:5])
        if self._encoder is not None and bool(self.encode([phrase]).known[0]):
            return phrase
        return UnknownPhrase(phrase, tuple(similar or self.names[:8]))

    def nearest(self, phrase: str) -> tuple[str, float]:
        """Name of the channel most similar to a phrase and their cosine in [−1, 1]; ("", 0) for an unknown phrase."""
        query, known = self.encode([phrase])
        if not known[0]:
            return "", 0.0
        cosine = query[0, :-1] @ self.root.T
        return self.names[int(cosine.argmax())], float(cosine.max())


NEARNESS = 0.86
"""Default cosine of a name with the mean direction of the vocabulary: the median of CLIP ViT-B/32 on the 1,203 names of
LVIS."""


def _alternatives(name: str) -> list[str]:
    return [part.strip() for part in re.split(r"[;,/]", name) if part.strip()] or [name]


def _common(vectors: Tensor, encoder: TextEncoder | None) -> tuple[Tensor, float]:
    """[D] unit mean direction of the vocabulary, and the typical cosine of a name with it."""
    if isinstance(encoder, TextVectors):
        return encoder.common()[0], encoder.nearness()
    if len(vectors) == 0:
        return torch.nn.functional.one_hot(torch.tensor(0), vectors.shape[1]).float(), NEARNESS
    mean = vectors.mean(0)
    return mean / mean.norm().clamp_min(1e-6), float(mean.norm().clamp_max(0.99))


def _name_vectors(names: Sequence[str], encoder: TextEncoder, templates: Sequence[str]) -> tuple[Tensor, Tensor]:
    """[C, D] unit vectors, each the mean over a name's known alternatives, and [C] bool whether one is known."""
    parts = [_alternatives(name) for name in names]
    vectors, known = encode(encoder, [p for group in parts for p in group], templates)
    owner = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(group) for group in parts]))
    total = torch.zeros(len(parts), vectors.shape[1]).index_add_(0, owner, vectors.cpu() * known.cpu()[:, None])
    return unit(total)
