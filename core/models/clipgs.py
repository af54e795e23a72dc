"""CLIP-GS (arXiv 2412.19142): an object made of Gaussians → its embedding in the space of an image/text model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.objects import object_attributes
from ..device import has_bfloat16
from ..errors import InputError
from ..geometry.gaussians import Gaussians
from ..io.pretrained import check_names
from ..nn.gs_tokenizer import (
    ATTRIBUTES,
    CHANNELS,
    TOKEN,
    PatchEncoder,
    Patches,
    RefineEncoder,
    in_order,
    make_patches,
)
from ..nn.point_ops import UNI3D_SKIP
from ..nn.point_transformer import Visual
from ..nn.serialization import ORDERS, Order
from .clipgs_config import TINY, ClipGSConfig
from .clipgs_files import CARD, StoredClipGS, read_clipgs

LOGIT_SCALE = math.log(1 / 0.07)
"""Initial logarithm of the inverse temperature (CLIP)."""
MAX_LOGIT_SCALE = math.log(100)
"""Largest logarithm of the inverse temperature."""

Precision = Literal["auto", "float32", "bfloat16"]


class GaussianEncoder(nn.Module):
    """Uni3D's point encoder (same weight names) with CLIP-GS's tokenizer. G patches of n Gaussians per object."""

    def __init__(self, config: ClipGSConfig) -> None:
        super().__init__()
        c = self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.width))
        self.cls_pos = nn.Parameter(torch.zeros(1, 1, c.width))
        self.encoder = PatchEncoder(CHANNELS if c.tokenizer == "all" else 6)
        self.refine = RefineEncoder(CHANNELS, (*c.refine_widths, TOKEN)) if c.tokenizer == "gs" else None
        self.encoder2trans = nn.Linear(TOKEN, c.width)
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, c.width))
        self.visual = Visual(c.width, c.depth, c.heads, c.fused, c.drop_path)
        self.trans2embed = nn.Linear(c.width, c.embed_dim)
        for parameter in (self.cls_token, self.cls_pos):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.visual.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, attributes: Tensor) -> Tensor:
        """Embed attributes [B, N, 14] as [B, embed_dim], not normalised."""
        c = self.config
        patches = make_patches(attributes, c.groups, c.group_size, UNI3D_SKIP if c.skip_origin else 0.0)
        if self.training and c.patch_dropout > 0:
            # Before the tokenizer, which takes most of the time; tokens do not depend on other patches.
            patches = self._drop_patches(patches)
        return self.embed(patches.centers, self.tokens(patches.values))

    def tokens(self, values: Tensor) -> Tensor:
        """Encode patches [B, G, n, 19] as tokens [B, G, 512]."""
        shape = values.shape[:2]
        point_values = values if self.config.tokenizer == "all" else values[..., :6]  # [B, G, n, 19 or 6]
        tokens = self.encoder(point_values.flatten(0, 1))  # [B·G, 512]
        if self.refine is not None:
            tokens = tokens + self.refine(in_order(values, self._order()).flatten(0, 1))
        return tokens.unflatten(0, shape)

    def embed(self, centers: Tensor, tokens: Tensor) -> Tensor:
        """Embed patches with centres [B, G, 3] and tokens [B, G, 512] as [B, embed_dim]."""
        sequence = self.encoder2trans(tokens) + self.pos_embed(centers)  # [B, G, width]
        start = (self.cls_token + self.cls_pos).expand(len(tokens), -1, -1)  # [B, 1, width]
        return self.trans2embed(self.visual(torch.cat([start.to(sequence.dtype), sequence], 1)))

    def _order(self) -> Order:
        if self.config.order != "mixed":
            return self.config.order
        return ORDERS[int(torch.randint(len(ORDERS), ()))] if self.training else "hilbert"

    def _drop_patches(self, patches: Patches) -> Patches:
        batch, groups = patches.centers.shape[:2]
        keep = max(1, round(groups * (1 - self.config.patch_dropout)))
        return patches.select(torch.rand(batch, groups, device=patches.centers.device).argsort(1)[:, :keep])


class ClipGS(nn.Module):
    """The 3D encoder of CLIP-GS and its temperature; the frozen image and text towers are not part of it.

    State-dict names are Uni3D's plus ``point_encoder.refine`` (`core.models.uni3d` reads its checkpoints).
    """

    def __init__(self, config: ClipGSConfig = TINY) -> None:
        super().__init__()
        self.config = config
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE))
        self.point_encoder = GaussianEncoder(config)

    @classmethod
    def from_pretrained(cls, spec: str | Path) -> ClipGS:
        """Read a stored model, on the CPU and in eval mode. The random generator is left as it was.

        Args:
            spec: "bundled-clipgs"; a CLIP-GS run folder, its ``checkpoints/`` or one checkpoint; or a folder that
                `gaussiancross bench objects --export` wrote.

        Raises:
            InputError: nothing there, damaged, or a model of another class.
        """
        return cls.from_stored(read_clipgs(spec))

    @classmethod
    def from_stored(cls, stored: StoredClipGS) -> ClipGS:
        """`from_pretrained` from the contents of the files; an exported model takes no gradients."""
        with torch.random.fork_rng(devices=[]):  # building a model draws random numbers
            model = cls(stored.config)
        if stored.card is None:
            check_names(stored.path, model.state_dict(), stored.tensors)
        try:
            model.load_state_dict(stored.tensors)
        except RuntimeError as error:
            found = str(error).splitlines()[-1].strip()
            raise InputError(stored.path, f"the weights that {CARD} describes", found) from error
        return model.eval().requires_grad_(stored.card is None)

    def forward(self, attributes: Tensor) -> Tensor:
        """Compute unit embeddings.

        Args:
            attributes: [B, N, 14] results of `core.data.objects.object_attributes`: position in the unit ball, colour,
                logit of the opacity, logarithm of the scales, quaternion.

        Returns:
            [B, embed_dim] of length 1, float32.
        """
        if attributes.ndim != 3 or attributes.shape[-1] != ATTRIBUTES:
            raise InputError("attributes", f"shape [B, N, {ATTRIBUTES}]", str(tuple(attributes.shape)))
        if attributes.shape[1] < self.config.group_size:
            expected = f"at least {self.config.group_size} Gaussians, one patch"
            raise InputError("attributes", expected, str(attributes.shape[1]))
        return F.normalize(self.point_encoder(attributes).float(), dim=-1)

    def temperature(self) -> Tensor:
        """Scalar that multiplies cosines (an inverse temperature), clamped to 1–100."""
        return self.logit_scale.clamp(0, MAX_LOGIT_SCALE).exp()

    @torch.no_grad()
    def encode(self, objects: Sequence[Gaussians], precision: Precision = "auto", batch_size: int = 8) -> Tensor:
        """Compute unit embeddings [M, embed_dim] of objects, on the CPU; the model must be in eval mode.

        Args:
            objects: M objects with Y up, any unit and size; they are normalised and resampled.
            precision: precision of matrix products. "auto" is bfloat16 where the processor or device has it in hardware
                (cosine with the float32 embedding above 0.999), else float32.
            batch_size: objects per pass.
        """
        device = self.logit_scale.device
        cast = precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))
        embeddings = []
        for start in range(0, len(objects), batch_size):
            part = [object_attributes(o, self.config.gaussians) for o in objects[start : start + batch_size]]
            with torch.autocast(device.type, torch.bfloat16, enabled=cast):
                embeddings.append(self(torch.stack(part).to(device)).cpu())
        return torch.cat(embeddings) if embeddings else torch.zeros(0, self.config.embed_dim)
