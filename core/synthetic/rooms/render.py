"""Pictures of a room: colour, depth, labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...geometry.cameras import Cameras
from .light import LitRoom

_SUBPIXELS = ((0.375, 0.125), (0.875, 0.375), (0.125, 0.625), (0.625, 0.875))
"""Where else in a pixel the colour is sampled, when its surroundings are not of one colour."""
_CONTRAST = 0.035


@dataclass(frozen=True)
class View:
    """What one camera sees.

    Attributes:
        color: [H, W, 3] uint8 sRGB.
        depth: [H, W] float32 camera depth z, metres; 0 where no surface was met.
        segment: [H, W] int64 class, −1 = ignore.
        instance: [H, W] int64 object, −1 = none.
        normal: [H, W, 3] float32 outward unit normals of the surfaces in the world; zero where none was met.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    segment: NDArray[np.int64]
    instance: NDArray[np.int64]
    normal: NDArray[np.float32]


class PixelRays:
    """The rays of one camera; the distance along each is camera depth z.

    Args:
        cameras: metres, in the room's frame.
        index: which of them.
    """

    def __init__(self, cameras: Cameras, index: int) -> None:
        k = cameras.Ks[index].numpy().astype(np.float64)
        c2w = torch.linalg.inv(cameras.viewmats[index].double()).numpy()
        self.origin = c2w[:3, 3].astype(np.float32)
        self._right = (c2w[:3, 0] / k[0, 0]).astype(np.float32)
        self._down = (c2w[:3, 1] / k[1, 1]).astype(np.float32)
        corner = c2w[:3, 2] - c2w[:3, 0] * k[0, 2] / k[0, 0] - c2w[:3, 1] * k[1, 2] / k[1, 1]
        v, u = np.mgrid[0 : cameras.height, 0 : cameras.width].astype(np.float32)
        self._corners = corner.astype(np.float32) + u.reshape(-1, 1) * self._right + v.reshape(-1, 1) * self._down

    def through(self, x: float, y: float, pixels: NDArray | None = None, near: float = 0.0) -> tuple[NDArray, NDArray]:
        """Origins and directions [R, 3] through the place (x, y) in [0, 1]² of all pixels or of those indexed.

        They start ``near`` metres of depth before the camera.
        """
        corners = self._corners if pixels is None else self._corners[pixels]
        directions = corners + (x * self._right + y * self._down)
        origins = self.origin + near * directions if near else np.broadcast_to(self.origin, directions.shape)
        return origins, directions


def render(lit: LitRoom, cameras: Cameras, index: int = 0, near: float = 0.0) -> View:
    """What camera ``index`` of ``cameras`` sees. Depth and labels are those of the pixel's centre.

    Args:
        near: everything closer than this depth is cut away, metres.
    """
    room = lit.room
    h, w = cameras.height, cameras.width
    rays = PixelRays(cameras, index)
    hits = lit.tracer.hits(*rays.through(0.5, 0.5, None, near))
    met = hits.face >= 0
    f = np.maximum(hits.face, 0)
    color = lit.shade(hits)
    edges = np.flatnonzero(_busy(color.reshape(h, w, 3)))
    for x, y in _SUBPIXELS:
        color[edges] += lit.shade(lit.tracer.hits(*rays.through(x, y, edges, near)))
    color[edges] /= 1 + len(_SUBPIXELS)
    return View(
        color=np.rint(color * 255).astype(np.uint8).reshape(h, w, 3),
        depth=np.where(met, hits.distance + near, 0).astype(np.float32).reshape(h, w),
        segment=np.where(met, room.segment[f], -1).reshape(h, w),
        instance=np.where(met, room.instance[f], -1).reshape(h, w),
        normal=np.where(met[:, None], room.face_normals[f], 0).astype(np.float32).reshape(h, w, 3),
    )


def _busy(color: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[H, W] pixels that differ from a neighbour: edges and fine texture, where one sample would alias."""
    out = np.zeros(color.shape[:2], bool)
    down = np.abs(color[1:] - color[:-1]).max(-1) > _CONTRAST
    right = np.abs(color[:, 1:] - color[:, :-1]).max(-1) > _CONTRAST
    out[1:] |= down
    out[:-1] |= down
    out[:, 1:] |= right
    out[:, :-1] |= right
    return out
