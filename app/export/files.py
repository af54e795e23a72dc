"""Things to take home: pictures, splats, features and selections as files. Everything is made in memory, in slices.

`Work` (see jobs.py) runs in the render thread for a browser, or through `finish` for the command line.
"""

from __future__ import annotations

import io
import json
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import InputError
from ...core.geometry.cameras import Cameras
from ...core.geometry.gaussians import Gaussians, quat_to_rotmat
from ...core.io import write_gaussians, write_points, write_splat
from ..inspector.jobs import Download, Progress, Work
from ..render.catalog import INFO
from ..render.layers import Image, to_image
from ..render.renderer import Renderer, RenderOptions, written
from ..render.video import MAX_FRAMES, Format, Pose, open_writer
from ..scenes.source import SceneState

MAX_SIDE = 7680
"""Longest side of a still picture, pixels (8K)."""
MAX_VIDEO_SIDE = {"GIF": 960, "MP4": 1920}
"""Longest side of a moving picture, pixels."""
_STRIP = 1_000_000
"""Pixels of one strip of a large picture."""
_MARGIN = 128
"""Rows drawn beyond a strip and cut off: how a large Gaussian beside a picture is splatted depends on where the picture
ends. What remains is a step of a few 8-bit levels where Gaussians are near and as large as a hand."""


def finish(work: Work, progress: Callable[[float], object] = lambda share: None) -> Download:
    """Run a piece of work to its end, here and now."""
    while True:
        try:
            progress(next(work).share)
        except StopIteration as end:
            return end.value


def file_name(*parts: object) -> str:
    """Parts joined by dashes, free of anything that a file system or a browser could trip over."""
    plain = (re.sub(r"[^A-Za-z0-9._]+", "-", str(p)).strip("-.") for p in parts if p is not None)
    return "-".join(p for p in plain if p)[:120] or "gaussiancross"


