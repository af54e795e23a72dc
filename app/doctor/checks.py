"""`gaussiancross doctor`: what works on this machine and, for every gap, the command that mends it.

Needs nothing that it examines: only the standard library at import, argparse instead of tyro, and plain lines where
rich is missing. It starts no compilation unless asked to with ``--deep``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

State = Literal["ok", "idle", "gap", "fail"]

SYMBOLS: dict[str, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "idle": ("–", "dim"),
    "gap": ("!", "yellow"),
    "fail": ("✗", "red"),
}

SAFE_VISER = (1, 0, 25)
"""Older ones serve any file on the disk to anyone who can reach the port."""

SPCONV_BUILDS = tuple(f"spconv-cu{n}" for n in (114, 117, 118, 120, 121, 124, 126))

OPTIONAL = {
    "transformers": ("transformers>=4.56", "CLIP, SigLIP 2, DINO and RADIO cannot be teachers"),
    "umap-learn": ("umap-learn>=0.5.5", "features are coloured by PCA only"),
    "faiss-cpu": ("faiss-cpu>=1.8", "large galleries are compared object by object"),
    "DracoPy": ("DracoPy>=2.0", "Draco-compressed glTF cannot be read"),
}
"""Packages of the small extras: what to install, and what it is like without."""

MIN_MEMORY_GB, MIN_DISK_GB = 4.0, 5.0

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was looked at.
        state: "ok"; "idle": not there and not needed here; "gap": something optional does not work; "fail": training
            and viewing on the CPU do not work, or not safely.
        detail: what was found.
        mend: the command, or the one thing to do, that closes the gap.
    """

    name: str
    state: State
    detail: str
    mend: str = ""


def main(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="gaussiancross doctor", description="What works on this machine.")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--deep", action="store_true", help="also run our kernels forward and backward (minutes when they must compile)"
    )
    options = parser.parse_args(args)
    checks = examine(options.deep)
    if options.json:
        print(json.dumps({"ok": healthy(checks), "checks": [asdict(c) for c in checks]}, indent=1, ensure_ascii=False))
    else:
        show(checks)
    return 0 if healthy(checks) else 1


def healthy(checks: Sequence[Check]) -> bool:
    """Whether training and viewing work on the CPU of this machine."""
    return all(c.state != "fail" for c in checks)


def examine(deep: bool = False) -> list[Check]:
    """Every check, in the order of the report. A check that breaks is reported, and the others still run."""
    parts: list[tuple[str, Callable[[], Check]]] = [
        ("Python", check_python),
        ("packages", check_packages),
        ("torch", check_torch),
        ("numba", check_numba),
        ("embreex", check_embreex),
        ("viser", check_viser),
        ("CUDA", check_cuda),
        ("nvcc", check_nvcc),
        ("gsplat", check_gsplat),
        ("spconv", check_spconv),
        ("nerfstudio", check_nerfstudio),
        *((name, partial(check_optional, name)) for name in OPTIONAL),
        ("memory", check_memory),
        ("disk", check_disk),
    ]
    if deep:
        parts += [("kernels (CPU)", lambda: check_kernels("cpu")), ("kernels (CUDA)", lambda: check_kernels("cuda"))]
    checks = []
    for name, look in parts:
        try:
            checks.append(look())
        except Exception as error:  # whatever a half-installed package throws is a finding, not our crash
            checks.append(Check(name, "fail", f"{type(error).__name__}: {_first_line(error)}", ""))
    return checks


def show(checks: Sequence[Check]) -> None:
    """The report on stdout: a table, then what to do."""
    mends = [c for c in checks if c.mend]
    verdict = "The CPU path works." if healthy(checks) else "The CPU path does not work on this machine."
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:
        for c in checks:
            print(f"{SYMBOLS[c.state][0]} {c.name}: {c.detail}")
        for c in mends:
            print(f"{c.name}: {c.mend}")
        print(verdict)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for c in checks:
        symbol, style = SYMBOLS[c.state]
        table.add_row(f"[{style}]{symbol}[/]", f"[bold]{c.name}[/]", escape(c.detail))
    console = Console()
    console.print(table)
    if mends:
        console.print("\n[bold]To mend or add[/]")
        for c in mends:
            # Unwrapped, so that a command can be copied whole.
            console.print(f"  {c.name}: [cyan]{escape(c.mend)}[/]", soft_wrap=True, highlight=False)
    console.print(f"\n[{'green' if healthy(checks) else 'red'}]{verdict}[/]")


