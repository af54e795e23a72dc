"""Any data: which way is up, small pictures of scenes, and files that a browser sends."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil

from ...core.data.scene import PointScene, PosedFrames
from ...core.errors import InputError
from ...core.io import read_gaussians, read_points, read_splat
from ..scenes.source import SceneSource, SceneState, SplatsSource
from .clouds import centers_in_world, subset
from .draw import caption
from .layers import BACKGROUND, Image, to_image

Up = Literal["+z", "-z", "+y", "-y", "+x", "-x"]

UP: dict[Up, tuple[float, float, float]] = {
    "+z": (0.0, 0.0, 1.0),
    "-z": (0.0, 0.0, -1.0),
    "+y": (0.0, 1.0, 0.0),
    "-y": (0.0, -1.0, 0.0),
    "+x": (1.0, 0.0, 0.0),
    "-x": (-1.0, 0.0, 0.0),
}
"""The direction that each choice calls up, in the scene's world."""

MAX_UPLOAD = 200_000_000
"""Bytes of a file from a browser, at most."""

MAX_ADDED = 8
"""Scenes from browsers that are kept, for all browsers together."""

THUMBNAIL = (192, 120)
"""Width and height of a scene's small picture, pixels."""

_BACK, _CELL, _FRAME = tuple(round(255 * c) for c in BACKGROUND), (34, 36, 42), (64, 132, 246)


# --- up ----------------------------------------------------------------------------------------------------------


def guess_up(state: SceneState) -> Up:
    """Which way is up: z for what has frames or comes from a network (their world is z up), else `up_of` its points."""
    if state.frames is not None or state.transform is not None:
        return "+z"
    if state.points is not None:
        return up_of(state.points.coord)
    return "+z" if state.gaussians is None else up_of(centers_in_world(state))


def up_of(coord: NDArray[np.floating]) -> Up:
    """Up from where points [N, 3] are. Rooms and captures are flat: their extent is the least along the vertical, and
    much of them lies in one horizontal plane, the floor, which is at the end where there is more. z wins a near tie,
    and so does the positive direction."""
    coord = np.asarray(coord, np.float64)[subset(len(coord), 50_000)]
    coord = coord[np.isfinite(coord).all(1)]
    if len(coord) < 10:
        return "+z"
    low, high = np.percentile(coord, [1, 99], axis=0)
    extent = np.maximum(high - low, 1e-9)
    shares = np.stack([np.histogram(coord[:, a], 50, (low[a], high[a]))[0] for a in range(3)]) / len(coord)
    planes = shares.max(1)  # share of the points in the fullest slab of 2 % of the extent
    score = planes / planes.max() + 1.2 * extent.min() / extent + np.array([0.0, 0.0, 0.15])
    axis = int(score.argmax())
    slabs = shares[axis]
    upside_down = slabs[25:].max() > 1.25 * slabs[:25].max() and np.median(coord[:, axis]) > (low + high)[axis] / 2
    return ("-" if upside_down else "+") + "xyz"[axis]  # type: ignore[return-value]


def turned(vector: NDArray[np.float64], up: Up) -> NDArray[np.float64]:
    """A vector [3] given for z up, in a world where ``up`` is up (a proper rotation)."""
    z = np.array(UP[up])
    x = np.array([0.0, 1.0, 0.0]) if up[1] == "x" else np.array([1.0, 0.0, 0.0])
    return np.stack([x, np.cross(z, x), z], 1) @ vector


# --- small pictures ------------------------------------------------------------------------------------------------


