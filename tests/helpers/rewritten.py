"""The frames of a capture in ScanNet's export layout, rewritten in other layouts."""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gaussiancross.app.scenes.lifted import surfels
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.io import read_depth, write_depth, write_gaussians
from scipy.spatial.transform import Rotation

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Source:
    """Some frames of a capture.

    Attributes:
        folder: the capture.
        names: stems of the frames.
        K: [3, 3] intrinsics, centre of the first pixel at (0, 0).
        size: (width, height).
    """

    folder: Path
    names: tuple[str, ...]
    K: np.ndarray
    size: tuple[int, int]

    def color(self, name: str) -> Path:
        return self.folder / "color" / f"{name}.jpg"

    def depth(self, name: str) -> Path:
        return self.folder / "depth" / f"{name}.png"

    def pose(self, name: str) -> np.ndarray:
        return np.loadtxt(self.folder / "pose" / f"{name}.txt")


def some_frames(folder: Path, count: int) -> Source:
    """``count`` frames, evenly spaced."""
    from PIL import Image

    names = sorted(p.stem for p in (folder / "color").glob("*.jpg"))
    picked = tuple(names[i] for i in np.linspace(0, len(names) - 1, count).astype(int))
    K = np.loadtxt(folder / "intrinsic" / "intrinsic_depth.txt")[:3, :3]
    with Image.open(folder / "depth" / f"{picked[0]}.png") as image:
        return Source(folder, picked, K, image.size)


def as_export(source: Source, out: Path) -> Path:
    for part in ("color", "depth", "pose"):
        (out / part).mkdir(parents=True)
        for name in source.names:
            file = next((source.folder / part).glob(f"{name}.*"))
            shutil.copyfile(file, out / part / file.name)
    shutil.copytree(source.folder / "intrinsic", out / "intrinsic")
    return out


def as_nerfstudio(source: Source, out: Path) -> Path:
    (out / "images").mkdir(parents=True)
    (out / "depth").mkdir()
    frames = []
    for name in source.names:
        shutil.copyfile(source.color(name), out / "images" / f"{name}.jpg")
        shutil.copyfile(source.depth(name), out / "depth" / f"{name}.png")
        entry = {"file_path": f"images/{name}.jpg", "depth_file_path": f"depth/{name}.png"}
        frames.append(entry | {"transform_matrix": (source.pose(name) @ FLIP).tolist()})
    K = source.K
    intrinsics = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5}
    size = dict(zip("wh", source.size, strict=True))
    (out / "transforms.json").write_text(json.dumps({"camera_model": "OPENCV", **intrinsics, **size, "frames": frames}))
    return out


def as_tum(source: Source, out: Path) -> Path:
    (out / "rgb").mkdir(parents=True)
    (out / "depth").mkdir()
    lists: dict[str, list[str]] = {"rgb": [], "depth": [], "groundtruth": ["# timestamp tx ty tz qx qy qz qw"]}
    for i, name in enumerate(source.names):
        time = 1305031102.1 + i
        shutil.copyfile(source.color(name), out / "rgb" / f"{name}.jpg")
        write_depth(out / "depth" / f"{name}.png", read_depth(source.depth(name)).astype(np.uint32).clip(0, 13_000) * 5)
        lists["rgb"].append(f"{time:.6f} rgb/{name}.jpg")
        lists["depth"].append(f"{time + 0.011:.6f} depth/{name}.png")
        pose = source.pose(name)
        values = [*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]
        lists["groundtruth"].append(f"{time - 0.004:.6f} " + " ".join(f"{v:.9f}" for v in values))
    for name, lines in lists.items():
        (out / f"{name}.txt").write_text("\n".join(lines) + "\n")
    K = source.K
    (out / "intrinsics.txt").write_text(f"{K[0, 0]} {K[1, 1]} {K[0, 2]} {K[1, 2]}\n")
    return out


def as_seven_scenes(source: Source, out: Path) -> Path:
    (out / "seq-01").mkdir(parents=True)
    for i, name in enumerate(source.names):
        stem = out / "seq-01" / f"frame-{i:06d}"
        shutil.copyfile(source.color(name), f"{stem}.color.jpg")
        depth = read_depth(source.depth(name))
        write_depth(f"{stem}.depth.png", np.where(depth == 0, 65535, depth))
        np.savetxt(f"{stem}.pose.txt", source.pose(name))
    np.savetxt(out / "camera-intrinsics.txt", source.K)
    return out


