"""CLIP-GS (arXiv 2412.19142): an object made of Gaussians → its embedding in the space of an image/text model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.objects import object_attributes
from ..errors import InputError
from ..geometry.gaussians import Gaussians
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

LOGIT_SCALE = math.log(1 / 0.07)
"""Logarithm of the inverse temperature at the start (CLIP)."""
MAX_LOGIT_SCALE = math.log(100)
"""Largest value of it."""

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class ClipGSConfig:
    """Everything that decides what the network computes. Defaults are the tiny size."""

    width: int = 192
    """Width of the transformer's tokens."""
    depth: int = 12
    """Blocks."""
    heads: int = 3
    """Attention heads."""
    fused: bool = True
    """One matrix for queries, keys and values, and one for gate and value (tiny and small), or one for each (base and
    large, with a norm inside the MLP)."""
    embed_dim: int = 1024
    """Width of the image/text model's space."""
    gaussians: int = 10_000
    """N: objects are resampled to so many Gaussians."""
    groups: int = 512
    """Patches per object."""
    group_size: int = 64
    """Gaussians per patch."""
    tokenizer: Literal["gs", "all", "points"] = "gs"
    """"gs": the GS tokenizer. For comparison, "all": all attributes into Uni3D's point encoder; "points": position and
    colour only, which is Uni3D itself."""
    order: Literal["mixed", "xyz", "z", "hilbert"] = "mixed"
    """Curve along which the Gaussians of a patch are laid out; "mixed" draws one per training step and takes Hilbert's
    outside training. Inferred."""
    refine_widths: tuple[int, int, int] = (64, 128, 256)
    """Widths of the refinement branch before the last, which is 512. Inferred."""
    drop_path: float = 0.0
    """Largest probability with which a block's branch is left out in training (rises with depth)."""
    patch_dropout: float = 0.0
    """Share of the patches left out in training."""
    skip_origin: bool = True
    """No patch has its centre within 0.03 of the origin, as in Uni3D's training."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise InputError("heads", f"a divisor of the width {self.width}", str(self.heads))
        if min(self.groups, self.group_size) < 1 or self.gaussians < self.group_size:
            found = f"{self.groups} patches of {self.group_size} from {self.gaussians}"
            raise InputError("groups and group_size", "patches no larger than an object", found)
        if not 0 <= self.patch_dropout < 1 or not 0 <= self.drop_path < 1:
            raise InputError("drop_path and patch_dropout", "shares from 0 to below 1", "others")


TINY = ClipGSConfig()
"""Uni3D-Ti: 6 M parameters."""
SMALL = ClipGSConfig(width=384, heads=6)
"""Uni3D-S: 23 M parameters."""
BASE = ClipGSConfig(width=768, heads=12, fused=False)
"""Uni3D-B: 88 M parameters, the paper's."""
LARGE = ClipGSConfig(width=1024, depth=24, heads=16, fused=False)
"""Uni3D-L: 305 M parameters."""


class GaussianEncoder(nn.Module):
    """Uni3D's point encoder (same weight names) with CLIP-GS's tokenizer."""

    def __init__(self, config: ClipGSConfig) -> None:
        super().__init__()
        c = self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.width))
        self.cls_pos = nn.Parameter(torch.zeros(1, 1, c.width))
        self.encoder = PatchEncoder(CHANNELS if c.tokenizer == "all" else 6)
        if c.tokenizer == "gs":
            self.refine = RefineEncoder(CHANNELS, (*c.refine_widths, TOKEN))
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
        """[B, N, 14] → [B, embed_dim], not normalised."""
        c = self.config
        patches = make_patches(attributes, c.groups, c.group_size, UNI3D_SKIP if c.skip_origin else 0.0)
        if self.training and c.patch_dropout > 0:
            # Before the tokenizer, where most of the time goes; a patch's token depends on no other patch.
            patches = self._without_some(patches)
        return self.embed(patches.centers, self.tokens(patches.values))

    def tokens(self, values: Tensor) -> Tensor:
        """Patches [B, G, n, 19] → tokens [B, G, 512]."""
        shape, c = values.shape[:2], self.config
        seen = values if c.tokenizer == "all" else values[..., :6]
        tokens = self.encoder(seen.flatten(0, 1))
        if c.tokenizer == "gs":
            tokens = tokens + self.refine(in_order(values, self._order()).flatten(0, 1))
        return tokens.unflatten(0, shape)

    def embed(self, centers: Tensor, tokens: Tensor) -> Tensor:
        """Centres [B, G, 3] and tokens [B, G, 512] → [B, embed_dim]."""
        sequence = self.encoder2trans(tokens) + self.pos_embed(centers)
        start = (self.cls_token + self.cls_pos).expand(len(tokens), -1, -1)
        return self.trans2embed(self.visual(torch.cat([start.to(sequence.dtype), sequence], 1)))

    def _order(self) -> Order:
        if self.config.order != "mixed":
            return self.config.order
        return ORDERS[int(torch.randint(len(ORDERS), ()))] if self.training else "hilbert"

    def _without_some(self, patches: Patches) -> Patches:
        batch, groups = patches.centers.shape[:2]
        keep = max(1, round(groups * (1 - self.config.patch_dropout)))
        return patches.select(torch.rand(batch, groups, device=patches.centers.device).argsort(1)[:, :keep])


class ClipGS(nn.Module):
    """The 3D encoder of CLIP-GS and its temperature; the image and text towers are frozen and live elsewhere.

    State-dict names are Uni3D's; ``point_encoder.refine`` is added (`core.models.uni3d` reads its checkpoints).
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
        from .clipgs_builtin import read_clipgs

        return read_clipgs(spec)

    def forward(self, attributes: Tensor) -> Tensor:
        """Unit embeddings.

        Args:
            attributes: [B, N, 14] of `core.data.objects.object_attributes`: position in the unit ball, colour, logit of
                the opacity, logarithm of the scales, quaternion.

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
        """Scalar by which cosines are multiplied: exp of the parameter, kept in 1–100."""
        return self.logit_scale.clamp(0, MAX_LOGIT_SCALE).exp()

    @torch.no_grad()
    def encode(self, objects: Sequence[Gaussians], precision: Precision = "auto", batch_size: int = 8) -> Tensor:
        """Unit embeddings [M, embed_dim] on the CPU of objects as files hold them; the model must be in eval mode.

        Args:
            objects: Y up, any unit and size; they are centred, scaled to the unit ball and resampled.
            precision: of the matrix products. "auto" takes bfloat16 where the processor or device has it in hardware
                (cosine with the float32 embedding above 0.999), else float32.
        """
        device = self.logit_scale.device
        cast = precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))
        found = []
        for start in range(0, len(objects), batch_size):
            part = [object_attributes(o, self.config.gaussians) for o in objects[start : start + batch_size]]
            with torch.autocast(device.type, torch.bfloat16, enabled=cast):
                found.append(self(torch.stack(part).to(device)).cpu())
        return torch.cat(found) if found else torch.zeros(0, self.config.embed_dim)


def has_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are fast there."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
