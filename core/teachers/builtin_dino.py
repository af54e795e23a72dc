"""The bundled image/text teacher with a head on a frozen DINOv2, whose words carry over to photographs."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.scene import PosedFrames
from ..errors import InputError
from ..io.json_files import read_json
from ..io.plain_files import read_bytes
from ..nn.token_head import TokenHead, TokenHeadConfig
from ..query.scoring import unit
from ..query.text import encode
from .base import ImageTeacher, TeacherInfo
from .builtin import WIDTH, BuiltinTeacher, BuiltinText
from .bundled import finite, load_network, read_sizes, read_words
from .options import TeacherConfig, parse_options
from .transformer import TransformerTeacher
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
        options: of the DINOv2, but ``layers``, which the card names.
        folder: folder of ``builtin_dino.safetensors`` and ``builtin_dino.json``; the bundled head by default.

    Attributes:
        card: content of the JSON file.

    Raises:
        InputError: missing or damaged files of the head, or options that have no effect here.
    """

    def __init__(
        self, checkpoint: str = CHECKPOINT, options: TeacherConfig | None = None, folder: Path | str | None = None
    ) -> None:
        folder = Path(str(files("gaussiancross.assets"))) if folder is None else Path(folder)
        try:
            self.card = read_json(folder / CARD)
            config = read_sizes(TokenHeadConfig, self.card["config"])
            self.layers, self.weight = tuple(map(int, self.card["layers"])), finite(self.card["weight"])
            self.patch, licence = int(self.card["patch"]), str(self.card["licence"])
            words = [read_words(entry) for entry in self.card["names"]]
            if self.patch < 1 or not words:
                raise ValueError(f"patches of {self.patch} pixels, {len(words)} names")
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(folder / CARD, "the description of the built-in head", repr(error)) from error
        self.head = load_network(lambda: TokenHead(config), folder / WEIGHTS, CARD)
        self.small = BuiltinTeacher()
        self.table, self.text = name_vectors(self.small.tower, words), self.small.text
        self.checkpoint, self.options = checkpoint, options or TeacherConfig(short=SHORT)
        unused = [name for name in ("layers", "adaptor", "text") if getattr(self.options, name)]
        if unused:
            raise InputError(
                f"teacher option {unused[0]}",
                f"none for builtin-dino: its head is made for layers {self.layers}",
                repr(getattr(self.options, unused[0])),
                "leave it out",
            )
        digest = hashlib.sha256(read_bytes(folder / WEIGHTS) + self.small.fingerprint.encode()).hexdigest()[:12]
        self._head = f"builtin-dino-{digest}-{self.weight:g}"
        self.size = self._whole(4 * self.options.short / 3), self._whole(self.options.short)
        self.info = TeacherInfo("builtin-dino", self.small.info.dim, licence, None, label_free=False)

    @cached_property
    def tokens(self) -> TransformerTeacher:
        """The frozen DINOv2, loaded on first use.

        Raises:
            InputError: see `TransformerTeacher`; a model of another width.
        """
        teacher = joined_layers(self.checkpoint, self.layers, self.options)
        if teacher.info.dim != self.head.config.inputs or teacher.patch != self.patch:
            expected = f"{self.head.config.inputs // len(self.layers)} channels and patches of {self.patch} pixels"
            found = f"{teacher.info.dim // len(self.layers)} and {teacher.patch}"
            raise InputError(f"builtin-dino:{self.checkpoint}", expected, found)
        return teacher

    @property
    def fingerprint(self) -> str:
        """Digest of the head's and the small tower's weights, and the fingerprint of the DINOv2 with its options."""
        return f"{self._head}-{self.tokens.fingerprint}"

    @property
    def former_fingerprints(self) -> tuple[str, ...]:
        if replace(self.options, batch=8, device="auto", revision="main") != TeacherConfig(short=self.options.short):
            return ()  # the former ones named no other option
        same = self.tokens.digest[:12] == self.card["backbone_digest"]
        return (f"{self._head}-{self.options.short}" + ("" if same else f"-{self.tokens.digest[:12]}"),)

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
        named = torch.cat([self._named(part) for part in images.float().split(self.options.batch)])
        named = F.interpolate(named.permute(0, 3, 1, 2), small.shape[1:3], mode="bilinear", align_corners=False)
        return F.normalize(small, dim=-1) + self.weight * F.normalize(named.permute(0, 2, 3, 1), dim=-1)

    def _named(self, images: Tensor) -> Tensor:
        """[B, H, W, 3] → Σ_c p_c t_c of each token, [B, h, w, D]."""
        return self.head(standard_tokens(self.tokens, images)).softmax(-1) @ self.table

    def _whole(self, pixels: float) -> int:
        """The nearest whole number of patches, in pixels."""
        return max(1, round(pixels / self.patch)) * self.patch


def joined_layers(checkpoint: str, layers: Sequence[int], options: TeacherConfig | None = None) -> TransformerTeacher:
    """The DINOv2 whose joined layers are the input of a head, see `standard_tokens`."""
    options = replace(options or TeacherConfig(), layers=tuple(layers))
    return TransformerTeacher("dinov2", checkpoint, options, lambda spec: None)


def standard_tokens(teacher: TransformerTeacher, images: Tensor) -> Tensor:
    """Joined tokens with mean 0 and variance 1 in each layer: [B, H, W, 3] RGB in [0, 1] → [B, h, w, D]."""
    return teacher.maps(images) * (teacher.info.dim / len(teacher.options.layers)) ** 0.5


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
