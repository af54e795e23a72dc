"""Posed pictures of one object as files: the layout of NeRF's synthetic scenes, which radiance-field code reads.

<folder>/transforms.json     cameras (OpenGL axes: x right, y up, z backwards), in the object's frame
<folder>/images/000.png …    colour that is not multiplied by coverage, and coverage as transparency
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

INDEX, IMAGES = "transforms.json", "images"
_FLIP = torch.tensor([1.0, -1.0, -1.0, 1.0])


def write_renders(folder: Path | str, cameras: Cameras, color: NDArray[np.uint8], alpha: NDArray[np.float32]) -> None:
    """Write V pictures.

    Args:
        color: [V, H, W, 3] over black. alpha: [V, H, W] coverage in [0, 1].
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
    """[V, H, W, 3] pictures that `write_renders` wrote, over a grey from 0 (black) to 1 (white).

    Raises:
        InputError: missing or damaged files, or pictures of different sizes.
    """
    folder = Path(folder)
    pictures = []
    for name in render_names(folder):
        image = open_image(folder / name, "a picture with transparency")
        rgba = np.asarray(image.convert("RGBA"), np.float32)
        share = rgba[..., 3:] / 255
        pictures.append(np.rint(rgba[..., :3] * share + 255 * background * (1 - share)).astype(np.uint8))
    if len({p.shape for p in pictures}) != 1:
        raise InputError(folder, "pictures of one size", f"{len(pictures)} of several" if pictures else "none")
    return np.stack(pictures)


def render_names(folder: Path) -> list[str]:
    """The files of the pictures, relative to the folder.

    Raises:
        InputError: no index, or a damaged one.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return [str(frame["file_path"]) for frame in index["frames"]]
    except OSError as error:
        raise InputError(folder / INDEX, "cameras of pictures", "no such file") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(folder / INDEX, "cameras of pictures", f"a damaged file ({error!r})") from error
