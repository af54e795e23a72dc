"""Readers of captures in other packages' layouts, and of scans in LAS, E57 and binary PCD."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.datasets.scenes.layouts import layout_of
from gaussiancross.core.io import formats
from gaussiancross.core.io.colmap import read_sparse_points
from gaussiancross.core.io.splat_files.sog import read_sog
from gaussiancross.core.report import SILENT
from helpers import capture, point_files, rewritten, rewritten_sets
from helpers.splat_files import make_points

from fuzz.reader import Reader, in_folder
from fuzz.scene_rows import frames_of

Writer = Callable[..., Any]

LAYOUT_FILES: tuple[tuple[str, Writer, str], ...] = (
    *(("COLMAP", rewritten.as_colmap, f"sparse/0/{name}.bin") for name in ("cameras", "images", "points3D")),
    *(
        ("COLMAP", partial(rewritten.as_colmap, binary=False), f"sparse/0/{name}.txt")
        for name in ("cameras", "images", "points3D")
    ),
    *(("TUM", rewritten.as_tum, f"{name}.txt") for name in ("rgb", "depth", "groundtruth", "intrinsics")),
    *(
        ("7-Scenes", rewritten.as_seven_scenes, name)
        for name in ("camera-intrinsics.txt", "seq-01/frame-000000.pose.txt")
    ),
    ("Polycam", rewritten.as_polycam, "keyframes/cameras/0.json"),
    *(("Open3D", rewritten.as_open3d, name) for name in ("trajectory.log", "intrinsic.json")),
    ("ScanNet++", rewritten_sets.as_scannetpp, "iphone/pose_intrinsic_imu.json"),
    ("ARKitScenes", rewritten_sets.as_arkitscenes, "lowres_wide.traj"),
    ("ARKitScenes", rewritten_sets.as_arkitscenes, "lowres_wide_intrinsics/c_305.377.pincam"),
    ("Matterport3D", rewritten_sets.as_matterport, "undistorted_camera_parameters/c.conf"),
    ("Replica", rewritten_sets.as_replica, "traj.txt"),
    *(("Stray", rewritten_sets.as_stray, name) for name in ("odometry.csv", "camera_matrix.csv")),
)
"""Name of the layout, its writer, and the file that is damaged."""


def _layout(write: Writer, name: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> None:
        exported = capture.write_export(folder / "box", count=3, suffix="jpg")
        points = make_points(6)
        source = rewritten.some_frames(exported, 3)
        if "colmap" in getattr(write, "func", write).__name__:
            write(source, folder / "c", points=points)
        else:
            write(source, folder / "c")

    return in_folder(build, f"c/{name}")


def _read_layout(path: Path) -> Any:
    if path.stem == "points3D":
        return read_sparse_points(path.parent)
    folder = next(p for p in path.parents if p.name == "c")
    layout = layout_of(folder)
    return None if layout is None else frames_of(layout.read(folder, None, None, SILENT))


def _points(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        scene = make_points(20)
        point_files.write_as(folder / name, scene)
        return folder / name

    return write


def _pcd(form: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        scene: PointScene = make_points(20)
        point_files.write_pcd(folder / "x.pcd", scene, form)
        return folder / "x.pcd"

    return write


def _sog_folder(folder: Path) -> None:
    from fuzz.object_rows import splats

    form = next(form for form in formats.SPLAT_FORMATS if form.name == "SOG")
    form.write(folder / "x.sog", splats())
    with zipfile.ZipFile(folder / "x.sog") as archive:
        archive.extractall(folder / "sog")


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


LAYOUT_ROWS = [
    *(Reader(f"{layout}: {name}", _layout(write, name), _read_layout) for layout, write, name in LAYOUT_FILES),
    *(Reader(f"points: {form} PCD", _pcd(form), formats.read_point_file) for form in ("binary", "binary_compressed")),
    *(
        Reader(f"points: {name}", _points(f"x.{name}"), formats.read_point_file)
        for name, package in (("las", "laspy"), ("e57", "pye57"))
        if _installed(package)
    ),
    *(
        Reader(f"SOG folder: {name}", in_folder(_sog_folder, f"sog/{name}"), lambda path: read_sog(path.parent))
        for name in ("meta.json", "means_l.webp", "quats.webp")
    ),
]