# --- Python and packages ----------------------------------------------------------------------------------------


def check_python() -> Check:
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    return Check("Python", "ok", detail)


def check_packages() -> Check:
    """The required packages that have no check of their own."""
    own = {"torch", "numba", "embreex", "viser"}
    wanted = {name: low for name, low in requirements().items() if name not in own}
    bad = []
    for name, low in wanted.items():
        found = installed(name)
        if found is None or version_tuple(found) < version_tuple(low):
            bad.append((f"{name}>={low}" if low else name, found))
    if bad:
        detail = ", ".join(f"{need} ({found or 'missing'})" for need, found in bad)
        return Check("packages", "fail", f"needed: {detail}", install(*(need for need, _ in bad)))
    return Check("packages", "ok", ", ".join(f"{name} {installed(name)}" for name in wanted))


def check_torch() -> Check:
    try:
        torch = _torch()
        x = torch.ones(1, 2, 4, 4, 4, requires_grad=True)
        torch.nn.functional.conv3d(x, torch.ones(2, 2, 3, 3, 3)).sum().backward()
    except Exception as error:
        return Check("torch", "fail", f"does not work ({_first_line(error)})", install("torch>=2.4", reinstall=True))
    detail = f"{torch.__version__}, {torch.get_num_threads()} CPU threads of {_cores()} cores"
    if version_tuple(torch.__version__) < (2, 4):
        return Check("torch", "fail", f"{detail}; 2.4 or newer is needed", install("torch>=2.4"))
    mine, vision = _local(installed("torch")), _local(installed("torchvision"))
    if installed("torchvision") and mine != vision:
        detail += (
            f"; torchvision is another build ({vision or 'default'} beside {mine or 'default'}): it will not import"
        )
        return Check("torch", "gap", detail, install("torch", "torchvision", reinstall=True))
    return Check("torch", "ok", detail)


def check_numba() -> Check:
    need = "numba>=0.60"
    if installed("numba") is None:
        return Check("numba", "fail", "missing: the CPU rasteriser needs it", install(need))
    try:
        import numba
        import numpy as np

        @numba.njit
        def total(values):  # type: ignore[no-untyped-def]
            s = 0.0
            for i in range(len(values)):
                s += values[i]
            return s

        works = total(np.arange(4.0)) == 6.0
        threads = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    except Exception as error:
        return Check("numba", "fail", f"does not work ({_first_line(error)})", install(need, reinstall=True))
    if not works:
        return Check("numba", "fail", "compiled a sum that is wrong", install(need, reinstall=True))
    return Check("numba", "ok", f"{numba.__version__}, compiles and runs, {threads} threads")


def check_embreex() -> Check:
    need = requirements().get("embreex", "2.17.7")
    if installed("embreex") is None:
        return Check("embreex", "gap", "missing: the built-in rooms cannot be drawn", install(f"embreex>={need}"))
    try:
        import numpy as np
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        scene = EmbreeScene()
        TriangleMesh(scene, np.array([[[-1, -1, 2], [1, -1, 2], [0, 1, 2]]], np.float32))
        hit = scene.run(np.zeros((1, 3), np.float32), np.array([[0, 0, 1]], np.float32))[0]
    except Exception as error:
        return Check("embreex", "gap", f"does not work ({_first_line(error)})", install(f"embreex>={need}"))
    if hit != 0:
        return Check("embreex", "gap", "a ray misses the triangle before it", install("embreex", reinstall=True))
    return Check("embreex", "ok", f"{installed('embreex')}, traces rays")


