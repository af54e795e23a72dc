"""Points on the surface of a mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .point_files import PointColumns

COUNT = 200_000
"""Number of points of a mesh."""


def sample_mesh(path: Path) -> PointColumns:
    """Read a mesh and sample `COUNT` points on it in proportion to area, the same ones every time.

    Colours are those of the material, the texture and the vertices, without light; normals are the surface's.

    Raises:
        InputError: as `core.datasets.objects.meshes.read_mesh`.
    """
    from ..datasets.objects.meshes.read import read_mesh

    mesh = read_mesh(path)
    rng = np.random.default_rng(0)
    corner = mesh.vertices[mesh.faces]  # [F, 3, 3]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    share = np.cumsum(area)
    # Evenly spaced along the cumulated area, with one random offset each: every large face gets its share.
    face = np.searchsorted(share, (np.arange(COUNT) + rng.random(COUNT)) / COUNT * share[-1])
    face = np.minimum(face, len(area) - 1)
    u, v = rng.random((2, COUNT))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    weight = np.stack([1 - u - v, u, v], 1)[:, :, None]  # [N, 3, 1]
    at = mesh.faces[face]
    coord = (corner[face] * weight).sum(1)
    normal = (mesh.normals[at] * weight).sum(1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    linear, uv = (mesh.color[at] * weight).sum(1)[:, :3], (mesh.uv[at] * weight).sum(1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)
    for index, picture in enumerate(mesh.pictures):
        mine = mesh.picture[face] == index
        height, width = picture.shape[:2]
        column = np.floor(uv[mine, 0] % 1 * width).astype(np.int64).clip(0, width - 1)
        row = np.floor((1 - uv[mine, 1] % 1) * height).astype(np.int64).clip(0, height - 1)
        # The product of two sRGB values is close enough to that of the linear ones; the factor is white in most files.
        encoded[mine] *= picture[row, column, :3] / 255.0
    return PointColumns(coord, (encoded.clip(0, 1) * 255 + 0.5).astype(np.uint8), normal.astype(np.float32))
