"""`gaussiancross prepare objects`: a folder of meshes or Gaussians → renders, captions and fitted Gaussians."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from ...core.data.objects import Up
from ...core.datasets.objects.files import ObjectFile, find_object_files
from ...core.datasets.prepare.tasks import Task
from ...core.device import pick_device
from ...core.errors import InputError
from ...trainers.clipgs.prepare_object import PREVIEW, ObjectConfig, check_prepared, prepare_object, read_about
from ...trainers.gaussian_fitting.object import FAST, FULL
from ..render.contact_sheet import SheetFile, file_sheet
from .batch_jobs import announce, run
from .shard import of_shard
from .triplets import OBJECTS, embed_prepared, write_prepared

BAD, SHEET = "bad.json", "contact.png"
GPU_WORKERS = 4
"""Processes that share one GPU: while one fits, others read and render."""
SHOWN = 240
"""Objects on the contact sheet at most, evenly chosen."""
ROWS = 40
"""Objects in the printed table at most: the worst."""


@dataclass(frozen=True)
class Objects:
    """Meshes (.glb, .gltf, .obj, .ply, .off, .stl) and Gaussians (.ply, .splat) → what CLIP-GS is trained on: renders,
    captions, and Gaussians fitted to the renders of meshes. The same command goes on where it was interrupted."""

    raw: tyro.conf.Positional[Path]
    """A folder of objects, with folders in it or without."""
    out: Path
    """The folder to write: objects/<name>/, objects.json, contact.png and bad.json."""
    preset: Literal["auto", "fast", "full"] = "auto"
    """"full": 10,000 Gaussians and 5,000 steps per mesh, as published; "fast": 6,000 and 300, seconds on a CPU. "auto"
    is full with CUDA and fast without."""
    captions: Path | None = None
    """A JSON file {"name": "a caption"} or {"name": {"caption": …, "class": …, "split": …}}; file names otherwise."""
    val: float = 0.0
    """Share of the objects that are for validation, drawn by name."""
    only: tuple[str, ...] = ()
    """Names of objects to prepare; all by default."""
    tower: str = ""
    """Also embed renders and captions with this teacher ("builtin", "clip:openai/clip-vit-base-patch16", …), as
    `gaussiancross clipgs triplets` does."""
    gaussians: int | None = None
    """Gaussians per mesh, instead of the preset's."""
    iterations: int | None = None
    """Steps per mesh, instead of the preset's."""
    views: int = ObjectConfig.views
    """Renders per object; every sixth measures the fit."""
    size: int = ObjectConfig.size
    """Width and height of the renders, pixels."""
    plain: bool = False
    """Show meshes without light, in their plain colours."""
    up: Up = "y"
    """The axis that points up in the files (y in glTF)."""
    shard: str = ""
    """Prepare every N-th object from the I-th on, "I/N" with I from 0, beside the other processes; "" prepares all."""
    workers: int = 0
    """Processes; 0 takes one per core, or four with CUDA."""
    device: Annotated[Literal["auto", "cuda", "cpu"], tyro.conf.arg(metavar="DEVICE")] = "auto"
    """Where Gaussians are fitted; "auto" takes CUDA when there is one."""


def prepare_objects(options: Objects, console: Console | None = None) -> int:
    """Prepare what is not there yet, and say what came of all."""
    console = console or Console()
    device = pick_device(options.device).type
    config = _config(options, device)
    files = of_shard(find_object_files(options.raw, options.captions, options.val, options.only), options.shard)
    if options.out.resolve() == options.raw.resolve() or options.raw.resolve() in options.out.resolve().parents:
        raise InputError(
            options.out, f"a folder outside {options.raw}", "one in it", "its results would be read as objects"
        )
    workers = options.workers or (min(GPU_WORKERS, os.cpu_count() or 1) if device == "cuda" else os.cpu_count() or 1)
    threads = 1 if workers > 1 else 0
    for file in files:
        _drop_stale(file, config, options.out / OBJECTS / file.id, console)
    tasks = [
        Task(
            file.id,
            options.out / OBJECTS / file.id,
            partial(prepare_object, file, config, device, threads),
            _bytes(file, config),
        )
        for file in files
    ]
    announce(console, options.out, {"objects": tasks}, False)
    bad = run(console, tasks, workers)
    for name, why in bad.items():
        console.print(f"left out: {name}: {why}", soft_wrap=True, markup=False, highlight=False)
    done = [file for file in files if (options.out / OBJECTS / file.id).is_dir()]
    if not done:
        raise InputError(options.raw, "objects that can be used", f"none of {len(files)}")
    if options.shard:
        console.print("When all shards are done, the same command without --shard writes lists and sheet.")
        return 0
    (options.out / BAD).write_text(json.dumps(bad, indent=1, ensure_ascii=False), encoding="utf-8")
    abouts = [read_about(options.out / OBJECTS / file.id) for file in done]
    write_prepared(options.out, done, abouts)
    _sheet(options.out, done, abouts)
    _summary(console, done, abouts, len(bad))
    console.print(f"{options.out}: {OBJECTS}/, {SHEET}" + (f", {BAD}" if bad else ""), soft_wrap=True, markup=False)
    if options.tower:
        embed_prepared(options.out, options.tower, console)
    return 0