def thumbnail(points: PointScene | None, frames: PosedFrames | None, up: Up = "+z") -> Image:
    """A small picture of a scene: its first frame, else its points from above."""
    width, height = THUMBNAIL
    if frames is not None and len(frames):
        full = frames.cameras
        scale = max(width / full.width, height / full.height)
        size = (max(width, round(full.width * scale)), max(height, round(full.height * scale)))
        color = (frames.read(len(frames) // 2, *size).color * 255 + 0.5).astype(np.uint8)
        top, left = (size[1] - height) // 2, (size[0] - width) // 2
        return np.ascontiguousarray(color[top : top + height, left : left + width])
    if points is None:
        return np.full((height, width, 3), _BACK, np.uint8)
    return top_view(points.coord, points.color, up)


def top_view(coord: NDArray[np.floating], color: NDArray[np.uint8], up: Up = "+z") -> Image:
    """Points [N, 3] seen from above, without the topmost fifth (a ceiling would hide the rest)."""
    width, height = THUMBNAIL
    image = np.full((height, width, 3), _BACK, np.uint8)
    pick = subset(len(coord), 60_000)
    turn = np.stack([turned(axis, up) for axis in np.eye(3)])  # rows: the world's axes as seen with z up
    local, color = coord[pick] @ turn.T, color[pick]
    low, high = np.percentile(local, [1, 99], axis=0)
    keep = (local[:, 2] < low[2] + 0.8 * (high[2] - low[2])) | (high[2] - low[2] < 1e-6)
    local, color = local[keep], color[keep]
    pixel = min((width - 8) / max(high[0] - low[0], 1e-6), (height - 8) / max(high[1] - low[1], 1e-6))
    u = np.round((local[:, 0] - (low + high)[0] / 2) * pixel + width / 2).astype(int)
    v = np.round(height / 2 - (local[:, 1] - (low + high)[1] / 2) * pixel).astype(int)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    order = np.argsort(local[inside, 2])  # higher points last: they stay
    image[v[inside][order], u[inside][order]] = color[inside][order]
    return image


def picture_of(state: SceneState, up: Up) -> Image:
    """The small picture of a scene that is loaded."""
    if state.points is None and not state.frames and state.gaussians is not None:
        return top_view(centers_in_world(state), to_image(state.gaussians.colors), up)
    return thumbnail(state.points, state.frames, up)


def preview(source: SceneSource, index: int) -> Image | None:
    """The small picture of a scene that is not loaded; None where that would be slow (see ``source.preview``)."""
    look = getattr(source, "preview", None)
    found = None if look is None else look(index)
    return None if found is None else thumbnail(*found)


def contact_sheet(cells: list[tuple[str, Image | None, bool]]) -> Image:
    """Small pictures in two columns.

    Args:
        cells: (words, picture or None, whether it is framed) each.
    """
    width, height = THUMBNAIL
    rows, gap = -(-len(cells) // 2), 4
    canvas = Pil.new("RGB", (2 * (width + gap) + gap, rows * (height + gap) + gap), _BACK)
    for i, (words, image, framed) in enumerate(cells):
        x, y = gap + (i % 2) * (width + gap), gap + (i // 2) * (height + gap)
        if framed:
            canvas.paste(_FRAME, (x - gap, y - gap, x + width + gap, y + height + gap))
        cell = np.full((height, width, 3), _CELL, np.uint8) if image is None else image
        canvas.paste(Pil.fromarray(caption(cell, words)), (x, y))
    return np.asarray(canvas)


# --- files from a browser ------------------------------------------------------------------------------------------


def is_splat_ply(path: Path) -> bool:
    """Whether the header of a PLY lists what Gaussian splats have. A missing file is left to the reader."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b" f_dc_0" in file.read(1 << 14).partition(b"end_header")[0]


def upload_too_large(name: str, size: int) -> InputError:
    """What is said about a file of ``size`` bytes, more than `MAX_UPLOAD`."""
    hint = "give larger ones to `gaussiancross view` where they lie"
    shown = PurePath(name.replace("\\", "/")).name[:80] or "the file"
    return InputError(shown, f"at most {MAX_UPLOAD // 10**6} MB", f"{size / 1e6:.0f} MB", hint)


def read_upload(name: str, content: bytes) -> SceneState:
    """A scene from a file that a browser sent. The name only decides the format; nothing is opened by it.

    Raises:
        InputError: too large, neither .ply nor .splat, or damaged; it names the file as the person knows it.
    """
    shown = PurePath(name.replace("\\", "/")).name[:80] or "the file"
    suffix = PurePath(shown).suffix.lower()
    if suffix not in (".ply", ".splat"):
        raise InputError(shown, "a .ply or a .splat", f"'{suffix}'" if suffix else "a name without an ending")
    if len(content) > MAX_UPLOAD:
        raise upload_too_large(shown, len(content))
    with tempfile.TemporaryDirectory(prefix="gaussiancross-upload-") as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(content)
        try:
            return _read(path, re.sub(r"[^\w.-]+", "_", PurePath(shown).stem) or "upload")
        except InputError as error:
            raise _Renamed(str(error).replace(str(path), shown)) from error


def _read(path: Path, name: str) -> SceneState:
    if path.suffix == ".ply" and not is_splat_ply(path):
        return SceneState(name, points=read_points(path))
    gaussians = read_splat(path) if path.suffix == ".splat" else read_gaussians(path)
    return SplatsSource(gaussians, name).load(0)


class _Renamed(InputError):
    """The sentence of another `InputError`, about the file's own name."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)
