"""Axis-aligned boxes around the objects of a query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageDraw

from ...core.geometry.cameras import Cameras
from ...core.query import QueryObject
from ..render.colors import Image

BOX_COLORS = ((255, 209, 92), (102, 204, 255), (255, 130, 170), (140, 230, 140), (200, 160, 255), (255, 165, 95))
"""Colours of the largest objects' boxes, in turn."""

BOX_EDGES = np.array([(a, a | (1 << k)) for k in range(3) for a in range(8) if not a >> k & 1])
"""[12, 2] corners that an edge connects, as indices into `box_corners`."""


def box_corners(box: QueryObject) -> NDArray[np.floating]:
    """[8, 3] corners of an object's box (m)."""
    return np.stack([np.where([c >> k & 1 for k in range(3)], box.box_max, box.box_min) for c in range(8)])


def draw_boxes(image: Image, camera: Cameras, objects: Sequence[QueryObject], most: int = 8) -> Image:
    """Draw the boxes of the ``most`` largest objects; edges that pass behind the camera are left out."""
    canvas = Pil.fromarray(image)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for i, box in enumerate(objects[:most]):
        uv, z = camera.project(torch.from_numpy(box_corners(box)).float())
        at, depth = uv[0].numpy(), z[0].numpy()
        for a, b in BOX_EDGES:
            if depth[a] > 0.05 and depth[b] > 0.05:
                draw.line((*at[a].tolist(), *at[b].tolist()), fill=(*BOX_COLORS[i % len(BOX_COLORS)], 255), width=2)
    return np.asarray(canvas)
