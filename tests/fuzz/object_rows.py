"""Readers of splats, points and objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import trimesh
from gaussiancross.app.objects.search import Embedded, load_gallery, read_labels, save_gallery
from gaussiancross.core.data.objects import read_object, write_object_npz
from gaussiancross.core.datasets.objects.files import find_object_files
from gaussiancross.core.datasets.objects.meshes import read_mesh
from gaussiancross.core.datasets.objects.meshes.draco import chunks_of, glb_of
from gaussiancross.core.datasets.objects.triplets import splits
from gaussiancross.core.io import (
    formats,
)
from gaussiancross.core.io.renders import render_names
from gaussiancross.core.io.splat_files.data import SplatData
from helpers import mesh_files
from helpers.splat_files import make_gaussians, make_points

from fuzz.reader import Reader, in_folder, text


def splats() -> SplatData:
    return SplatData(make_gaussians(20, 0))


def format_rows() -> list[Reader]:
    rows = []
    for form in formats.SPLAT_FORMATS:

        def write(folder: Path, form: formats.SplatFormat = form) -> Path:
            path = folder / f"x{form.endings[0]}"
            form.write(path, splats())
            return path

        rows.append(Reader(f"splats: {form.name}", write, form.read))
    return rows


def ascii_ply(folder: Path) -> Path:
    points = make_points(20)
    lines = ["ply", "format ascii 1.0", f"element vertex {len(points)}"]
    lines += [f"property float {axis}" for axis in "xyz"] + [f"property uchar {c}" for c in ("red", "green", "blue")]
    rows = [" ".join([*(f"{v:.4f}" for v in p), *map(str, c)]) for p, c in zip(points.coord, points.color, strict=True)]
    (folder / "x.ply").write_text("\n".join([*lines, "end_header", *rows]) + "\n")
    return folder / "x.ply"


def _array(name: str, columns: int) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        points = make_points(20)
        table = np.concatenate([points.coord, points.color, points.normal], 1)[:, :columns]
        path = folder / name
        if name.endswith(".npy"):
            np.save(path, table)
        elif name.endswith(".npz"):
            np.savez(path, coord=points.coord, color=points.color.astype(np.float32))
        else:
            np.savetxt(path, table, fmt="%.4f", delimiter="," if name.endswith(".csv") else " ")
        return path

    return write


PCD = "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 4\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
PCD += "POINTS 4\nDATA ascii\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n"

POINT_ROWS = [
    Reader("points: ASCII PLY", ascii_ply, formats.read_point_file),
    Reader("points: .npy", _array("x.npy", 9), formats.read_point_file),
    Reader("points: .npz", _array("x.npz", 9), formats.read_point_file),
    Reader("points: .xyz", _array("x.xyz", 6), formats.read_point_file),
    Reader("points: .pcd", text("x.pcd", PCD), formats.read_point_file),
    Reader("points: .csv", _array("x.csv", 6), formats.read_point_file),
]


# --- objects -------------------------------------------------------------------------------------------------------


def _cube(ending: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        vertices, faces = mesh_files.cube()
        path = folder / f"x{ending}"
        if ending == ".obj":
            return mesh_files.write_obj(path, vertices, faces, vertices[:, :2], "Kd 0.5 0.2 0.1")
        if ending in (".off", ".stl"):
            trimesh.Trimesh(vertices, faces, process=False).export(path)
            return path
        if ending == ".ply":
            return mesh_files.write_ply(path, vertices, faces, np.repeat([[200, 40, 40]], len(vertices), 0))
        yellow = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0.8, 0.1, 1]}}
        return mesh_files.write_glb(path, [{"vertices": vertices, "faces": faces, "material": yellow}])

    return write


def _moved_texture(folder: Path) -> Path:
    """A GLB that `unpack_gltf` rewrites."""
    vertices, faces = mesh_files.cube()
    part = {"vertices": vertices, "faces": faces, "uv": vertices[:, :2], "material": {"image": np.full((2, 2, 3), 90)}}
    path = mesh_files.write_glb(folder / "x.glb", [part])
    content, blob = chunks_of(path.read_bytes())
    tree = json.loads(content)
    texture = tree["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    texture["extensions"] = {"KHR_texture_transform": {"offset": [0.5, 0], "scale": [2, 2]}}
    tree["extensionsUsed"] = ["KHR_texture_transform"]
    path.write_bytes(glb_of(json.dumps(tree).encode(), blob))
    return path


def _object_npz(folder: Path) -> Path:
    write_object_npz(folder / "x.npz", make_gaussians(80, 0))
    return folder / "x.npz"


def _gallery(folder: Path) -> Path:
    save_gallery(folder / "x.npz", Embedded(("a.glb", "b.glb"), torch.eye(8)[:2]))
    return folder / "x.npz"


OBJECT_ROWS = [
    *(Reader(f"mesh: {ending}", _cube(ending), read_mesh) for ending in (".obj", ".ply", ".glb", ".off", ".stl")),
    Reader("mesh: .glb with extensions", _moved_texture, read_mesh),
    Reader("object: .npz", _object_npz, lambda path: read_object(path, "y")),
    Reader("gallery: .npz", _gallery, lambda path: load_gallery(path, 8)),
    Reader("labels: .json", text("x.json", ["chair", "table"]), lambda path: read_labels(str(path))),
    Reader(
        "captions",
        in_folder(
            lambda folder: (
                _cube(".glb")(folder),
                text("captions.json", {"x": {"caption": "a cube", "class": "box", "split": "val"}})(folder),
            ),
            "captions.json",
        ),
        lambda path: find_object_files(path.parent, path),
    ),
    Reader(
        "triplets.json",
        text(
            "triplets.json",
            {
                "format": "gaussiancross-triplets",
                "version": 1,
                "tower": "x",
                "classes": ["a"],
                "objects": [{"id": "a", "file": "a.npz", "caption": "a", "split": "val", "class": "a"}] * 3,
            },
        ),
        lambda path: splits(path.parent),
    ),
    Reader(
        "renders",
        text("transforms.json", {"fl_x": 10, "frames": [{"file_path": "a.png", "transform_matrix": [[1]]}]}),
        lambda path: render_names(path.parent),
    ),
]
