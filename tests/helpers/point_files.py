"""Writes points in every format that is read, by other packages where there are some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.io import write_points
from numpy.typing import NDArray

from .usd_files import write_usd_triangles

POINT_ENDINGS = ("ply", "npy", "npz", "xyz", "txt", "csv", "pcd", "las", "laz", "e57", "obj", "glb")
"""One file per format of points and meshes."""


def lzf(content: bytes) -> bytes:
    """An LZF block of literals, and of one copy per run of equal bytes."""
    out, at = bytearray(), 0
    while at < len(content):
        run = 1
        while at + run < len(content) and content[at + run] == content[at] and run < 260:
            run += 1
        out += bytes([0, content[at]])
        if run >= 4:  # a copy of run − 1 bytes from one byte back
            length = run - 3
            out += bytes([length << 5, 0]) if length < 7 else bytes([7 << 5, length - 7, 0])
            at += run
        else:
            at += 1
    return bytes(out)


def write_pcd(path: Path, scene: PointScene, form: str = "binary_compressed") -> None:
    """Write x y z rgb normal_x normal_y normal_z and a padding field, as PCL does."""
    packed = (scene.color.astype(np.uint32) << [16, 8, 0]).sum(1).astype("<u4")
    columns = {**dict(zip(("x", "y", "z"), scene.coord.T, strict=True)), "rgb": packed.view("<f4")}
    columns |= dict(zip(("normal_x", "normal_y", "normal_z"), scene.normal.T, strict=True))
    names = " ".join(columns)
    head = (
        f"# .PCD v0.7\nVERSION 0.7\nFIELDS {names}\nSIZE {'4 ' * 7}\nTYPE {'F ' * 7}\nCOUNT {'1 ' * 7}\n"
        f"WIDTH {len(scene)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(scene)}\nDATA {form}\n"
    )
    table = np.stack([c.astype("<f4") for c in columns.values()], 1)
    if form == "ascii":
        rows = [
            [*map(repr, map(float, r[:3])), str(p), *map(repr, map(float, r[4:]))]
            for r, p in zip(table, packed, strict=True)
        ]
        body = "".join(" ".join(row) + "\n" for row in rows).encode()
    elif form == "binary":
        body = table.tobytes()
    else:
        block = lzf(raw := np.ascontiguousarray(table.T).tobytes())
        body = np.array([len(block), len(raw)], "<u4").tobytes() + block
    path.write_bytes(head.encode() + body)


def _triangles(scene: PointScene) -> NDArray[np.float32]:
    """[3N, 3] corners of one small triangle per point."""
    corners = scene.coord[:, None] + 0.002 * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    return corners.reshape(-1, 3)


def write_as(path: Path, scene: PointScene) -> None:
    """Write points in the format of the ending; a mesh gets one small triangle per point."""
    ending, rows = path.suffix[1:], np.column_stack([scene.coord, scene.color, scene.normal])
    if ending == "ply":
        write_points(path, scene)
    elif ending == "npy":
        np.save(path, rows)
    elif ending == "npz":
        np.savez(path, coord=scene.coord, color=scene.color, normal=scene.normal)
    elif ending in ("xyz", "txt", "csv"):
        np.savetxt(path, rows, delimiter="," if ending == "csv" else " ", fmt="%.6f")
    elif ending == "pcd":
        write_pcd(path, scene)
    elif ending in ("las", "laz"):
        laspy = pytest.importorskip("laspy")
        header = laspy.LasHeader(point_format=2, version="1.2")
        header.scales, header.offsets = [1e-4] * 3, scene.coord.min(0).astype(float)
        file = laspy.LasData(header)
        file.x, file.y, file.z = scene.coord.astype(float).T
        file.red, file.green, file.blue = scene.color.astype(np.uint16).T * 256
        file.write(str(path))
    elif ending == "e57":
        pye57 = pytest.importorskip("pye57")
        names = ("cartesianX", "cartesianY", "cartesianZ", "colorRed", "colorGreen", "colorBlue")
        columns = [*scene.coord.astype(float).T, *scene.color.T]
        file = pye57.E57(str(path), mode="w")
        file.write_scan_raw({n: np.ascontiguousarray(c) for n, c in zip(names, columns, strict=True)})
        file.close()
    elif ending == "usdz":
        write_usd_triangles(path, _triangles(scene), np.repeat(scene.color, 3, 0))
    else:
        import trimesh

        faces = np.arange(3 * len(scene)).reshape(-1, 3)
        mesh = trimesh.Trimesh(_triangles(scene), faces, vertex_colors=np.repeat(scene.color, 3, 0), process=False)
        mesh.export(str(path))
