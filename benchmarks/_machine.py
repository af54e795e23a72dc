"""Environment of a measurement, and report files."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def command_line(name: str) -> str:
    """Return the current command without its folders and `--only-report`, to reproduce the benchmark's figures."""
    arguments, command = iter(sys.argv[1:]), ["gaussiancross", "bench", name]
    for argument in arguments:
        if argument in ("--work", "--out", "--export"):
            next(arguments, None)
        elif argument != "--only-report":
            command.append(argument)
    return shlex.join(command)


def environment(device: torch.device) -> dict[str, str]:
    """Return date, device and the versions that affect speed."""
    values = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "device": device_name(device),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        values["compute capability"] = f"{major}.{minor}"
        values["CUDA of torch"] = str(torch.version.cuda)
    else:
        values["threads"] = str(torch.get_num_threads())
    names = ("numba", "gsplat", "spconv-cu118", "spconv-cu120", "spconv-cu121", "spconv-cu124", "spconv-cu126")
    for name in names:
        try:
            values[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if commit := _commit():
        values["commit"] = commit
    return values


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the CPU's with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    name = match.group(1) if match else platform.processor() or platform.machine()
    cores = torch.get_num_threads()
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(v) for v in row) + " |" for row in rows]
    return "\n".join(lines)


def write_report(folder: Path, name: str, report: Mapping[str, Any], table: str) -> None:
    """Write ``<name>.json`` with the report and ``<name>.md`` with the table and the environment; print the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1))
    where = ", ".join(f"{k} {v}" for k, v in report["environment"].items())
    (folder / f"{name}.md").write_text(f"{table}\n\n{where}\n")
    print(f"\n{table}\n\n{where}\n\nwritten to {folder / name}.json and .md")


def _commit() -> str:
    """Return the commit of this file's checkout, with a + if it was modified; "" without one."""
    root = Path(__file__).resolve().parents[1]

    def git(*args: str) -> str:
        try:
            done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short", "HEAD")
    return commit + ("+" if commit and git("status", "--porcelain", "--untracked-files=no") else "")
