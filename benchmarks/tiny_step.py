"""Time and memory of a training step of the tiny preset on the CPU, and the share of its kernels."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import torch
import tyro
from torch.profiler import ProfilerActivity, profile, record_function

from ..core.data.augment import NO_AUGMENT
from ..core.errors import InputError
from ..core.sparse import tensor as sparse_tensor
from ..core.sparse.fast import FastConv
from ..core.splat import cpu as splat_cpu
from ..trainers.engine.memory import memory_gb
from ..trainers.pretraining.data import PretrainData
from ..trainers.pretraining.presets import TINY
from ..trainers.pretraining.trainer import Pretrainer
from ._data import RandomTeacher
from ._machine import environment, markdown, write_report
from ._parts import PartTimer

POINTS = 30_000
TOKENS = (15, 20)
CHANNELS = 32

KERNELS = {
    "sparse convolution": (FastConv.__name__, f"{FastConv.__name__}Backward"),
    "dense convolution": ("aten::convolution", "aten::convolution_backward"),
    "rasteriser": (splat_cpu._Splat.__name__, f"{splat_cpu._Splat.__name__}Backward"),
}
"""Names of the kernels in torch's profiler; none of them calls another."""

MAPS = "kernel maps"


@dataclass(frozen=True)
class TinyStep:
    """Time steps with a room of 30,000 points, 5 views of 160 × 120 and a random teacher of 32 channels."""

    data: str = "rooms:1"
    """Scene: a built-in room, or a path."""
    steps: int = 20
    """Number of timed steps, at least 10."""
    warmup: int = 3
    """Number of steps before, to compile kernels and fill caches."""
    out: Path = Path("bench")
    """Folder for tiny_step.json and tiny_step.md."""


def main() -> int:
    args = tyro.cli(TinyStep)
    if args.steps < 10:
        raise InputError("--steps", "at least 10", str(args.steps))
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        report = measure(args, Path(folder))
    report["environment"] = environment(device)
    rows = [
        ("step, fastest", f"{min(report['seconds']):.3f} s"),
        ("step, median", f"{report['median']:.3f} s"),
        ("points, voxels", f"{report['points']}, {report['voxels']}"),
        ("Gaussians", f"{report['gaussians']:.0f}"),
        ("peak memory of the process", f"{report['memory_gb']:.2f} GB"),
        ("preparing a batch (in a thread, meanwhile)", f"{report['batch_seconds']:.3f} s"),
        *((f"share in {name}", f"{share:.0%}") for name, share in report["shares"].items()),
        ("share in the three kernels", f"{report['kernel_share']:.0%}"),
        *((f"{part}, {way}", f"{ms:.0f} ms") for (part, way), ms in report.pop("parts").items()),
    ]
    write_report(args.out, "tiny_step", report, markdown(("tiny_step", "CPU"), rows))
    return 0


def measure(args: TinyStep, folder: Path) -> dict:
    """Time whole steps; then measure in further steps the shares of their parts and kernels."""
    model = replace(TINY.model, input=replace(TINY.model.input, max_points=POINTS))
    config = replace(TINY, model=model, data=replace(TINY.data, data=args.data, augment=NO_AUGMENT))
    data = PretrainData(config.data, model.input, config.seed, teacher=RandomTeacher(CHANNELS, TOKENS))
    scene = data.train.scene(0)
    if len(scene) < POINTS:
        raise InputError(args.data, f"a scene of {POINTS} points or more", f"{len(scene)}")
    trainer = Pretrainer(config, folder, data, "cpu")
    data.batch(0)  # renders the scene
    started = time.perf_counter()
    batches = [data.batch(step) for step in range(4)]
    batch_seconds = (time.perf_counter() - started) / len(batches)
    seconds = []
    metrics: dict[str, float] = {}
    for step in range(args.warmup + args.steps):
        started = time.perf_counter()
        metrics = trainer.train_step(batches[step % len(batches)])
        seconds.append(time.perf_counter() - started)
    seconds = seconds[args.warmup :]
    memory = memory_gb(trainer.device)  # before the profiler allocates memory
    with PartTimer(trainer.model, trainer.optimizer, trainer.device) as timer:
        for batch in batches * 2:
            with timer.step():
                trainer.train_step(batch)
    shares, operators = kernel_shares(trainer, batches)
    parts = timer.fastest()
    return {
        "seconds": seconds,
        "median": statistics.median(seconds),
        "points": min(POINTS, len(scene)),
        "voxels": int(batches[0].points.offset[-1]),
        "gaussians": metrics["gaussians"],
        "memory_gb": memory,
        "batch_seconds": batch_seconds,
        "shares": shares,
        "kernel_share": sum(share for name, share in shares.items() if name != MAPS),
        "top_operators_ms": operators,
        "parts": parts,
        "parts_ms": {f"{part}, {way}": ms for (part, way), ms in parts.items()},
    }


def kernel_shares(trainer: Pretrainer, batches: list) -> tuple[dict[str, float], dict[str, float]]:
    """Profile a few steps, which run slightly slower than the timed ones; the fastest counts.

    Returns:
        share of the step's time per kind of kernel, forward and backward together, and of the sparse convolutions'
        kernel maps; milliseconds of the slowest operators.
    """

    def recorded(function):
        def wrapped(*args, **kwargs):
            with record_function(MAPS):
                return function(*args, **kwargs)

        return wrapped

    maps = sparse_tensor.maps
    with (
        mock.patch.object(maps, "submanifold", recorded(maps.submanifold)),
        mock.patch.object(maps, "coarsen", recorded(maps.coarsen)),
    ):
        wall, shares, operators = float("inf"), {}, {}
        for batch in batches * 2:
            with profile(activities=[ProfilerActivity.CPU]) as profiler:
                started = time.perf_counter()
                trainer.train_step(batch)
                seconds = time.perf_counter() - started
            if seconds < wall:
                events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
                spent = {event.key: event.cpu_time_total / 1e6 for event in events}
                operators = {"whole step": seconds * 1e3} | {
                    event.key: event.self_cpu_time_total / 1e3 for event in events[:20]
                }
                wall = seconds
                shares = {name: sum(spent.get(key, 0.0) for key in keys) / wall for name, keys in KERNELS.items()}
                shares[MAPS] = spent.get(MAPS, 0.0) / wall
    return shares, operators