def check_viser() -> Check:
    found = installed("viser")
    if found is None:
        return Check("viser", "fail", "missing: there is no viewer", install("viser>=1.1"))
    if version_tuple(found) < SAFE_VISER:
        detail = f"{found} is unsafe: it serves any file of this machine to anyone who can reach its port"
        return Check("viser", "fail", detail, install("viser>=1.1"))
    if version_tuple(found) < (1, 1):
        return Check("viser", "fail", f"{found}; 1.1 or newer is needed", install("viser>=1.1"))
    return Check("viser", "ok", f"{found}, safe")


# --- CUDA -------------------------------------------------------------------------------------------------------


def check_cuda() -> Check:
    driver = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0]
    if not cuda_available():
        if not driver:
            return Check("CUDA", "idle", "no NVIDIA driver: everything runs on the CPU")
        try:
            built = _torch().version.cuda
        except Exception:
            return Check("CUDA", "gap", f"driver {driver}, but torch does not import", install("torch>=2.4"))
        if built is None:
            detail = f"driver {driver}, but torch is a CPU build"
            return Check("CUDA", "gap", detail, torch_for_this_driver())
        detail = f"driver {driver}, but torch (CUDA {built}) finds no device it can use"
        return Check("CUDA", "gap", detail, torch_for_this_driver())
    torch = _torch()
    free, total = torch.cuda.mem_get_info(0)
    major, minor = torch.cuda.get_device_capability(0)
    detail = (
        f"{torch.cuda.get_device_name(0)} (compute {major}.{minor}), {free / 1e9:.1f} of {total / 1e9:.1f} GB free, "
        f"driver {driver or 'unknown'}, torch built for CUDA {torch.version.cuda}"
    )
    try:
        (torch.ones(8, device=_default_device()) * 2).sum().item()
    except RuntimeError as error:
        return Check("CUDA", "gap", f"{detail}; a first kernel fails ({_first_line(error)})", torch_for_this_driver())
    if torch.cuda.device_count() > 1:
        detail += f"; {torch.cuda.device_count()} devices, one is used"
    return Check("CUDA", "ok", detail)


def check_nvcc() -> Check:
    """The compiler that gsplat builds its CUDA code with, on first use."""
    release = re.search(r"release ([0-9.]+)", _output("nvcc", "--version"))
    if not cuda_available():
        return Check("nvcc", "idle", f"{release.group(1)}, unused" if release else "not needed without CUDA")
    built = str(_torch().version.cuda)
    mend = f"install the CUDA {built} toolkit, e.g. `conda install -c nvidia cuda-toolkit={built}`, with nvcc on PATH"
    if gsplat_built():
        return Check("nvcc", "ok", "not needed: gsplat's CUDA code is built")
    if not release:
        return Check("nvcc", "gap", "not found: gsplat cannot build its CUDA code", mend)
    if release.group(1).split(".")[0] != built.split(".")[0]:
        return Check("nvcc", "gap", f"{release.group(1)}, but torch is built for CUDA {built}", mend)
    return Check("nvcc", "ok", release.group(1))


def check_gsplat() -> Check:
    found, need = installed("gsplat"), "gsplat>=1.4,<1.6"
    if not cuda_available():
        return Check("gsplat", "idle", f"{found or 'absent'}; not used without CUDA")
    if found is None:
        return Check("gsplat", "gap", "missing: splatting would run on the CPU", install(need))
    if not (1, 4) <= version_tuple(found) < (1, 6):
        return Check("gsplat", "gap", f"{found}; 1.4 or 1.5 is needed", install(need))
    built = gsplat_built()
    if built:
        return Check("gsplat", "ok", f"{found}, CUDA code built ({built})")
    return Check("gsplat", "ok", f"{found}, CUDA code not built yet: the first use compiles for some minutes")


