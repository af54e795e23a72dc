"""`gaussiancross clipgs`: train CLIP-GS; embed, classify and retrieve objects made of Gaussians."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ...core.data.objects import Up
from ...core.datasets.objects.published import ObjectSet, open_object_set
from ...core.device import pick_device
from ...core.errors import InputError
from ...core.io.pretrained import BUNDLED_CLIPGS
from ...core.metrics.few_shot import draw_episodes, few_shot_scores
from ...core.metrics.zero_shot import TEMPLATES, class_vectors, zero_shot_scores
from ...core.models.clipgs import ClipGS
from ...core.models.clipgs_builtin import load_builtin_clipgs
from ...core.query.index import VectorIndex
from ...trainers.clipgs.config import BASE_RUN, CPU_RUN, SMALL_RUN, TINY_RUN, ClipGSRun
from ...trainers.clipgs.trainer import ClipGSTrainer, load_clipgs
from ...trainers.engine.ranks import Ranks, joined_ranks
from ..objects.load_object import OBJECT_FILES, read_any_object
from ..objects.search import (
    Embedded,
    classify,
    embed_files,
    find_objects,
    known_labels,
    load_gallery,
    open_tower,
    query_vector,
    read_labels,
    save_gallery,
    short_names,
)
from .triplets import MakeTriplets, embed_prepared

Device = Literal["auto", "cuda", "cpu"]


@dataclass(frozen=True)
class Train:
    """Train on a folder of triplets. A run folder with a checkpoint is continued exactly. Under `torchrun` all
    processes train one model."""

    config: Annotated[ClipGSRun, tyro.conf.arg(name="")] = field(default_factory=ClipGSRun)
    """The run: data, network and schedule."""
    run_dir: Path = Path("runs/clipgs")
    """Folder of checkpoints, metrics and TensorBoard logs."""
    device: Device = "auto"
    """Where to train; "auto" takes CUDA when there is one."""
    seconds: float | None = None
    """Training time (s) after which a checkpoint is written and training stops; None runs all epochs."""


Presets = tyro.extras.subcommand_type_from_defaults(
    {
        "base": Train(BASE_RUN, Path("runs/clipgs-base")),
        "small": Train(SMALL_RUN, Path("runs/clipgs-small")),
        "tiny": Train(TINY_RUN, Path("runs/clipgs-tiny")),
        "cpu": Train(CPU_RUN, Path("runs/clipgs-cpu")),
    },
    descriptions={
        "base": "The paper's size (88 M). Give --init a Uni3D-B checkpoint. Wants CUDA.",
        "small": "23 M parameters, from Uni3D-S.",
        "tiny": "6 M parameters, from Uni3D-Ti.",
        "cpu": "From scratch on two CPU cores: fewer Gaussians, patches and blocks.",
    },
)


@dataclass(frozen=True)
class Embed:
    """Write the embeddings of objects, for `retrieve` and for programs (arrays ``files`` and ``vectors``)."""

    objects: tyro.conf.Positional[Path]
    """An object, or a folder of them (.ply, .splat, .npz, .glb, .obj)."""
    out: Path
    """The .npz file to write."""
    model: Path = Path(BUNDLED_CLIPGS[0])
    """A CLIP-GS run folder or checkpoint, or "bundled-clipgs"."""
    up: Up = "y"
    """The axis that points up in the files."""
    device: Device = "auto"
    """Where to compute; "auto" takes CUDA when there is one."""


@dataclass(frozen=True)
class Classify:
    """Classify objects with a list of labels."""

    objects: tyro.conf.Positional[Path]
    """An object, or a folder of them (.ply, .splat, .npz, .glb, .obj)."""
    labels: str
    """"chair,table,lamp", or a file of labels (.txt with one per line, .json with a list)."""
    model: Path = Path(BUNDLED_CLIPGS[0])
    """A CLIP-GS run folder or checkpoint, or "bundled-clipgs"."""
    tower: str = ""
    """Image/text model that encodes the labels; by default the one that the run was trained with."""
    up: Up = "y"
    """The axis that points up in the files."""
    top: int = 5
    """Labels to print for each object."""
    json: Path | None = None
    """Also write all scores to this file."""
    device: Device = "auto"
    """Where to compute; "auto" takes CUDA when there is one."""


@dataclass(frozen=True)
class Retrieve:
    """Retrieve objects by a text, a picture or another object."""

    query: tyro.conf.Positional[str]
    """Text ("a wooden chair"), a picture (.png, .jpg) or an object (.ply, .splat, .npz, .glb, .obj)."""
    gallery: Path
    """A folder of objects, or an .npz of `clipgs embed`."""
    model: Path = Path(BUNDLED_CLIPGS[0])
    """A CLIP-GS run folder or checkpoint, or "bundled-clipgs"."""
    tower: str = ""
    """Image/text model that encodes texts and pictures; the run's by default."""
    up: Up = "y"
    """The axis that points up in the files."""
    top: int = 10
    """Objects to print."""
    device: Device = "auto"
    """Where to compute; "auto" takes CUDA when there is one."""


