"""The frames of a capture rewritten as published data sets and as Stray Scanner have them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from gaussiancross.core.io import read_depth, write_depth
from scipy.spatial.transform import Rotation

from helpers.rewritten import FLIP, Source


def as_scannetpp(source: Source, out: Path) -> Path:
    """The iPhone recording of a scene, with the poses of ARKit's own world beside the aligned ones."""
    root, entries = out / "iphone", {}
    for part in ("rgb", "depth"):
        (root / part).mkdir(parents=True)
    for i, name in enumerate(source.names):
        frame = f"frame_{10 * i:06d}"
        shutil.copyfile(source.color(name), root / "rgb" / f"{frame}.jpg")
        shutil.copyfile(source.depth(name), root / "depth" / f"{frame}.png")
        aligned = source.pose(name)
        own = np.array([[0, 0, 1, 2], [1, 0, 0, 3], [0, 1, 0, 4], [0, 0, 0, 1.0]]) @ aligned
        entries[frame] = {"timestamp": i / 60, "pose": own.tolist(), "aligned_pose": aligned.tolist()}
        entries[frame]["intrinsic"] = source.K.tolist()
    (root / "pose_intrinsic_imu.json").write_text(json.dumps(entries))
    return out


def as_scannetpp_dslr(colmap: Path, out: Path) -> Path:
    """The DSLR images of a scene, of a capture in COLMAP's layout with a model as text."""
    shutil.copytree(colmap / "images", out / "resized_images")
    shutil.copytree(colmap / "sparse" / "0", out / "colmap")
    return out


def as_arkitscenes(source: Source, out: Path) -> Path:
    """A recording of the raw data; some intrinsics are stamped a millisecond later, as in the download."""
    from PIL import Image

    for part in ("lowres_wide", "lowres_depth", "lowres_wide_intrinsics"):
        (out / part).mkdir(parents=True)
    lines = []
    for i, name in enumerate(source.names):
        time = 305.377 + 0.1 * i
        stem = f"{out.name}_{time:.3f}"
        with Image.open(source.color(name)) as image:
            image.save(out / "lowres_wide" / f"{stem}.png")
        shutil.copyfile(source.depth(name), out / "lowres_depth" / f"{stem}.png")
        K, (w, h) = source.K, source.size
        pincam = out / "lowres_wide_intrinsics" / f"{out.name}_{time + 0.001 * (i % 2):.3f}.pincam"
        pincam.write_text(f"{w} {h} {K[0, 0]} {K[1, 1]} {K[0, 2]} {K[1, 2]}\n")
        w2c = np.linalg.inv(source.pose(name))
        row = [time + 0.0123, *Rotation.from_matrix(w2c[:3, :3]).as_rotvec(), *w2c[:3, 3]]
        lines.append(" ".join(f"{v:.9f}" for v in row))
    (out / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    return out


def as_matterport(source: Source, out: Path) -> Path:
    """A house with its undistorted images."""
    color, depth, about = (out / f"undistorted_{n}" for n in ("color_images", "depth_images", "camera_parameters"))
    for part in (color, depth, about):
        part.mkdir(parents=True)
    K = source.K
    lines = [f"dataset matterport\nn_images {len(source.names)}\n"]
    lines.append("intrinsics_matrix " + " ".join(map(str, [K[0, 0], 0, K[0, 2], 0, K[1, 1], K[1, 2], 0, 0, 1])) + "\n")
    for name in source.names:
        shutil.copyfile(source.color(name), color / f"{name}_i0_0.jpg")
        measured = read_depth(source.depth(name)).astype(np.uint32)
        write_depth(depth / f"{name}_d0_0.png", np.where(measured > 16_000, 0, measured * 4))
        pose = " ".join(f"{v:.9f}" for v in (source.pose(name) @ FLIP).ravel())
        lines.append(f"scan {name}_d0_0.png {name}_i0_0.jpg {pose}\n")
    (about / f"{out.name}.conf").write_text("".join(lines))
    return out


def as_replica(source: Source, out: Path) -> Path:
    """A scene rendered for NICE-SLAM, with depth in 1/6553.5 m and the camera in the folder above."""
    (out / "results").mkdir(parents=True)
    poses = []
    for i, name in enumerate(source.names):
        shutil.copyfile(source.color(name), out / "results" / f"frame{i:06d}.jpg")
        metres = read_depth(source.depth(name)).astype(float) / 1000
        write_depth(out / "results" / f"depth{i:06d}.png", np.where(metres < 9.9, metres * 6553.5 + 0.5, 0))
        poses.append(" ".join(f"{v:.9e}" for v in source.pose(name).ravel()))
    (out / "traj.txt").write_text("\n".join(poses) + "\n")
    K, (w, h) = source.K, source.size
    camera = {"w": w, "h": h, "fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "scale": 6553.5}
    (out.parent / "cam_params.json").write_text(json.dumps({"camera": camera}))
    return out


def as_stray(source: Source, out: Path) -> Path:
    """A recording of Stray Scanner whose video was split."""
    for part in ("rgb", "depth"):
        (out / part).mkdir(parents=True)
    lines = ["timestamp, frame, x, y, z, qx, qy, qz, qw"]
    for i, name in enumerate(source.names):
        shutil.copyfile(source.color(name), out / "rgb" / f"{i:06d}.jpg")
        shutil.copyfile(source.depth(name), out / "depth" / f"{i:06d}.png")
        pose = source.pose(name)
        values = [*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]
        lines.append(f"{100 + i / 60:.6f}, {i:06d}, " + ", ".join(f"{v:.9f}" for v in values))
    (out / "odometry.csv").write_text("\n".join(lines) + "\n")
    np.savetxt(out / "camera_matrix.csv", source.K, delimiter=", ")
    return out
