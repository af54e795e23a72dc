"""The sections of `bench gpu`: "does it work". Run as a module, it does one: NAME OPTIONS RESULT.

A section takes the options of `bench gpu` and returns JSON types; "passed" says whether its check held.
"""

from __future__ import annotations

import importlib
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

TESTS = Path(__file__).resolve().parents[1] / "tests"

FILE_LIMIT = 60.0
"""Seconds per file of GPU tests."""


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes:
        name: as in `--only`.
        module: module of the function that bears its name.
        seconds: about what it takes on a current GPU; it is not started with less.
        limit: seconds after which it is killed.
    """

    name: str
    module: str
    seconds: int
    limit: int


_HERE, _SPEED = "_gpu_sections", "_gpu_speed"
SECTIONS = {
    s.name: s
    for s in (
        Section("versions", _HERE, 5, 400),  # compiles gsplat where that was not done yet
        Section("splat", _HERE, 10, 60),
        Section("sparse", _HERE, 10, 60),
        Section("step", _HERE, 15, 90),
        Section("learn", _HERE, 30, 120),
        Section("resume", _HERE, 20, 90),
        Section("full", _SPEED, 45, 150),
        Section("floor", _SPEED, 30, 120),
        Section("sizes", _SPEED, 60, 200),
        Section("switches", "_gpu_switches", 150, 400),
        Section("viewer", _SPEED, 30, 120),
        Section("tests", _HERE, 60, 500),
    )
}
"""In the order of what is wanted first."""


def versions(options: SimpleNamespace) -> dict[str, Any]:
    """Versions of this machine, and whether gsplat and spconv run on its device."""
    from ..core.cuda import cuda_ready
    from ._machine import environment

    found: dict[str, Any] = environment(torch.device(options.device))
    if options.device == "cuda":
        ready = cuda_ready()
        found["gsplat kernels"] = "run" if ready.gsplat is None else ready.gsplat.reason
        found["spconv kernels"] = "run" if ready.spconv is None else ready.spconv.reason
        found["cuDNN"] = str(torch.backends.cudnn.version())
        found["passed"] = ready.gsplat is None
    return found


def splat(options: SimpleNamespace) -> dict[str, Any]:
    """Splatting, forward and backward, against the reference in float64."""
    from ._gpu_inputs import read_inputs, splat_results, worst_error

    theirs = read_inputs(Path(options.inputs), "splat")
    ours = splat_results(options.device, torch.float32, len(theirs["colour.gradient of means"]))
    error, where = worst_error(ours, theirs)
    return {"largest error": error, "where": where, "tensors": len(theirs), "passed": error < 1e-3}


def sparse(options: SimpleNamespace) -> dict[str, Any]:
    """Sparse convolutions by both backends against the CPU, in float32, and in bfloat16 against a wider bound."""
    from ._gpu_inputs import read_inputs, sparse_results, worst_error

    theirs = read_inputs(Path(options.inputs), "sparse")
    count = len(theirs["output"]) // 2
    found: dict[str, Any] = {}
    for name, dtype, backend, bound in (
        ("float32", None, "auto", 1e-3),
        ("torch float32", None, "torch", 1e-3),
        ("bfloat16", torch.bfloat16, "auto", 0.3),
    ):
        error, where = worst_error(sparse_results(options.device, count, dtype, backend), theirs)
        found |= {f"{name} error": error, f"{name} where": where}
        found["passed"] = found.get("passed", True) and error < bound
    return found


def step(options: SimpleNamespace) -> dict[str, Any]:
    """Losses and gradients of a whole step of four scenes against the CPU."""
    from ._gpu_inputs import read_inputs, step_results, worst_error

    theirs = read_inputs(Path(options.inputs), "step")
    error, where = worst_error(step_results(options.device, options.size), theirs)
    return {"largest error": error, "where": where, "passed": error < 0.02}


def learn(options: SimpleNamespace) -> dict[str, Any]:
    """Whether the loss falls in a short training of the tiny network."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        trainer = small_trainer(options, folder, steps := 8 if options.size == "small" else 60)
        losses = [trainer.train_step(trainer.batch(k % 2))["loss/total"] for k in range(steps)]
    before, after = statistics.fmean(losses[:3]), statistics.fmean(losses[-3:])
    finite = all(math.isfinite(v) for v in losses) and trainer.nan_steps == 0
    return {"first losses": before, "last losses": after, "finite": finite, "passed": finite and after < before}


def resume(options: SimpleNamespace) -> dict[str, Any]:
    """Whether a checkpoint continues: the step after it gives nearly the loss of the uninterrupted run."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        first = small_trainer(options, folder, 4)
        for k in range(2):
            first.train_step(first.batch(k))
        first.save()
        straight = first.train_step(first.batch(2))["loss/total"]
        second = small_trainer(options, folder, 4)
        continued = second.resume() and second.train_step(second.batch(2))["loss/total"]
    return {"straight": straight, "continued": continued, "passed": abs(straight - continued) < 1e-3 * abs(straight)}


def small_trainer(options: SimpleNamespace, folder: str, steps: int) -> Any:
    """A `Pretrainer` of the tiny network on two analytic rooms."""
    from dataclasses import replace

    from ..trainers.pretraining.presets import TINY
    from ..trainers.pretraining.trainer import Pretrainer
    from ._gpu_inputs import small_data, small_model

    data, model = small_data(2, options.size), small_model(options.size)
    config = replace(TINY, model=model.config, data=data.config, steps=steps, probe=False)
    return Pretrainer(config, Path(folder), data, options.device, model=model)


def tests(options: SimpleNamespace) -> dict[str, Any]:
    """The tests marked ``gpu``, one file after the other; files that cannot be imported here count as failed."""
    if not TESTS.is_dir():
        return {"not run": "the tests are not installed: run from a checkout"}
    results, bad = {}, 0
    for path in gpu_test_files():
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", str(path)]
        started = time.monotonic()
        try:
            done = subprocess.run(
                command, cwd=TESTS.parent, capture_output=True, text=True, check=False, timeout=FILE_LIMIT
            )
            lines, status = (done.stdout + done.stderr).strip().splitlines(), done.returncode
        except subprocess.TimeoutExpired:
            lines, status = [f"longer than {FILE_LIMIT:.0f} s"], 1
        summary = lines[-1].strip("= ") if lines else "no output"
        results[str(path.relative_to(TESTS))] = f"{summary} ({time.monotonic() - started:.0f} s)"
        print(path, *lines[-15:], sep="\n", flush=True)
        bad += status not in (0, 5)
    return {"files": len(results), "failed files": bad, "summaries": results, "passed": bad == 0}


def gpu_test_files() -> list[Path]:
    """The test files that carry the mark ``gpu``."""
    return sorted(p for p in TESTS.rglob("test_*.py") if "mark.gpu" in p.read_text(encoding="utf-8"))


def main() -> int:
    name, options, answer = sys.argv[1:]
    section = SECTIONS[name]
    module = importlib.import_module(f"{__package__}.{section.module}")
    function: Callable[[SimpleNamespace], dict[str, Any]] = getattr(module, name)
    Path(answer).write_text(json.dumps(function(SimpleNamespace(**json.loads(options)))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
