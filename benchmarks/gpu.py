"""GPU tests, and time and memory of training steps at the paper's scale, on a CUDA device."""

from __future__ import annotations

import importlib.util
import math
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch.profiler import ProfilerActivity, profile

from ..core.errors import InputError
from ..trainers.pretraining.data import PretrainData
from ..trainers.pretraining.presets import FULL
from ..trainers.pretraining.trainer import Pretrainer
from ._data import BoxRooms, RandomTeacher
from ._machine import environment, markdown, write_report
from ._parts import PartTimer

TESTS = Path(__file__).resolve().parents[1] / "tests"

TOKENS = (30, 40)
"""Rows and columns of teacher tokens of a 640 × 480 image, 16 pixels each (RADIO)."""


@dataclass(frozen=True)
class Gpu:
    """Run the GPU tests, then time steps of the full preset: batch 4, 5 views of 640 × 480, bfloat16 autocast."""

    steps: int = 10
    """Number of timed steps."""
    warmup: int = 3
    """Number of steps before, to compile and select kernels."""
    batches: int = 3
    """Number of different batches, used in turn."""
    batch_size: int = FULL.data.batch_size
    """Scenes per step."""
    teacher_dim: int = 1280
    """Width of the random teacher's features (RADIO-H: 1280)."""
    data: str = "rooms"
    """"rooms" (needs embreex or cached rooms; falls back to "box"), a path, or "box": empty analytic rooms."""
    tests: bool = True
    """Run the tests that need a GPU."""
    out: Path = Path("bench")
    """Folder for gpu.json and gpu.md."""


def main() -> int:
    args = tyro.cli(Gpu)
    if not torch.cuda.is_available():
        raise InputError("bench gpu", "a CUDA device", "none that torch can use", "`gaussiancross doctor` says why")
    if args.steps < 2 or args.warmup < 1 or args.batches < 1:
        found = f"{args.steps}, {args.warmup} and {args.batches}"
        raise InputError("bench gpu", "at least 2 steps, 1 warm-up step and 1 batch", found)
    device = torch.device("cuda")
    report: dict[str, Any] = {"environment": environment(device), "errors": {}}
    for name, value in report["environment"].items():
        print(f"{name}: {value}", flush=True)
    rows: list[tuple[str, str]] = []
    sections: list[tuple[str, Callable[[], list[tuple[str, str]]]]] = [
        ("training", lambda: training(args, device, report))
    ]
    if args.tests:
        sections.insert(0, ("tests", lambda: gpu_tests(report)))
    for name, section in sections:
        try:
            rows += section()
        except Exception:  # GPU time is rare: the other sections are still measured and reported
            traceback.print_exc()
            report["errors"][name] = traceback.format_exc()
            rows.append((name, "failed, see gpu.json"))
    write_report(args.out, "gpu", report, markdown(("gpu", report["environment"]["device"]), rows))
    passed = not report["errors"] and report.get("tests", {}).get("status", 0) == 0
    return 0 if passed and report["training"]["finite"] and report["training"]["decreasing"] else 1


