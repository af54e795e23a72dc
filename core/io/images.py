"""Read and write colour images and 16-bit depth images."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import InputError
from .plain_files import check_plain

PNG_END = b"IEND\xaeB`\x82"
"""Last bytes of every complete PNG. Pillow accepts files without them if the pixels are complete."""

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def image_size(path: Path | str) -> tuple[int, int]:
    """(width, height) of an image, from its header.

    Raises:
        InputError: missing or not an image.
    """
    try:
        check_plain(path)
        with Image.open(path) as image:
            return image.size
    except _DAMAGE as error:
        raise _damaged(Path(path), "an image", error) from error


def read_color(path: Path | str) -> NDArray[np.uint8]:
    """Read an 8-bit image of any kind as RGB [H, W, 3] uint8.

    Raises:
        InputError: missing, truncated, or not an image.
    """
    image = open_image(Path(path), "a colour image (JPEG or PNG)")
    if image.mode.startswith(("I", "F")):
        raise InputError(path, "an 8-bit colour image", f"mode {image.mode}", "put depth images into the depth folder")
    return np.array(image.convert("RGB"))


def read_depth(path: Path | str) -> NDArray[np.uint16]:
    """Read a 16-bit grey PNG as [H, W] uint16, in the file's unit (ScanNet: millimetres; 0 = no measurement).

    Raises:
        InputError: missing, truncated, or not a 16-bit grey image.
    """
    image = open_image(Path(path), "a 16-bit depth PNG")
    if not image.mode.startswith("I"):
        raise InputError(path, "a 16-bit grey PNG of depth in millimetres", f"mode {image.mode}")
    array = np.asarray(image)
    if array.size and (array.min() < 0 or array.max() > 65535):
        raise InputError(path, "depth in 16 bits", f"values from {array.min()} to {array.max()}")
    return array.astype(np.uint16)


def write_color(path: Path | str, color: NDArray[np.uint8]) -> None:
    """Write an RGB image [H, W, 3] uint8 in the format of the suffix."""
    Image.fromarray(np.ascontiguousarray(color)).save(path)


def write_depth(path: Path | str, depth: NDArray[np.uint16]) -> None:
    """Write a depth image [H, W] uint16 as a 16-bit grey PNG."""
    Image.fromarray(np.ascontiguousarray(depth, dtype=np.uint16)).save(path, format="PNG")


def open_image(path: Path, expected: str) -> Image.Image:
    """Open and decode an image.

    Raises:
        InputError: missing or damaged; names what was ``expected``.
    """
    try:
        check_plain(path)
        with Image.open(path) as image:
            image.load()
            if image.format == "PNG":
                with path.open("rb") as file:
                    file.seek(max(0, path.stat().st_size - 4096))
                    if PNG_END not in file.read():
                        raise ValueError("truncated: no IEND chunk")
            return image
    except _DAMAGE as error:
        raise _damaged(path, expected, error) from error


def _damaged(path: Path, expected: str, error: Exception) -> InputError:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return InputError(path, expected, "no such file")
    except OSError as problem:  # such as a name that is too long
        return InputError(str(path)[:200], expected, f"nothing readable ({problem.strerror})")
    detail = "unknown format" if isinstance(error, UnidentifiedImageError) else error
    return InputError(path, expected, f"{size} bytes that cannot be decoded ({detail})", "copy or export it again")
