"""Depth of frames rendered from trained Gaussian splats, for captures without a depth sensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.scene import Frame, PosedFrames
from ...errors import InputError
from ...geometry.cameras import Cameras
from ...geometry.gaussians import Gaussians, transform_gaussians
from ...io.formats import SPLAT_ENDINGS, SplatFormat, find_format
from ...io.frames import LARGEST
from ...io.json_files import read_json
from ...io.lru import ArrayCache
from ...splat import rasterize

OPAQUE = 0.5
"""Smallest opacity of a pixel with depth."""

MAX_WIDTH = 640
"""Largest width of the frames, pixels: rendering costs time, and depth from splats has no finer detail."""

TRAINED = "train 3D Gaussian splats of it and put their .ply into the folder, or add depth images"
"""What to do about a capture without depth."""


@dataclass(frozen=True)
class SplatDepthReader:
    """Callable ``read`` of a `PosedFrames`: colour of another reader, depth of Gaussians.

    Attributes:
        color: the frames that colour is read from.
        gaussians: Gaussians in the same world.
        cameras: cameras of the frames.
        cache: rendered depth images.
    """

    color: PosedFrames
    gaussians: Gaussians
    cameras: Cameras
    cache: ArrayCache

    def __call__(self, index: int, width: int, height: int) -> Frame:
        color = self.color.read(index, width, height).color
        depth = self.cache.get(("splats", index, width, height), lambda: (self._render(index, width, height),))[0]
        return Frame(color, depth.copy())

    def _render(self, index: int, width: int, height: int) -> NDArray[np.float32]:
        camera = self.cameras[index].resized(width, height)
        with torch.no_grad():
            drawn = rasterize(self.gaussians, camera.viewmats, camera.Ks, width, height, near=0.05)
        depth = torch.where(drawn.alpha > OPAQUE, drawn.depth, torch.zeros_like(drawn.depth))
        return depth[0, :, :, 0].float().numpy()


def with_splat_depth(frames: PosedFrames, gaussians: Gaussians) -> PosedFrames:
    """Frames whose depth is rendered from Gaussians in their world, at most `MAX_WIDTH` pixels wide."""
    cameras = frames.cameras
    if cameras.width > MAX_WIDTH:
        cameras = cameras.resized(MAX_WIDTH, max(1, round(cameras.height * MAX_WIDTH / cameras.width)))
    plain = replace(gaussians, features=None)
    return replace(frames, cameras=cameras, read=SplatDepthReader(frames, plain, cameras, ArrayCache()))


def find_splats(folder: Path) -> Path | None:
    """The file of trained splats that belongs to a capture, or None.

    That is INRIA's ``point_cloud/iteration_N/point_cloud.ply`` with the largest N, or the only file of splats in the
    folder or in its ``exports/``.

    Raises:
        InputError: several files of splats in the folder.
    """
    steps = [p for p in (folder / "point_cloud").glob("iteration_*/point_cloud.ply") if p.parent.name[10:].isdecimal()]
    if steps:
        return max(steps, key=lambda p: int(p.parent.name[10:]))
    for place in (folder, folder / "exports"):
        files = [p for p in sorted(place.glob("*")) if p.is_file() and p.suffix.lower() in SPLAT_ENDINGS]
        found = [p for p in files if isinstance(find_format(p), SplatFormat)]
        if len(found) > 1:
            names = ", ".join(p.name for p in found)
            raise InputError(place, "one file of trained splats", names, "leave the one that depth is rendered from")
        if found:
            return found[0]
    return None


def read_capture_splats(path: Path, folder: Path) -> Gaussians:
    """Read the splats of a capture in the world of its poses.

    nerfstudio trains in a moved and scaled world, which ``dataparser_transforms.json`` beside the splats or in the
    folder describes; it is undone.

    Raises:
        InputError: unreadable splats or ``dataparser_transforms.json``.
    """
    form = find_format(path)
    assert isinstance(form, SplatFormat)
    gaussians = form.read(path).gaussians
    file = next((p for p in (path.parent, folder) if (p / "dataparser_transforms.json").is_file()), None)
    if file is None:
        return gaussians
    file = file / "dataparser_transforms.json"
    try:
        data = read_json(file)
        matrix, scale = np.array(data["transform"], np.float64).reshape(3, 4), float(data["scale"])
    except (ValueError, OverflowError, KeyError, TypeError, OSError) as error:
        raise InputError(file, "a transform [3, 4] and a scale", f"something else ({error})") from error
    turn = matrix[:, :3]
    if (
        not np.abs(matrix).max() <= LARGEST
        or not 1 / LARGEST <= scale <= LARGEST
        or np.linalg.det(turn) <= 0
        or not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3)
    ):
        raise InputError(file, "a rotation, a translation and a positive scale", f"{matrix.tolist()} and {scale}")
    from scipy.spatial.transform import Rotation

    # x_trained = scale · (R x + t), so x = Rᵀ x_trained / scale − Rᵀ t
    quat = torch.tensor(Rotation.from_matrix(turn.T).as_quat()[[3, 0, 1, 2]]).float()
    return transform_gaussians(gaussians, quat, 1 / scale, torch.tensor(-turn.T @ matrix[:, 3]).float())
