"""Read ScanNet's ``.sens`` recordings, version 4: a header and a sequence of RGB-D frames (little-endian).

    u32 version, u64 + name, 4 × f32[16] (intrinsics and extrinsics of colour, of depth), i32 × 2 compression,
    u32 × 4 widths and heights (colour, depth), f32 depth units per metre, u64 frames
    per frame: f32[16] camera-to-world, u64 × 2 time stamps, u64 × 2 sizes, colour bytes, depth bytes

Inertial data at the end is ignored. Recordings have gigabytes, so images are read on demand.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from .plain_files import open_plain

VERSION = 4

COLOR_CODECS = {0: "raw", 1: "png", 2: "jpeg"}
DEPTH_CODECS = {0: "raw", 1: "zlib"}
"""Supported compression codes. Code 2, a lossy depth codec of the capture app, occurs in no release."""

MAX_SIDE = 16_384
"""Largest image side in pixels; a larger one indicates a damaged header."""

_FRAME = struct.Struct("<16f4Q")


@dataclass(frozen=True)
class SensFrame:
    """Position of one frame in the file.

    Attributes:
        index: number of the frame in the recording.
        pose: [4, 4] camera-to-world, metres; not finite if tracking was lost.
        offset: position of the colour image in the file, bytes.
        color_bytes, depth_bytes: sizes of the encoded images.
    """

    index: int
    pose: NDArray[np.float64]
    offset: int
    color_bytes: int
    depth_bytes: int


@dataclass(frozen=True)
class Sens:
    """Header of a recording and positions of its frames. Made by `read_sens`.

    Attributes:
        path: the recording.
        name: name of the sensor.
        color_intrinsics, depth_intrinsics: [4, 4], pixels, the first pixel's centre at (0, 0).
        color_extrinsics, depth_extrinsics: [4, 4].
        color_size, depth_size: (width, height).
        color_codec, depth_codec: see `COLOR_CODECS`, `DEPTH_CODECS`.
        depth_shift: depth units per metre.
        frames: positions of the frames.
    """

    path: Path
    name: str
    color_intrinsics: NDArray[np.float64]
    color_extrinsics: NDArray[np.float64]
    depth_intrinsics: NDArray[np.float64]
    depth_extrinsics: NDArray[np.float64]
    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    color_codec: str
    depth_codec: str
    depth_shift: float
    frames: tuple[SensFrame, ...]

    def images(self, frames: Iterable[SensFrame]) -> Iterator[tuple[Image.Image, NDArray[np.uint16]]]:
        """Decode the colour image (RGB) and depth [H, W] (millimetres, 0 = no measurement) of each frame.

        Raises:
            InputError: an image that cannot be decoded.
        """
        with self.path.open("rb") as file:
            for frame in frames:
                file.seek(frame.offset)
                color, depth = file.read(frame.color_bytes), file.read(frame.depth_bytes)
                try:
                    yield self._color(color), self._depth(depth)
                except (OSError, ValueError, SyntaxError, zlib.error) as error:
                    raise InputError(self.path, f"images of frame {frame.index}", f"damage ({error})") from error

    def _color(self, data: bytes) -> Image.Image:
        if self.color_codec == "raw":
            return Image.frombytes("RGB", self.color_size, data)
        image = Image.open(io.BytesIO(data))
        if image.size != self.color_size:
            raise ValueError(f"a colour image of {image.size} pixels")
        return image.convert("RGB")

    def _depth(self, data: bytes) -> NDArray[np.uint16]:
        width, height = self.depth_size
        if self.depth_codec == "zlib":
            data = zlib.decompress(data)
        depth = np.frombuffer(data, "<u2")
        if depth.size != width * height:
            raise ValueError(f"{depth.size} depth values")
        if self.depth_shift == 1000:
            return depth.reshape(height, width)
        millimetres = depth.reshape(height, width) * (1000 / self.depth_shift) + 0.5
        return np.where(millimetres <= 65535, millimetres, 0).astype(np.uint16)


def read_sens(path: Path | str, most: int | None = None) -> Sens:
    """Read the header and the positions of the frames; `Sens.images` decodes images.

    Args:
        most: largest number of frames to read; all by default.

    Raises:
        InputError: missing, another version, an unsupported codec, impossible sizes, or truncated (names the frame).
    """
    path = Path(path)
    try:
        length = path.stat().st_size
        with open_plain(path) as file:
            return _read(path, file, length, most)
    except FileNotFoundError:
        raise InputError(path, "a .sens recording", "no such file") from None
    except (OSError, struct.error) as error:
        raise InputError(path, "a .sens recording", f"a truncated file ({error})", "download it again") from error


def _read(path: Path, file: BinaryIO, length: int, most: int | None) -> Sens:
    def take(layout: str) -> tuple:
        return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))

    (version,) = take("I")
    if version != VERSION:
        raise InputError(path, f"a .sens recording of version {VERSION}", f"version {version}")
    (letters,) = take("Q")
    if letters > 4096:
        raise InputError(path, "a sensor's name", f"{letters} letters", "download it again")
    name = file.read(letters).decode("utf-8", errors="replace")
    matrices = [np.array(take("16f"), np.float64).reshape(4, 4) for _ in range(4)]
    color_codec, depth_codec = take("2i")
    if color_codec not in COLOR_CODECS or depth_codec not in DEPTH_CODECS:
        expected = f"colour of {list(COLOR_CODECS.values())} and depth of {list(DEPTH_CODECS.values())}"
        raise InputError(path, expected, f"codes {color_codec} and {depth_codec}")
    color_w, color_h, depth_w, depth_h = sides = take("4I")
    (shift,) = take("f")
    if not all(0 < side <= MAX_SIDE for side in sides) or not 0 < shift < 1e6:
        raise InputError(path, "image sizes and depth units", f"{sides} and {shift}", "download it again")
    (count,) = take("Q")
    frames = []
    for index in range(count if most is None else min(most, count)):
        raw = file.read(_FRAME.size)
        offset = file.tell()
        if len(raw) < _FRAME.size:
            raise _truncated(path, index, count)
        *pose, _, _, color_bytes, depth_bytes = _FRAME.unpack(raw)
        if offset + color_bytes + depth_bytes > length:
            raise _truncated(path, index, count)
        frames.append(SensFrame(index, np.array(pose, np.float64).reshape(4, 4), offset, color_bytes, depth_bytes))
        file.seek(offset + color_bytes + depth_bytes)
    return Sens(
        path=path,
        name=name,
        color_intrinsics=matrices[0],
        color_extrinsics=matrices[1],
        depth_intrinsics=matrices[2],
        depth_extrinsics=matrices[3],
        color_size=(color_w, color_h),
        depth_size=(depth_w, depth_h),
        color_codec=COLOR_CODECS[color_codec],
        depth_codec=DEPTH_CODECS[depth_codec],
        depth_shift=shift,
        frames=tuple(frames),
    )


def _truncated(path: Path, index: int, count: int) -> InputError:
    return InputError(path, f"{count} frames", f"a file that ends in frame {index}", "download it again")
