"""Find the object files in a folder, with their captions, classes and splits.

Captions come from file names ("loungeSofa.glb" → "lounge sofa"), or from the folder for names such as
"point_cloud.ply"; classes from the top folder (``chairs/a.glb`` → "chairs"), or from the name. A JSON file overrides
them:
``{"loungeSofa": "a red sofa", "chairs/a.glb": {"caption": "…", "class": "chair", "split": "val"}}``.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...io.json_files import read_json
from ...io.ply_table import vertex_fields
from .meshes.read import SUFFIXES

SPLATS = (".ply", ".splat")
"""Suffixes of files that may contain Gaussians."""
_NAMELESS = {"point_cloud", "point_cloud_30000", "model", "mesh", "scene", "object", "textured", "untitled", "splat"}
_SPLIT_FOLDERS = {"train", "val", "test"}


@dataclass(frozen=True)
class ObjectFile:
    """One object file.

    Attributes:
        id: path without suffix as a valid folder name; unique.
        path: the file.
        caption: description of the object.
        class_name: class of the object, or None.
        split: "train", "val", ….
        is_splat: whether the file contains Gaussians instead of triangles.
    """

    id: str
    path: Path
    caption: str
    class_name: str | None
    split: str
    is_splat: bool


def find_object_files(
    folder: Path | str, captions: Path | str | None = None, val: float = 0.0, only: Sequence[str] = ()
) -> list[ObjectFile]:
    """Find all object files under a folder, sorted by path.

    Args:
        folder: searched recursively.
        captions: JSON file of captions, see the module's docstring.
        val: share of the objects without a split that become "val", chosen by a hash of their ids.
        only: ids or file names to return; all by default.

    Raises:
        InputError: no objects, an unusable file of captions or one that names missing objects, a missing name in
            ``only``, or a share outside [0, 1).
    """
    folder = Path(folder)
    if not 0 <= val < 1:
        raise InputError("val", "a share from 0 to 1", str(val))
    endings = {*SUFFIXES, *SPLATS}
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in endings and f.is_file())
    if not files:
        found = "none in it" if folder.is_dir() else "no such folder"
        raise InputError(folder, f"objects as {', '.join(sorted(endings))}", found)
    described = {} if captions is None else _read_captions(Path(captions))
    stems = [re.sub(r"[^\w.-]+", "_", "__".join(f.relative_to(folder).with_suffix("").parts)) for f in files]
    counts = Counter(stems)
    objects, used = [], set()
    for file, stem in zip(files, stems, strict=True):
        path = file.relative_to(folder)
        key = stem if counts[stem] == 1 else f"{stem}.{file.suffix[1:].lower()}"
        above = [p for p in path.parts[:-1] if p not in _SPLIT_FOLDERS]
        named = [p for p in above if any(c.isalpha() for c in p)]
        words = _words(named[-1] if named and file.stem.lower() in _NAMELESS else file.stem)
        entry: dict[str, Any] = {}
        for name in (path.as_posix(), key, file.name, file.stem):
            if name in described:
                used.add(name)
                entry = entry or described[name]
        split = next((p for p in path.parts[:-1] if p in _SPLIT_FOLDERS), None)
        default_split = "val" if zlib.crc32(key.encode()) / 2**32 < val else "train"
        objects.append(
            ObjectFile(
                key,
                file,
                entry.get("caption") or words,
                entry.get("class") or (_words(above[0]) if above else words),
                entry.get("split") or split or default_split,
                _is_splat(file),
            )
        )
    unknown = sorted(set(described) - used)
    if unknown:
        found = f"{unknown[0]!r}" + (f" and {len(unknown) - 1} more" if len(unknown) > 1 else "")
        raise InputError(Path(str(captions)), f"names of objects in {folder}", found)
    names = {n for o in objects for n in (o.id, o.path.name, o.path.stem)}
    missing = sorted(set(only) - names)
    if missing:
        raise InputError("--only", f"objects in {folder}", ", ".join(missing))
    return [o for o in objects if not only or {o.id, o.path.name, o.path.stem} & set(only)]


def _words(name: str) -> str:
    """ "loungeSofa_02" → "lounge sofa"."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|[\s_\-.]+", " ", name)
    words = [w for w in split.split() if not w.isdecimal()]
    return " ".join(words).lower() or name


def _read_captions(path: Path) -> dict[str, dict[str, str]]:
    try:
        table = read_json(path)
    except OSError as error:
        raise InputError(path, "a JSON file of captions", "no such file") from error
    except ValueError as error:
        raise InputError(path, "a JSON file of captions", f"a damaged one ({error})") from error
    if not isinstance(table, dict):
        raise InputError(path, "a JSON object of names and captions", type(table).__name__)
    captions = {}
    for name, entry in table.items():
        entry = {"caption": entry} if isinstance(entry, str) else entry
        if isinstance(entry, list) and entry:  # Cap3D and others have several: use the first
            entry = {"caption": entry[0]}
        if not isinstance(entry, dict) or not all(
            k in ("caption", "class", "split") and isinstance(v, str) and v.strip() for k, v in entry.items()
        ):
            raise InputError(
                path, "a text, or an object of caption, class and split, for each name", f"another for {name!r}"
            )
        captions[name] = {k: v.strip() for k, v in entry.items()}
    return captions


def _is_splat(path: Path) -> bool:
    if path.suffix.lower() == ".splat":
        return True
    if path.suffix.lower() != ".ply":
        return False
    try:
        return {"f_dc_0", "scale_0", "rot_0"} <= set(vertex_fields(path))
    except InputError:
        return False  # damaged: reported when it is read as a mesh
