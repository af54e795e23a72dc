"""Towers by name, embeddings of object files, and queries by text, pictures and objects."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.data.objects import Up
from ...core.errors import InputError
from ...core.io.arrays import read_npz
from ...core.io.images import read_color
from ...core.io.json_files import parse_json
from ...core.io.plain_files import read_text
from ...core.metrics.zero_shot import TEMPLATES, class_vectors
from ...core.models.clipgs import ClipGS, Precision
from ...core.query.text import TextEncoder, TextVectors
from ...core.teachers import make_teacher
from .load_object import OBJECT_FILES, read_any_object

IMAGES = (".png", ".jpg", ".jpeg", ".webp")
IMAGE_SIZE = 224
"""Size of query pictures, pixels."""


@dataclass(frozen=True)
class Tower:
    """Frozen image/text model of a CLIP-GS model.

    Attributes:
        spec: name or file that it was opened from.
        text: text tower.
        image: pictures [B, H, W, 3] in [0, 1] → unit vectors [B, D]; None if it encodes text only.
    """

    spec: str
    text: TextEncoder
    image: Callable[[Tensor], Tensor] | None = None


def open_tower(spec: str, dim: int) -> Tower:
    """Open the image/text model that ``spec`` names.

    Args:
        spec: a ``.npy`` of text vectors with its ``_names.json``, or a teacher with a text tower ("builtin", …).
        dim: required width of its vectors.

    Raises:
        InputError: no name, no text tower, or another width.
    """
    if not spec:
        raise InputError("--tower", "the image/text model that the run was trained with", "none named in the run")
    if spec.endswith(".npy"):
        tower = Tower(spec, TextVectors.load(spec))
    else:
        teacher = make_teacher(spec)
        text = getattr(teacher, "text", None)
        if text is None:
            raise InputError(f"--tower {spec}", "a model with a text tower", "one without")
        tower = Tower(spec, text, getattr(teacher, "embed", None))
    if tower.text.dim != dim:
        hint = "name the tower that the run was trained with"
        raise InputError(f"--tower {spec}", f"vectors of width {dim}, the run's", str(tower.text.dim), hint)
    return tower


def read_labels(text: str) -> list[str]:
    """Class names: "a,b,c", or a file with one per line or a JSON list.

    Raises:
        InputError: no such file, no list, or no names.
    """
    if text.endswith((".txt", ".json")):
        path = Path(text).expanduser()
        try:
            content = read_text(path)
            names = parse_json(content) if path.suffix == ".json" else content.splitlines()
        except OSError as error:
            raise InputError(path, "a file of labels, one per line or a JSON list", "no such file") from error
        except ValueError as error:
            raise InputError(path, "a file of labels, one per line or a JSON list", f"damage ({error})") from error
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise InputError(path, "a JSON list of names", "another JSON")
        where: str | Path = path
    else:
        names, where = text.split(","), "--labels"
    found = list(dict.fromkeys(n.strip() for n in names if n.strip()))
    if not found:
        raise InputError(where, "at least one label", "none")
    return found


def known_labels(text: TextEncoder, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names that a text tower knows, and a sentence about each of the others.

    Raises:
        InputError: none is known.
    """
    found = text.encode([name.replace("_", " ") for name in names]).known.tolist()
    known = [name for name, is_known in zip(names, found, strict=True) if is_known]
    unknown = [name for name, is_known in zip(names, found, strict=True) if not is_known]
    find = getattr(text, "find", None)
    reasons = [str(find(name)) if find else f"Unknown phrase {name!r}." for name in unknown]
    if not known:
        raise InputError("labels", "at least one that the text tower knows", " ".join(reasons))
    return known, [f"Left out: {reason}" for reason in reasons]


def find_objects(path: Path) -> list[Path]:
    """List object files: the path itself, or all files under a folder, sorted by name.

    Raises:
        InputError: no object files.
    """
    if path.is_file():
        return [path]
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in OBJECT_FILES and f.is_file())
    if not files:
        found = "none in it" if path.is_dir() else "no such file or folder"
        raise InputError(path, f"objects as {', '.join(OBJECT_FILES)}", found)
    return files


