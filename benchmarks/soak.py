"""Long run: memory, handles, threads and speed of a tiny pre-training with pages open, first against last minutes.

`gaussiancross pretrain tiny` runs in a process of its own. One simulated page orbits from the first to the last second;
further pages join it for one window in the middle. Exit status 1: something grew, or speed fell, by more than 5 %, or a
step is missing. Linux only: figures of the process are read from ``/proc``.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from rich.progress import Progress

from ..core.errors import InputError, RunError
from ..trainers.engine.log import read_metrics
from ._browser import BrowserElsewhere
from ._charts import Curve, curves
from ._machine import environment, markdown, write_report

TOLERANCE = 0.05
"""Relative change between first and last window above which a figure is not flat."""
WARM_UP = 120.0
"""Seconds after the first image that no window contains: kernels are compiled, the allocator and caches fill."""
CENTER = np.array([2.0, 2.0, 1.0])
"""Centre of the pages' orbits, metres: inside every built-in room."""


@dataclass(frozen=True)
class Soak:
    """Train with pages open for a long time, and compare the first window with the last one."""

    minutes: float = 120.0
    """Duration, after the first image."""
    window: float = 10.0
    """Length of the first, the middle and the last window, minutes."""
    pages: int = 8
    """Pages that join in the middle window; 0 omits it."""
    every: float = 5.0
    """Seconds between two samples."""
    data: str = "rooms:8"
    """Data of the training."""
    out: Path = Path("bench")
    """Folder for soak.json, soak.md and soak.png."""


@dataclass(frozen=True)
class Sample:
    """State of the training's process at one time.

    Attributes:
        seconds: time since the first image.
        memory: resident memory, bytes.
        handles: open file descriptors.
        threads: threads.
        busy: processor seconds since the start of the process.
        step: last logged training step.
    """

    seconds: float
    memory: int
    handles: int
    threads: int
    busy: float
    step: int


@dataclass(frozen=True)
class Window:
    """Medians over one window.

    Attributes:
        memory: resident memory, bytes.
        handles, threads: open file descriptors, threads.
        speed: training steps per processor second.
    """

    memory: float
    handles: float
    threads: float
    speed: float


def main() -> int:
    args = tyro.cli(Soak)
    if not Path("/proc/self/fd").is_dir():
        raise InputError("gaussiancross bench soak", "Linux, whose /proc lists memory and handles", "another system")
    if not 0 < 3 * args.window <= args.minutes:
        raise InputError("--window", "at most a third of --minutes", f"{args.window:g} of {args.minutes:g}")
    with tempfile.TemporaryDirectory() as folder:
        samples, status, missing = soak(args, Path(folder))
    first, last = compare(samples, args.window * 60)
    rows, flat = table(first, last)
    steps = samples[-1].step
    rows.append(("steps trained; missing from the log", f"{steps:,}; {missing}", "", ""))
    rows.append(("exit status after Ctrl-C", str(status), "", "as it should" if status == 130 else "expected 130"))
    report = {
        "environment": environment(torch.device("cpu")),
        "options": {key: str(value) for key, value in asdict(args).items()},
        "first": asdict(first),
        "last": asdict(last),
        "missing_steps": missing,
        "exit_status": status,
        "samples": [asdict(sample) for sample in samples],
    }
    header = ("", f"first {args.window:g} min", f"last {args.window:g} min", "change")
    write_report(args.out, "soak", report, markdown(header, rows))
    _chart(samples).save(args.out / "soak.png")
    return 0 if flat and missing == 0 and status == 130 else 1


def soak(args: Soak, folder: Path) -> tuple[list[Sample], int, int]:
    """Train with pages open.

    Returns:
        samples of the process; its exit status after SIGINT; number of steps that its log lacks.

    Raises:
        RunError: the training ended by itself.
    """
    port, run, log = _free_port(), folder / "run", folder / "log"
    command = [sys.executable, "-m", "gaussiancross", "pretrain", "tiny", "--data", args.data, "--run-dir", str(run)]
    command += ["--port", str(port), "--steps", "100000000"]
    with log.open("wb") as stream:
        training = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        samples = _watch(args, training, port, run / "metrics.jsonl", log)
        training.send_signal(signal.SIGINT)
        status = training.wait(120)
    finally:
        training.kill()
    steps = {int(row["step"]) for row in read_metrics(run / "metrics.jsonl") if "loss/total" in row}
    return samples, status, max(steps) - len(steps)


