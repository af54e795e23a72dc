"""Time and peak memory of reading and writing 1,000,000 Gaussians in every format, beside other libraries.

Every reading and writing has a process of its own, in which a small file comes first: compiling and importing do not
count. Memory is the peak beyond what the process had before. Peers are measured where they are installed: gaussforge
(C++, converts from and to PLY, which its figures include), gsply (C++) and plyfile (Python). None has
`KHR_gaussian_splatting`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ._format_jobs import FORMATS, PEERS, installed
from ._machine import environment, markdown, write_report

OURS = "gaussiancross"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="Gaussians")
    parser.add_argument("--degree", type=int, default=0, help="degree of the harmonics, 0 to 3")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder of the report")
    args = parser.parse_args()
    missing = [name for name in PEERS if not installed(name)]
    if missing:
        print(f"not installed, so not measured: {', '.join(missing)} (`pip install {' '.join(missing)}`)")
    rows = []
    with TemporaryDirectory(dir=args.out if args.out.is_dir() else None) as folder:
        for ending in dict.fromkeys(("ply", *args.formats)):  # peers begin with the PLY
            libraries = [OURS, *(p for p in PEERS if ending in PEERS[p] and p not in missing)]
            for library in libraries:
                for action in ("write", "read"):
                    found = _measured(library, action, ending, folder, args.count, args.degree)
                    rows.append({"format": ending, "library": library, "action": action, **found})
                    print(f"{ending}, {library}, {action}: {_shown(found)}", flush=True)
    table = _table([row for row in rows if row["format"] in args.formats])
    report = {"environment": environment(torch.device("cpu")), "count": args.count, "degree": args.degree, "rows": rows}
    write_report(args.out, "formats", report, table)
    return 0


def _measured(library: str, action: str, ending: str, folder: str, count: int, degree: int) -> dict:
    command = [sys.executable, "-m", "gaussiancross.benchmarks._format_jobs", library, action, ending, folder]
    done = subprocess.run([*command, str(count), str(degree)], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["killed"])[-1][:160]}
    return json.loads(done.stdout.splitlines()[-1])


def _shown(found: dict) -> str:
    if "failed" in found:
        return f"failed: {found['failed']}"
    return f"{found['seconds']:.2f} s, {found['peak_mb']:.0f} MB"


def _table(rows: list[dict]) -> str:
    """One row per format and library; ratios are to the same work of `OURS` in this run."""
    by = {(row["format"], row["library"], row["action"]): row for row in rows}
    lines = []
    for ending, library in dict.fromkeys((row["format"], row["library"]) for row in rows):
        cells = [f"`.{ending}`", library]
        for action in ("read", "write"):
            mine, ours = by[ending, library, action], by[ending, OURS, action]
            ratio = ""
            if library != OURS and "seconds" in mine and "seconds" in ours:
                times = mine["seconds"] / ours["seconds"], mine["peak_mb"] / max(ours["peak_mb"], 1)
                ratio = f" ({times[0]:.2g} ×, {times[1]:.2g} ×)"
            cells.append(_shown(mine) + ratio)
        lines.append(cells)
    return markdown(["format", "library", "read (ratio to ours: time, memory)", "write"], lines)


if __name__ == "__main__":
    sys.exit(main())