def _config(options: Objects, device: str) -> ObjectConfig:
    full = options.preset == "full" or (options.preset == "auto" and device == "cuda")
    fit = FULL if full else FAST
    fit = replace(
        fit,
        gaussians=fit.gaussians if options.gaussians is None else options.gaussians,
        iterations=fit.iterations if options.iterations is None else options.iterations,
    )
    return ObjectConfig(views=options.views, size=options.size, plain=options.plain, up=options.up, fit=fit)


def _drop_stale(file: ObjectFile, config: ObjectConfig, folder: Path, console: Console) -> None:
    if not folder.is_dir():
        return
    why = check_prepared(file, config, folder)
    if why is not None:
        console.print(f"again: {file.id}: {why}", soft_wrap=True, markup=False, highlight=False)
        shutil.rmtree(folder)


def _bytes(file: ObjectFile, config: ObjectConfig) -> int:
    """About what an object takes on the disk."""
    splats = file.path.stat().st_size if file.is_splat else 68 * config.fit.gaussians
    return splats + config.views * config.size**2 // 5


def _sheet(out: Path, done: Sequence[ObjectFile], abouts: Sequence[dict]) -> None:
    chosen = np.unique(np.linspace(0, len(done) - 1, min(SHOWN, len(done))).round().astype(int))
    panels = []
    for i in chosen:
        quality = abouts[i]["psnr"]
        text = f"{np.median(quality):.1f} dB" if quality else "as it came"
        panels.append(SheetFile(out / OBJECTS / done[i].id / PREVIEW, done[i].id, text))
    file_sheet(panels).save(out / SHEET)


def _summary(console: Console, done: Sequence[ObjectFile], abouts: Sequence[dict], bad: int) -> None:
    fitted = [(float(np.median(a["psnr"])), f, a) for f, a in zip(done, abouts, strict=True) if a["psnr"]]
    if fitted:
        fitted.sort(key=lambda row: row[0])
        shown = fitted[:ROWS]
        where = "held-out views" if shown[0][2]["held_out"] else "fitted views"
        which = f"the {len(shown)} worst of {len(fitted)}; " if len(fitted) > ROWS else ""
        title = f"{which}PSNR of {where}, processor time"
        table = Table("object", "caption", "faces", "Gaussians", "PSNR", "time", title=title, title_justify="left")
        for quality, file, about in shown:
            cells = f"{about['faces']:,}", f"{about['gaussians']:,}", f"{quality:.1f} dB"
            table.add_row(file.id, file.caption, *cells, f"{about['processor_seconds']:.0f} s")
        console.print(table)
        values = np.array([row[0] for row in fitted])
        spent = sum(a["processor_seconds"] for a in abouts)
        console.print(
            f"PSNR of {where}: median {np.median(values):.2f} dB, from {values.min():.2f} to {values.max():.2f}; "
            f"at most {max(a['gaussians'] for _, _, a in fitted):,} Gaussians; {spent:.0f} s of processor time",
            highlight=False,
            soft_wrap=True,
        )
    came = len(done) - len(fitted)
    console.print(
        f"{len(done)} objects"
        + (f", {came} of them Gaussians already" if came else "")
        + (f"; {bad} left out ({BAD})" if bad else ""),
        highlight=False,
    )