@dataclass(frozen=True)
class Evaluate:
    """Zero-shot and few-shot accuracy on an object set: ModelNet40, Objaverse-LVIS or ScanObjectNN as OpenShape and
    Uni3D published them, ModelSplat of ShapeSplats."""

    data: tyro.conf.Positional[Path]
    """The set's folder, .h5 or lvis_testset.txt."""
    model: Path = Path(BUNDLED_CLIPGS[0])
    """A CLIP-GS run folder or checkpoint, or "bundled-clipgs"."""
    tower: str = ""
    """Image/text model that encodes class names; the run's by default."""
    up: Up = "y"
    """The axis that points up in the files."""
    limit: int = 0
    """Number of objects, evenly spread; 0 takes all."""
    ways: tuple[int, ...] = (5, 10)
    """Classes of the few-shot tasks."""
    shots: tuple[int, ...] = (10, 20)
    """Examples per class of the few-shot tasks."""
    device: Device = "auto"
    """Where to compute; "auto" takes CUDA when there is one."""


_ASK = {"triplets": MakeTriplets, "embed": Embed, "classify": Classify, "retrieve": Retrieve, "eval": Evaluate}
USAGE = """usage: gaussiancross clipgs COMMAND [options]

CLIP-GS: objects made of Gaussians in the language of an image/text model.

  triplets   embed the renders and captions of prepared objects
  train      train on triplets of objects, texts and images
  embed      embeddings of objects as a file
  classify   say what objects are, of a list of labels
  retrieve   find objects by words, a picture or another object
  eval       zero-shot and few-shot accuracy on published sets

`gaussiancross clipgs COMMAND --help` shows a command's options."""


