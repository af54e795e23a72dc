"""The bundled image/text teacher, a small model with a vocabulary of rooms and objects."""

from __future__ import annotations

import hashlib
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
from ..nn.two_tower import STRIDE, TwoTower, TwoTowerConfig
from ..query.text import EncodedPhrases, UnknownPhrase
from .base import ImageTeacher, TeacherInfo
from .bundled import load_network, read_sizes, read_words
from .further_names import FurtherNames, WideText
from .vocabulary import Vocabulary

WIDTH = 320
"""Width of its input frames in pixels, as in its training."""
SCALES = (1.0, 1.5)
"""Scales of the image whose features are averaged; at larger ones small objects cover more tokens."""
WEIGHTS, CARD = "builtin.safetensors", "builtin.json"


class BuiltinTeacher(ImageTeacher):
    """Image tower trained by `trainers.teachers.two_tower` on renders of procedural rooms and objects.

    Its training used class names, colours and materials, so that models distilled from it are not label-free.

    Args:
        folder: folder of ``builtin.safetensors`` and ``builtin.json``; the bundled model by default.

    Attributes:
        card: content of the JSON file.
        tower: the text tower alone; ``text`` may know further names.
        digest: digest of the weights.

    Raises:
        InputError: missing or damaged files.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        folder = Path(str(files("gaussiancross.assets"))) if folder is None else Path(folder)
        try:
            self.card = read_json(folder / CARD)
            config, words = read_sizes(TwoTowerConfig, self.card["config"]), read_words(self.card["words"])
            name, licence = str(self.card["name"]), str(self.card["licence"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(folder / CARD, "the description of the built-in teacher", repr(error)) from error
        self._model = load_network(lambda: TwoTower(config), folder / WEIGHTS, CARD)
        self._model.image.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.tower = BuiltinText(self._model, Vocabulary(words, config.length))
        self.digest = hashlib.sha256(read_bytes(folder / WEIGHTS)).hexdigest()[:12]
        further = FurtherNames.load(folder, self.digest)
        self.text = self.tower if further is None else WideText(self.tower, further)
        self._fingerprint = f"{name}-{self.digest}-" + "-".join(map(str, SCALES))
        self.folder = folder
        self.size = (WIDTH, 3 * WIDTH // 4)
        self.info = TeacherInfo(name, config.dim, licence, None, label_free=False)

    @property
    def towers(self) -> TwoTower:
        """The network, in eval mode."""
        return self._model

    @property
    def fingerprint(self) -> str:
        """Name, digest of the weights, and scales."""
        return self._fingerprint

    def frame_size(self, frames: PosedFrames) -> tuple[int, int]:
        """(width, height): `WIDTH` pixels wide, with the aspect ratio of the frames."""
        return WIDTH, STRIDE * max(1, round(WIDTH / frames.cameras.width * frames.cameras.height / STRIDE))

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """Mean over `SCALES` of unit features: [C, H, W, 3] RGB in [0, 1] → [C, h, w, D] on the grid of the last scale,
        h = round(1.5 H / 8) and w = round(1.5 W / 8)."""
        x = images.float().permute(0, 3, 1, 2)
        sizes = [[max(1, round(scale * side / STRIDE)) for side in x.shape[-2:]] for scale in SCALES]
        height, width = sizes[-1]
        total = torch.zeros(len(x), self.info.dim, height, width)
        for tokens in sizes:
            maps = F.normalize(self._maps(x, *tokens), dim=-1).permute(0, 3, 1, 2)
            total += F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)
        return (total / len(SCALES)).permute(0, 2, 3, 1)

    def _maps(self, x: Tensor, height: int, width: int) -> Tensor:
        """Features at one scale: [C, 3, H, W] → [C, height, width, D]."""
        if x.shape[-2:] != (STRIDE * height, STRIDE * width):
            x = F.interpolate(
                x, (STRIDE * height, STRIDE * width), mode="bilinear", align_corners=False, antialias=True
            )
        below, beside = -height % 4, -width % 4  # the tower halves the image five times
        x = F.pad(x, (0, STRIDE * beside, 0, STRIDE * below), mode="replicate")
        x = x.contiguous(memory_format=torch.channels_last)
        maps = [self._model.image.dense(self._model.image(part))[:, :height, :width] for part in x.split(8)]
        return torch.cat(maps) if maps else torch.zeros(0, height, width, self.info.dim)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Unit features of whole images, resized to the nearest multiples of 32 pixels: [B, H, W, 3] RGB in [0, 1] →
        [B, D]."""
        x = images.float().permute(0, 3, 1, 2)
        size = tuple(32 * max(1, round(side / 32)) for side in x.shape[-2:])
        if x.shape[-2:] != size:
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        pooled = self._model.image(x.contiguous(memory_format=torch.channels_last))
        mask = torch.ones(len(images), pooled.values.shape[1])
        return F.normalize(self._model.image.pool(pooled, mask, torch.arange(len(images))), dim=-1)


class BuiltinText:
    """Text tower of the bundled teacher, a `query.ClosedVocabularyEncoder`."""

    def __init__(self, model: TwoTower, vocabulary: Vocabulary) -> None:
        self._model, self.vocabulary = model, vocabulary

    @property
    def dim(self) -> int:
        return self._model.config.dim

    @torch.no_grad()
    def encode(self, phrases: list[str]) -> EncodedPhrases:
        """[P, D] unit vectors; zero and not known for phrases with a word outside the vocabulary."""
        table, known = self.vocabulary.table(phrases)
        return EncodedPhrases(F.normalize(self._model.text(table), dim=-1) * known[:, None], known)

    def find(self, phrase: str) -> str | UnknownPhrase:
        """The phrase, or the word of it that is not in the vocabulary."""
        numbers = self.vocabulary.numbers(phrase)
        return numbers if isinstance(numbers, UnknownPhrase) else phrase

    @cached_property
    def words(self) -> tuple[str, ...]:
        """All words of the vocabulary."""
        return self.vocabulary.words
