"""What works on a CUDA device and how fast: kernels against the CPU, the GPU tests, steps at the paper's scale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from ..core.errors import InputError
from ._gpu_sections import SECTIONS, Section
from ._machine import markdown, write_report


@dataclass(frozen=True)
class Gpu:
    """Run sections, each in a process with a time limit of its own; a section that fails ends no other.

    Each section appends one line to gpu.jsonl as soon as it ends. First write the inputs and the CPU's results, where
    there is time for it: `gaussiancross bench gpu --prepare`. `--device cpu --size small` tries everything.
    """

    only: tuple[str, ...] = ()
    """Sections to run; all by default."""
    budget: float = 800.0
    """Seconds for all sections; those that no longer fit are skipped."""
    prepare: bool = False
    """Write the inputs and the CPU's results, and stop."""
    device: Literal["cuda", "cpu"] = "cuda"
    """Device to measure; "cpu" only tries the sections."""
    size: Literal["full", "small"] = "full"
    """"full": batch and network of the paper's scale; "small": seconds on a CPU."""
    steps: int = 5
    """Number of timed steps per measurement."""
    batch_size: int = 4
    """Scenes per step, where a section does not vary them."""
    teacher_dim: int = 1280
    """Width of the random teacher's features (RADIO-H: 1280)."""
    inputs: Path = Path("bench/gpu-inputs")
    """Folder of the inputs and the CPU's results."""
    out: Path = Path("bench")
    """Folder for gpu.jsonl, gpu.json, gpu.md and the sections' output."""


def main() -> int:
    args = tyro.cli(Gpu)
    unknown = set(args.only) - set(SECTIONS)
    if unknown:
        raise InputError("--only", "of " + ", ".join(SECTIONS), ", ".join(sorted(unknown)))
    if args.steps < 2 or args.batch_size < 1:
        raise InputError("bench gpu", "at least 2 steps and 1 scene", f"{args.steps} and {args.batch_size}")
    if args.prepare:
        from ._gpu_inputs import write_inputs

        write_inputs(args.inputs, args.size)
        print(f"written to {args.inputs}")
        return 0
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("bench gpu", "a CUDA device", "none that torch can use", "`gaussiancross doctor` says why")
    args.out.mkdir(parents=True, exist_ok=True)
    lines = run_sections(args, [s for s in SECTIONS.values() if not args.only or s.name in args.only])
    # Earlier runs with the same options add the sections that this one left out.
    earlier = [line for line in read_lines(args.out / "gpu.jsonl") if line.get("options") == _same(args)]
    report = {line["section"]: line for line in earlier}
    where = report.get("versions", {}).get("result", {}) or {"device": args.device}
    rows = [(name, line["status"], _text(line)) for name, line in report.items()]
    table = markdown(("section", "status", "result"), rows)
    write_report(args.out, "gpu", {"environment": {k: str(v) for k, v in where.items()}, "sections": report}, table)
    return 0 if all(line["status"] in ("ok", "skipped") for line in lines) else 1


def run_sections(args: Gpu, sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Run sections one after the other; returns their lines, which are also appended to gpu.jsonl."""
    ends, lines = time.monotonic() + args.budget, []
    for section in sections:
        left = ends - time.monotonic()
        if left < section.seconds:
            line: dict[str, Any] = {"status": "skipped", "why": f"{left:.0f} s left, about {section.seconds} s needed"}
        else:
            line = run_section(args, section.name, min(left, section.limit))
        lines.append({"section": section.name, "options": _same(args), **line})
        with (args.out / "gpu.jsonl").open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        print(f"{section.name}: {line['status']}. {_text(line)}", flush=True)
    return lines


def run_section(args: Gpu, name: str, limit: float) -> dict[str, Any]:
    """Run one section in a process of its own, which is killed with its children after ``limit`` seconds."""
    answer, log = args.out / f"gpu-{name}.json", args.out / f"gpu-{name}.log"
    answer.unlink(missing_ok=True)
    options = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(args).items()}
    command = [sys.executable, "-m", f"{__package__}._gpu_sections", name, json.dumps(options), str(answer)]
    started = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    line: dict[str, Any] = {"seconds": round(time.monotonic() - started, 1)}
    if status is None:
        line |= {"status": "timeout", "why": f"after {limit:.0f} s", "output": _tail(log)}
    elif status != 0 or not answer.is_file():
        line |= {"status": "failed", "why": _last_line(log), "output": _tail(log)}
    else:
        result = json.loads(answer.read_text())
        line |= {"status": "ok" if result.pop("passed", True) else "failed", "result": result}
    answer.unlink(missing_ok=True)
    return line


def _same(args: Gpu) -> dict[str, Any]:
    """The options whose figures can stand in one table."""
    return {name: getattr(args, name) for name in ("device", "size", "steps", "batch_size", "teacher_dim")}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a gpu.jsonl, the latest of each section last."""
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.is_file() else []


def _text(line: dict[str, Any]) -> str:
    """One line about a section's result: its numbers and words, without nested tables."""
    if "result" not in line:
        return str(line.get("why", ""))
    shown = {k: v for k, v in line["result"].items() if isinstance(v, (int, float, str))}
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]


def _last_line(log: Path) -> str:
    lines = _tail(log).strip().splitlines()
    return lines[-1][:300] if lines else "no output"
