"""`gaussiancross features`: compute a teacher's features of a dataset once and store them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ...core.data.scene import SceneDataset
from ...core.datasets import open_dataset
from ...core.errors import InputError
from ...core.teachers.base import ImageTeacher
from ...core.teachers.cache import MANIFEST, Plan, plan_cache, write_cache
from ...core.teachers.registry import make_teacher
from ...core.teachers.shards import ShardFolder, Storage, stored_bytes
from ...trainers.downstream.scenes import SceneSubset
from .shard import of_shard

SCANNET = (30, 30, 40)
"""Frames per scene and tokens of a frame: ScanNet at 640×480 with patches of 16 pixels."""


@dataclass(frozen=True)
class Features:
    """Compute a teacher's features of every frame of a dataset, to train from with `--data.teacher cached:FOLDER`.

    Ctrl-C stops it; the same command continues.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")] = ""
    """Data set: "rooms:COUNT", a capture, a folder of captures, or a Pointcept folder."""
    teacher: str = "builtin"
    """"builtin" or FAMILY:CHECKPOINT[,OPTION=VALUE …]; families are clip, siglip2, dinov2, dinov3 and radio."""
    out: Path | None = None
    """Output folder; features/<data>-<teacher> by default."""
    storage: Storage = "float16"
    """float16, or int8 with one scale per token (half the size); the error is printed."""
    splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val")
    """Splits to compute."""
    shard: str = ""
    """Compute every N-th scene from the I-th on, "I/N" with I from 0, beside the other processes; "" computes all."""
    estimate: bool = False
    """Print the disk space that is needed, and stop."""
    verify: bool = False
    """Check every file of the folder against its SHA-256, and stop."""


def main(args: Sequence[str]) -> int:
    options = tyro.cli(Features, args=args, prog="gaussiancross features")
    console = Console()
    if options.verify:
        return verify(options.out or default_folder(options), console)
    if not options.data:
        raise InputError("gaussiancross features", "a dataset", "none", "for example rooms:8, or a folder")
    datasets = open_splits(options.data, options.splits)
    if options.shard:
        for name, dataset in datasets.items():
            datasets[name] = SceneSubset(dataset, of_shard(range(len(dataset)), options.shard))
    with console.status("loading the teacher …"):
        teacher = make_teacher(options.teacher)
        if not isinstance(teacher, ImageTeacher):
            raise InputError("--teacher", "a model", f"{options.teacher!r}, whose features are not computed")
        folder = options.out or default_folder(options)
        plan = plan_cache(folder, teacher, datasets, options.storage)
    licence = f"licence {teacher.info.licence}, {'' if teacher.info.label_free else 'not '}label-free"
    console.print(f"{teacher.info.name}: {licence}", highlight=False, markup=False)
    console.print(describe(plan, options.storage), highlight=False, markup=False)
    if options.estimate:
        frames, h, w = SCANNET
        console.print(f"1,000 scenes of ScanNet, {frames} frames of {h}×{w} tokens each:", highlight=False)
        console.print(scannet_table(), highlight=False)
        return 0
    if plan.needed > plan.free:
        hint = "use --storage int8, or --out on another disk" if options.storage == "float16" else "use another disk"
        raise InputError(folder, f"{plan.needed / 1e9:.1f} GB of free disk", f"{plan.free / 1e9:.1f} GB", hint)
    write(options, folder, teacher, datasets, plan, console)
    return 0


def write(
    options: Features,
    folder: Path,
    teacher: ImageTeacher,
    datasets: dict[str, SceneDataset],
    plan: Plan,
    console: Console,
) -> None:
    """Compute and store the features with a progress bar, then print the storage error of all scenes."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    frames, total, worst = 0, 0.0, 0.0
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("scenes", total=plan.scenes)
        for done in write_cache(
            folder, teacher, options.teacher, datasets, options.storage, writer=options.shard.replace("/", "-of-")
        ):
            frames, worst = frames + done.frames, max(worst, done.error[1])
            total += done.error[0] * done.frames
            bar.update(task, advance=1, description=done.scene)
    console.print(
        f"{folder}: {frames:,} frames; {options.storage} costs a cosine error of {total / max(frames, 1):.1e} "
        f"(mean), {worst:.1e} (worst token). Train with --data.teacher cached:{folder}",
        highlight=False,
        markup=False,
    )


def verify(folder: Path, console: Console) -> int:
    """Check all files; returns 1 if one is damaged or missing."""
    if not (folder / MANIFEST).is_file():
        raise InputError(folder, f"a feature cache with {MANIFEST}", "none", "name it with --out")
    shards, bad = ShardFolder(folder), 0
    with Progress(console=console) as bar:
        for _, problem in bar.track(shards.verify(), total=len(shards.names), description="verifying"):
            if problem is not None:
                bad += 1
                console.print(str(problem), highlight=False, markup=False, style="red")
    count = len(shards.names)
    console.print(f"{folder}: {count - bad} of {count} files are as they were written", highlight=False, markup=False)
    return 1 if bad else 0


def open_splits(data: str, splits: Sequence[str]) -> dict[str, SceneDataset]:
    """Split → data set, for the splits that exist.

    Raises:
        InputError: none of them.
    """
    datasets: dict[str, SceneDataset] = {}
    problem: InputError | None = None
    for split in splits:
        try:
            dataset = open_dataset(data, split)
        except InputError as error:
            problem = error
        else:
            datasets.update({split: dataset} if len(dataset) else {})
    if not datasets:
        raise problem or InputError(data, "scenes", "none")
    return datasets


def default_folder(options: Features) -> Path:
    """features/<data>-<teacher>, without characters that file names cannot hold."""
    parts = (Path(options.data).name, options.teacher.replace("/", "-"), options.storage)
    return Path("features") / re.sub(r"[^\w.+=-]+", "-", "-".join(p for p in parts if p)).strip("-.")


def describe(plan: Plan, storage: Storage) -> str:
    """One line about size and time."""
    h, w, d = plan.tokens
    there = "" if plan.missing == plan.scenes else f", {plan.scenes - plan.missing} of them there"
    return (
        f"{plan.scenes:,} scenes{there}, {plan.frames:.0f} frames each, {h}×{w} tokens of {d} in {storage}: about "
        f"{_size(plan.nbytes)} ({_size(plan.nbytes / plan.scenes * 1000)} per 1,000 scenes), {_size(plan.needed)} to "
        f"write, {_size(plan.free)} free"
    )


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def scannet_table() -> Table:
    """GB per 1,000 scenes of ScanNet."""
    frames, h, w = SCANNET
    table = Table(
        title=f"ScanNet, {frames} frames per scene, {h}×{w} tokens: GB per 1,000 scenes", title_justify="left"
    )
    for name in ("D", "float16", "int8"):
        table.add_column(name, justify="right")
    for dim in (512, 768, 1024):
        sizes = [f"{stored_bytes(1000 * frames, h, w, dim, s) / 1e9:.1f}" for s in ("float16", "int8")]
        table.add_row(str(dim), *sizes)
    return table
