"""Read the frames of posed captures from image files: decoding, undistortion, resampling, caching."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.scene import Frame, PosedFrames
from ..errors import InputError
from .arrays import read_array
from .images import open_image, read_depth
from .lru import ArrayCache

OVERHANG = 0.05
"""Largest share of its size by which the view may exceed the colour image; the border pixels are repeated."""


LARGEST = 1e9
"""Largest parameter of a camera or a pose that is taken for one; both are stored in single precision."""

NO_DEPTH = 65535
"""Value of 16-bit depth images that some sensors write, besides 0, where there is no measurement."""


@dataclass(frozen=True)
class Lens:
    """Camera with OpenCV's radial-tangential or fisheye distortion; pixel centres at half integers.

    Attributes:
        fx, fy, cx, cy: intrinsics in pixels, of the distorted and of the undistorted image.
        k1, k2, k3, k4: radial coefficients; the last of fisheye lenses only.
        p1, p2: tangential coefficients; not of fisheye lenses.
        fisheye: whether the image is an equidistant projection (OpenCV's and COLMAP's fisheye model).
    """

    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k4: float = 0.0
    fisheye: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether all parameters are finite in single precision and the focal lengths positive."""
        values = (self.fx, self.fy, self.cx, self.cy, self.k1, self.k2, self.k3, self.p1, self.p2, self.k4)
        return all(abs(v) <= LARGEST for v in values) and min(self.fx, self.fy) >= 1 / LARGEST

    @property
    def is_pinhole(self) -> bool:
        return not (self.fisheye or any((self.k1, self.k2, self.k3, self.k4, self.p1, self.p2)))

    def scaled(self, size: tuple[int, int], new: tuple[int, int]) -> Lens:
        """The same lens for an image of ``new`` (width, height) instead of ``size``."""
        sx, sy = new[0] / size[0], new[1] / size[1]
        return replace(self, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy)

    def undistortion(self, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map pixels of the undistorted image to the distorted one: (u, v), [H, W] each, in pixels.

        OpenCV's distortion model: r² = x² + y²,
        x' = x (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 x y + p2 (r² + 2 x²), y' likewise. A fisheye image has, at the
        angle θ = atan r, the radius θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸).
        """
        x = (np.arange(width, dtype=np.float32)[None] + 0.5 - self.cx) / self.fx
        y = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - self.cy) / self.fy
        r2 = x * x + y * y
        if self.fisheye:
            r = np.sqrt(r2)
            t = np.arctan(r)
            t2 = t * t
            bent = t * (1 + t2 * (self.k1 + t2 * (self.k2 + t2 * (self.k3 + t2 * self.k4))))
            ratio = np.divide(bent, r, out=np.ones_like(r), where=r > 1e-8)
            xd, yd = x * ratio, y * ratio
            return (xd * self.fx + self.cx).astype(np.float32), (yd * self.fy + self.cy).astype(np.float32)
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3))
        xd = x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x)
        yd = y * radial + 2 * self.p2 * x * y + self.p1 * (r2 + 2 * y * y)
        return (xd * self.fx + self.cx).astype(np.float32), (yd * self.fy + self.cy).astype(np.float32)


@dataclass(frozen=True)
class FrameFile:
    """Files of one frame.

    Attributes:
        color: image file.
        depth: 16-bit PNG or float ``.npy`` file; None for a depth of zeros.
        depth_unit: metres per unit of the depth file.
        box: (left, top, right, bottom) of the camera's view in pixels of the colour image; None for the whole image.
            The depth image always covers the whole view.
        lens: distortion to remove from both images, or None.
    """

    color: Path
    depth: Path | None
    depth_unit: float = 0.001
    box: tuple[float, float, float, float] | None = None
    lens: Lens | None = None


@dataclass(frozen=True)
class FrameReader:
    """Callable ``read`` of a `PosedFrames`: (index, width, height) → `Frame`.

    Attributes:
        files: one entry per frame.
        cache: decoded, resized frames; several readers may share one.
    """

    files: tuple[FrameFile, ...]
    cache: ArrayCache = field(default_factory=ArrayCache)

    def __call__(self, index: int, width: int, height: int) -> Frame:
        color, depth, unit = self.packed(index, width, height)
        metres = depth.astype(np.float32) * np.float32(unit)
        if depth.dtype != np.uint16:
            metres[~np.isfinite(metres) | (metres < 0)] = 0
        return Frame(color.astype(np.float32) / 255.0, metres)

    def packed(self, index: int, width: int, height: int) -> tuple[NDArray[np.uint8], NDArray, float]:
        """Colour [H, W, 3] uint8, depth [H, W] as in the file (uint16 or float32), and metres per unit of it."""
        file = self.files[index]
        color, depth = self.cache.get((file, width, height), lambda: self._decode(file, width, height))
        return color, depth, file.depth_unit  # arrays of the cache: copy before changing them

    def _decode(self, file: FrameFile, width: int, height: int) -> tuple[NDArray, NDArray]:
        image = open_image(file.color, "a colour image (JPEG or PNG)").convert("RGB")
        if file.lens is not None:
            image = Image.fromarray(_sample_bilinear(np.asarray(image), *self._map(file.lens, *image.size)))
        image, box = _pad_to_cover(image, file.box, file.color)
        color = np.array(image.resize((width, height), Image.Resampling.BOX, box=box))
        return color, self._decode_depth(file, width, height)

    def _decode_depth(self, file: FrameFile, width: int, height: int) -> NDArray:
        if file.depth is None:
            return np.zeros((height, width), np.uint16)
        npy = file.depth.suffix == ".npy"
        raw = read_array(file.depth, np.float32, (-1, -1)) if npy else read_depth(file.depth)
        h, w = raw.shape
        # Nearest sample at the centre of each output pixel: a mean across an edge is not the depth of any surface.
        u = np.broadcast_to((np.arange(width) + 0.5) * (w / width), (height, width))
        v = np.broadcast_to(((np.arange(height) + 0.5) * (h / height))[:, None], (height, width))
        if file.lens is None:
            picked = raw[v[:, :1].astype(np.intp), u[:1].astype(np.intp)]
        else:
            scaled = file.lens.scaled(self._color_size(file), (w, h))
            mu, mv = self._map(scaled, w, h)
            rows, cols = v.astype(np.intp), u.astype(np.intp)
            # Large distortion leads far outside, where integers would overflow.
            iu, iv = (np.nan_to_num(m[rows, cols], nan=-1).clip(-1, 1 << 20) for m in (mu, mv))
            iu, iv = np.floor(iu).astype(np.intp), np.floor(iv).astype(np.intp)
            inside = (iu >= 0) & (iu < w) & (iv >= 0) & (iv < h)
            picked = np.where(inside, raw[iv.clip(0, h - 1), iu.clip(0, w - 1)], 0)
        if raw.dtype == np.uint16:
            picked = np.where(picked == NO_DEPTH, 0, picked)
        return picked.astype(raw.dtype)

    def _map(self, lens: Lens, width: int, height: int) -> tuple[NDArray, NDArray]:
        u, v = self.cache.get((lens, width, height), lambda: lens.undistortion(width, height))
        return u, v

    @staticmethod
    def _color_size(file: FrameFile) -> tuple[int, int]:
        with Image.open(file.color) as image:
            return image.size


class SkippedFrames:
    """Number of unusable frames and name of the first, by reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, reason: str, name: str) -> None:
        self.counts[reason] += 1
        self.first.setdefault(reason, name)


