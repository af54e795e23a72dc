"""Read the published test sets of object classification.

modelnet40        ``test_pc.npy, test_split.json`` [, ``modelnet40_shape_names.txt``]   (OpenShape, Uni3D)
objaverse_lvis    ``lvis_testset.txt`` and the listed files                             (OpenShape, Uni3D)
scanobjectnn      ``*.h5`` with ``data`` and ``label``, or ``xyz_label.npy``
shapesplats       ``<class>/<split>/<id>/point_cloud.ply``                              (ModelSplat)

Points become isotropic Gaussians (`core.data.objects.points_as_gaussians`), with Y up. `read_fold` reads Point-BERT's
few-shot folds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.objects import MIN_GAUSSIANS, Up, check_object, points_as_gaussians, read_object, rotate_to_y_up
from ...errors import InputError, first_line
from ...geometry.gaussians import Gaussians
from ...io.json_files import read_json
from ...io.pickles import read_object_array, read_pickle
from ...io.plain_files import read_text

SCANOBJECTNN = (
    *("bag", "bin", "box", "cabinet", "chair", "desk", "display", "door"),
    *("shelf", "table", "bed", "pillow", "sink", "sofa", "toilet"),
)
"""The 15 classes of ScanObjectNN in the order of their labels."""


@dataclass(frozen=True)
class ObjectSet:
    """M labelled objects, loaded on demand.

    Attributes:
        name: name of the set.
        classes: C class names.
        labels: [M] int64 indices into ``classes``.
        ids: M names, unique within the set.
        load: index → Gaussians, Y up, in the units of the set.
    """

    name: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    load: Callable[[int], Gaussians]

    def __len__(self) -> int:
        return len(self.ids)


def open_object_set(path: Path | str, split: str = "test", up: Up = "y") -> ObjectSet:
    """Open a set; its kind is recognised by its files.

    Args:
        path: folder of the set, or its h5 file or ``lvis_testset.txt``.
        split: split of ShapeSplats; the others are test sets.
        up: axis that points up in the files.

    Raises:
        InputError: none of the layouts; lists them.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "test_pc.npy").is_file():
            return modelnet40(path, up)
        if (path / "lvis_testset.txt").is_file():
            return objaverse_lvis(path / "lvis_testset.txt", up)
        if (path / "xyz_label.npy").is_file():
            return scanobjectnn(path / "xyz_label.npy", up)
        if next(path.glob(f"*/{split}/*/point_cloud.ply"), None):
            return shapesplats(path, split, up)
    elif path.suffix == ".h5":
        return scanobjectnn(path, up)
    elif path.suffix == ".txt" and path.is_file():
        return objaverse_lvis(path, up)
    layouts = f"test_pc.npy, lvis_testset.txt, xyz_label.npy or <class>/{split}/<id>/point_cloud.ply"
    found = "neither" if path.exists() else "no such file or folder"
    raise InputError(path, f"an .h5 file, or a folder with {layouts}", found)


def modelnet40(folder: Path | str, up: Up = "y") -> ObjectSet:
    """Open ModelNet40's test clouds as published by OpenShape: a list of ``{"xyz", "rgb" 0–255}``, and categories.

    The order of classes is that of ``modelnet40_shape_names.txt``, or alphabetical without it.
    """
    folder = Path(folder)
    clouds = read_object_array(folder / "test_pc.npy")
    split = _json(folder / "test_split.json")
    if not isinstance(split, list) or not all(isinstance(e, dict) and "category" in e for e in split):
        raise InputError(folder / "test_split.json", 'a list of objects with a "category"', "another JSON")
    if np.ndim(clouds) != 1 or len(clouds) != len(split):
        raise InputError(
            folder / "test_pc.npy", f"{len(split)} clouds, as test_split.json lists", str(np.shape(clouds))
        )
    listed = folder / "modelnet40_shape_names.txt"
    names = (
        read_text(listed, "utf-8", "replace").split()
        if listed.is_file()
        else sorted({str(e["category"]) for e in split})
    )
    labels = [_class(e["category"], names, folder / "test_split.json") for e in split]
    ids = [str(e.get("name", e.get("id", i))) for i, e in enumerate(split)]
    ids = ids if len(set(ids)) == len(ids) else [str(i) for i in range(len(split))]

    def load(i: int) -> Gaussians:
        return _cloud(clouds[i], f"{folder / 'test_pc.npy'}[{i}]", 255.0, up)

    return ObjectSet("ModelNet40", tuple(n.replace("_", " ") for n in names), np.array(labels), tuple(ids), load)


