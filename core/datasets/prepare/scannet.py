"""Convert the raw download of ScanNet to the layouts of `scenes.pointcept` and `scenes.rgbd`.

    <root>/scans/<scene>/        <scene>_vh_clean_2.ply, <scene>.aggregation.json, <scene>.sens,
                                 <scene>_vh_clean_2.0.010000.segs.json
    <root>/scans_test/<scene>/   mesh and recording, without labels
    <root>/scannetv2-labels.combined.tsv

The table maps raw names by ``nyu40id`` to the 20 classes and by ``id`` to the 200. Instances are the annotated objects,
numbered as in the aggregation; objects of other classes keep their instance.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.scene import IGNORE
from ...errors import InputError
from ...geometry.normals import vertex_normals
from ...io.frames import evenly_spaced, no_usable_frame, pose_problem
from ...io.images import write_depth
from ...io.json_files import read_json
from ...io.plain_files import check_plain
from ...io.ply_table import read_triangles, read_vertices
from ...io.sens import Sens, read_sens
from .scannet_benchmark import NYU40_IDS, SCANNET200_IDS, TEST_LOCATIONS, VAL_LOCATIONS

LABEL_TABLE = "scannetv2-labels.combined.tsv"
BYTES_PER_POINT = 12 + 3 + 12 + 3 * 8
"""Size per point of the arrays of `read_scene` in bytes."""

JPEG_QUALITY = 90
"""Quality of exported colour images."""

_SCENE = re.compile(r"scene(\d{4})_\d\d")


@dataclass(frozen=True)
class RawScene:
    """One downloaded scene.

    Attributes:
        name: name such as "scene0000_00".
        folder: folder of its files.
        split: "train", "val" or "test".
    """

    name: str
    folder: Path
    split: str

    def file(self, ending: str) -> Path:
        return self.folder / f"{self.name}{ending}"

    @property
    def mesh(self) -> Path:
        return self.file("_vh_clean_2.ply")

    @property
    def recording(self) -> Path:
        return self.file(".sens")


def find_scenes(root: Path | str) -> list[RawScene]:
    """Find the scenes in ``scans``, ``scans_test`` and the root, sorted by name.

    Raises:
        InputError: no scenes.
    """
    root = Path(root)
    scenes: dict[str, RawScene] = {}
    for parent in (root, root / "scans_test", root / "scans"):
        for folder in parent.iterdir() if parent.is_dir() else ():
            match = _SCENE.fullmatch(folder.name)
            if match and folder.is_dir():
                scenes[folder.name] = RawScene(folder.name, folder, split_of(folder.name))
    if not scenes:
        raise InputError(root, f"scenes as {root / 'scans' / 'scene0000_00'}", "0 scenes", "give the download's folder")
    return [scenes[name] for name in sorted(scenes)]


def split_of(scene: str) -> str:
    """Split of a scene in the benchmark: "train", "val" or "test".

    Raises:
        InputError: not a scene name of ScanNet.
    """
    match = _SCENE.fullmatch(scene)
    if match is None:
        raise InputError(scene, "a name such as scene0000_00", "another")
    location = int(match.group(1))
    return "test" if location in TEST_LOCATIONS else "val" if location in VAL_LOCATIONS else "train"


def read_label_table(path: Path | str) -> dict[str, tuple[int, int]]:
    """Read raw category → (index among the 20 classes, index among the 200), `IGNORE` for others.

    Raises:
        InputError: missing, or without the columns ``raw_category``, ``id`` and ``nyu40id``.
    """
    path = Path(path)
    try:
        check_plain(path)
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except FileNotFoundError:
        hint = "it is part of the ScanNet download"
        raise InputError(path, "ScanNet's table of labels", "no such file", hint) from None
    except (ValueError, OSError, csv.Error) as error:
        found = f"a damaged file ({error})"
        raise InputError(path, "ScanNet's table of labels", found, "download it again") from error
    columns = ("raw_category", "id", "nyu40id")
    if not rows or any(rows[0].get(name) is None for name in columns):
        raise InputError(path, f"tab-separated columns {', '.join(columns)}", "others")
    twenty, two_hundred = ({n: i for i, n in enumerate(ids)} for ids in (NYU40_IDS, SCANNET200_IDS))
    table: dict[str, tuple[int, int]] = {}
    for number, row in enumerate(rows, 2):  # the first row of a category counts
        try:
            nyu, raw = int(row["nyu40id"] or 0), int(row["id"] or 0)
        except ValueError as error:
            raise InputError(path, "whole numbers as id and nyu40id", f"{error} in line {number}") from error
        table.setdefault(row["raw_category"], (twenty.get(nyu, IGNORE), two_hundred.get(raw, IGNORE)))
    return table


def read_scene(scene: RawScene, table: dict[str, tuple[int, int]]) -> dict[str, NDArray]:
    """Arrays of a Pointcept scene: coord, color, normal; except for "test" also segment20, segment200 and instance.

    Raises:
        InputError: a file is missing, damaged, or belongs to another mesh.
    """
    vertices = read_vertices(scene.mesh)
    names = ("x", "y", "z", "red", "green", "blue")
    missing = [n for n in names if n not in (vertices.dtype.names or ())]
    if missing or len(vertices) == 0:
        raise InputError(scene.mesh, "vertices with colours", f"no {', '.join(missing) or 'vertex'}")
    coord = np.stack([vertices[n] for n in names[:3]], 1).astype(np.float32)
    if not np.isfinite(coord).all():
        raise InputError(scene.mesh, "finite coordinates", "NaN or inf", "download it again")
    color = np.stack([vertices[n] for n in names[3:]], 1).astype(np.uint8)
    triangles = read_triangles(scene.mesh)
    if len(triangles) and not 0 <= triangles.min() <= triangles.max() < len(coord):
        raise InputError(scene.mesh, f"triangles of {len(coord)} vertices", f"index {triangles.max()}")
    arrays: dict[str, NDArray] = {"coord": coord, "color": color, "normal": vertex_normals(coord, triangles)}
    if scene.split != "test":
        arrays |= read_labels(scene, table, len(coord))
    return arrays


def read_labels(scene: RawScene, table: dict[str, tuple[int, int]], points: int) -> dict[str, NDArray[np.int64]]:
    """Labels segment20, segment200 and instance [N] from the annotated groups of segments; later groups override.

    Raises:
        InputError: a file is missing, damaged, or belongs to another mesh.
    """
    segments_file = scene.file("_vh_clean_2.0.010000.segs.json")
    try:
        listed = _json(segments_file, "segIndices")
        if not all(type(number) is int for number in listed):  # numpy would make room for the longest text in each
            raise ValueError("not all are integers")
        segments = np.asarray(listed, np.int64)
    except (ValueError, OverflowError) as error:
        raise InputError(segments_file, f"{points} integers, one per vertex", f"others ({error})") from error
    if segments.shape != (points,) or segments.dtype.kind not in "iu":
        found = f"{segments.dtype} of shape {segments.shape}"
        raise InputError(segments_file, f"{points} integers, one per vertex", found)
    groups_file = scene.file(".aggregation.json")
    ids, row = np.unique(segments, return_inverse=True)
    of_segment = np.full((len(ids), 3), IGNORE, np.int64)
    for group in _json(groups_file, "segGroups"):
        try:
            members, label, number = np.asarray(group["segments"], np.int64), str(group["label"]), int(group["id"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(groups_file, "groups with id, label and segments", f"another ({error})") from error
        if not -1 <= number < 1 << 31:
            raise InputError(groups_file, "groups with an id from 0", f"{number}")
        of_segment[np.isin(ids, members)] = (*table.get(label, (IGNORE, IGNORE)), number)
    labels = of_segment[row]
    return {name: np.ascontiguousarray(labels[:, i]) for i, name in enumerate(("segment20", "segment200", "instance"))}


def _json(path: Path, key: str) -> Any:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(path, f"JSON with {key}", "no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(path, f"JSON with {key}", f"a damaged file ({error})", "download it again") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise InputError(path, f"JSON with a list {key}", "none")
    return content[key]


# --- frames ----------------------------------------------------------------------------------------------------------


def export_frames(recording: Path | str, out: Path, count: int, width: int) -> int:
    """Write evenly spaced frames of a recording in the layout of `core.datasets.scenes.rgbd`.

    Args:
        recording: a ``.sens`` file.
        out: folder to fill.
        count: largest number of frames; frames without a usable pose are skipped.
        width: largest width of the colour images, pixels. Depth keeps its size.

    Returns:
        number of frames written.

    Raises:
        InputError: the recording cannot be read, or no frame has a usable pose.
    """
    sens = read_sens(recording)
    usable = [f for f in sens.frames if f.depth_bytes and f.color_bytes and pose_problem(f.pose) is None]
    if not usable:
        raise no_usable_frame(Path(recording), Counter(pose_problem(f.pose) or "no images" for f in sens.frames))
    chosen = evenly_spaced(usable, count)
    scale = min(1.0, width / sens.color_size[0])
    size = (round(sens.color_size[0] * scale), round(sens.color_size[1] * scale))
    for part in ("color", "depth", "pose", "intrinsic"):
        (out / part).mkdir(parents=True, exist_ok=True)
    for frame, (color, depth) in zip(chosen, sens.images(chosen), strict=True):
        color = color if color.size == size else color.resize(size, reducing_gap=2.0)
        color.save(out / "color" / f"{frame.index}.jpg", quality=JPEG_QUALITY)
        write_depth(out / "depth" / f"{frame.index}.png", depth)
        np.savetxt(out / "pose" / f"{frame.index}.txt", frame.pose, fmt="%.6f")
    np.savetxt(out / "intrinsic" / "intrinsic_color.txt", _scale_intrinsics(sens, size), fmt="%.6f")
    np.savetxt(out / "intrinsic" / "intrinsic_depth.txt", sens.depth_intrinsics, fmt="%.6f")
    return len(chosen)


def _scale_intrinsics(sens: Sens, size: tuple[int, int]) -> NDArray[np.float64]:
    """Colour intrinsics of images resized to ``size``; pixel centres are integers, so the corner is at −0.5."""
    K = sens.color_intrinsics.copy()
    for axis in (0, 1):
        scale = size[axis] / sens.color_size[axis]
        K[axis, axis] *= scale
        K[axis, 2] = (K[axis, 2] + 0.5) * scale - 0.5
    return K


def frame_bytes(recording: Path | str, count: int, width: int) -> int:
    """Approximate number of bytes that `export_frames` writes, from the size of the first frame."""
    sens = read_sens(recording, most=1)
    scale = min(1.0, width / sens.color_size[0])
    return sum(round(count * (f.color_bytes * scale**2 + f.depth_bytes)) for f in sens.frames)
