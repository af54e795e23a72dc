"""Facts about this machine that the checks ask for, and the commands that change it. Standard library only."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from ...core.cuda import CudaReady, Problem

ROOT = Path(__file__).resolve().parents[2]


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
    """Name → lowest version of the packages of a plain install; "" if any version will do."""
    found = {}
    for line in importlib.metadata.requires("gaussiancross") or []:
        spec, _, marker = line.partition(";")
        match = re.match(r"([A-Za-z0-9._-]+)[^>]*(?:>=([0-9][0-9a-z.]*))?", spec.strip())
        if match and "extra" not in marker:
            found[match.group(1).lower()] = match.group(2) or ""
    return found


def cuda_available() -> bool:
    """Whether torch imports and finds a CUDA device."""
    try:
        return bool(torch_module().cuda.is_available())
    except Exception:
        return False


def gsplat_built() -> str:
    """Folder of gsplat's compiled CUDA code, or ""; compiles nothing."""
    from ...core import cuda

    return cuda.gsplat_built()


def build_problem() -> Problem | None:
    """Why gsplat's CUDA code cannot be compiled here; compiles nothing."""
    from ...core import cuda

    return cuda.build_problem()


def nvcc_version() -> str:
    """Version and path of the CUDA compiler that a build would use, or ""."""
    from ...core import cuda

    nvcc = cuda.find_nvcc()
    return "" if nvcc is None else f"{cuda.nvcc_release(nvcc)} ({nvcc})"


def cuda_device() -> torch.device:
    """The current CUDA device, which "auto" stands for where its kernels run."""
    module = torch_module()
    return module.device("cuda", module.cuda.current_device())


def cuda_ready() -> CudaReady:
    """Whether gsplat and spconv run on the device; compiles gsplat where that was not done yet."""
    from ...core import cuda

    return cuda.cuda_ready()


def free_memory_gb() -> float | None:
    """Memory (GB) that a new process can allocate, within the machine's and the container's limits; None if unknown."""
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
    """Command that installs ``needs`` into the running Python, with pip or uv."""
    wanted = " ".join(shlex.quote(n) for n in needs)
    if installed("pip"):
        return f"{_python()} -m pip install {'--force-reinstall ' if reinstall else ''}{wanted}"
    return f"{_uv()} pip install --python {_python()} {'--reinstall ' if reinstall else ''}{wanted}"


def uninstall(*names: str) -> str:
    """Command that removes packages from the running Python."""
    if installed("pip"):
        return f"{_python()} -m pip uninstall -y {' '.join(names)}"
    return f"{_uv()} pip uninstall --python {_python()} {' '.join(names)}"


def install_all_extras() -> str:
    """Command that installs all extras, nerfstudio included.

    It needs uv, which reads the overrides in pyproject.toml: nerfstudio's own pins bring an unsafe viser and an old
    gsplat, and pip cannot override them.
    """
    if (ROOT / "pyproject.toml").is_file():
        return f"{_uv()} sync --all-extras --project {shlex.quote(str(ROOT))}"
    return "uv sync --all-extras   # in a checkout of GaussianCross, whose overrides lift nerfstudio's old pins"


def install_torch_for_driver() -> str:
    """Command that installs the build of torch that fits the driver; only uv can choose it."""
    return f"{_uv()} pip install --python {_python()} --reinstall --torch-backend=auto torch torchvision"


def _uv() -> str:
    own = ROOT / ".uv" / "bin" / "uv"  # where the Makefile puts it
    return shlex.quote(str(own)) if own.is_file() else "uv"


def _python() -> str:
    return shlex.quote(sys.executable)


def torch_module() -> Any:
    """torch, imported when asked: it may be missing or broken."""
    import torch

    return torch


def core_count() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_tag(version: str | None) -> str:
    """The build tag of a version: "2.4.0+cpu" → "cpu"."""
    return (version or "").partition("+")[2]


def output_of(*command: str) -> str:
    """Output of a program, or "" if it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
