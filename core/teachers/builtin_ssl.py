"""The bundled label-free teacher, a small network trained by self-distillation."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.scene import PosedFrames
from ..errors import InputError
from ..io.json_files import read_json
from ..io.plain_files import read_bytes
from ..nn.tokens import CELL, STRIDE, TokenNet, TokenNetConfig
from .base import ImageTeacher, TeacherInfo
from .bundled import load_network, read_sizes

WIDTH = 320
"""Width of its input frames in pixels, as in its training."""
WEIGHTS, CARD = "builtin_ssl.safetensors", "builtin_ssl.json"
_BATCH = 8
"""Number of images per pass; the features of an image do not depend on it."""


class BuiltinSslTeacher(ImageTeacher):
    """Network trained by `trainers.teachers.self_distillation` on colour images of procedural rooms.

    The training uses neither labels, captions, depth nor poses. A token covers 8 × 8 pixels of an image of `WIDTH`; the
    channels have mean 0 and variance 1 over the training images. Trained on renders only, it is no replacement for
    DINOv2 on photographs.

    Args:
        folder: folder of ``builtin_ssl.safetensors`` and ``builtin_ssl.json``; the bundled model by default.

    Attributes:
        card: content of the JSON file: training command, seeds, held-out scores.

    Raises:
        InputError: files that are missing, damaged or of another network.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        folder = Path(str(files("gaussiancross.assets"))) if folder is None else Path(folder)
        try:
            self.card = read_json(folder / CARD)
            config = read_sizes(TokenNetConfig, self.card["config"])
            name, licence = str(self.card["name"]), str(self.card["licence"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                folder / CARD, "the description of the label-free built-in teacher", repr(error), "restore the file"
            ) from error
        self._net = load_network(lambda: TokenNet(config), folder / WEIGHTS, CARD)
        self._net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._fingerprint = f"{name}-{_digest(folder / WEIGHTS)}"
        self.size = (WIDTH, 3 * WIDTH // 4)
        self.info = TeacherInfo(name, config.dim, licence, None, label_free=True)

    @property
    def fingerprint(self) -> str:
        """Name and digest of the weights."""
        return self._fingerprint

    def frame_size(self, frames: PosedFrames) -> tuple[int, int]:
        """(width, height): `WIDTH` pixels wide, with the aspect ratio of the frames."""
        return WIDTH, CELL * max(1, round(WIDTH / frames.cameras.width * frames.cameras.height / CELL))

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """Dense features: [C, H, W, 3] RGB in [0, 1] → [C, h, w, D] with h = 2 round(H / 16), w = 2 round(W / 16).

        Images are resized to the nearest positive multiples of 16 pixels.

        Raises:
            InputError: a shape other than [C, H, W, 3].
        """
        if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
            raise InputError("images", "colour images [C, H, W, 3]", f"{tuple(images.shape)}")
        x = images.float().permute(0, 3, 1, 2)
        height, width = (CELL * max(1, round(s / CELL)) for s in x.shape[-2:])
        maps = [self._features(part, height, width) for part in x.split(_BATCH)] if len(x) else []
        return torch.cat(maps) if maps else torch.zeros(0, height // STRIDE, width // STRIDE, self.info.dim)

    def _features(self, x: Tensor, height: int, width: int) -> Tensor:
        if x.shape[-2:] != (height, width):
            x = F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)
        return self._net(x.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1).contiguous()


def _digest(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()[:12]
