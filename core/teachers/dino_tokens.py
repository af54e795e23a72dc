"""Tokens of a frozen DINOv2: the input of the text head `builtin_dino`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from .checkpoint import load_checkpoint
from .families import FAMILIES
from .options import TeacherConfig


class DinoTokens:
    """Patch tokens after several layers of a DINOv2, each layer normalised, then joined.

    Args:
        checkpoint: name or folder of the checkpoint.
        layers: numbers of the layers, counted from 1.

    Attributes:
        patch: side of a token in pixels.
        dim: width of the joined tokens.
        digest: digest of the checkpoint's content.

    Raises:
        InputError: see `load_checkpoint`; a checkpoint with fewer layers.
    """

    def __init__(self, checkpoint: str, layers: Sequence[int]) -> None:
        loaded = load_checkpoint("dinov2", checkpoint, FAMILIES["dinov2"], TeacherConfig())
        config = loaded.model.config
        if not layers or not all(1 <= n <= config.num_hidden_layers for n in layers):
            raise InputError(
                f"dinov2:{checkpoint}", f"a model with layers {layers}", f"{config.num_hidden_layers} layers"
            )
        self.layers, self.patch = tuple(layers), int(config.patch_size)
        self.dim, self.digest = len(layers) * int(config.hidden_size), loaded.digest
        self._model = loaded.model
        self._skip = 1 + int(getattr(config, "num_register_tokens", 0))
        self._mean, self._std = (torch.tensor(v)[:, None, None] for v in (loaded.mean, loaded.std))

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in [0, 1], H and W multiples of ``patch`` → [B, H / patch, W / patch, dim]."""
        grid = tuple(side // self.patch for side in pixels.shape[-2:])
        states = self._model(pixel_values=(pixels - self._mean) / self._std, output_hidden_states=True).hidden_states
        tokens = [states[n][:, self._skip :] for n in self.layers]  # each [B, h·w, D']
        return torch.cat([F.layer_norm(t, t.shape[-1:]) for t in tokens], -1).unflatten(1, grid)
