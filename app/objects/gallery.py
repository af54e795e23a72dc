"""CLIP-GS model, towers and gallery of the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

import torch

from ...core.errors import InputError
from ...core.io.pretrained import BUNDLED_CLIPGS
from ...core.models.clipgs import ClipGS
from ...core.models.clipgs_builtin import load_builtin_clipgs
from ...core.models.clipgs_files import CARD
from ...core.report import SILENT, Report
from .load_object import OBJECT_FILES
from .recognizer import Gallery, ObjectRecognizer
from .search import embed_files, find_objects, load_gallery


def has_builtin() -> bool:
    """Whether a CLIP-GS model is bundled with this installation."""
    return files("gaussiancross.assets").joinpath(CARD).is_file()


def open_clipgs(spec: str) -> tuple[ClipGS, str, tuple[str, ...]]:
    """Open a model (CPU, eval mode) with the spec of its tower and the class names of its objects.

    Args:
        spec: "bundled-clipgs", or a run folder or checkpoint.

    Raises:
        InputError: the model is missing or damaged.
    """
    if spec in BUNDLED_CLIPGS:
        model, card = load_builtin_clipgs()
        return model, str(card.get("tower", "")), tuple(map(str, card.get("labels", ())))
    from ...core.datasets.objects.triplets import INDEX, Triplets
    from ...trainers.clipgs.trainer import load_clipgs

    model, config, meta = load_clipgs(Path(spec).expanduser())
    there = bool(config.data) and (Path(config.data) / INDEX).is_file()
    labels: Sequence[str] = Triplets(config.data, "train").classes if there else ()
    return model, str(meta.get("tower", "")), tuple(labels)


def open_recognizer(
    spec: str, objects: Path | None, tower: str = "", report: Report = SILENT
) -> ObjectRecognizer | None:
    """Open the recognizer of the viewer; None if no model is named and none is bundled.

    Args:
        spec: see `open_clipgs`.
        objects: a folder of objects, or embeddings written by `gaussiancross clipgs embed`; None for no gallery.
        tower: image/text model to use instead of the run's.
        report: receives the progress over a folder's objects, and notices about unusable ones.
    """
    if objects is None:
        return (
            None
            if spec in BUNDLED_CLIPGS and not has_builtin()
            else ObjectRecognizer(partial(open_clipgs, spec), None, tower)
        )
    model, own_tower, labels = open_clipgs(spec)
    objects = objects.expanduser()
    if objects.suffix == ".npz" and objects.is_file():
        embedded = load_gallery(objects, model.config.embed_dim)
    else:
        with torch.no_grad():
            embedded = embed_files(
                model, find_objects(objects), track=partial(report.steps, f"{objects}: embedding objects")
            )
        for sentence in embedded.failed:
            report.notice(sentence)
        if not embedded.files:
            raise InputError(objects, f"objects as {', '.join(OBJECT_FILES)}", "none that can be used")
    return ObjectRecognizer(lambda: (model, own_tower, labels), Gallery(embedded), tower)
