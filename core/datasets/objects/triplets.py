"""Triplets of objects, captions and images with embeddings of frozen towers: the training data of CLIP-GS.

    <root>/triplets.json   objects, and name of the tower
    <root>/text.npy        [M, D] embeddings of the captions
    <root>/image.npy       [M, V, D] embeddings of V renders of each object
    <root>/classes.npy     [C, D] embeddings of the class names (optional)
    <root>/…               one file of Gaussians per object (`core.data.objects.read_object`)

``triplets.json``: ``{"format", "version", "tower", "classes": […], "objects": [{"id", "file", "caption", "split",
"class"}]}``; "split" is any name ("train", "val", …), "class" one of "classes" or null.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ...data.objects import normalize_object, read_object
from ...errors import InputError
from ...geometry.gaussians import Gaussians
from ...io.arrays import read_array
from ...io.json_files import read_json
from ...io.lru import ArrayCache

FORMAT, VERSION = "gaussiancross-triplets", 1
INDEX, TEXT, IMAGE, CLASSES = "triplets.json", "text.npy", "image.npy", "classes.npy"
CACHE_BYTES = 2 << 30
"""Memory for recently used objects, bytes."""


@dataclass(frozen=True)
class TripletObject:
    """One object of a set.

    Attributes:
        id: unique within the set.
        file: file of its Gaussians, relative to the set's folder; Y up.
        caption: text whose embedding is in ``text.npy``.
        split: "train", "val", ….
        class_name: one of the set's classes, or None.
    """

    id: str
    file: str
    caption: str
    split: str
    class_name: str | None = None


class Triplets:
    """The objects of one split with their embeddings.

    Args:
        root: folder of the set.
        split: name of the split.

    Attributes:
        objects: M objects.
        tower: name of the image/text model of the embeddings.
        text: [M, D] float32 embeddings of the captions, unit length.
        classes: C class names.
        class_vectors: [C, D] embeddings of the class names, or None.
        labels: [M] int64 indices into ``classes``, −1 without a class.
        caption_ids: [M] int64, equal for equal captions.

    Raises:
        InputError: missing, damaged or inconsistent files, or no object of the split.
    """

    def __init__(self, root: Path | str, split: str = "train") -> None:
        self.root, self.split = Path(root), split
        index = _read_index(self.root / INDEX)
        everything = [_object(self.root / INDEX, entry) for entry in index["objects"]]
        rows = np.array([i for i, o in enumerate(everything) if o.split == split], np.int64)
        if len(rows) == 0:
            splits = ", ".join(sorted({o.split for o in everything})) or "none"
            raise InputError(self.root / INDEX, f"objects of the split {split!r}", f"splits {splits}")
        self.objects = tuple(everything[i] for i in rows)
        self.tower = str(index.get("tower", ""))
        text = read_array(self.root / TEXT, np.float32, (len(everything), -1))
        image = read_array(self.root / IMAGE, mmap=True)
        if image.ndim != 3 or image.dtype.kind != "f" or image.shape[::2] != text.shape or image.shape[1] == 0:
            expected = f"shape ({len(text)}, V, {text.shape[1]})"
            raise InputError(self.root / IMAGE, expected, f"{image.shape} of {image.dtype}")
        self.text = _unit(text[rows], self.root / TEXT)
        self._image, self._rows = image, rows
        self.classes = tuple(map(str, index.get("classes", ())))
        self.class_vectors = self._class_vectors(text.shape[1])
        number = {name: i for i, name in enumerate(self.classes)}
        unknown = [o.class_name for o in self.objects if o.class_name is not None and o.class_name not in number]
        if unknown:
            raise InputError(self.root / INDEX, 'classes listed under "classes"', repr(unknown[0]))
        self.labels = torch.tensor([-1 if o.class_name is None else number[o.class_name] for o in self.objects])
        captions: dict[str, int] = {}
        self.caption_ids = torch.tensor([captions.setdefault(o.caption, len(captions)) for o in self.objects])
        self._cache = ArrayCache(CACHE_BYTES)

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def dim(self) -> int:
        """D, the width of the embeddings."""
        return self.text.shape[1]

    @property
    def views(self) -> int:
        """V, the number of renders per object."""
        return self._image.shape[1]

    def images(self, index: int, views: Sequence[int] | NDArray[np.int64] | slice = slice(None)) -> Tensor:
        """Embeddings [K, D] float32, unit length, of the renders ``views`` of one object; all by default."""
        picked = np.asarray(self._image[self._rows[index]][views], np.float32)
        return _unit(picked, f"{self.root / IMAGE}[{self._rows[index]}]")

    def gaussians(self, index: int) -> Gaussians:
        """The Gaussians of one object, normalised; cached in memory."""

        def load() -> tuple[NDArray, ...]:
            g = self._read(index)
            return tuple(t.numpy() for t in (g.means, g.quats, g.scales, g.opacities, g.colors))

        arrays = self._cache.get(index, load)
        return Gaussians(*(torch.from_numpy(a.copy()) for a in arrays))

    def _read(self, index: int) -> Gaussians:
        return normalize_object(read_object(self.root / self.objects[index].file))

    def _class_vectors(self, dim: int) -> Tensor | None:
        path = self.root / CLASSES
        if not path.exists():
            return None
        return _unit(read_array(path, np.float32, (len(self.classes), dim)), path)


def splits(root: Path | str) -> tuple[str, ...]:
    """Names of the splits of a set, sorted."""
    path = Path(root) / INDEX
    return tuple(sorted({_object(path, entry).split for entry in _read_index(path)["objects"]}))


def write_triplets(
    root: Path | str,
    objects: Sequence[TripletObject],
    text: ArrayLike,
    image: ArrayLike,
    tower: str,
    classes: Sequence[str] = (),
    class_vectors: ArrayLike | None = None,
) -> None:
    """Write the embeddings and the index of a set; the files of Gaussians must exist.

    Args:
        root: folder of the set.
        objects: M objects.
        text: [M, D] embeddings of the captions.
        image: [M, V, D] embeddings of the renders, stored in half precision.
        tower: name of the image/text model.
        classes: C class names.
        class_vectors: [C, D] embeddings of the class names, or None.

    Raises:
        InputError: inconsistent shapes, or an id that occurs twice.
    """
    root = Path(root)
    text, image = np.asarray(text, np.float32), np.asarray(image, np.float16)
    if text.ndim != 2 or image.ndim != 3 or len(text) != len(objects) or image.shape[::2] != text.shape:
        found = f"{len(objects)} objects, text {text.shape}, image {image.shape}"
        raise InputError(root, "text [M, D] and image [M, V, D] of M objects", found)
    if len({o.id for o in objects}) != len(objects):
        raise InputError(root, "another id for each object", "one id twice")
    root.mkdir(parents=True, exist_ok=True)
    np.save(root / TEXT, text)
    np.save(root / IMAGE, image)
    if class_vectors is not None:
        np.save(root / CLASSES, np.asarray(class_vectors, np.float32))
    write_index(root, objects, tower, classes)


def write_index(root: Path, objects: Sequence[TripletObject], tower: str, classes: Sequence[str] = ()) -> None:
    """Write ``triplets.json``. Call it after all other files are written."""
    rows = [{("class" if k == "class_name" else k): v for k, v in asdict(o).items()} for o in objects]
    index = {"format": FORMAT, "version": VERSION, "tower": tower, "classes": list(classes), "objects": rows}
    (root / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False), encoding="utf-8")


def _read_index(path: Path) -> dict:
    try:
        index = read_json(path)
    except OSError as error:
        raise InputError(path.parent, f"a folder of triplets, with {INDEX}", "none there") from error
    except ValueError as error:
        raise InputError(path, "a JSON file", f"a damaged one ({error})") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT or not isinstance(index.get("objects"), list):
        raise InputError(path, f'"format": "{FORMAT}" and a list of objects', "another JSON")
    if not isinstance(index.get("version"), int) or index["version"] > VERSION:
        raise InputError(path, f"version {VERSION} or older", str(index.get("version")), "update this program")
    return index


def _object(path: Path, entry: dict) -> TripletObject:
    try:
        name = entry.get("class")
        key, file, caption, split = (str(entry[k]) for k in ("id", "file", "caption", "split"))
        return TripletObject(key, file, caption, split, None if name is None else str(name))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(path, "objects with id, file, caption and split", repr(entry)[:80]) from error


def _unit(vectors: NDArray, where: Path | str) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(vectors))
    length = tensor.norm(dim=-1, keepdim=True)
    if not bool((length.isfinite() & (length > 0)).all()):
        raise InputError(where, "finite embeddings that are not zero", "others")
    return tensor / length