def short_names(files: Sequence[str]) -> list[str]:
    """File names without their common folder."""
    if len({Path(f).name for f in files}) == len(files):
        return [Path(f).name for f in files]
    shared = os.path.commonpath(files)
    return [os.path.relpath(f, shared) for f in files]


class Embedded(NamedTuple):
    """Objects with embeddings [M, D], and the sentences about files that could not be used."""

    files: tuple[str, ...]
    vectors: Tensor
    failed: tuple[str, ...] = ()


def embed_files(
    model: ClipGS, files: Sequence[Path], up: Up = "y", precision: Precision = "auto", track: Callable = iter
) -> Embedded:
    """Embed object files; unusable ones are left out and listed in ``failed``.

    Args:
        track: wraps the files to show progress.
    """
    kept, rows, failed = [], [], []
    files_seen: Iterable[Path] = track(files)
    for file in files_seen:
        try:
            rows.append(model.encode([read_any_object(file, up, model.config.gaussians)], precision))
            kept.append(str(file))
        except InputError as error:
            failed.append(str(error))
    vectors = torch.cat(rows) if rows else torch.zeros(0, model.config.embed_dim)
    return Embedded(tuple(kept), vectors, tuple(failed))


def save_gallery(path: Path, gallery: Embedded) -> None:
    """Names and embeddings as one ``.npz`` with the arrays ``files`` and ``vectors``."""
    np.savez(path, files=np.array(gallery.files, np.str_), vectors=gallery.vectors.numpy())


def load_gallery(path: Path, dim: int) -> Embedded:
    """Read the embeddings written by `save_gallery`.

    Raises:
        InputError: missing, damaged, or of another width.
    """
    expected = "embeddings written by `gaussiancross clipgs embed`"
    arrays = read_npz(path, expected)
    if not {"files", "vectors"} <= arrays.keys():
        raise InputError(path, expected, "another file")
    files, vectors = arrays["files"], arrays["vectors"]
    if not np.issubdtype(vectors.dtype, np.floating) or not np.isfinite(vectors).all():
        raise InputError(path, expected, "vectors that are not finite numbers")
    if vectors.ndim != 2 or len(files) != len(vectors) or vectors.shape[1] != dim:
        raise InputError(path, f"embeddings of width {dim}, this model's", str(vectors.shape))
    return Embedded(tuple(map(str, files)), torch.from_numpy(vectors.astype(np.float32)))


def classify(model: ClipGS, objects: Tensor, tower: Tower, labels: Sequence[str]) -> Tensor:
    """[M, C] probabilities of labels for unit embeddings: softmax of temperature · cosine."""
    vectors = class_vectors(tower.text, labels, TEMPLATES)
    return (model.temperature().item() * objects @ vectors.T).softmax(1)


def query_vector(model: ClipGS, query: str, tower: Callable[[], Tower], up: Up = "y") -> Tensor:
    """[D] unit vector of a query: an object file, a picture, or text.

    Args:
        tower: opens the tower, for text and pictures only.

    Raises:
        InputError: an unreadable file, or text that the tower does not know.
    """
    path = Path(query).expanduser()
    ending = path.suffix.lower()
    if ending in OBJECT_FILES:
        return model.encode([read_any_object(path, up, model.config.gaussians)])[0]
    if ending in IMAGES:
        opened = tower()
        if opened.image is None:
            raise InputError(path, "a tower that encodes images", f"{opened.spec}, which knows words only")
        picture = torch.from_numpy(read_color(path)).float()[None].permute(0, 3, 1, 2) / 255
        size = (IMAGE_SIZE, IMAGE_SIZE)
        picture = F.interpolate(picture, size, mode="bilinear", align_corners=False, antialias=True)
        return F.normalize(opened.image(picture.permute(0, 2, 3, 1))[0].float().cpu(), dim=0)
    encoded = tower().text.encode([query])
    if not bool(encoded.known[0]):
        find = getattr(tower().text, "find", None)
        raise InputError(
            f"query {query!r}", "words that the text tower knows", str(find(query)).rstrip(".") if find else "others"
        )
    return F.normalize(encoded.vectors[0].float().cpu(), dim=0)
