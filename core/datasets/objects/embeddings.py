"""Compute the embeddings of triplets with frozen towers, resumably.

Unfinished embeddings of images are in ``image.partial.npy``, with NaN for missing rows. ``embedding.json`` has the
model and the ids of the rows, so that only new objects of a set are embedded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...io.json_files import read_json
from ...metrics.zero_shot import TEMPLATES, class_vectors
from ...teachers.base import ImageTeacher
from ...teachers.pooled import image_vectors, text_vectors
from .triplets import CLASSES, IMAGE, TEXT, TripletObject, write_index

ABOUT = "embedding.json"
PARTIAL, PARTIAL_ABOUT = "image.partial.npy", "embedding.partial.json"

Pictures = Callable[[TripletObject], NDArray[np.uint8]]
"""Function that returns the renders [V, H, W, 3] of an object; V is the same for all objects."""


class EmbeddingResult(NamedTuple):
    """Result of `embed_triplets`.

    Attributes:
        objects: objects of the set.
        classes: class names that the text tower knows.
        left_out: messages about skipped objects and class names.
        computed: number of objects whose renders were embedded now; the others had stored embeddings.
    """

    objects: tuple[TripletObject, ...]
    classes: tuple[str, ...]
    left_out: tuple[str, ...]
    computed: int


def embed_triplets(
    root: Path | str,
    objects: Sequence[TripletObject],
    pictures: Pictures,
    teacher: ImageTeacher,
    tower: str,
    classes: Sequence[str] = (),
    progress: Callable[[int], object] | None = None,
) -> EmbeddingResult:
    """Write the embeddings of captions, renders and class names of a folder of objects, and its index.

    Another call continues after an interruption. Objects with a caption that the text tower does not know are skipped.

    Args:
        root: folder of the set; files of objects are relative to it.
        objects: all objects. An id must have the same renders in every call.
        pictures: reads or makes the renders of an object.
        teacher: the frozen towers.
        tower: argument of `make_teacher` for the teacher.
        classes: class names.
        progress: called with the number of finished objects.

    Raises:
        InputError: no usable object, different numbers of renders, an id that occurs twice, or a teacher without a text
            tower.
    """
    root = Path(root)
    if len({o.id for o in objects}) != len(objects):
        raise InputError(root, "another id for each object", "one id twice")
    captions = list(dict.fromkeys(o.caption for o in objects))
    encoded = text_vectors(teacher, captions)
    assert teacher.text is not None  # checked by text_vectors
    row = {caption: i for i, caption in enumerate(captions)}
    left_out = []
    find = getattr(teacher.text, "find", lambda phrase: "unknown to the text tower")
    for caption in (c for c in captions if not bool(encoded.known[row[c]])):
        ids = [o.id for o in objects if o.caption == caption]
        left_out.append(f"{', '.join(ids[:3])}{', …' if len(ids) > 3 else ''}, {caption!r}: {find(caption)}")
    usable = [o for o in objects if bool(encoded.known[row[o.caption]])]
    if not usable:
        raise InputError(root, "objects whose captions the text tower knows", f"none of {len(objects)}")
    known_classes, vectors = [], []
    for name in classes:
        try:
            vectors.append(class_vectors(teacher.text, [name], TEMPLATES)[0].numpy())
            known_classes.append(name)
        except InputError as error:
            left_out.append(str(error))
    usable = [o if o.class_name in known_classes else replace(o, class_name=None) for o in usable]
    root.mkdir(parents=True, exist_ok=True)
    computed = _images(root, usable, pictures, teacher, progress or (lambda done: None))
    np.save(root / TEXT, encoded.vectors[[row[o.caption] for o in usable]].numpy())
    (root / CLASSES).unlink(missing_ok=True)
    if vectors:
        np.save(root / CLASSES, np.stack(vectors))
    write_index(root, usable, tower, known_classes)
    return EmbeddingResult(tuple(usable), tuple(known_classes), tuple(left_out), computed)


def _images(
    root: Path, objects: Sequence[TripletObject], pictures: Pictures, teacher: ImageTeacher, progress: Callable
) -> int:
    """Write ``image.npy``; returns the number of objects embedded now."""
    about = {"teacher": teacher.fingerprint, "ids": [o.id for o in objects]}
    if _about(root / ABOUT) == about and (root / IMAGE).is_file():
        progress(len(objects))
        return 0
    stored = _stored_rows(root, {teacher.fingerprint, *teacher.former_fingerprints})
    first = next((stored[o.id] for o in objects if o.id in stored), None)
    if first is None:
        first = image_vectors(teacher, pictures(objects[0])).numpy().astype(np.float16)
        stored[objects[0].id] = first
        computed = 1
    else:
        computed = 0
    # Stored rows stay readable through their memory maps while the new file replaces the old one.
    rows = np.lib.format.open_memmap(
        root / f"new.{PARTIAL}", mode="w+", dtype=np.float16, shape=(len(objects), *first.shape)
    )
    rows[:] = np.nan
    for i, o in enumerate(objects):
        if o.id in stored and stored[o.id].shape == first.shape:
            rows[i] = stored[o.id]
    rows.flush()
    os.replace(root / f"new.{PARTIAL}", root / PARTIAL)
    (root / PARTIAL_ABOUT).write_text(json.dumps(about), encoding="utf-8")
    for i, o in enumerate(objects):
        if not bool(np.isfinite(rows[i]).all()):
            vectors = image_vectors(teacher, pictures(o)).numpy()
            if vectors.shape != first.shape:
                raise InputError(
                    f"renders of {o.id}", f"{len(first)} of them, as other objects have", str(len(vectors))
                )
            rows[i] = vectors
            computed += 1
        progress(i + 1)
    rows.flush()
    (root / ABOUT).unlink(missing_ok=True)
    os.replace(root / PARTIAL, root / IMAGE)
    os.replace(root / PARTIAL_ABOUT, root / ABOUT)
    return computed


def _stored_rows(root: Path, fingerprints: Collection[str]) -> dict[str, NDArray]:
    """Id → stored embeddings [V, D] of teachers with these fingerprints, from a complete or an interrupted set."""
    stored: dict[str, NDArray] = {}
    for about, file in ((root / ABOUT, root / IMAGE), (root / PARTIAL_ABOUT, root / PARTIAL)):
        description = _about(about)
        if description.get("teacher") not in fingerprints or not file.is_file():
            continue
        try:
            rows = np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError):
            continue  # incomplete: computed again
        if rows.ndim == 3 and len(rows) == len(description["ids"]):
            stored |= {k: r for k, r in zip(description["ids"], rows, strict=True) if bool(np.isfinite(r).all())}
    return stored


def _about(path: Path) -> dict[str, Any]:
    try:
        about = read_json(path)
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) and isinstance(about.get("ids"), list) else {}
