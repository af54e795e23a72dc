"""CLIP-GS on procedural objects: made, embedded, trained, scored on objects and categories never trained on.

    objects ─ Gaussians, renders, captions ─ frozen towers ─→ triplets ─ point clouds, then Gaussians ─→ scores

The rows are the paper's ablation in small (arXiv 2412.19142, table 5). Where the paper starts from Uni3D, every row
here starts from the same network trained on point clouds of the same objects. Everything is kept in the working folder
and goes on where it was interrupted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..app.render.draw import Cell, sheet
from ..core.config import to_dict
from ..core.datasets.objects.embeddings import embed_triplets
from ..core.datasets.objects.triplets import TripletObject
from ..core.datasets.prepare.tasks import run_tasks
from ..core.datasets.procedural_triplets import ObjectTripletsConfig, list_triplets, object_tasks, read_renders
from ..core.errors import InputError
from ..core.io.images import write_color
from ..core.models.clipgs_builtin import save_builtin_clipgs
from ..core.teachers import ImageTeacher, make_teacher
from ..trainers.clipgs.config import OBJECTS_RUN, ClipGSRun
from ..trainers.clipgs.trainer import load_clipgs
from ._charts import Bar, bars
from ._machine import command_line, environment, markdown, write_report
from ._object_rows import BY_NAME, ROWS, VECTORS, Interrupted, Row, Sets, run_folder, run_row, score_renders

WANTED = {"seen/top1": 0.9, "unseen/top1": 4.0, "text→3D R@1": 0.6}
"""What was asked for; for unseen categories in multiples of chance."""
TITLES = {
    "seen/top1": "top 1, unseen objects",
    "seen/top3": "top 3",
    "seen/top5": "top 5",
    "unseen/top1": "top 1, unseen categories",
    "unseen/top3": "top 3",
    "unseen/top1_all": "… among all names",
    "unseen/few_shot": "… 10-way 5-shot",
    "text→3D R@1": "text→3D R@1",
    "text→3D R@5": "R@5",
    "text→3D R@10": "R@10",
    "3D→text R@1": "3D→text R@1",
    "image→3D R@1": "image→3D R@1",
    "image→3D R@5": "R@5",
    "image→3D R@10": "R@10",
    "3D→image R@1": "3D→image R@1",
}
CHART = {
    "seen/top1": "zero-shot top 1, unseen objects",
    "unseen/top1": "unseen categories",
    "text→3D R@1": "text to 3D R@1",
    "text→3D R@10": "text to 3D R@10",
    "image→3D R@1": "image to 3D R@1",
    "image→3D R@10": "image to 3D R@10",
}
QUICK_CATEGORIES = ("apple", "banana", "chair", "cup", "sword", "table", "pear", "screwdriver")


@dataclass(frozen=True)
class ObjectsBench:
    """Train CLIP-GS on procedural objects and score it, row by row of the paper's ablation."""

    out: Path = Path("bench")
    """Folder for objects.json, .md, .png and objects_search.png."""
    work: Path = Path("runs/objects-bench")
    """Objects, embeddings and runs; the same command goes on from them."""
    tower: str = "builtin"
    """The image/text model whose space is learned."""
    rows: tuple[str, ...] = tuple(row.name for row in ROWS)
    """Which rows: clouds, points, all, gs, voting."""
    seeds: int = 3
    """Trainings per row, for the error bars."""
    data: ObjectTripletsConfig = field(default_factory=ObjectTripletsConfig)
    """The objects."""
    run: Annotated[ClipGSRun, tyro.conf.arg(name="config")] = field(default_factory=lambda: OBJECTS_RUN)
    """The training on Gaussians."""
    pretrain_epochs: float = 8.0
    """Epochs on point clouds before it."""
    gallery: int = 500
    """Objects that are searched for retrieval."""
    workers: int = 0
    """Processes that make objects; 0 takes one per core."""
    objects_only: bool = False
    """Make and embed the objects, and stop."""
    export: Path | None = None
    """When done, write the last row's model of seed 0 and its card to this folder (the project's: assets)."""
    quick: bool = False
    """Eight categories and a minute of training: shows that it runs."""


def main() -> int:
    given = tyro.cli(ObjectsBench, prog="gaussiancross bench objects")
    teacher = make_teacher(given.tower)
    if not isinstance(teacher, ImageTeacher):
        raise InputError(f"--tower {given.tower}", "a network that encodes images", "another teacher")
    return run(quick(given) if given.quick else given, teacher)