def _watch(args: Soak, training: subprocess.Popen, port: int, metrics: Path, log: Path) -> list[Sample]:
    """Sample the training, with pages open, for the whole duration."""
    samples: list[Sample] = []
    middle = [(args.minutes + side * args.window) * 30 for side in (-1, 1)]  # seconds
    with contextlib.ExitStack() as always, contextlib.ExitStack() as joining, Progress() as progress:
        bar = progress.add_task("", total=args.minutes * 60)
        always.enter_context(_page(port, training, log)).orbit()
        to_join, begun = args.pages, time.monotonic()
        while (now := time.monotonic() - begun) < args.minutes * 60:
            if training.poll() is not None:
                raise RunError(f"the training ended with status {training.returncode}: {_last_line(log)}")
            if to_join and now > middle[0]:
                joining.enter_context(_page(port, training, log)).orbit()
                to_join -= 1
            if now > middle[1]:
                joining.close()
            samples.append(take_sample(training.pid, metrics, now))
            progress.update(bar, completed=now, description=f"step {samples[-1].step:,}")
            time.sleep(args.every)
    return samples


def take_sample(pid: int, metrics: Path, seconds: float) -> Sample:
    """Read the state of a process from ``/proc``, and the last step from its log."""
    process = Path("/proc", str(pid))
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    times = (process / "stat").read_text().rpartition(")")[2].split()  # from the third field on
    return Sample(
        seconds,
        int(status["VmRSS"].split()[0]) * 1024,
        len(os.listdir(process / "fd")),
        int(status["Threads"]),
        (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
        _last_step(metrics),
    )


def compare(samples: Sequence[Sample], window: float) -> tuple[Window, Window]:
    """Return the first window, after `WARM_UP` or half a window, whichever is shorter, and the last one.

    Args:
        window: length, seconds.
    """
    begun = min(WARM_UP, window / 2)
    end = samples[-1].seconds
    return (
        _summary([s for s in samples if begun <= s.seconds <= begun + window]),
        _summary([s for s in samples if end - window <= s.seconds]),
    )


def table(first: Window, last: Window) -> tuple[list[tuple[str, str, str, str]], bool]:
    """Return a row per figure, and whether none became worse by more than `TOLERANCE`."""
    rows, flat = [], True
    for name, unit, scale, good in (
        ("memory", "GB", 1e9, -1),
        ("handles", "", 1, -1),
        ("threads", "", 1, -1),
        ("speed", "steps per core second", 1, 1),
    ):
        before, after = getattr(first, name) / scale, getattr(last, name) / scale
        change = after / before - 1
        flat &= change * good >= -TOLERANCE
        rows.append((f"{name}, {unit}".rstrip(", "), f"{before:.3g}", f"{after:.3g}", f"{change:+.1%}"))
    return rows, flat


def _summary(samples: Sequence[Sample]) -> Window:
    a, b = samples[0], samples[-1]
    median = {name: statistics.median(getattr(s, name) for s in samples) for name in ("memory", "handles", "threads")}
    return Window(**median, speed=(b.step - a.step) / (b.busy - a.busy))


def _chart(samples: Sequence[Sample]) -> Image.Image:
    """Memory and speed over time, relative to their medians."""
    minutes = [s.seconds / 60 for s in samples]
    stride = max(1, len(samples) // 60)
    memory = statistics.median(s.memory for s in samples)
    speed = [
        (
            minutes[i],
            (samples[i].step - samples[i - stride].step) / max(samples[i].busy - samples[i - stride].busy, 1e-9),
        )
        for i in range(stride, len(samples), stride)
    ]
    usual = statistics.median(value for _, value in speed) or 1.0
    lines = (
        Curve("memory", tuple((m, s.memory / memory, 0.0) for m, s in zip(minutes, samples, strict=True))[::stride]),
        Curve("steps per core second", tuple((m, value / usual, 0.0) for m, value in speed), color=1),
    )
    return curves(lines, "A long training with pages open", "minutes", "relative to the median")


def _page(port: int, training: subprocess.Popen, log: Path) -> BrowserElsewhere:
    """Open a page as soon as the training's viewer answers."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return BrowserElsewhere(f"http://127.0.0.1:{port}", CENTER, 1.5)
        except OSError:
            if training.poll() is not None:
                raise RunError(f"the training ended with status {training.returncode}: {_last_line(log)}") from None
            time.sleep(0.5)


def _last_step(metrics: Path) -> int:
    if not metrics.exists():
        return 0
    with metrics.open("rb") as stream:
        stream.seek(max(0, metrics.stat().st_size - 20_000))
        steps = re.findall(rb'"step": ?(\d+)', stream.read())
    return int(steps[-1]) if steps else 0


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "without a message"


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
