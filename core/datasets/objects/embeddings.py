"""Triplets' embeddings: renders and captions through the frozen towers, once, resumably.

While at work the rows of images lie in ``image.partial.npy``, NaN where they are still to come. ``embedding.json`` says
which model they are of and whose they are, so that a set that grew is embedded where it is new.
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
from ...metrics.zero_shot import TEMPLATES, class_vectors
from ...teachers.base import ImageTeacher
from ...teachers.pooled import image_vectors, text_vectors
from .triplets import CLASSES, IMAGE, TEXT, TripletObject, write_index

ABOUT = "embedding.json"
PARTIAL, PARTIAL_ABOUT = "image.partial.npy", "embedding.partial.json"

Pictures = Callable[[TripletObject], NDArray[np.uint8]]
"""An object's renders [V, H, W, 3], the same number for all objects."""


class Embedded(NamedTuple):
    """What became of a set.

    Attributes:
        objects: those that are in it.
        classes: the class names that the text tower knows.
        left_out: sentences about objects and class names that are not.
        computed: objects whose renders were looked at now; the others' vectors were there.
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
) -> Embedded:
    """Make a folder of objects one of triplets: embeddings of captions, renders and class names, and the index.

    Interrupted, the same call goes on. Objects whose caption the text tower does not know are left out.

    Args:
        root: the set's folder; objects' files are relative to it.
        objects: all of them. An id stands for the same pictures in every call.
        pictures: reads or renders them.
        teacher: the frozen towers.
        tower: what `make_teacher` makes the teacher from again.
        classes: names of the classes.
        progress: called with the number of objects done.

    Raises:
        InputError: no object left, different numbers of renders, one id twice, or a teacher without a text tower.
    """
    root = Path(root)
    if len({o.id for o in objects}) != len(objects):
        raise InputError(root, "another id for each object", "one id twice")
    captions = list(dict.fromkeys(o.caption for o in objects))
    encoded = text_vectors(teacher, captions)
    assert teacher.text is not None  # text_vectors has asked
    row = {caption: i for i, caption in enumerate(captions)}
    left_out = []
    find = getattr(teacher.text, "find", lambda phrase: "the text tower knows nothing of it")
    for caption in (c for c in captions if not bool(encoded.known[row[c]])):
        ids = [o.id for o in objects if o.caption == caption]
        left_out.append(f"{', '.join(ids[:3])}{', …' if len(ids) > 3 else ''}, {caption!r}: {find(caption)}")
    kept = [o for o in objects if bool(encoded.known[row[o.caption]])]
    if not kept:
        raise InputError(root, "objects whose captions the text tower knows", f"none of {len(objects)}")
    named, vectors = [], []
    for name in classes:
        try:
            vectors.append(class_vectors(teacher.text, [name], TEMPLATES)[0].numpy())
            named.append(name)
        except InputError as error:
            left_out.append(str(error))
    kept = [o if o.class_name in named else replace(o, class_name=None) for o in kept]
    root.mkdir(parents=True, exist_ok=True)
    computed = _images(root, kept, pictures, teacher, progress or (lambda done: None))
    np.save(root / TEXT, encoded.vectors[[row[o.caption] for o in kept]].numpy())
    (root / CLASSES).unlink(missing_ok=True)
    if vectors:
        np.save(root / CLASSES, np.stack(vectors))
    write_index(root, kept, tower, named)
    return Embedded(tuple(kept), tuple(named), tuple(left_out), computed)


def _images(
    root: Path, objects: Sequence[TripletObject], pictures: Pictures, teacher: ImageTeacher, progress: Callable
) -> int:
    """``image.npy`` of the objects; how many were not there."""
    about = {"teacher": teacher.fingerprint, "ids": [o.id for o in objects]}
    if _about(root / ABOUT) == about and (root / IMAGE).is_file():
        progress(len(objects))
        return 0
    known = _known(root, {teacher.fingerprint, *teacher.former_fingerprints})
    first = next((known[o.id] for o in objects if o.id in known), None)
    if first is None:
        first = image_vectors(teacher, pictures(objects[0])).numpy().astype(np.float16)
        known[objects[0].id] = first
        computed = 1
    else:
        computed = 0
    # Known rows stay readable through their maps while the new file takes the old one's name.
    rows = np.lib.format.open_memmap(
        root / f"new.{PARTIAL}", mode="w+", dtype=np.float16, shape=(len(objects), *first.shape)
    )
    rows[:] = np.nan
    for i, o in enumerate(objects):
        if o.id in known and known[o.id].shape == first.shape:
            rows[i] = known[o.id]
    rows.flush()
    os.replace(root / f"new.{PARTIAL}", root / PARTIAL)
    (root / PARTIAL_ABOUT).write_text(json.dumps(about), encoding="utf-8")
    for i, o in enumerate(objects):
        if not bool(np.isfinite(rows[i]).all()):
            found = image_vectors(teacher, pictures(o)).numpy()
            if found.shape != first.shape:
                raise InputError(f"renders of {o.id}", f"{len(first)} of them, as other objects have", str(len(found)))
            rows[i] = found
            computed += 1
        progress(i + 1)
    rows.flush()
    (root / ABOUT).unlink(missing_ok=True)
    os.replace(root / PARTIAL, root / IMAGE)
    os.replace(root / PARTIAL_ABOUT, root / ABOUT)
    return computed


def _known(root: Path, fingerprints: Collection[str]) -> dict[str, NDArray]:
    """Id → finished rows [V, D] that a teacher of these fingerprints made, of a whole set or of an interrupted one."""
    known: dict[str, NDArray] = {}
    for about, file in ((root / ABOUT, root / IMAGE), (root / PARTIAL_ABOUT, root / PARTIAL)):
        said = _about(about)
        if said.get("teacher") not in fingerprints or not file.is_file():
            continue
        try:
            rows = np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError):
            continue  # cut off while it was made: computed again
        if rows.ndim == 3 and len(rows) == len(said["ids"]):
            known |= {k: r for k, r in zip(said["ids"], rows, strict=True) if bool(np.isfinite(r).all())}
    return known


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) and isinstance(about.get("ids"), list) else {}
