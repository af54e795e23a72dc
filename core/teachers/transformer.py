"""Teachers from checkpoints of the `transformers` library."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.scene import PosedFrames
from ..device import default_device, has_bfloat16
from ..errors import InputError
from ..query.text import TextEncoder
from .base import ImageTeacher, TeacherFactory, TeacherInfo
from .checkpoint import LoadedCheckpoint, load_checkpoint
from .dense import DenseNetwork, DinoDense, RadioDense
from .families import ADAPTOR_TEXT, FAMILIES, Family, licence_of
from .options import Precision, TeacherConfig, parse_options
from .text import LateText, TransformerText
from .windows import multi_scale, resize_images, sliding


class TransformerTeacher(ImageTeacher):
    """Dense features of a CLIP, SigLIP 2, DINO or RADIO checkpoint.

    Frames keep their aspect ratio, with a shorter side of `TeacherConfig.short` pixels. Images passed to `maps` are
    resampled to whole patches. Thread-safe.

    Args:
        kind: key of `FAMILIES`.
        checkpoint: name or folder of the checkpoint.
        options: see `TeacherConfig`.
        make_teacher: makes the teacher whose text tower belongs to a RADIO adaptor.

    Raises:
        InputError: see `load_checkpoint`.
    """

    def __init__(self, kind: str, checkpoint: str, options: TeacherConfig, make_teacher: TeacherFactory) -> None:
        self.options = options
        family = FAMILIES[kind]
        loaded = load_checkpoint(kind, checkpoint, family, self.options)
        self.spec = f"{kind}:{checkpoint}"
        self.device = torch.device(_device(self.options.device))
        self._dtype = _dtype(self.options.dtype, self.device)
        self._network = _dense(family, loaded, self.options)
        self._family, self._loaded = family, loaded
        self._fingerprint = _fingerprint(kind, loaded.digest, self.options)
        loaded.model.to(self.device)
        self._mean, self._std = (
            None if v is None else torch.tensor(v, device=self.device)[:, None, None] for v in (loaded.mean, loaded.std)
        )
        self._lock = threading.Lock()  # a training thread and a viewer may call at once
        p = self.patch = self._network.patch
        dim = self._tokens(torch.zeros(1, 3, 2 * p, 2 * p)).shape[-1]  # no config has the width for all families
        self.info = TeacherInfo(
            _name(kind, checkpoint, self.options), dim, licence_of(checkpoint), None, family.label_free
        )
        self.size = self._whole(4 * self.options.short / 3), self._whole(self.options.short)
        self.text = self._text_tower(make_teacher)

    @property
    def digest(self) -> str:
        """Digest of the checkpoint's content."""
        return self._loaded.digest

    @property
    def fingerprint(self) -> str:
        """Family, and a digest of the checkpoint's content and of the options that change features; independent of the
        checkpoint's location."""
        return self._fingerprint

    @property
    def former_fingerprints(self) -> tuple[str, ...]:
        if self.options.layers:  # a later option
            return ()
        options = repr(replace(self.options, batch=8, device="auto")).replace("layers=(), ", "")
        return (f"({self.spec!r}, {options}, {self._loaded.former_version!r})",)

    def frame_size(self, frames: PosedFrames) -> tuple[int, int]:
        """(width, height) at which a scene's frames are read: their aspect ratio, in whole patches."""
        width, height = frames.cameras.width, frames.cameras.height
        factor = self.options.short / min(width, height)
        return self._whole(width * factor), self._whole(height * factor)

    def maps(self, images: Tensor) -> Tensor:
        """Dense features: [C, H, W, 3] RGB in [0, 1] → [C, h, w, D] float32 on the CPU; h × w patches cover the image.

        Raises:
            InputError: images of another shape.
        """
        if images.ndim != 4 or images.shape[-1] != 3:
            raise InputError("images", "a tensor [C, H, W, 3]", str(tuple(images.shape)))
        h, w = (self._whole(n) for n in images.shape[1:3])
        if len(images) == 0:
            return torch.zeros(0, h // self.patch, w // self.patch, self.info.dim)
        group = self.options.batch
        with self._lock, torch.no_grad():
            return torch.cat([self._maps(images[k : k + group], h, w) for k in range(0, len(images), group)])

    def embed(self, images: Tensor) -> Tensor:
        """Features of whole images, for comparison with text: [B, H, W, 3] RGB in [0, 1] → [B, D] float32 on the CPU,
        unit length. The centre is cropped after resizing the shorter side to that of the training.

        Raises:
            InputError: images of another shape.
        """
        if images.ndim != 4 or images.shape[-1] != 3:
            raise InputError("images", "a tensor [C, H, W, 3]", str(tuple(images.shape)))
        side, (h, w) = self._network.native, images.shape[1:3]
        longer = [max(side, round(side * n / min(h, w))) for n in (h, w)]
        top, left = ((n - side) // 2 for n in longer)
        rows = [torch.zeros(0, self.info.dim)]
        with self._lock, torch.no_grad():
            for part in images.split(self.options.batch) if len(images) else ():
                pixels = resize_images(part.to(self.device, torch.float32).permute(0, 3, 1, 2), *longer)
                pixels = self._normalised(pixels[..., top : top + side, left : left + side])
                with self._autocast():
                    pooled = self._network.pooled(pixels)
                rows.append(F.normalize(pooled.float(), dim=-1).cpu())
        return torch.cat(rows)

    def _text_tower(self, make_teacher: TeacherFactory) -> TextEncoder | None:
        """Text tower into the same space; None for DINO, and for RADIO without a suitable adaptor."""
        loaded, style, dim = self._loaded, self._family.text, self.info.dim
        if style is not None:
            return TransformerText(loaded.model, loaded.tokenizer, style, dim, self._autocast)
        spec = self.options.text or ADAPTOR_TEXT.get(self.options.adaptor, "")
        if not spec:
            return None
        return LateText(lambda: getattr(make_teacher(spec), "text", None), dim, f"teacher {spec}")

    def _maps(self, images: Tensor, height: int, width: int) -> Tensor:
        """Features [C, height / patch, width / patch, D] of a group of images [C, H, W, 3]."""
        options = self.options
        pixels = resize_images(images.to(self.device, torch.float32).permute(0, 3, 1, 2), height, width)

        def whole(pixels: Tensor) -> Tensor:
            return sliding(self._tokens, pixels, self.patch, options.window, options.stride, options.batch)

        return multi_scale(whole, pixels, self.patch, options.scales).float().cpu()

    @torch.no_grad()
    def _tokens(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] → [B, h, w, D]."""
        with self._autocast():
            return self._network(self._normalised(pixels.to(self.device)))

    def _normalised(self, pixels: Tensor) -> Tensor:
        """Normalise pixels [B, 3, H, W] in [0, 1] for the network."""
        if self._mean is None or self._std is None:
            return pixels
        return (pixels - self._mean) / self._std

    def _autocast(self) -> Any:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self._dtype)

    def _whole(self, pixels: float) -> int:
        """The nearest whole number of patches, in pixels."""
        return max(1, round(pixels / self.patch)) * self.patch


def load_transformer(kind: str, argument: str, make_teacher: TeacherFactory) -> TransformerTeacher:
    """Make the teacher of ``kind:CHECKPOINT,options``."""
    checkpoint, options = parse_options(argument)
    return TransformerTeacher(kind, checkpoint, options, make_teacher)


def _name(kind: str, checkpoint: str, options: TeacherConfig) -> str:
    folder = Path(checkpoint).expanduser()
    name = folder.resolve().name if folder.is_dir() else checkpoint
    return f"{kind}:{name}" + (f" ({options.adaptor})" if options.adaptor else "")


def _fingerprint(kind: str, digest: str, options: TeacherConfig) -> str:
    without_effect = ("batch", "device", "revision", "text")  # on features, but for rounding
    choices = {name: value for name, value in asdict(options).items() if name not in without_effect}
    if not options.layers:  # as before there was a choice of layers: stored features stay valid
        del choices["layers"]
    content = json.dumps([kind, digest, choices], sort_keys=True)
    return f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _dense(family: Family, loaded: LoadedCheckpoint, options: TeacherConfig) -> DenseNetwork:
    if family.dense is RadioDense:
        return RadioDense(loaded.model, options.adaptor)
    if options.layers and family.dense is not DinoDense:
        raise InputError("teacher option layers", "a DINO checkpoint", "one of another family")
    return family.dense(loaded.model, options.layers) if options.layers else family.dense(loaded.model)


def _device(device: str) -> str:
    if device == "auto":
        return default_device().type
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("teacher option device", "a device of this machine", f"{device}, and no CUDA device")
    return device


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and has_bfloat16(device) else torch.float32
    return getattr(torch, precision)
