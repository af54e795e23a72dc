"""Convert the raw download of S3DIS (Stanford3dDataset_v1.2) to the layout of `scenes.pointcept`.

    <root>/Area_k/<room>/Annotations/<class>_<n>.txt    one line "x y z r g b" per point, metres and 0–255
    <root>/Area_k/Area_k_alignmentAngle.txt             rotation of each room off the axes, degrees

Every annotation file is one instance of its room. Some lines of the release have a control character inside a number
("103.0\\x100000"), which is removed. The download has no normals; they are estimated (`core.geometry.normals`), whereas
Pointcept's optional ones come from the mesh of the building, a separate download.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data.classes import S3DIS
from ...errors import InputError
from ...geometry.normals import estimate_normals
from ...io.plain_files import read_bytes, read_text

BYTES_PER_POINT = 12 + 3 + 12 + 2 * 8
"""Size per point of the arrays of `read_room` in bytes."""

BYTES_PER_LINE = 30
"""Approximate size of a point as text in bytes."""

MAX_EXTENT = 100_000
"""Largest absolute coordinate of a room in metres; more is a damaged file."""

_NUMBER = b"0123456789.+-eE \t\r\n"


@dataclass(frozen=True)
class RawRoom:
    """One downloaded room.

    Attributes:
        area: name such as "Area_1".
        name: name such as "office_1"; not unique across areas.
        folder: folder of ``Annotations``.
    """

    area: str
    name: str
    folder: Path

    def objects(self) -> list[Path]:
        """Annotation files of the room, by class and number."""
        files = (self.folder / "Annotations").glob("*.txt")
        return sorted((f for f in files if not f.name.startswith(".")), key=_object_order)


def find_rooms(root: Path | str) -> list[RawRoom]:
    """Find the rooms of all areas, sorted by area and name.

    Raises:
        InputError: no rooms.
    """
    root = Path(root)
    folders = sorted(f.parent for f in root.glob("Area_*/*/Annotations") if f.is_dir())
    if not folders:
        expected = f"rooms as {root / 'Area_1' / 'office_1' / 'Annotations'}"
        raise InputError(root, expected, "0 rooms", "give the folder that holds Area_1 to Area_6")
    return [RawRoom(f.parent.name, f.name, f) for f in folders]


def read_room(room: RawRoom, angle: float = 0.0) -> dict[str, NDArray]:
    """Arrays of a Pointcept scene: coord, color, normal, segment, instance.

    Args:
        room: the room.
        angle: angle of `read_alignment` in degrees; the room is rotated back by it about the vertical axis through the
            centre of its bounding box.

    Raises:
        InputError: no annotations, or an unreadable file.
    """
    parts, kinds, counts = [], [], []
    for path in room.objects():
        points = read_object(path)
        kind = path.name.split("_")[0]
        parts.append(points)
        kinds.append(S3DIS.index(kind if kind in S3DIS else "clutter"))  # the release also has stairs
        counts.append(len(points))
    if not sum(counts):
        raise InputError(room.folder / "Annotations", "annotated points as <class>_<n>.txt", "none")
    points = np.concatenate(parts)
    coord = rotate_about_vertical(points[:, :3], -angle)
    color = points[:, 3:]
    if np.abs(coord).max() > MAX_EXTENT:
        raise InputError(room.folder, f"coordinates up to {MAX_EXTENT:,} metres", f"{np.abs(coord).max():g}")
    if color.min() < 0 or color.max() > 255:
        raise InputError(room.folder, "colour in 0–255", f"values from {color.min():g} to {color.max():g}")
    return {
        "coord": coord.astype(np.float32),
        "color": (color + 0.5).astype(np.uint8),
        "normal": estimate_normals(coord),
        "segment": np.repeat(kinds, counts).astype(np.int64),
        "instance": np.repeat(np.arange(len(counts)), counts).astype(np.int64),
    }


def read_object(path: Path | str) -> NDArray[np.float64]:
    """Read the points [N, 6] of one annotation file: x y z r g b.

    Stray bytes in a line are removed, or read as spaces if only that leaves six numbers. Other lines are skipped with a
    warning.

    Raises:
        InputError: missing, or no line of six numbers.
    """
    path = Path(path)
    try:
        data = read_bytes(path)
    except OSError as error:
        raise InputError(path, "a text file of points", f"{error}") from error
    if not data.translate(None, _NUMBER) and _six_each(data):  # the usual case: parse all lines at once
        try:
            points = np.array(data.split(), np.float64).reshape(-1, 6)
            if np.isfinite(points).all():  # 1e999 is not
                return points
        except ValueError:  # such as "1.2.3"
            pass
    rows, lost = [], 0
    for line in data.splitlines():
        row = _row(line)
        if row is not None:
            rows.append(row)
        elif line.strip():
            lost += 1
    if not rows:
        raise InputError(path, 'lines of "x y z r g b"', "none", "download it again")
    if lost:
        warnings.warn(f"{path}: left out {lost} of {lost + len(rows)} lines without six numbers.", stacklevel=2)
    return np.array(rows)


def read_alignment(root: Path | str, area: str) -> dict[str, float]:
    """Read room → rotation off the axes in degrees, of one area.

    Raises:
        InputError: missing, or a line other than a name and an angle.
    """
    path = Path(root) / area / f"{area}_alignmentAngle.txt"
    angles: dict[str, float] = {}
    try:
        text = read_text(path, errors="replace")
    except OSError:
        hint = "without --align rooms keep the orientation of the scan"
        raise InputError(path, "the angle of each room", "no such file", hint) from None
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            name, angle = words
            angles[name] = float(angle)
            if not np.isfinite(angles[name]):
                raise ValueError(angle)
        except ValueError:
            raise InputError(path, "lines of a room and its angle", repr(line)) from None
    return angles


def rotate_about_vertical(coord: NDArray[np.floating], degrees: float) -> NDArray[np.float64]:
    """Rotate points [N, 3] counter-clockwise about the vertical axis through the centre of their bounding box."""
    coord = np.asarray(coord, np.float64)
    if degrees % 360 == 0:
        return coord
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    center = (coord.min(0) + coord.max(0)) / 2
    return (coord - center) @ rotation.T + center


def _six_each(data: bytes) -> bool:
    """Whether every line has six words."""
    text = np.frombuffer(data, np.uint8)
    space = text <= ord(" ")
    starts = ~space
    starts[1:] &= space[:-1]
    so_far = np.cumsum(starts, dtype=np.int64)
    ends = so_far[text == ord("\n")]
    counts = np.diff(ends if data.endswith(b"\n") else np.append(ends, so_far[-1:]), prepend=0)
    return bool((counts == 6).all())


def _row(line: bytes) -> list[float] | None:
    """The six numbers of a line, or None."""
    junk = line.translate(None, _NUMBER)
    for text in (line.translate(None, junk), line.translate(bytes(32 if b in junk else b for b in range(256)))):
        try:
            row = [float(word) for word in text.split()]
        except ValueError:
            continue
        if len(row) == 6 and np.isfinite(row).all():
            return row
    return None


def _object_order(path: Path) -> tuple[str, int, str]:
    match = re.fullmatch(r"(.*?)_(\d+)\.txt", path.name)
    return (match.group(1), int(match.group(2)), "") if match else (path.name, 0, path.name)
