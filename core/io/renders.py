"""Read and write posed renders of one object in the layout of NeRF's synthetic scenes.

<folder>/transforms.json     cameras (OpenGL axes: x right, y up, z backwards), in the object's frame
<folder>/images/000.png …    RGBA with straight alpha: colour not multiplied by coverage
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from ..geometry.cameras import Cameras
from .images import open_image
from .json_files import read_json

INDEX, IMAGES = "transforms.json", "images"
_FLIP = torch.tensor([1.0, -1.0, -1.0, 1.0])


def write_renders(folder: Path | str, cameras: Cameras, color: NDArray[np.uint8], alpha: NDArray[np.float32]) -> None:
    """Write V renders.

    Args:
        folder: made when absent.
        cameras: V cameras that share one intrinsic matrix.
        color: [V, H, W, 3] over a black background.
        alpha: [V, H, W] coverage in [0, 1].
    """
    folder = Path(folder)
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    poses = cameras.camera_to_worlds.double() * _FLIP
    K = cameras.Ks[0].double()
    frames = []
    for i, pose in enumerate(poses):
        share = np.clip(alpha[i], 0, 1)[..., None]
        straight = np.rint(np.minimum(color[i] / np.maximum(share, 1 / 255), 255)).astype(np.uint8)
        rgba = np.concatenate([straight, np.rint(share * 255).astype(np.uint8)], -1)
        Image.fromarray(rgba).save(folder / IMAGES / f"{i:03d}.png")
        frames.append({"file_path": f"{IMAGES}/{i:03d}.png", "transform_matrix": pose.tolist()})
    index = {
        "camera_angle_x": 2 * math.atan(cameras.width / 2 / float(K[0, 0])),
        **{name: float(value) for name, value in zip(("fl_x", "fl_y"), (K[0, 0], K[1, 1]), strict=True)},
        **{name: float(value) for name, value in zip(("cx", "cy"), (K[0, 2], K[1, 2]), strict=True)},
        "w": cameras.width,
        "h": cameras.height,
        "ply_file_path": "point_cloud.ply",
        "frames": frames,
    }
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def read_renders(folder: Path | str, background: float = 1.0) -> NDArray[np.uint8]:
    """Read the renders of `write_renders` as [V, H, W, 3], over a grey background from 0 (black) to 1 (white).

    Raises:
        InputError: missing or damaged files, or images of different sizes.
    """
    folder = Path(folder)
    images = []
    for name in render_names(folder):
        image = open_image(folder / name, "an image with transparency")
        rgba = np.asarray(image.convert("RGBA"), np.float32)
        share = rgba[..., 3:] / 255
        images.append(np.rint(rgba[..., :3] * share + 255 * background * (1 - share)).astype(np.uint8))
    if len({p.shape for p in images}) != 1:
        raise InputError(folder, "images of one size", f"{len(images)} of several" if images else "none")
    return np.stack(images)


def render_names(folder: Path) -> list[str]:
    """Paths of the images, relative to the folder.

    Raises:
        InputError: a missing or damaged ``transforms.json``.
    """
    try:
        index = read_json(folder / INDEX)
        return [str(frame["file_path"]) for frame in index["frames"]]
    except OSError as error:
        raise InputError(folder / INDEX, "cameras of images", "no such file") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(folder / INDEX, "cameras of images", f"a damaged file ({error!r})") from error