# --- still pictures -------------------------------------------------------------------------------------------


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
        rows = max(128, _STRIP // width)
        parts, painted = [], None
        for top in range(0, height, rows):
            bottom = min(height, top + rows)
            begin, end = max(0, top - _MARGIN), min(height, bottom + _MARGIN)
            painted = renderer.paint(scene, look, strip(cameras, begin, end))
            parts.append(to_image(painted.colors)[top - begin : bottom - begin])
            yield Progress(0.9 * bottom / height)
        assert painted is not None
        image = written(np.concatenate(parts), painted)
    png = Png(image.shape[1], image.shape[0])
    for top in range(0, len(image), 256):
        png.add(image[top : top + 256])
        yield Progress(0.9 + 0.1 * top / len(image))
    return Download(f"{name}.png", png.finish())


def strip(cameras: Cameras, top: int, bottom: int) -> Cameras:
    """Rows ``top`` to ``bottom`` of the same pictures."""
    ks = cameras.Ks.clone()
    ks[:, 1, 2] -= top
    return replace(cameras, Ks=ks, height=bottom - top)


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


# --- moving pictures ------------------------------------------------------------------------------------------


def video_work(
    draw: Callable[[int], Image], count: int, width: int, height: int, fps: float, kind: Format, name: str
) -> Work:
    """A GIF or an MP4 of ``draw(0) … draw(count - 1)``, each [height, width, 3]."""
    limit = MAX_VIDEO_SIDE[kind]
    if not 1 <= count <= MAX_FRAMES:
        raise InputError("a video", f"1 to {MAX_FRAMES} frames", str(count), "make it shorter or lower its frame rate")
    if min(width, height) < 16 or max(width, height) > limit:
        raise InputError(f"a {kind}", f"16 to {limit} pixels on either side", f"{width} × {height}")
    writer = open_writer(kind, width, height, fps)
    try:
        for i in range(count):
            writer.add(draw(i))
            yield Progress(0.98 * (i + 1) / count)
        for _ in writer.finish():
            yield Progress(0.99, waiting=True)
        return Download(f"{name}.{kind.lower()}", writer.content)
    finally:
        writer.close()


def path_work(
    renderer: Renderer,
    scene: int,
    look: RenderOptions,
    path: Sequence[Pose],
    size: tuple[int, int],
    fps: float,
    kind: Format,
    name: str,
) -> Work:
    """A video along a path of poses."""

    def draw(i: int) -> Image:
        return renderer.draw(scene, look, path[i].cameras(*size)).image

    return video_work(draw, len(path), *size, fps, kind, name)


# --- splats, features, selections -----------------------------------------------------------------------------


def world_gaussians(state: SceneState) -> Gaussians:
    """The state's Gaussians in the scene's world, on the CPU (networks see an augmented world: a similarity of it)."""
    if state.gaussians is None:
        raise InputError(state.name, "Gaussians", "points only", "open a run or splats")
    g = state.gaussians.detach().to("cpu")
    if state.transform is None:
        return g
    inverse = torch.linalg.inv(state.transform.double())
    linear = inverse[:3, :3]
    size = torch.linalg.det(linear).abs() ** (1 / 3)
    axes = (linear / size) @ quat_to_rotmat(g.quats.double())
    axes[:, :, 2] *= torch.linalg.det(axes).sign()[:, None]  # a mirrored ellipsoid, its axes right-handed again
    return replace(
        g,
        means=(g.means.double() @ linear.T + inverse[:3, 3]).float(),
        quats=rotmat_to_quat(axes).float(),
        scales=(g.scales.double() * size).float(),
    )


def rotmat_to_quat(rotations: Tensor) -> Tensor:
    """Rotations [N, 3, 3] → unit quaternions [N, 4] wxyz with w ≥ 0."""
    from scipy.spatial.transform import Rotation

    xyzw = torch.from_numpy(Rotation.from_matrix(rotations.numpy()).as_quat())
    quats = xyzw[:, [3, 0, 1, 2]]
    return torch.where(quats[:, :1] < 0, -quats, quats)


def splats_work(state: SceneState, kind: str, chosen: NDArray | None, name: str, features: bool = False) -> Work:
    """A ``.ply`` (INRIA's schema) or ``.splat`` of the scene, or of the ``chosen`` Gaussians (indices [K]); of a scene
    without Gaussians, its points as a PLY. With ``features``, a PLY also gets the embeddings as ``feat_0``, …"""
    yield Progress(0.1)
    if features and (state.gaussians is None or state.embeddings is None or kind != "ply"):
        hint = "export a run, a room or a capture to a .ply"
        raise InputError("--features", "Gaussians with features and a .ply to write", "none", hint)
    if state.gaussians is None and state.points is not None and kind == "ply":
        points = state.points if chosen is None else state.points[chosen]
        return Download(f"{name}.ply", written_file("ply", lambda path: write_points(path, points)))
    gaussians = world_gaussians(state)
    if features and state.embeddings is not None:
        gaussians = replace(gaussians, features=state.embeddings.detach().float().cpu())
    if chosen is not None:
        gaussians = gaussians[torch.from_numpy(chosen)]
    yield Progress(0.4)
    write = write_gaussians if kind == "ply" else write_splat
    return Download(f"{name}.{kind}", written_file(kind, lambda path: write(path, gaussians)))


def features_work(state: SceneState, chosen: NDArray | None, name: str) -> Work:
    """[N, D] float32 ``.npy``: features of the Gaussians, in the order of the PLY; without Gaussians or without
    features of theirs, those of the points."""
    yield Progress(0.1)
    if state.embeddings is not None:
        rows = state.embeddings.detach().cpu()
    elif state.point_features is not None and state.point_voxel is not None:
        rows = state.point_features.detach().cpu()[state.point_voxel.cpu()]
    else:
        raise InputError(state.name, "features", "none", "open a run")
    if chosen is not None:
        rows = rows[torch.from_numpy(chosen)]
    return Download(f"{name}.npy", npy(rows.float().numpy()))


def selection_work(state: SceneState, chosen: NDArray, title: str, name: str) -> Work:
    """A ``.zip`` with the selection's indices as ``.npy`` and a ``.json`` that says what they are indices of."""
    yield Progress(0.1)
    of = "gaussians" if state.gaussians is not None else "points"
    if state.gaussians is not None:
        centers, total = world_gaussians(state).means.numpy(), len(state.gaussians)
    elif state.points is not None:
        centers, total = state.points.coord, len(state.points)
    else:
        raise InputError(state.name, "something to select from", "an empty scene")
    picked = centers[chosen]
    about = {
        "format": "gaussiancross-selection",
        "source": title,
        "scene": state.name,
        "step": state.step,
        "of": of,
        "total": total,
        "count": len(chosen),
        "center": picked.mean(0).round(4).tolist(),
        "low": picked.min(0).round(4).tolist(),
        "high": picked.max(0).round(4).tolist(),
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "indices": chosen.tolist(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{name}.npy", npy(chosen.astype(np.int64)))
        file.writestr(f"{name}.json", json.dumps(about, indent=1))
    return Download(f"{name}.zip", buffer.getvalue())


def checked_selection(selection: object, total: int) -> NDArray[np.int64]:
    """A selection as sorted unique indices [K] into ``total`` things; `InputError` where nothing is selected."""
    if isinstance(selection, Tensor):
        selection = selection.detach().cpu().numpy()
    chosen = np.asarray([] if selection is None else selection)
    if chosen.dtype == bool and chosen.shape == (total,):
        chosen = np.flatnonzero(chosen)
    chosen = np.unique(chosen.astype(np.int64))
    if not len(chosen) or chosen[0] < 0 or chosen[-1] >= total:
        found = "none" if not len(chosen) else "one of another scene or step"
        raise InputError("this export", "a selection", found, "select something first")
    return chosen


def npy(array: NDArray) -> bytes:
    """The array as a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def written_file(suffix: str, write: Callable[[Path], None]) -> bytes:
    """The bytes of what ``write`` writes to a file of its own."""
    with tempfile.TemporaryDirectory(prefix="gaussiancross-") as folder:
        path = Path(folder) / f"export.{suffix}"
        write(path)
        return path.read_bytes()
