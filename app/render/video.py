"""Moving pictures: where the camera goes, and how frames become a GIF or an MP4."""

from __future__ import annotations

import io
import itertools
import math
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import GifImagePlugin
from PIL import Image as Pil

from ...core.errors import InputError
from ...core.geometry.cameras import Cameras
from .layers import Image

Format = Literal["GIF", "MP4"]

MAX_FRAMES = 1200
"""Frames of one video."""


# --- where the camera goes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pose:
    """A camera without a picture size.

    Attributes:
        position: [3] in the world, metres.
        rotation: [3, 3] camera → world, OpenCV (x right, y down, z forward).
        fov: vertical, radians.
    """

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    fov: float

    def cameras(self, width: int, height: int) -> Cameras:
        """One camera of that picture size."""
        focal = 0.5 * height / math.tan(0.5 * self.fov)
        k = torch.tensor([[focal, 0, 0.5 * width], [0, focal, 0.5 * height], [0, 0, 1.0]], dtype=torch.float32)
        viewmat = np.eye(4)
        viewmat[:3, :3], viewmat[:3, 3] = self.rotation.T, -self.rotation.T @ self.position
        return Cameras(torch.from_numpy(viewmat).float()[None], k[None], width, height)


def spline(keys: Sequence[Pose], count: int, loop: bool = False) -> list[Pose]:
    """``count`` poses on a smooth path through the key frames, at an even pace (a metre counts like a radian).

    Positions follow monotone cubics (they never overshoot a key frame; on a closed path, periodic cubic splines) and
    rotations a spline with continuous angular velocity.

    Args:
        loop: go back to the first key frame; the last pose is then not repeated.
    """
    # Half a second that only a path is worth, here and below.
    from scipy.interpolate import CubicSpline, PchipInterpolator
    from scipy.spatial.transform import Rotation, RotationSpline

    keys = [k for i, k in enumerate(keys) if i == 0 or _apart(keys[i - 1], k) > 1e-6]
    if not keys:
        raise InputError("the camera path", "at least one key frame", "none", "add some")
    if len(keys) == 1 or count < 2:
        return [keys[0]] * max(count, 1)
    if loop and _apart(keys[-1], keys[0]) > 1e-6:
        keys = [*keys, keys[0]]
    times = np.concatenate([[0.0], np.cumsum([_apart(a, b) for a, b in itertools.pairwise(keys)])])
    at = np.linspace(0, times[-1], count, endpoint=not loop)
    places = np.stack([k.position for k in keys])
    closed = loop and len(keys) > 3
    position = CubicSpline(times, places, bc_type="periodic")(at) if closed else PchipInterpolator(times, places)(at)
    rotation = RotationSpline(times, Rotation.from_matrix(np.stack([k.rotation for k in keys])))(at).as_matrix()
    fov = np.interp(at, times, [k.fov for k in keys])
    return [Pose(p, r, float(f)) for p, r, f in zip(position, rotation, fov, strict=True)]


def orbit(start: Pose, target: NDArray, up: NDArray, count: int) -> list[Pose]:
    """``count`` poses on a full turn from ``start``, around the axis through ``target`` [3] along ``up`` [3]."""
    from scipy.spatial.transform import Rotation

    axis = np.asarray(up, np.float64) / np.linalg.norm(up)
    turns = Rotation.from_rotvec(axis * np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None]).as_matrix()
    return [Pose(target + turn @ (start.position - target), turn @ start.rotation, start.fov) for turn in turns]


def dataset_path(cameras: Cameras, count: int, keys: int = 40) -> list[Pose]:
    """``count`` poses along a dataset's cameras, in their order; a long capture is thinned to ``keys`` of them."""
    picks = np.unique(np.linspace(0, len(cameras) - 1, min(keys, len(cameras))).astype(int))
    fov = 2 * math.atan(0.5 * cameras.height / float(cameras.Ks[0, 1, 1]))
    poses = cameras.camera_to_worlds[torch.from_numpy(picks)].double().numpy()
    return spline([Pose(p[:3, 3], p[:3, :3], fov) for p in poses], count)


def _apart(a: Pose, b: Pose) -> float:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(a.rotation.T @ b.rotation).magnitude()
    return float(np.linalg.norm(a.position - b.position) + turn)


# --- how frames become a file ---------------------------------------------------------------------------------


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