def quick(given: ObjectsBench) -> ObjectsBench:
    """The same with little of everything."""
    data = replace(given.data, train=8, val=1, test=2, unseen=8, gaussians=128, views=2, size=64)
    model = replace(given.run.model, width=48, depth=1, heads=2, gaussians=128, groups=16, group_size=16)
    short = replace(given.run, model=model, epochs=4, batch_size=16, views=2)
    known = tuple(c for c in QUICK_CATEGORIES if c in given.data.categories)
    return replace(
        given,
        data=replace(
            data, categories=known if given.data.categories == ObjectTripletsConfig().categories else data.categories
        ),
        run=short,
        pretrain_epochs=2,
        seeds=1,
        work=given.work / "quick",
    )


def run(given: ObjectsBench, teacher: ImageTeacher) -> int:
    """Everything; 130 when interrupted."""
    unknown = sorted(set(given.rows) - set(BY_NAME))
    if unknown or not given.rows or given.seeds < 1:
        raise InputError("--rows and --seeds", f"some of {', '.join(BY_NAME)}, and at least 1", str(unknown or "none"))
    console, started = Console(), time.perf_counter()
    make_objects(given, console)
    sets = embed_objects(given, teacher, console)
    if given.objects_only:
        return 0
    runs, key = given.work / "runs", f"{teacher.fingerprint} {given.data.folder} {sorted(given.data.categories)}"
    rows = [row for row in ROWS if row.name in given.rows]
    table: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
    try:
        for seed in range(given.seeds):
            for row in rows:
                scores = run_row(row, given.run, given.pretrain_epochs, seed, sets, runs, key, console)
                table[row.name].append(scores)
    except Interrupted:
        console.print("A checkpoint is written; the same command continues.")
        return 130
    ceiling = score_renders(sets)
    report = {
        "environment": environment(torch.device("cpu")),
        "tower": teacher.fingerprint,
        "config": {k: v for k, v in to_dict(given).items() if k not in ("out", "work", "export")},
        "objects": {"train": len(sets.train), "test": len(sets.test), "unseen": len(sets.unseen)},
        "captions": {"gallery": min(given.gallery, len(sets.test)), "different": _captions(sets)},
        "seconds": time.perf_counter() - started,
        "rows": table,
        "renders": ceiling,
    }
    write_report(given.out, "objects", report, _markdown(rows, table, ceiling))
    write_color(given.out / "objects.png", _chart(rows, table, ceiling))
    last = rows[-1]
    folder = run_folder(last, runs, 0)
    write_color(given.out / "objects_search.png", search_sheet(sets, torch.load(folder / VECTORS, weights_only=True)))
    if given.export is not None:
        _export(given, last, folder, teacher, table[last.name][0], sets)
        console.print(f"model and card: {given.export}", soft_wrap=True, markup=False)
    return 0


# --- objects ------------------------------------------------------------------------------------------------


def make_objects(given: ObjectsBench, console: Console) -> None:
    """Gaussians, renders and captions of all categories, those that are missing."""
    tasks = object_tasks(given.work, given.data)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("objects", total=len(tasks), completed=sum(t.done for t in tasks))
        for outcome in run_tasks(tasks, given.workers or os.cpu_count() or 1):
            if outcome.error is not None:
                raise InputError(outcome.task.target, "objects that can be made", outcome.error)
            progress.update(bar, advance=1, description=outcome.task.name)


def embed_objects(given: ObjectsBench, teacher: ImageTeacher, console: Console) -> Sets:
    """The towers' embeddings of all of them.

    Raises:
        InputError: a category whose name the text tower does not know.
    """
    objects = list_triplets(given.work, given.data)

    def pictures(o: TripletObject) -> NDArray[np.uint8]:
        return read_renders(given.work, o.file)

    columns = TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("embedding", total=len(objects))
        done = embed_triplets(
            given.work, objects, pictures, teacher, given.tower, given.data.categories,
            lambda count: progress.update(bar, completed=count),
        )  # fmt: skip
    missing = sorted(set(given.data.categories) - set(done.classes))
    if missing or len(done.objects) < len(objects):
        hint = "train the towers with these objects, or choose another --tower"
        raise InputError(f"--tower {given.tower}", "words for every category", "; ".join(done.left_out[:3]), hint)
    return Sets.open(given.work, given.gallery)


