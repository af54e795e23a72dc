"""Still pictures of any size as PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from ...core.errors import InputError
from ..render.catalog import INFO
from ..render.colors import Image, to_image
from ..render.draw import crop_cameras
from ..render.options import RenderOptions
from ..render.renderer import Renderer, draw_overlays
from .camera_path import Pose
from .work import Download, Progress, Work

MAX_SIDE = 7680
"""Longest side of a still picture, pixels (8K)."""

STRIP_PIXELS = 1_000_000
"""Pixels of one strip of a large picture."""

_MARGIN = 128
"""Rows drawn beyond a strip and cut off: how a large Gaussian beside a picture is splatted depends on where the picture
ends. What remains is a step of a few 8-bit levels where Gaussians are near and as large as a hand."""


def picture_work(
    renderer: Renderer, scene: int, look: RenderOptions, pose: Pose, width: int, height: int, name: str
) -> Work:
    """A PNG of any size up to `MAX_SIDE`, drawn in strips. Two layers at once and sheets are drawn in one go."""
    if min(width, height) < 16 or max(width, height) > MAX_SIDE:
        raise InputError("a picture", f"16 to {MAX_SIDE} pixels on either side", f"{width} × {height}")
    cameras = pose.cameras(width, height)
    if look.mixed or INFO[look.layer].kind == "sheet":
        image = renderer.draw(scene, look, cameras).image
        yield Progress(0.5)
    else:
        rows = max(128, STRIP_PIXELS // width)
        parts, painted = [], None
        for top in range(0, height, rows):
            bottom = min(height, top + rows)
            begin, end = max(0, top - _MARGIN), min(height, bottom + _MARGIN)
            painted = renderer.paint(scene, look, crop_cameras(cameras, top=begin, bottom=end))
            parts.append(to_image(painted.colors)[top - begin : bottom - begin])
            yield Progress(0.9 * bottom / height)
        assert painted is not None
        image = draw_overlays(np.concatenate(parts), painted)
    png = Png(image.shape[1], image.shape[0])
    for top in range(0, len(image), 256):
        png.add(image[top : top + 256])
        yield Progress(0.9 + 0.1 * top / len(image))
    return Download(f"{name}.png", png.finish())


class Png:
    """An RGB PNG written in strips of rows (Pillow's writer would hold up everybody for a large picture)."""

    def __init__(self, width: int, height: int) -> None:
        self._zip, self._last = zlib.compressobj(4), np.zeros((width, 3), np.uint8)
        self._parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]

    def add(self, rows: Image) -> None:
        """The next rows [R, W, 3]."""
        above = np.concatenate([self._last[None], rows[:-1]])
        filtered = np.full((len(rows), 1 + 3 * rows.shape[1]), 2, np.uint8)  # filter 2: differences from the row above
        filtered[:, 1:] = (rows - above).reshape(len(rows), -1)
        self._last = rows[-1].copy()
        data = self._zip.compress(filtered.tobytes())
        if data:
            self._parts.append(_chunk(b"IDAT", data))

    def finish(self) -> bytes:
        return b"".join([*self._parts, _chunk(b"IDAT", self._zip.flush()), _chunk(b"IEND", b"")])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
