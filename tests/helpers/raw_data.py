"""Small ScanNet and S3DIS downloads in the layout of the real ones."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from gaussiancross.app import cli
from numpy.typing import NDArray
from PIL import Image

COLUMNS = ("id", "raw_category", "category", "count", "nyu40id")

LABELS = (
    (1, "wall", "wall", 8277, 1),
    (3, "floor", "floor", 1553, 2),
    (2, "chair", "chair", 4646, 5),
    (13, "pillow", "pillow", 937, 18),
    (1163, "object", "object", 1313, 40),
    (2, 'chair 19"', "chair", 1, 5),
)
"""Rows of the label table: a class of both benchmarks, of the 200 alone (pillow, object), with a quotation mark."""


def write_label_table(path: Path) -> None:
    rows = ["\t".join(map(str, row)) for row in (COLUMNS, *LABELS)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_mesh(path: Path, coord: NDArray, color: NDArray, triangles: NDArray) -> None:
    """As `_vh_clean_2.ply`: binary, vertices of x y z and RGBA, faces as lists of int."""
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment MLIB generated\nelement vertex {len(coord)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nproperty uchar alpha\n"
        f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    body = b"".join(struct.pack("<3f4B", *p, *c, 255) for p, c in zip(coord, color, strict=True))
    faces = b"".join(struct.pack("<B3i", 3, *t) for t in triangles)
    path.write_bytes(header.encode() + body + faces)


def corner() -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """A floor (z = 0) and a wall (x = 0) of 2 × 2 m with a vertex every 10 cm: coord, color, triangles, segment."""
    side = 21
    u, v = (a.ravel() * 0.1 for a in np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    floor, wall = np.stack([u, v, 0 * u], 1), np.stack([0 * u, u, v], 1)
    i = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    one = np.concatenate([np.stack([i, i + side, i + side + 1], 1), np.stack([i, i + side + 1, i + 1], 1)])
    coord = np.concatenate([floor, wall]).astype(np.float32)
    color = np.random.default_rng(0).integers(0, 256, coord.shape).astype(np.uint8)
    return coord, color, np.concatenate([one, one + len(floor)]), np.repeat([7, 12], len(floor))


def write_scannet_scene(root: Path, name: str, frames: int = 4, labels: bool = True) -> Path:
    """One scene of the download; the floor is annotated as floor, the wall as pillow (of the 200 alone), a strip of
    the floor as nothing."""
    folder = root / ("scans" if labels else "scans_test") / name
    folder.mkdir(parents=True)
    coord, color, triangles, segment = corner()
    segment = np.where(coord[:, 1] > 1.55, 9, segment)
    write_mesh(folder / f"{name}_vh_clean_2.ply", coord, color, triangles)
    if labels:
        groups = [
            {"id": 0, "objectId": 0, "segments": [7], "label": "floor"},
            {"id": 1, "objectId": 1, "segments": [12], "label": "pillow"},
        ]
        content = {"sceneId": f"scannet.{name}", "segGroups": groups}
        (folder / f"{name}.aggregation.json").write_text(json.dumps(content))
        content = {"params": {}, "sceneId": name, "segIndices": segment.tolist()}
        (folder / f"{name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps(content))
    if frames:
        write_sens(folder / f"{name}.sens", frames)
    return folder


COLOR_SIZE, DEPTH_SIZE = (130, 97), (64, 48)

COLOR_K, DEPTH_K = (117.0, 117.0, 64.5, 48.0), (57.6, 57.6, 31.5, 23.5)


def intrinsics(fx: float, fy: float, cx: float, cy: float) -> NDArray[np.float32]:
    return np.array([[fx, 0, cx, 0], [0, fy, cy, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)


def pose_of(index: int) -> NDArray[np.float32]:
    pose = np.eye(4, dtype=np.float32)
    pose[:3, 3] = (0.25 * index, 1.0, 1.5)
    return pose


def depth_of(index: int) -> NDArray[np.uint16]:
    w, h = DEPTH_SIZE
    return (1000 + 100 * index + np.arange(w * h) % 500).reshape(h, w).astype(np.uint16)


def write_sens(path: Path, frames: int = 4, lost: tuple[int, ...] = (), shift: float = 1000.0) -> None:
    """A recording of version 4: JPEG colour that changes from frame to frame, zlib depth, some poses lost."""
    name = b"StructureSensor"
    head = struct.pack("<I", 4) + struct.pack("<Q", len(name)) + name
    for matrix in (intrinsics(*COLOR_K), np.eye(4), intrinsics(*DEPTH_K), np.eye(4)):
        head += np.asarray(matrix, "<f4").tobytes()
    head += struct.pack("<2i", 2, 1) + struct.pack("<4I", *COLOR_SIZE, *DEPTH_SIZE)
    head += struct.pack("<f", shift) + struct.pack("<Q", frames)
    body = b""
    for i in range(frames):
        jpeg = io.BytesIO()
        Image.new("RGB", COLOR_SIZE, (20 * i, 100, 200)).save(jpeg, "JPEG", quality=95)
        color, depth = jpeg.getvalue(), zlib.compress((depth_of(i) * (shift / 1000)).astype("<u2").tobytes())
        pose = np.full((4, 4), -np.inf, np.float32) if i in lost else pose_of(i)
        body += pose.astype("<f4").tobytes() + struct.pack("<4Q", 10 * i, 10 * i + 1, len(color), len(depth))
        body += color + depth
    path.write_bytes(head + body + struct.pack("<Q", 0))  # no inertial frames


def write_s3dis_room(root: Path, area: str, name: str, angle: float = 90) -> Path:
    """A room of 4 × 2 × 3 m: ceiling, floor, a chair, stairs."""
    folder = root / area / name
    (folder / "Annotations").mkdir(parents=True)
    rng = np.random.default_rng(len(name))
    boxes = {"ceiling_1": (0, 0, 3, 4, 2, 3), "floor_1": (0, 0, 0, 4, 2, 0)}
    boxes |= {"chair_1": (1, 1, 0, 1.5, 1.5, 1), "chair_10": (3, 1, 0, 3.5, 1.5, 1), "stairs_1": (3, 0, 0, 4, 1, 0.5)}
    everything = []
    for stem, box in boxes.items():
        points = rng.uniform(box[:3], box[3:], (200, 3)) + np.array([-20, 30, 0])
        lines = [" ".join([*(f"{v:.3f}" for v in p), *map(str, rng.integers(0, 256, 3))]) for p in points]
        text = "\n".join(lines) + "\n"
        (folder / "Annotations" / f"{stem}.txt").write_text(text)
        everything.append(text)
    (folder / f"{name}.txt").write_text("".join(everything))
    (folder / "Annotations" / ".DS_Store").write_bytes(b"\0\1")
    with (root / area / f"{area}_alignmentAngle.txt").open("a") as file:
        if not file.tell():
            file.write(f"## Global alignment angle per disjoint space in {area} ##\n## Name Angle ##\n")
        file.write(f"{name} {angle:g}\n")
    return folder


def run(*args: object) -> int:
    return cli.main(["prepare", *map(str, args), "--workers", "1"])
