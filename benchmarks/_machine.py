"""Where and when a figure was measured, and how it is written down."""

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
    """The command that gives this benchmark's figures: as it was started, without folders and what only reports."""
    words, kept = iter(sys.argv[1:]), ["gaussiancross", "bench", name]
    for word in words:
        if word in ("--work", "--out", "--export"):
            next(words, None)
        elif word != "--only-report":
            kept.append(word)
    return shlex.join(kept)


def environment(device: torch.device) -> dict[str, str]:
    """Date, device and the versions that speed depends on."""
    found = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "device": device_name(device),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        found["compute capability"] = f"{major}.{minor}"
        found["CUDA of torch"] = str(torch.version.cuda)
    else:
        found["threads"] = str(torch.get_num_threads())
    names = ("numba", "gsplat", "spconv-cu118", "spconv-cu120", "spconv-cu121", "spconv-cu124", "spconv-cu126")
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if commit := _commit():
        found["commit"] = commit
    return found


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU's with its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    name = match.group(1) if match else platform.processor() or platform.machine()
    cores = torch.get_num_threads()
    return f"{name}, {cores} core{'s' if cores > 1 else ''}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table to paste into a document."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(v) for v in row) + " |" for row in rows]
    return "\n".join(lines)


def write_report(folder: Path, name: str, report: Mapping[str, Any], table: str) -> None:
    """``<name>.json`` with everything and ``<name>.md`` with the table and where it was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1))
    where = ", ".join(f"{k} {v}" for k, v in report["environment"].items())
    (folder / f"{name}.md").write_text(f"{table}\n\n{where}\n")
    print(f"\n{table}\n\n{where}\n\nwritten to {folder / name}.json and .md")


def _commit() -> str:
    """The commit of the checkout that this file lies in, with a + where it was changed; "" without one."""
    root = Path(__file__).resolve().parents[1]

    def git(*args: str) -> str:
        try:
            done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short", "HEAD")
    return commit + ("+" if commit and git("status", "--porcelain", "--untracked-files=no") else "")