def _captions(sets: Sets) -> int:
    count = min(sets.gallery, len(sets.test))
    return len(set(sets.test.caption_ids[:count].tolist()))


# --- what comes of it ---------------------------------------------------------------------------------------


def _mean(scores: Sequence[dict[str, float]], name: str) -> tuple[float, float]:
    values = [s[name] for s in scores]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _markdown(rows: Sequence[Row], table: dict[str, list[dict[str, float]]], ceiling: dict[str, float]) -> str:
    chance = next(iter(table.values()))[0]
    asked = {
        "seen/top1": f"≥ {WANTED['seen/top1']:.0%}",
        "unseen/top1": f"≥ {WANTED['unseen/top1'] * chance['unseen/chance']:.0%} (4 × chance)",
        "text→3D R@1": f"≥ {WANTED['text→3D R@1']:.0%}",
    }
    lines = []
    for name, title in TITLES.items():
        cells = []
        for row in rows:
            mean, std = _mean(table[row.name], name)
            cells.append(f"{100 * mean:.1f}" + (f" ± {100 * std:.1f}" if len(table[row.name]) > 1 else ""))
        lines.append((title, *cells, f"{100 * ceiling[name]:.1f}", asked.get(name, "")))
    return markdown(("%", *(row.title for row in rows), "the image tower on renders", "asked"), lines)


def _chart(rows: Sequence[Row], table: dict[str, list[dict[str, float]]], ceiling: dict[str, float]) -> NDArray:
    chance = next(iter(table.values()))[0]["unseen/chance"]
    items = []
    for name, title in CHART.items():
        asked = WANTED.get(name, 0) * (chance if name == "unseen/top1" else 1)
        stats = [_mean(table[row.name], name) for row in rows]
        values = (*(100 * mean for mean, _ in stats), 100 * ceiling[name])
        label = title + (f" (asked: {100 * asked:.0f})" if asked else "")
        items.append(Bar(label, values, (*(100 * std for _, std in stats), 0.0)))
    series = [*(row.short for row in rows), "image tower on renders"]
    return np.asarray(bars(items, series, "objects-bench", "%", width=400 + 175 * len(series)))


def search_sheet(sets: Sets, vectors: dict[str, torch.Tensor], questions: int = 8, found: int = 6) -> NDArray:
    """Captions of unseen objects, and what is nearest to them in the gallery; the right one is marked."""
    count = min(sets.gallery, len(sets.test))
    gallery, rows, names = vectors["test"][:count], [], []
    picked = np.linspace(0, count - 1, min(questions, count)).round().astype(int).tolist()
    for i in picked:
        nearest = (gallery @ sets.test.text[i]).argsort(descending=True)[:found].tolist()
        cells = [Cell(_picture(sets, i), "asked for")]
        cells += [
            Cell(_picture(sets, j), "right" if j == i else sets.test.objects[j].class_name or "") for j in nearest
        ]
        rows.append(cells)
        names.append(sets.test.objects[i].caption)
    columns = ["", *(str(k + 1) for k in range(len(rows[0]) - 1))]
    return sheet(rows, columns, names, 1200, 1.0, 13)


def _picture(sets: Sets, index: int) -> NDArray[np.uint8]:
    return read_renders(sets.root, sets.test.objects[index].file)[sets.view]


def _export(
    given: ObjectsBench, row: Row, folder: Path, teacher: ImageTeacher, scores: dict[str, float], sets: Sets
) -> None:
    assert given.export is not None
    model, _, meta = load_clipgs(folder)
    about = {
        "name": "clipgs",
        "licence": "Apache-2.0",
        "description": "A small CLIP-GS encoder: an object made of Gaussians to its embedding in the space of the "
        "built-in image/text model. It knows procedural objects, a demonstration vocabulary. Its training objects are "
        "Gaussians from the moments of surface patches, not fitted to pictures; captions carry class names.",
        "tower": given.tower,
        "tower_fingerprint": teacher.fingerprint,
        "command": command_line("objects"),
        "row": row.name,
        "labels": list(given.data.categories),
        "objects": {"train": len(sets.train), "test": len(sets.test), "unseen": len(sets.unseen)},
        "steps": int(meta["step"]),
        "scores": {k: round(v, 4) for k, v in scores.items()},
    }
    save_builtin_clipgs(given.export, model, about)


if __name__ == "__main__":
    raise SystemExit(main())