def check_spconv() -> Check:
    builds = [name for name in SPCONV_BUILDS if installed(name)]
    need = "spconv-cu120>=2.3.6" if sys.version_info < (3, 12) else "spconv-cu126>=2.3.8"
    if installed("spconv"):
        detail = (
            f"the CPU package `spconv` {installed('spconv')}: its backward crashes and its forward is silently wrong"
        )
        return Check("spconv", "gap", f"{detail} with more than one thread", uninstall("spconv", "cumm"))
    if not cuda_available():
        found = ", ".join(f"{name} {installed(name)}" for name in builds)
        return Check("spconv", "idle", f"{found or 'absent'}; not used without CUDA")
    if not builds:
        return Check("spconv", "gap", "missing: sparse convolutions on CUDA need it", install(need))
    if len(builds) > 1:
        keep = need.split(">")[0]
        drop = [name for name in builds if name != keep]
        return Check("spconv", "gap", f"{' and '.join(builds)} overwrite each other", uninstall(*drop))
    try:
        import torch
        from spconv import pytorch as spconv

        device = _default_device()
        grid = torch.tensor([[0, 1, 1, 1]], dtype=torch.int32, device=device)
        x = spconv.SparseConvTensor(torch.ones(1, 16, device=device, requires_grad=True), grid, [4, 4, 4], 1)
        spconv.SubMConv3d(16, 16, 3, bias=False).to(device)(x).features.sum().backward()
    except Exception as error:
        detail = f"{builds[0]} {installed(builds[0])} does not work ({_first_line(error)})"
        return Check("spconv", "gap", detail, install(need, reinstall=True))
    return Check("spconv", "ok", f"{builds[0]} {installed(builds[0])}, runs forward and backward")


# --- the rest ---------------------------------------------------------------------------------------------------


def check_nerfstudio() -> Check:
    found = installed("nerfstudio")
    if found is None:
        detail = "absent: `gaussiancross pretrain` works without, `ns-train` does not"
        return Check("nerfstudio", "idle", detail, all_extras())
    if found != "1.1.5":
        return Check("nerfstudio", "gap", f"{found}; the method is made for 1.1.5", all_extras())
    methods = {e.name for e in importlib.metadata.entry_points(group="nerfstudio.method_configs")}
    if "gaussiancross" not in methods:
        where = ROOT if (ROOT / "pyproject.toml").is_file() else "gaussiancross"
        return Check("nerfstudio", "gap", f"{found}, but `ns-train` does not see this method", install(str(where)))
    return Check("nerfstudio", "ok", f"{found}, `ns-train gaussiancross` is registered")


def check_optional(name: str) -> Check:
    """A package of `OPTIONAL`."""
    found, (need, without) = installed(name), OPTIONAL[name]
    if found is None:
        return Check(name, "idle", f"absent: {without}", install(need))
    if version_tuple(found) < version_tuple(need.partition(">=")[2]):
        return Check(name, "gap", f"{found} is too old: {without}", install(need))
    return Check(name, "ok", found)


def check_memory() -> Check:
    free = free_memory_gb()
    if free is None:
        return Check("memory", "ok", "free memory unknown on this system")
    if free < MIN_MEMORY_GB:
        return Check("memory", "gap", f"{free:.1f} GB free; the tiny preset wants {MIN_MEMORY_GB:g}", "close programs")
    return Check("memory", "ok", f"{free:.1f} GB free")


def check_disk() -> Check:
    cache = Path(os.environ.get("GAUSSIANCROSS_CACHE") or Path.home() / ".cache" / "gaussiancross")
    parts, low = [], []
    for what, path in (("here", Path.cwd()), (f"for the cache {cache}", cache)):
        existing = next(p for p in (path, *path.parents) if p.exists())
        free = shutil.disk_usage(existing).free / 1e9
        parts.append(f"{free:.1f} GB {what}")
        if not os.access(existing, os.W_OK):
            low.append(f"{existing} cannot be written")
        elif free < MIN_DISK_GB:
            low.append(f"less than {MIN_DISK_GB:g} GB at {existing}")
    if low:
        mend = "free some space, or set GAUSSIANCROSS_CACHE to a folder with room"
        return Check("disk", "gap", f"{', '.join(parts)} ({'; '.join(low)})", mend)
    return Check("disk", "ok", ", ".join(parts))


def check_kernels(device: str) -> Check:
    """Splatting, sparse and dense convolution of ours, forward and backward."""
    name = f"kernels ({device.upper()})"
    if device == "cuda" and not cuda_available():
        return Check(name, "idle", "no CUDA device")
    from .kernels import run_kernels

    try:
        seconds = run_kernels(device)
    except Exception as error:
        return Check(name, "fail" if device == "cpu" else "gap", f"{type(error).__name__}: {_first_line(error)}")
    return Check(name, "ok", ", ".join(f"{part} {s:.1f} s" for part, s in seconds.items()) + " (with compilation)")


