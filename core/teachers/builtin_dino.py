"""The bundled image/text teacher with a head on a frozen DINOv2, whose words carry over to photographs."""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import from_dict
from ..data.scene import PosedFrames
from ..errors import InputError
from ..io.checkpoint import load_weights
from ..nn.token_head import TokenHead, TokenHeadConfig
from ..query.scoring import unit
from ..query.text import encode
from .base import ImageTeacher, TeacherInfo
from .builtin import WIDTH, BuiltinTeacher, BuiltinText
from .dino_tokens import DinoTokens
from .options import TeacherConfig, parse_options
from .windows import resize_images

SHORT = 308
"""Default shorter side of its input frames in pixels."""
WEIGHTS, CARD = "builtin_dino.safetensors", "builtin_dino.json"
CHECKPOINT = "facebook/dinov2-small"
"""DINOv2 that is looked for among earlier downloads when none is named."""


class BuiltinDinoTeacher(ImageTeacher):
    """Head trained by `trainers.teachers.dino_head` on captioned renders, beside the small tower of `builtin`.

    The head gives probabilities p of names for each token. A token's feature is the weighted sum of two unit vectors in
    the text space of `builtin`: that of Σ_c p_c t_c, with the text vectors t_c of the names, and the small tower's,
    which adds colours and materials. The weight of the first is in the card.

    The DINOv2 is not part of the package: it is loaded when features are first computed, and text does not need it. The
    training used class names, so that models distilled from it are not label-free.

    Args:
        checkpoint: name or folder of the DINOv2 checkpoint.
        options: ``short`` and ``batch`` of `TeacherConfig`.
        folder: folder of ``builtin_dino.safetensors`` and ``builtin_dino.json``; the bundled head by default.

    Attributes:
        card: content of the JSON file.

    Raises:
        InputError: missing or damaged files of the head.
    """

    def __init__(
        self, checkpoint: str = CHECKPOINT, options: TeacherConfig | None = None, folder: Path | str | None = None
    ) -> None:
        folder = Path(str(files("gaussiancross.assets"))) if folder is None else Path(folder)
        try:
            self.card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            config = from_dict(TokenHeadConfig, self.card["config"], "config")
            self.layers, self.weight = tuple(self.card["layers"]), float(self.card["weight"])
            self.patch = int(self.card["patch"])
            words = [tuple(entry) for entry in self.card["names"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(folder / CARD, "the description of the built-in head", repr(error)) from error
        weights = load_weights(folder / WEIGHTS)
        with torch.random.fork_rng(devices=[]):  # initialisation must not change the random state of a run
            self.head = TokenHead(config)
        try:
            self.head.load_state_dict({k: v.float() for k, v in weights.items()})
        except RuntimeError as error:
            found = str(error).splitlines()[-1].strip()
            raise InputError(folder / WEIGHTS, f"the weights that {CARD} describes", found) from error
        self.head.eval().requires_grad_(False)
        self.small = BuiltinTeacher()
        self.table, self.text = name_vectors(self.small.tower, words), self.small.text
        self.checkpoint, self.options = checkpoint, options or TeacherConfig(short=SHORT)
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes() + self.small.fingerprint.encode()).hexdigest()[:12]
        self._fingerprint = f"builtin-dino-{digest}-{self.weight:g}-{self.options.short}"
        self.size = self._whole(4 * self.options.short / 3), self._whole(self.options.short)
        self.info = TeacherInfo("builtin-dino", self.small.info.dim, self.card["licence"], None, label_free=False)
        self._lock = threading.Lock()  # a training thread and a viewer may call at once

    @cached_property
    def tokens(self) -> DinoTokens:
        """The frozen DINOv2, loaded on first use.

        Raises:
            InputError: see `DinoTokens`; a model of another width.
        """
        tokens = DinoTokens(self.checkpoint, self.layers)
        if tokens.dim != self.head.config.inputs or tokens.patch != self.patch:
            expected = f"{self.head.config.inputs // len(self.layers)} channels and patches of {self.patch} pixels"
            raise InputError(f"builtin-dino:{self.checkpoint}", expected, f"{tokens.dim // len(self.layers)}")
        return tokens

    @property
    def fingerprint(self) -> str:
        """Name, digest of the weights, options, and the DINOv2 where it is another than the head was trained on."""
        same = self.tokens.digest[:12] == self.card["backbone_digest"]
        return self._fingerprint + ("" if same else f"-{self.tokens.digest[:12]}")

    def frame_size(self, frames: PosedFrames) -> tuple[int, int]:
        """(width, height) at which a scene's frames are read: their aspect ratio, in whole patches."""
        width, height = frames.cameras.width, frames.cameras.height
        factor = self.options.short / min(width, height)
        return self._whole(width * factor), self._whole(height * factor)

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """Features on the small tower's grid: [C, H, W, 3] RGB in [0, 1] → [C, h, w, D]."""
        if images.ndim != 4 or images.shape[-1] != 3:
            raise InputError("images", "a tensor [C, H, W, 3]", str(tuple(images.shape)))
        low = round(WIDTH * images.shape[1] / max(1, images.shape[2])), WIDTH
        pixels = images.float().permute(0, 3, 1, 2)
        small = self.small.maps(resize_images(pixels, *low).permute(0, 2, 3, 1))  # [C, h, w, D]
        if len(images) == 0:
            return small
        with self._lock:
            named = torch.cat([self._named(part) for part in pixels.split(self.options.batch)])
        named = F.interpolate(named.permute(0, 3, 1, 2), small.shape[1:3], mode="bilinear", align_corners=False)
        return F.normalize(small, dim=-1) + self.weight * F.normalize(named.permute(0, 2, 3, 1), dim=-1)

    def _named(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] → Σ_c p_c t_c of each token, [B, h, w, D]."""
        height, width = (self._whole(n) for n in pixels.shape[-2:])
        tokens = self.tokens(resize_images(pixels, height, width))
        return self.head(tokens).softmax(-1) @ self.table

    def _whole(self, pixels: float) -> int:
        """The nearest whole number of patches, in pixels."""
        return max(1, round(pixels / self.patch)) * self.patch


def name_vectors(text: BuiltinText, words: list[tuple[str, ...]]) -> Tensor:
    """[K, D] unit text vectors of names with their synonyms; the name itself counts twice."""
    rows = []
    for name, *synonyms in words:
        vectors = encode(text, [name, name, *synonyms]).vectors
        rows.append(vectors.sum(0))
    return unit(torch.stack(rows))[0]


def load_builtin_dino(argument: str) -> ImageTeacher:
    """Make the teacher of ``builtin-dino:CHECKPOINT,options``.

    Without a checkpoint, `CHECKPOINT` serves if it was downloaded, else `builtin` alone, with a warning.
    """
    name, _, rest = argument.partition(",")
    text = (name or CHECKPOINT) + (f",{rest}" if rest else "")
    checkpoint, options = parse_options(text if "short=" in rest else f"{text},short={SHORT}")
    teacher = BuiltinDinoTeacher(checkpoint, options)
    if name:
        return teacher
    try:
        _ = teacher.tokens
    except InputError as error:
        warnings.warn(f"builtin-dino: the small tower of `builtin` serves instead ({error})", stacklevel=2)
        return teacher.small
    return teacher
