"""Scene states of a network with a teacher: features of the teacher's width only where they are asked for.

In float32 they take 2.7 GB for 524,288 Gaussians and 1,280 channels, on the device that may be training beside.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional as F

from .source import SceneState

BLOCK = 16_384
"""Gaussians whose features are computed at once."""
DEVICE_BYTES = 1 << 28
"""Largest features that stay on the Gaussians' device; larger ones go to the CPU's memory."""


class PredictedState(SceneState):
    """A `SceneState` with ``codes`` and ``lift``, whose ``embeddings`` are computed when they are first read.

    They are ``lift(codes)`` with unit length, because the loss is a cosine: exact after blending if ``lift`` is linear,
    approximate with a hidden layer.
    """

    @property
    def embeddings(self) -> Tensor | None:  # type: ignore[override]
        return self.memo("embeddings", self._lifted)

    @embeddings.setter
    def embeddings(self, value: Tensor | None) -> None:
        """Ignore the value of the constructor, which is None."""

    @property
    def has_embeddings(self) -> bool:
        return self.codes is not None

    @property
    @torch.no_grad()
    def embedding_width(self) -> int | None:
        if self.codes is None or self.lift is None:
            return None
        return self.lift(self.codes.new_zeros(1, self.codes.shape[1]).float()).shape[-1]

    def copy(self) -> PredictedState:
        names = [f.name for f in dataclasses.fields(self) if f.init and f.name != "embeddings"]
        return PredictedState(**{name: getattr(self, name) for name in names})

    @property
    def is_lifted(self) -> bool:
        """Whether ``embeddings`` have been read."""
        return "embeddings" in self._memo

    @torch.no_grad()
    def _lifted(self) -> Tensor | None:
        if self.codes is None or self.lift is None:
            return None
        lifted: Tensor | None = None
        for start in range(0, max(1, len(self.codes)), BLOCK):
            block = F.normalize(self.lift(self.codes[start : start + BLOCK].float()), dim=-1)
            if lifted is None:
                large = 4 * len(self.codes) * block.shape[1] > DEVICE_BYTES
                lifted = block.new_empty(len(self.codes), block.shape[1], device="cpu" if large else block.device)
            lifted[start : start + BLOCK] = block
        return lifted
