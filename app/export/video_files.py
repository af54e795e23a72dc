"""Writers of GIF and MP4 files."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import GifImagePlugin
from PIL import Image as Pil

from ...core.errors import InputError
from ..render.layers import Image

Format = Literal["GIF", "MP4"]

MAX_FRAMES = 1200
"""Frames of one video."""


class Writer(Protocol):
    """Takes frames of one size; ``finish`` yields while an encoder works on, then returns the file's bytes. ``close``
    cleans up and may be called at any time, also twice."""

    def add(self, frame: Image) -> None: ...
    def finish(self) -> Iterator[None]: ...
    def close(self) -> None: ...
    @property
    def content(self) -> bytes: ...


def open_writer(kind: Format, width: int, height: int, fps: float) -> Writer:
    """A writer of frames [height, width, 3]; MP4 wants even sizes."""
    return GifWriter(width, height, fps) if kind == "GIF" else Mp4Writer(width, height, fps)


class GifWriter:
    """A GIF that repeats for ever, built frame by frame (Pillow's own writer wants all frames at once). Every frame has
    its own 256 colours. Times are whole hundredths of a second, rounded so that they add up."""

    def __init__(self, width: int, height: int, fps: float) -> None:
        self._buffer = io.BytesIO()
        self._buffer.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
        self._buffer.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
        self._fps, self._count = fps, 0

    def add(self, frame: Image) -> None:
        begin, end = (round(100 * n / self._fps) for n in (self._count, self._count + 1))
        picture = Pil.fromarray(frame).quantize(256, Pil.Quantize.MEDIANCUT, dither=Pil.Dither.FLOYDSTEINBERG)
        blocks = GifImagePlugin.getdata(picture, duration=10 * max(2, end - begin), include_color_table=True)
        self._buffer.write(b"".join(blocks))
        self._count += 1

    def finish(self) -> Iterator[None]:
        self._buffer.write(b";")
        yield from ()

    @property
    def content(self) -> bytes:
        return self._buffer.getvalue()

    def close(self) -> None:
        pass


class Mp4Writer:
    """H.264 through an ffmpeg binary, one thread; frames go in through a pipe, the file comes from a private folder."""

    def __init__(self, width: int, height: int, fps: float) -> None:
        if width % 2 or height % 2:
            raise InputError("an MP4", "an even width and height", f"{width} × {height}")
        binary = find_ffmpeg()
        if binary is None:
            raise InputError("an MP4", "ffmpeg, or the package imageio-ffmpeg", "neither", "make a GIF instead")
        self._folder = tempfile.TemporaryDirectory(prefix="gaussiancross-")
        self._path, self._log = Path(self._folder.name) / "video.mp4", Path(self._folder.name) / "log.txt"
        codec = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "19"]
        if "libx264" not in encoders(binary):
            codec = ["-c:v", "mpeg4", "-q:v", "3"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(binary, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"),
                    *("-r", f"{fps:g}", "-i", "-", "-an", "-threads", "1", *codec, "-pix_fmt", "yuv420p"),
                    *("-movflags", "+faststart", "-y", str(self._path)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def add(self, frame: Image) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).tobytes())
        except (BrokenPipeError, ValueError):
            self._fail()

    def finish(self) -> Iterator[None]:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        while self._process.poll() is None:
            yield
        if self._process.returncode != 0 or not self._path.is_file():
            self._fail()

    @property
    def content(self) -> bytes:
        return self._path.read_bytes()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._folder.cleanup()

    def _fail(self) -> None:
        said = self._log.read_text(errors="replace").strip().splitlines() or ["no reason given"]
        raise InputError("an MP4", "ffmpeg to take the frames", said[-1][:200], "make a GIF instead")


def find_ffmpeg() -> str | None:
    """An ffmpeg binary: from the PATH, else the one that the package imageio-ffmpeg brings."""
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    try:
        import imageio_ffmpeg  # type: ignore[import-not-found]

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return None


@lru_cache
def encoders(binary: str) -> str:
    """What ``ffmpeg -encoders`` prints."""
    done = subprocess.run(
        [binary, "-hide_banner", "-encoders"], capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout


def even(pixels: int) -> int:
    """The next smaller even number: video encoders take no other sizes."""
    return pixels - pixels % 2