def gpu_tests(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Run the tests marked ``gpu``: gsplat against numba and the reference, spconv against torch, both directions."""
    missing = "" if TESTS.is_dir() else "the tests are not installed: run from a checkout"
    if importlib.util.find_spec("pytest") is None:
        missing = "pytest is not installed"
    if missing:
        print(f"GPU tests not run: {missing}.")
        report["tests"] = {"status": 0, "summary": f"not run: {missing}"}
        return [("GPU tests", f"not run: {missing}")]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "--durations=5", str(TESTS)]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, sep="\n", flush=True)
    lines = done.stdout.strip().splitlines()
    summary = lines[-1].strip("= ") if lines else "no output"
    report["tests"] = {"status": done.returncode, "summary": summary, "output": done.stdout[-20_000:]}
    return [("GPU tests", summary)]


def training(args: Gpu, device: torch.device, report: dict[str, Any]) -> list[tuple[str, str]]:
    """Measure time, memory and parts of full-size steps."""
    with tempfile.TemporaryDirectory() as folder:
        data, source = open_data(args)
        trainer = Pretrainer(replace(FULL, data=data.config), Path(folder), data, device)
        started = time.perf_counter()
        batches = [data.batch(step) for step in range(args.batches)]
        batch_seconds = (time.perf_counter() - started) / len(batches)
        losses, gaussians = [], 0.0
        started = time.perf_counter()
        for step in range(args.warmup):
            losses.append(trainer.train_step(batches[step % len(batches)])["loss/total"])
        torch.cuda.synchronize(device)
        warm_seconds = time.perf_counter() - started
        torch.cuda.reset_peak_memory_stats(device)
        seconds = []
        for step in range(args.warmup, args.warmup + args.steps):
            torch.cuda.synchronize(device)
            started = time.perf_counter()
            metrics = trainer.train_step(batches[step % len(batches)])
            torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - started)
            losses.append(metrics["loss/total"])
            gaussians = metrics["gaussians"]
            print(f"step {step}: {seconds[-1] * 1e3:.0f} ms, loss {losses[-1]:.4f}", flush=True)
        allocated, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        with PartTimer(trainer.model, trainer.optimizer, device) as timer:
            for batch in batches:
                with timer.step():
                    trainer.train_step(batch)
        kernels = top_kernels(trainer, batches[0])
    parts = timer.median()
    total = sum(parts.values())
    window = min(3, len(losses) // 2)
    before, after = statistics.fmean(losses[:window]), statistics.fmean(losses[-window:])
    report["training"] = {
        "data": source,
        "batch_size": args.batch_size,
        "teacher_dim": args.teacher_dim,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "voxels per batch": [int(b.points.offset[-1]) for b in batches],
        "gaussians per scene": gaussians,
        "seconds": seconds,
        "median": statistics.median(seconds),
        "warmup_seconds": warm_seconds,
        "batch_seconds": batch_seconds,
        "memory_allocated_gb": allocated / 1e9,
        "memory_reserved_gb": reserved / 1e9,
        "losses": losses,
        "finite": all(math.isfinite(v) for v in losses) and trainer.nan_steps == 0,
        "decreasing": after < before,
        "parts_ms": {f"{part}, {way}": ms for (part, way), ms in parts.items()},
        "top_kernels_ms": kernels,
    }
    summary = report["training"]
    return [
        ("data", f"{source}, {args.batch_size} scenes, {statistics.fmean(summary['voxels per batch']):.0f} voxels"),
        ("step, median", f"{summary['median'] * 1e3:.0f} ms"),
        ("step, fastest", f"{min(seconds) * 1e3:.0f} ms"),
        ("peak memory", f"{allocated / 1e9:.1f} GB allocated, {reserved / 1e9:.1f} GB reserved"),
        ("Gaussians per scene", f"{gaussians:.0f}"),
        ("loss", f"{before:.3f} → {after:.3f}, {'finite' if summary['finite'] else 'not finite'}"),
        ("data: preparing a batch (in a thread, meanwhile)", f"{batch_seconds * 1e3:.0f} ms"),
        *((f"{part}, {way}", f"{ms:.1f} ms, {ms / total:.0%}") for (part, way), ms in parts.items()),
    ]


def open_data(args: Gpu) -> tuple[PretrainData, str]:
    """Open training data; returns it with a description. Renders the scenes, to detect a missing renderer early."""
    scenes = args.batch_size * args.batches
    teacher = RandomTeacher(args.teacher_dim, TOKENS)
    name = f"rooms:{scenes}" if args.data == "rooms" else args.data
    config = replace(FULL.data, data=name, batch_size=args.batch_size)
    if args.data != "box":
        try:
            data = PretrainData(config, FULL.model.input, FULL.seed, teacher=teacher)
            for index in range(min(scenes, len(data.train))):
                data.train.scene(index)
            return data, name
        except InputError as error:
            if args.data != "rooms":
                raise
            print(f"{error} Empty box rooms are used instead.", flush=True)
    rooms = BoxRooms(scenes)
    return PretrainData(config, FULL.model.input, FULL.seed, rooms, rooms, teacher), "analytic box rooms"


def top_kernels(trainer: Pretrainer, batch: Any, count: int = 20) -> dict[str, float]:
    """Return the slowest CUDA kernels of one step: name → milliseconds."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        trainer.train_step(batch)
        torch.cuda.synchronize(trainer.device)
    events = [e for e in profiler.key_averages() if e.self_device_time_total > 0 and e.device_type.name != "CPU"]
    events.sort(key=lambda e: -e.self_device_time_total)
    return {e.key[:120]: e.self_device_time_total / 1e3 for e in events[:count]}
