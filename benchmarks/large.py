"""Time and peak memory of `view`, `embed` and `query` on buildings of 0.1 to 5 million points, with a plot.

Each command runs in a process of its own, whose peak of resident memory is read when it ends. The building consists of
procedural rooms; only their number differs. Time of the CPU is plotted: wall times also count what else runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from ..app.reporting import ConsoleReport
from ..core.io import write_points
from ._building import building
from ._charts import Curve, curves
from ._machine import environment, markdown, write_report

PHRASE = "a chair"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=float, nargs="+", default=[0.1, 0.3, 1.0, 2.0, 5.0], help="millions of points")
    parser.add_argument("--rooms", type=int, default=12, help="different rooms that the buildings consist of")
    parser.add_argument("--only", nargs="+", choices=("view", "embed", "query"), default=["view", "embed", "query"])
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder of the report and the plot")
    args = parser.parse_args()
    work = args.out / "large"
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for millions in args.points:
        path = work / "building.ply"
        with ConsoleReport(f"a building of {millions:g} million points") as report:
            write_points(path, building(round(millions * 1e6), report, args.rooms))
        for name in args.only:
            found = measured(_command(name, path, work))
            rows.append({"points": millions, "command": name, **found})
            shown = f"{found['seconds']:.1f} s, {found['cpu_seconds']:.1f} s of CPU, peak {found['peak_gb']:.2f} GB"
            print(f"{millions:g} M points, {name}: {shown}", flush=True)
        (work / "features.npy").unlink(missing_ok=True)
    table = _table(rows, args.only)
    _plot(rows, args.only, args.out / "large.png")
    write_report(args.out, "large", {"environment": environment(torch.device("cpu")), "rows": rows}, table)
    return 0


def _command(name: str, path: Path, work: Path) -> list[str]:
    if name == "view":
        return ["gaussiancross.benchmarks._building", str(path)]
    if name == "embed":
        return ["gaussiancross", "embed", str(path), "--out", str(work / "features.npy"), "--device", "cpu"]
    return ["gaussiancross", "query", str(path), PHRASE, "--out", str(work / "query"), "--device", "cpu"]


def measured(command: list[str]) -> dict[str, float]:
    """Seconds, seconds of CPU and peak of resident memory (GB) of a Python module with arguments."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # `query` ends with 1 where nothing is found
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said[-2000:]}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_gb": peak}


def _table(rows: list[dict], names: list[str]) -> str:
    def text(row: dict) -> str:
        return f"{row['seconds']:.0f} s, {row['cpu_seconds']:.0f} s of CPU, {row['peak_gb']:.1f} GB"

    cell = {(row["points"], row["command"]): text(row) for row in rows}
    sizes = sorted({row["points"] for row in rows})
    return markdown(["million points", *names], [[f"{m:g}", *(cell[m, name] for name in names)] for m in sizes])


def _plot(rows: list[dict], names: list[str], path: Path) -> None:
    def line(name: str, color: int) -> Curve:
        mine = [row for row in rows if row["command"] == name]
        return Curve(name, tuple((row["points"], row["cpu_seconds"], 0.0) for row in mine), color)

    lines = [line(name, k) for k, name in enumerate(names)]
    curves(
        lines, "Time of all cores by size of the scene", "million points", "seconds of CPU, with start of the program"
    ).save(path)


if __name__ == "__main__":
    sys.exit(main())