def objaverse_lvis(file: Path | str, up: Up = "y") -> ObjectSet:
    """Open Objaverse-LVIS as published by OpenShape and Uni3D: lines of ``class number,class name,object id,path``.

    Paths are relative to the folder of the list and name a ``.npy`` of ``{"xyz", "rgb" 0–1}`` or a PLY or .npz of
    Gaussians.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(file, "the list lvis_testset.txt", "no such file")
    rows: list[list[str]] = []
    try:
        text = read_text(file, "utf-8", "replace")
    except OSError as error:
        raise InputError(file, "the list lvis_testset.txt", f"one that cannot be read ({error.strerror})") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        words = line.strip().split(",")
        if len(words) != 4 or not re.fullmatch(r"\s*[0-9]{1,6}\s*", words[0]):
            raise InputError(f"{file}, line {number}", "class number,class name,object id,path", repr(line.strip()))
        rows.append([w.strip() for w in words])
    if not rows:
        raise InputError(file, "objects", "an empty list")
    names: dict[int, str] = {}
    for row in rows:
        if names.setdefault(int(row[0]), row[1]) != row[1]:
            raise InputError(file, f"one name of class {row[0]}", f"{names[int(row[0])]!r} and {row[1]!r}")
    # Class numbers of the list, for comparable scores; classes without objects keep their number.
    classes = [names.get(i, f"class {i}") for i in range(max(names) + 1)]

    def load(i: int) -> Gaussians:
        path = file.parent / rows[i][3].lstrip("/")
        if path.suffix != ".npy":
            return read_object(path, up)
        return _cloud(read_object_array(path), str(path), 1.0, up)

    labels = np.array([int(row[0]) for row in rows])
    ids = tuple(row[2] for row in rows)
    return ObjectSet("Objaverse-LVIS", tuple(c.replace("_", " ") for c in classes), labels, ids, load)


def scanobjectnn(file: Path | str, up: Up = "y") -> ObjectSet:
    """Open ScanObjectNN's test clouds: an h5 with ``data`` [M, N, 3] and ``label`` [M], or OpenShape's
    ``xyz_label.npy``, a dict of ``xyz``, ``label`` and optional ``rgb`` 0–1."""
    file = Path(file)
    table = _h5(file) if file.suffix == ".h5" else read_object_array(file)
    if not isinstance(table, dict) or "xyz" not in table or "label" not in table:
        raise InputError(file, "clouds and labels", "another content")
    clouds, colors = table["xyz"], table.get("rgb")
    try:
        labels = np.asarray(table["label"]).reshape(-1).astype(np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(file, "numbers as labels", f"others ({error})"[:200]) from error
    if len(clouds) != len(labels) or len(labels) == 0:
        raise InputError(file, "a label for each cloud", f"{len(labels)} for {len(clouds)}")
    if labels.min() < 0 or labels.max() >= len(SCANOBJECTNN):
        found = f"{labels.min()} to {labels.max()}"
        raise InputError(file, f"labels from 0 to {len(SCANOBJECTNN) - 1}", found)

    def load(i: int) -> Gaussians:
        entry = {"xyz": clouds[i]} | ({} if colors is None else {"rgb": colors[i]})
        return _cloud(entry, f"{file}[{i}]", 1.0, up)

    return ObjectSet("ScanObjectNN", SCANOBJECTNN, labels, tuple(str(i) for i in range(len(labels))), load)


def shapesplats(folder: Path | str, split: str = "test", up: Up = "y") -> ObjectSet:
    """Open ModelSplat of ShapeSplats: Gaussians as ``<class>/<split>/<id>/point_cloud.ply``."""
    folder = Path(folder)
    files = sorted(folder.glob(f"*/{split}/*/point_cloud.ply"))
    if not files:
        raise InputError(folder, f"<class>/{split}/<id>/point_cloud.ply", "none")
    names = sorted({f.parents[2].name for f in files})
    labels = np.array([names.index(f.parents[2].name) for f in files])
    ids = tuple(f.parent.name for f in files)
    return ObjectSet(
        "ModelSplat", tuple(n.replace("_", " ") for n in names), labels, ids, lambda i: read_object(files[i], up)
    )


# --- few-shot folds -----------------------------------------------------------------------------------------


class Fold(NamedTuple):
    """One few-shot episode of clouds [N, 3] with labels in 0 … ways − 1."""

    support: list[NDArray[np.float32]]
    support_labels: NDArray[np.int64]
    query: list[NDArray[np.float32]]
    query_labels: NDArray[np.int64]


def read_fold(folder: Path | str, ways: int, shots: int, fold: int) -> Fold:
    """Read Point-BERT's ``<ways>way_<shots>shot/<fold>.pkl``: ``{"train": [(points, label, …)], "test": […]}``.

    The first three columns of points are coordinates. The pickle is not run (`core.io.pickles`).

    Raises:
        InputError: missing, damaged, or another number of examples or classes.
    """
    path = Path(folder) / f"{ways}way_{shots}shot" / f"{fold}.pkl"
    table = read_pickle(path)
    if not isinstance(table, dict) or not {"train", "test"} <= set(table):
        raise InputError(path, 'a dict with "train" and "test"', type(table).__name__)
    parts: list[Any] = []
    for name in ("train", "test"):
        try:
            parts.append([np.asarray(row[0], np.float32)[:, :3] for row in table[name]])
            parts.append(np.array([int(row[1]) for row in table[name]], np.int64))
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise InputError(path, "rows of (points, label, …)", f"something else ({error})") from error
    if len(set(parts[1].tolist())) != ways or len(parts[1]) != ways * shots:
        found = f"{len(parts[1])} of {len(set(parts[1].tolist()))}"
        raise InputError(path, f"{ways * shots} examples of {ways} classes", found)
    return Fold(*parts)


# --- shared -------------------------------------------------------------------------------------------------


def _cloud(entry: Any, where: str, white: float, up: Up) -> Gaussians:
    """Convert ``{"xyz" [N, 3], "rgb" [N, 3] up to ``white``}`` to Gaussians, Y up."""
    if not isinstance(entry, dict) or "xyz" not in entry:
        raise InputError(where, 'a dict with "xyz"', type(entry).__name__)
    coord = np.asarray(entry["xyz"], np.float32)
    color = None if entry.get("rgb") is None else np.asarray(entry["rgb"], np.float32) / white
    if coord.ndim != 2 or coord.shape[1] != 3 or len(coord) < MIN_GAUSSIANS:
        raise InputError(where, f"at least {MIN_GAUSSIANS} points [N, 3]", str(coord.shape))
    if color is not None and (color.shape != coord.shape or not np.isfinite(color).all()):
        raise InputError(where, f"colours of shape {coord.shape}", str(color.shape))
    if not np.isfinite(coord).all():
        raise InputError(where, "finite coordinates", "NaN or inf")
    gaussians = points_as_gaussians(coord, None if color is None else color.clip(0, 1))
    return rotate_to_y_up(check_object(gaussians, where), up)


def _class(name: Any, names: Sequence[str], where: Path) -> int:
    if name not in names:
        raise InputError(where, f"categories among {', '.join(names[:4])}, …", repr(name))
    return list(names).index(name)


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except OSError as error:
        raise InputError(path, "a JSON file", "no such file") from error
    except ValueError as error:
        raise InputError(path, "a JSON file", f"a damaged one ({error})") from error


def _h5(path: Path) -> dict[str, NDArray]:
    if not path.is_file():
        raise InputError(path, "an .h5 file", "no such file")
    try:
        import h5py
    except ImportError as error:
        raise InputError(path, "the package h5py to read it", "no such package", "pip install h5py") from error
    try:
        with h5py.File(path, "r") as file:
            if "data" not in file or "label" not in file:
                raise InputError(path, "the arrays data and label", ", ".join(file) or "none")
            data, label = (np.asarray(file[name]) for name in ("data", "label"))
    except InputError:
        raise
    except Exception as error:  # h5py raises almost any exception on a damaged file
        raise InputError(path, "an .h5 file", f"a damaged one ({first_line(error)})") from error
    if data.ndim != 3 or data.shape[-1] < 3:
        raise InputError(path, "data of shape [M, N, 3]", str(data.shape))
    return {"xyz": data[..., :3], "label": label}