def as_polycam(source: Source, out: Path) -> Path:
    root = out / "keyframes"
    for part in ("images", "cameras", "depth"):
        (root / part).mkdir(parents=True)
    for name in source.names:
        shutil.copyfile(source.color(name), root / "images" / f"{name}.jpg")
        shutil.copyfile(source.depth(name), root / "depth" / f"{name}.png")
        pose, K = source.pose(name) @ FLIP, source.K
        data = {f"t_{i}{j}": pose[i, j] for i in range(3) for j in range(4)}
        data |= {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5}
        (root / "cameras" / f"{name}.json").write_text(
            json.dumps(data | {"width": source.size[0], "height": source.size[1]})
        )
    return out


def as_open3d(source: Source, out: Path) -> Path:
    for part in ("color", "depth"):
        (out / part).mkdir(parents=True)
    lines = []
    for i, name in enumerate(source.names):
        shutil.copyfile(source.color(name), out / "color" / f"{i:05d}.jpg")
        shutil.copyfile(source.depth(name), out / "depth" / f"{i:05d}.png")
        lines += [f"{i} {i} {i + 1}", *(" ".join(f"{v:.9f}" for v in row) for row in source.pose(name))]
    (out / "trajectory.log").write_text("\n".join(lines) + "\n")
    about = {"width": source.size[0], "height": source.size[1], "intrinsic_matrix": source.K.T.ravel().tolist()}
    (out / "intrinsic.json").write_text(json.dumps(about))
    return out


def as_colmap(source: Source, out: Path, binary: bool = True, points: PointScene | None = None) -> Path:
    """COLMAP's model and images, without depth."""
    (out / "images").mkdir(parents=True)
    (out / "sparse" / "0").mkdir(parents=True)
    sparse, K, (w, h) = out / "sparse" / "0", source.K, source.size
    values = (K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5)
    rows = []
    for name in source.names:
        shutil.copyfile(source.color(name), out / "images" / f"{name}.jpg")
        w2c = np.linalg.inv(source.pose(name))
        x, y, z, qw = Rotation.from_matrix(w2c[:3, :3]).as_quat()
        rows.append((f"{name}.jpg", (qw, x, y, z, *w2c[:3, 3])))
    sparse_points = [] if points is None else list(zip(points.coord.tolist(), points.color.tolist(), strict=True))
    if binary:
        (sparse / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 7, 1, w, h, *values))
        body = b"".join(
            struct.pack("<I7dI", i + 1, *pose, 7) + name.encode() + b"\0" + struct.pack("<Qddq", 1, 1.0, 2.0, -1)
            for i, (name, pose) in enumerate(rows)
        )
        (sparse / "images.bin").write_bytes(struct.pack("<Q", len(rows)) + body)
        body = b"".join(
            struct.pack("<Q3d3BdQ2I", i, *xyz, *rgb, 0.5, 1, 1, 0) for i, (xyz, rgb) in enumerate(sparse_points)
        )
        (sparse / "points3D.bin").write_bytes(struct.pack("<Q", len(sparse_points)) + body)
        return out
    (sparse / "cameras.txt").write_text(f"# list\n7 PINHOLE {w} {h} {' '.join(map(repr, map(float, values)))}\n")
    lines = [f"{i + 1} {' '.join(map(repr, map(float, pose)))} 7 {name}\n\n" for i, (name, pose) in enumerate(rows)]
    (sparse / "images.txt").write_text("# list\n" + "".join(lines))
    lines = [
        f"{i} {' '.join(map(str, xyz))} {' '.join(map(str, rgb))} 0.5 1 0\n"
        for i, (xyz, rgb) in enumerate(sparse_points)
    ]
    (sparse / "points3D.txt").write_text("# list\n" + "".join(lines))
    return out


def add_splats(folder: Path, scene: PointScene, step: float) -> None:
    """Trained splats of a capture: flat Gaussians on its points."""
    write_gaussians(folder / "splats.ply", surfels(scene, step))