# --- what the checks ask ----------------------------------------------------------------------------------------


def installed(name: str) -> str | None:
    """Version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def version_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers: "2.15.0+cu130" → (2, 15, 0), "4.4.0.post1" → (4, 4, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(n) for n in match.group().split(".")) if match else ()


def requirements() -> dict[str, str]:
    """Name → lowest version of the packages that a plain install brings; "" where any will do."""
    found = {}
    for line in importlib.metadata.requires("gaussiancross") or []:
        spec, _, marker = line.partition(";")
        match = re.match(r"([A-Za-z0-9._-]+)[^>]*(?:>=([0-9][0-9a-z.]*))?", spec.strip())
        if match and "extra" not in marker:
            found[match.group(1).lower()] = match.group(2) or ""
    return found


def cuda_available() -> bool:
    try:
        return bool(_torch().cuda.is_available())
    except Exception:
        return False


def gsplat_built() -> str:
    """Where gsplat's compiled CUDA code is, or "". Looks for files: importing them would start a build."""
    try:
        files = importlib.metadata.files("gsplat") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    if any(f.name.startswith("csrc") and f.suffix in (".so", ".pyd") for f in files):
        return "in the wheel"
    from torch.utils.cpp_extension import get_default_build_root

    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    found = next((p for p in root.glob("**/gsplat_cuda.*") if p.suffix in (".so", ".pyd", ".lib")), None)
    return str(found.parent) if found else ""


def free_memory_gb() -> float | None:
    """Memory that a new process can have: of the machine, or of the container where that is less."""
    free = None
    info = Path("/proc/meminfo")
    if info.is_file():
        match = re.search(r"MemAvailable:\s+(\d+) kB", info.read_text())
        free = int(match.group(1)) * 1024 if match else None
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()).isdecimal():
        inside = int(most) - int(used.read_text())
        free = inside if free is None else min(free, inside)
    return None if free is None else free / 1e9


def install(*needs: str, reinstall: bool = False) -> str:
    """The command that installs ``needs`` into this very Python, with what is at hand: pip, or uv."""
    wanted = " ".join(shlex.quote(n) for n in needs)
    if installed("pip"):
        return f"{_python()} -m pip install {'--force-reinstall ' if reinstall else ''}{wanted}"
    return f"{_uv()} pip install --python {_python()} {'--reinstall ' if reinstall else ''}{wanted}"


def uninstall(*names: str) -> str:
    if installed("pip"):
        return f"{_python()} -m pip uninstall -y {' '.join(names)}"
    return f"{_uv()} pip uninstall --python {_python()} {' '.join(names)}"


def all_extras() -> str:
    """Everything, nerfstudio with it: by uv, which reads the overrides in pyproject.toml. nerfstudio's own pins would
    bring an unsafe viser and an old gsplat, and pip has no way around them."""
    if (ROOT / "pyproject.toml").is_file():
        return f"{_uv()} sync --all-extras --project {shlex.quote(str(ROOT))}"
    return "uv sync --all-extras   # in a checkout of GaussianCross, whose overrides lift nerfstudio's old pins"


def torch_for_this_driver() -> str:
    """uv picks the build of torch that fits the driver; pip cannot."""
    return f"{_uv()} pip install --python {_python()} --reinstall --torch-backend=auto torch torchvision"


def _uv() -> str:
    own = ROOT / ".uv" / "bin" / "uv"  # where the Makefile puts it
    return shlex.quote(str(own)) if own.is_file() else "uv"


def _python() -> str:
    return shlex.quote(sys.executable)


def _torch() -> Any:
    import torch

    return torch


def _default_device() -> Any:
    """What is probed is what everything else uses; of CUDA, only where `cuda_available`."""
    from ...core.device import default_device

    return default_device()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _local(version: str | None) -> str:
    """The build tag of a version: "2.4.0+cpu" → "cpu"."""
    return (version or "").partition("+")[2]


def _output(*command: str) -> str:
    """What a program prints, or "" where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
