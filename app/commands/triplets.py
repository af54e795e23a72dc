"""`gaussiancross clipgs triplets`: prepared objects through the frozen towers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...core.datasets.objects.embeddings import embed_triplets
from ...core.datasets.objects.files import ObjectFile
from ...core.datasets.objects.triplets import TripletObject, Triplets, splits
from ...core.errors import InputError
from ...core.io.json_files import read_json
from ...core.io.renders import read_renders
from ...core.metrics.zero_shot import zero_shot_scores
from ...core.teachers import ImageTeacher, make_teacher

INDEX, OBJECTS, SPLATS = "objects.json", "objects", "point_cloud.ply"
FORMAT, VERSION = "gaussiancross-objects", 1


@dataclass(frozen=True)
class MakeTriplets:
    """Embed the renders, captions and class names of prepared objects, for `clipgs train`. The same command goes on
    where it was interrupted, and computes only what is new."""

    root: tyro.conf.Positional[Path]
    """A folder that `gaussiancross prepare objects` wrote."""
    tower: str = "builtin"
    """The image/text model: "builtin", "clip:openai/clip-vit-base-patch16" or another with a text tower."""


def write_prepared(root: Path, files: Sequence[ObjectFile], abouts: Sequence[dict[str, Any]]) -> None:
    """``objects.json``: what is in ``objects/``."""
    rows = [
        {
            "id": f.id,
            "file": f"{OBJECTS}/{f.id}/{SPLATS}",
            "caption": f.caption,
            "split": f.split,
            "class": f.class_name,
            "psnr": a["psnr"],
        }
        for f, a in zip(files, abouts, strict=True)
    ]
    index = {"format": FORMAT, "version": VERSION, "objects": rows}
    (root / INDEX).write_text(json.dumps(index, indent=1, ensure_ascii=False), encoding="utf-8")


def read_prepared(root: Path) -> list[TripletObject]:
    """The objects of a prepared folder.

    Raises:
        InputError: no such folder, or a damaged index.
    """
    try:
        index = read_json(root / INDEX)
        if index["format"] != FORMAT or int(index["version"]) > VERSION:
            raise ValueError(f"format {index['format']}, version {index['version']}")
        for o in index["objects"]:
            if not all(isinstance(o[key], str) for key in ("id", "file", "caption", "split")):
                raise TypeError(f"an object with {o}"[:200])
            if not isinstance(o["class"], (str, type(None))):
                raise TypeError(f"the class {o['class']}"[:200])
        return [TripletObject(o["id"], o["file"], o["caption"], o["split"], o["class"]) for o in index["objects"]]
    except OSError as error:
        hint = "run `gaussiancross prepare objects` first"
        raise InputError(root, f"prepared objects, with {INDEX}", "none", hint) from error
    except (ValueError, OverflowError, KeyError, TypeError) as error:
        raise InputError(root / INDEX, "a list of prepared objects", f"a damaged file ({error!r})") from error


def embed_prepared(root: Path, tower: str, console: Console) -> None:
    """Make triplets of a prepared folder, and say how well the towers alone tell its classes apart."""
    objects = read_prepared(root)
    with console.status("loading the teacher …"):
        teacher = make_teacher(tower)
    if not isinstance(teacher, ImageTeacher) or teacher.text is None:
        raise InputError(f"--tower {tower}", "a model with an image and a text tower", "another")
    classes = sorted({o.class_name for o in objects if o.class_name is not None})
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("embedding", total=len(objects))
        done = embed_triplets(
            root,
            objects,
            lambda o: read_renders((root / o.file).parent),
            teacher,
            tower,
            classes,
            lambda count: progress.update(bar, completed=count),
        )
        progress.update(bar, total=len(done.objects))
    for sentence in done.left_out:
        console.print(f"left out: {sentence}", soft_wrap=True, markup=False, highlight=False)
    console.print(
        f"{root}: {len(done.objects)} triplets of {len(done.classes)} classes, {teacher.info.name}"
        f" ({done.computed} embedded now)",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    if len(done.classes) > 1:
        scores = tower_scores(root)
        text = ", ".join(f"{name} {100 * scores[name]:.1f} %" for name in ("top1", "top3", "top5"))
        console.print(f"zero-shot over its class names by the towers' renders alone: {text}", highlight=False)


def tower_scores(root: Path) -> dict[str, float]:
    """`zero_shot_scores` of the mean of each object's renders: what a 3D model is up against."""
    vectors, labels, classes = [], [], torch.zeros(0)
    for split in splits(root):
        triplets = Triplets(root, split)
        vectors += [triplets.images(i).mean(0) for i in range(len(triplets))]
        labels.append(triplets.labels.numpy())
        if triplets.class_vectors is not None:
            classes = triplets.class_vectors
    label = torch.from_numpy(np.concatenate(labels))
    known = label >= 0
    return zero_shot_scores(torch.nn.functional.normalize(torch.stack(vectors), dim=1)[known], label[known], classes)
