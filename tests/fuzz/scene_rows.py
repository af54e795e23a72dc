"""Readers of captures, scenes and images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gaussiancross.core.datasets.prepare import s3dis, scannet
from gaussiancross.core.datasets.scenes.pointcept import read_pointcept_scene
from gaussiancross.core.datasets.scenes.rgbd import read_rgbd_export
from gaussiancross.core.io import (
    read_color,
    read_depth,
    read_transforms,
    write_color,
    write_depth,
)
from gaussiancross.core.io.scenesplat import read_scenesplat
from gaussiancross.core.io.sens import read_sens
from helpers import capture, raw_data
from helpers.splat_files import make_gaussians

from fuzz.reader import Reader, in_folder


def frames_of(frames: Any) -> Any:
    return (
        frames.cameras.viewmats,
        frames.cameras.Ks,
        [vars(frames.read(i, 32, 24)) for i in range(min(2, len(frames)))],
    )


def _lens(folder: Path) -> Any:
    return capture.write_transforms(folder / "c", 3, k1=0.05, k2=0.01, p1=0.001)


def scannet_scene(folder: Path) -> Path:
    raw_data.write_label_table(folder / "labels.tsv")
    return raw_data.write_scannet_scene(folder, "scene0000_00", 2)


def _read_scannet(path: Path) -> Any:
    root = (
        next(p for p in path.parents if (p / "labels.tsv").exists() or p.parent == p)
        if path.suffix != ".tsv"
        else path.parent
    )
    (scene,) = scannet.find_scenes(root)
    return scannet.read_scene(scene, scannet.read_label_table(root / "labels.tsv"))


def _scenesplat(folder: Path) -> None:
    g = make_gaussians(20, 0)
    for name, values in (("coord", g.means), ("color", g.colors), ("opacity", g.opacities), ("quat", g.quats)):
        np.save(folder / f"{name}.npy", values.numpy())
    np.save(folder / "scale.npy", g.scales.numpy())
    np.save(folder / "lang_feat.npy", np.ones((20, 4), np.float32))


def _sens(folder: Path) -> Path:
    raw_data.write_sens(folder / "x.sens", 3)
    return folder / "x.sens"


def _read_sens(path: Path) -> Any:
    recording = read_sens(path)
    usable = [f for f in recording.frames if np.isfinite(f.pose).all()]
    return [np.asarray(depth) for _, depth in recording.images(usable)]


def _image(name: str, color: bool) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        values = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
        if color:
            write_color(folder / name, values)
        else:
            write_depth(folder / name, values[..., 0].astype(np.uint16) * 100)
        return folder / name

    return write


SEGS = "scans/scene0000_00/scene0000_00_vh_clean_2.0.010000.segs.json"
MESH = "scans/scene0000_00/scene0000_00_vh_clean_2.ply"
ROOM = "Area_1/office_1/Annotations/chair_1.txt"

SCENE_ROWS = [
    Reader("transforms.json", in_folder(_lens, "c/transforms.json"), lambda path: frames_of(read_transforms(path))),
    Reader("capture: colour", in_folder(_lens, "c/images/f00.png"), lambda p: frames_of(read_transforms(p.parents[1]))),
    Reader("capture: depth", in_folder(_lens, "c/depth/f00.png"), lambda p: frames_of(read_transforms(p.parents[1]))),
    *(
        Reader(
            f"RGB-D export: {name}",
            in_folder(lambda folder: capture.write_export(folder / "c", 3), f"c/{name}"),
            lambda path: frames_of(read_rgbd_export(path.parents[1])),
        )
        for name in ("pose/0.txt", "intrinsic/intrinsic_depth.txt", "depth/1.png")
    ),
    *(
        Reader(
            f"Pointcept: {name}",
            in_folder(lambda folder: capture.write_pointcept(folder / "c", 20), f"c/{name}.npy"),
            lambda path: read_pointcept_scene(path.parent),
        )
        for name in ("coord", "color", "segment20", "normal")
    ),
    *(
        Reader(f"SceneSplat: {name}", in_folder(_scenesplat, f"{name}.npy"), lambda path: read_scenesplat(path.parent))
        for name in ("coord", "color", "scale", "lang_feat")
    ),
    Reader("ScanNet: labels", in_folder(scannet_scene, "labels.tsv"), _read_scannet),
    Reader("ScanNet: segments", in_folder(scannet_scene, SEGS), _read_scannet),
    Reader("ScanNet: groups", in_folder(scannet_scene, SEGS.split("_vh")[0] + ".aggregation.json"), _read_scannet),
    Reader("ScanNet: mesh", in_folder(scannet_scene, MESH), _read_scannet),
    Reader(
        "S3DIS: object",
        in_folder(lambda folder: raw_data.write_s3dis_room(folder, "Area_1", "office_1"), ROOM),
        lambda path: s3dis.read_room(s3dis.find_rooms(path.parents[3])[0], 90.0),
    ),
    Reader(
        "S3DIS: angles",
        in_folder(
            lambda folder: raw_data.write_s3dis_room(folder, "Area_1", "o_1"), "Area_1/Area_1_alignmentAngle.txt"
        ),
        lambda path: s3dis.read_alignment(path.parents[1], "Area_1"),
    ),
    Reader(".sens", _sens, _read_sens),
    Reader("colour: .png", _image("x.png", True), read_color),
    Reader("colour: .jpg", _image("x.jpg", True), read_color),
    Reader("depth: .png", _image("x.png", False), read_depth),
]