def main(args: Sequence[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    name, prog = args[0], f"gaussiancross clipgs {args[0]}"
    if name == "train":
        return run_train(tyro.cli(Presets, args=args[1:], prog=prog, description="Train on a folder of triplets."))
    if name not in _ASK:
        raise InputError(prog, "one of train, " + ", ".join(_ASK), "an unknown command")
    options = tyro.cli(_ASK[name], args=args[1:], prog=prog)
    return _RUN[name](options, Console())


def run_train(options: Train, console: Console | None = None) -> int:
    """Train; returns 130 if interrupted."""
    if not options.config.data:
        raise InputError("--data", "a folder of triplets", "none given")
    with joined_ranks(options.device) as device:
        return _train(options, device, console or Ranks.current().console())


def _train(options: Train, device: torch.device, console: Console) -> int:
    trainer = ClipGSTrainer(options.config, options.run_dir, device=device)
    if trainer.resume():
        console.print(f"Continuing from step {trainer.step} of {options.run_dir}.", soft_wrap=True, markup=False)
    result = trainer.fit(options.seconds, console)
    if trainer.interrupted is not None:
        console.print(f"Checkpoint of step {trainer.step} written; the same command continues.", markup=False)
        return 130
    for name, value in result.items():
        console.print(f"{name:<24}{value:10.4g}", highlight=False)
    return 0


def run_triplets(options: MakeTriplets, console: Console) -> int:
    """Embed, and print the scores of the towers alone."""
    embed_prepared(options.root, options.tower, console)
    return 0


def run_embed(options: Embed, console: Console) -> int:
    """Read, encode, write; returns 1 if no object could be used."""
    if options.out.suffix != ".npz" or not options.out.absolute().parent.is_dir():
        raise InputError(options.out, "a .npz file in a folder that exists", "another name or no such folder")
    model, _ = _model(options.model, options.device)
    embedded = _embed(model, options.objects, options.up, console)
    save_gallery(options.out, embedded)
    shape = "×".join(map(str, embedded.vectors.shape))
    console.print(f"{shape} embeddings: {options.out}", soft_wrap=True, markup=False)
    return 0


def run_classify(options: Classify, console: Console) -> int:
    """Print, and write if asked, the labels of each object."""
    labels = read_labels(options.labels)
    model, tower = _model(options.model, options.device)
    opened = open_tower(options.tower or tower, model.config.embed_dim)
    labels, unknown = known_labels(opened.text, labels)
    for sentence in unknown:
        console.print(sentence, style="yellow", soft_wrap=True, markup=False)
    embedded = _embed(model, options.objects, options.up, console)
    scores = classify(model, embedded.vectors, opened, labels)
    table = Table("object", *(f"{i + 1}." for i in range(min(options.top, len(labels)))))
    for name, row in zip(short_names(embedded.files), scores, strict=True):
        best = row.argsort(descending=True)[: options.top].tolist()
        table.add_row(name, *(f"{labels[i]} {float(row[i]):.0%}" for i in best))
    console.print(table)
    if options.json is not None:
        rows = {
            file: {label: round(float(p), 6) for label, p in zip(labels, row, strict=True)}
            for file, row in zip(embedded.files, scores, strict=True)
        }
        options.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    return 0


def run_retrieve(options: Retrieve, console: Console) -> int:
    """Print the objects nearest to the query."""
    model, tower = _model(options.model, options.device)
    dim = model.config.embed_dim
    vector = query_vector(model, options.query, cache(lambda: open_tower(options.tower or tower, dim)), options.up)
    is_file = options.gallery.suffix == ".npz" and options.gallery.is_file()
    gallery = load_gallery(options.gallery, dim) if is_file else _embed(model, options.gallery, options.up, console)
    cosines, rows = VectorIndex(gallery.vectors).nearest(vector, options.top)
    names = short_names(gallery.files)
    table = Table("", "object", "cosine", title=options.query)
    for place, (i, cosine) in enumerate(zip(rows[0].tolist(), cosines[0].tolist(), strict=True), 1):
        table.add_row(str(place), names[i], f"{cosine:.3f}")
    console.print(table)
    return 0


def run_eval(options: Evaluate, console: Console) -> int:
    """Print zero-shot and few-shot accuracy, with the published numbers of the set beside them."""
    objects = open_object_set(options.data, up=options.up)
    model, tower = _model(options.model, options.device)
    opened = open_tower(options.tower or tower, model.config.embed_dim)
    classes = class_vectors(opened.text, objects.classes, TEMPLATES)
    picked = np.arange(len(objects))
    if 0 < options.limit < len(objects):
        picked = np.linspace(0, len(objects) - 1, options.limit).round().astype(int)
    vectors = _embed_set(model, objects, picked, console)
    labels = torch.from_numpy(objects.labels[picked])
    table = Table("measure", "this model", "published", title=f"{objects.name}, {len(picked)} objects")
    published = PUBLISHED.get(objects.name, {})
    for name, value in zero_shot_scores(vectors, labels, classes).items():
        table.add_row(f"zero-shot {name}", f"{100 * value:.1f} %", published.get(name, ""))
    for ways in options.ways:
        for shots in options.shots:
            try:
                row = few_shot_scores(vectors, draw_episodes(labels, ways, shots))
            except InputError:
                continue  # too few classes or objects for this task
            name = f"{ways}-way {shots}-shot"
            table.add_row(name, f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f} %", published.get(name, ""))
    console.print(table)
    return 0


PUBLISHED: dict[str, dict[str, str]] = {
    "Objaverse-LVIS": {"top1": "48.5 % (CLIP-GS), 33.6 % (Uni3D), on Gaussians", "top5": "77.5 % (CLIP-GS)"},
    "ModelSplat": {"10-way 10-shot": "95.4 ± 0.2 % (CLIP-GS)"},
    "ModelNet40": {"10-way 10-shot": "95.4 ± 0.2 % (CLIP-GS)"},
}
"""What the paper (arXiv 2412.19142) reports, by set and measure."""

_RUN = {
    "triplets": run_triplets,
    "embed": run_embed,
    "classify": run_classify,
    "retrieve": run_retrieve,
    "eval": run_eval,
}


def _model(path: Path, device: Device) -> tuple[ClipGS, str]:
    """The model, and the tower that it was trained with."""
    if str(path) in BUNDLED_CLIPGS:
        model, meta = load_builtin_clipgs()
    else:
        model, _, meta = load_clipgs(path)
    return model.to(pick_device(device)), str(meta.get("tower", ""))


def _embed(model: ClipGS, path: Path, up: Up, console: Console) -> Embedded:
    files = find_objects(path)
    if len(files) == 1:
        only = read_any_object(files[0], up, model.config.gaussians)
        return Embedded((str(files[0]),), model.encode([only]))
    progress = partial(track, description="objects", console=console, transient=True, disable=len(files) < 4)
    embedded = embed_files(model, files, up, track=progress)
    for sentence in embedded.failed:
        console.print(sentence, style="yellow", soft_wrap=True, markup=False)
    if not embedded.files:
        raise InputError(path, f"usable objects as {', '.join(OBJECT_FILES)}", f"{len(files)} that are not")
    return embedded


def _embed_set(model: ClipGS, objects: ObjectSet, picked: np.ndarray, console: Console) -> torch.Tensor:
    rows = [model.encode([objects.load(int(i))]) for i in track(picked, "objects", console=console, transient=True)]
    return torch.cat(rows)