def frames_without_depth(frames: PosedFrames) -> list[str]:
    """Names of the frames without a depth file; empty for frames of another reader."""
    if not isinstance(frames.read, FrameReader):
        return []
    return [name for name, file in zip(frames.names, frames.read.files, strict=True) if file.depth is None]


def has_depth(frames: PosedFrames) -> bool:
    """Whether any frame has a depth image; True for frames of another reader."""
    return not isinstance(frames.read, FrameReader) or any(f.depth is not None for f in frames.read.files)


def evenly_spaced(items: list, count: int | None) -> list:
    """At most ``count`` of the items, evenly spaced from the first to the last; all items for None."""
    if count is None or len(items) <= count:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def has_file(path: Path) -> bool:
    """Whether a file exists; False also for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def pose_problem(pose: NDArray[np.float64]) -> str | None:
    """Reason why a 4×4 camera-to-world matrix is unusable, or None.

    Rotations may be inexact by rounding (files have few digits), but neither scaled nor mirrored.
    """
    if not np.abs(pose).max() <= LARGEST:  # also NaN
        return "pose not finite"
    r = pose[:3, :3]
    if np.abs(r @ r.T - np.eye(3)).max() > 1e-2 or np.linalg.det(r) < 0 or np.abs(pose[3] - [0, 0, 0, 1]).max() > 1e-4:
        return "pose not a rigid motion"
    return None


def no_usable_frame(where: Path, skipped: Counter[str]) -> InputError:
    """The error for a capture without usable frames, with the number of frames per reason."""
    reasons = ", ".join(f"{n} × {reason}" for reason, n in skipped.most_common()) or "no frame listed"
    return InputError(where, "at least one usable frame", f"none ({reasons})")


def _pad_to_cover(
    image: Image.Image, box: tuple[float, float, float, float] | None, path: Path
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """An image that contains ``box`` and the box in its pixels; up to `OVERHANG` is padded with border pixels."""
    w, h = image.size
    left, top, right, bottom = box or (0.0, 0.0, float(w), float(h))
    over = max(-left / w, -top / h, right / w - 1, bottom / h - 1)
    if over > OVERHANG:
        raise InputError(
            path,
            "a colour image that covers the depth camera's view",
            f"one that ends {over:.0%} of its size short of it",
            "check both intrinsics files, or register the depth images to the colour camera",
        )
    if over <= 0:
        return image, (left, top, right, bottom)
    pad = int(np.ceil(over * max(w, h))) + 1
    padded = np.pad(np.asarray(image), ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    return Image.fromarray(padded), (left + pad, top + pad, right + pad, bottom + pad)


def _sample_bilinear(image: NDArray[np.uint8], u: NDArray, v: NDArray) -> NDArray[np.uint8]:
    """Sample an image [H, W, 3] at (u, v) [H, W]; pixel centres at half integers, border pixels repeated."""
    h, w = image.shape[:2]
    x, y = (np.nan_to_num(u - 0.5).clip(0, w - 1), np.nan_to_num(v - 0.5).clip(0, h - 1))  # of a distorted lens
    x0, y0 = x.astype(np.intp), y.astype(np.intp)
    x1, y1 = np.minimum(x0 + 1, w - 1), np.minimum(y0 + 1, h - 1)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
    bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
    return (top * (1 - fy) + bottom * fy + 0.5).astype(np.uint8)
