"""The checks of `gaussiancross doctor`: one function per package or resource, each returns a `Check`.

At import the module needs the standard library alone. No check starts a compilation, except for `check_kernels`.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...core.cuda import Problem
from ...core.errors import first_line
from . import environment as env

State = Literal["ok", "idle", "warn", "fail"]


SAFE_VISER = (1, 0, 25)
"""First safe version: older ones serve any file on the disk to everybody who can reach the port."""

SAFE_TORCH, TORCH = (2, 10), "torch>=2.10"
"""First version whose ``weights_only=True`` neither runs code nor corrupts memory (`core.io.torch_files.SAFE`)."""

SPCONV_BUILDS = tuple(f"spconv-cu{n}" for n in (114, 117, 118, 120, 121, 124, 126))

OPTIONAL = {
    "transformers": ("transformers>=4.56", "CLIP, SigLIP 2, DINO and RADIO cannot be teachers"),
    "umap-learn": ("umap-learn>=0.5.5", "features are coloured by PCA only"),
    "faiss-cpu": ("faiss-cpu>=1.8", "large galleries are compared object by object"),
    "DracoPy": ("DracoPy>=2.0", "Draco-compressed glTF cannot be read"),
    "usd-core": ("usd-core>=24.11", "USD files (USDZ) cannot be read"),
    "laspy": ("laspy[lazrs]>=2.5", "LAS and LAZ files cannot be read"),
    "pye57": ("pye57>=0.4", "E57 files cannot be read"),
}
"""Optional package → requirement to install, and what does not work without it."""

MIN_MEMORY_GB, MIN_DISK_GB = 4.0, 5.0


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: package or resource.
        state: "ok"; "idle": absent and not needed here; "warn": something optional does not work; "fail": training
            and viewing on the CPU do not work, or are not safe.
        detail: what was found.
        fix: command or action that solves the problem, or "".
    """

    name: str
    state: State
    detail: str
    fix: str = ""


# --- Python and packages ----------------------------------------------------------------------------------------


def check_python() -> Check:
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    return Check("Python", "ok", detail)


def check_packages() -> Check:
    """Required packages without a check of their own."""
    own = {"torch", "numba", "embreex", "viser"}
    wanted = {name: low for name, low in env.requirements().items() if name not in own}
    bad = []
    for name, low in wanted.items():
        found = env.installed(name)
        if found is None or env.version_tuple(found) < env.version_tuple(low):
            bad.append((f"{name}>={low}" if low else name, found))
    if bad:
        detail = ", ".join(f"{need} ({found or 'missing'})" for need, found in bad)
        return Check("packages", "fail", f"needed: {detail}", env.install(*(need for need, _ in bad)))
    return Check("packages", "ok", ", ".join(f"{name} {env.installed(name)}" for name in wanted))


def check_torch() -> Check:
    try:
        torch = env.torch_module()
        x = torch.ones(1, 2, 4, 4, 4, requires_grad=True)
        torch.nn.functional.conv3d(x, torch.ones(2, 2, 3, 3, 3)).sum().backward()
    except Exception as error:
        return Check("torch", "fail", f"does not work ({first_line(error)})", env.install(TORCH, reinstall=True))
    detail = f"{torch.__version__}, {torch.get_num_threads()} CPU threads of {env.core_count()} cores"
    if env.version_tuple(torch.__version__) < SAFE_TORCH:
        return Check("torch", "fail", f"{detail}; 2.10 or newer is needed to read files safely", env.install(TORCH))
    mine, vision = env.build_tag(env.installed("torch")), env.build_tag(env.installed("torchvision"))
    if env.installed("torchvision") and mine != vision:
        detail += (
            f"; torchvision is another build ({vision or 'default'} beside {mine or 'default'}): it will not import"
        )
        return Check("torch", "warn", detail, env.install("torch", "torchvision", reinstall=True))
    return Check("torch", "ok", detail)


def check_numba() -> Check:
    need = "numba>=0.60"
    if env.installed("numba") is None:
        return Check("numba", "fail", "missing: the CPU rasteriser needs it", env.install(need))
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
        return Check("numba", "fail", f"does not work ({first_line(error)})", env.install(need, reinstall=True))
    if not works:
        return Check("numba", "fail", "compiled a sum that is wrong", env.install(need, reinstall=True))
    return Check("numba", "ok", f"{numba.__version__}, compiles and runs, {threads} threads")


def check_embreex() -> Check:
    need = env.requirements().get("embreex", "2.17.7")
    if env.installed("embreex") is None:
        return Check("embreex", "warn", "missing: the built-in rooms cannot be drawn", env.install(f"embreex>={need}"))
    try:
        import numpy as np
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        scene = EmbreeScene()
        TriangleMesh(scene, np.array([[[-1, -1, 2], [1, -1, 2], [0, 1, 2]]], np.float32))
        hit = scene.run(np.zeros((1, 3), np.float32), np.array([[0, 0, 1]], np.float32))[0]
    except Exception as error:
        return Check("embreex", "warn", f"does not work ({first_line(error)})", env.install(f"embreex>={need}"))
    if hit != 0:
        return Check("embreex", "warn", "a ray misses the triangle before it", env.install("embreex", reinstall=True))
    return Check("embreex", "ok", f"{env.installed('embreex')}, traces rays")


def check_viser() -> Check:
    found = env.installed("viser")
    if found is None:
        return Check("viser", "fail", "missing: there is no viewer", env.install("viser>=1.1"))
    if env.version_tuple(found) < SAFE_VISER:
        detail = f"{found} is unsafe: it serves any file of this machine to anyone who can reach its port"
        return Check("viser", "fail", detail, env.install("viser>=1.1"))
    if env.version_tuple(found) < (1, 1):
        return Check("viser", "fail", f"{found}; 1.1 or newer is needed", env.install("viser>=1.1"))
    return Check("viser", "ok", f"{found}, safe")


# --- CUDA -------------------------------------------------------------------------------------------------------


def check_cuda() -> Check:
    driver = env.output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0]
    if not env.cuda_available():
        if not driver:
            return Check("CUDA", "idle", "no NVIDIA driver: everything runs on the CPU")
        try:
            built = env.torch_module().version.cuda
        except Exception:
            return Check("CUDA", "warn", f"driver {driver}, but torch does not import", env.install(TORCH))
        if built is None:
            detail = f"driver {driver}, but torch is a CPU build"
            return Check("CUDA", "warn", detail, env.install_torch_for_driver())
        detail = f"driver {driver}, but torch (CUDA {built}) finds no device it can use"
        return Check("CUDA", "warn", detail, env.install_torch_for_driver())
    torch, device = env.torch_module(), env.cuda_device()
    free, total = torch.cuda.mem_get_info(device)
    major, minor = torch.cuda.get_device_capability(device)
    detail = (
        f"{torch.cuda.get_device_name(device)} (compute {major}.{minor}), "
        f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free, driver {driver or 'unknown'}, "
        f"torch built for CUDA {torch.version.cuda}"
    )
    try:
        (torch.ones(8, device=device) * 2).sum().item()
    except RuntimeError as error:
        return Check(
            "CUDA", "warn", f"{detail}; a first kernel fails ({first_line(error)})", env.install_torch_for_driver()
        )
    if torch.cuda.device_count() > 1:
        detail += f"; {torch.cuda.device_count()} devices: `torchrun` trains on several"
    cudnn = torch.backends.cudnn.version() or 0
    if 90_800 <= cudnn < 91_500:
        detail += f"; with cuDNN {cudnn // 10_000}.{cudnn // 100 % 100} dense 3D convolutions run in float32"
        return Check("CUDA", "warn", detail, env.install_torch_for_driver())
    return Check("CUDA", "ok", detail)


def check_nvcc() -> Check:
    """The compiler that gsplat needs to build its CUDA code on first use."""
    found = env.nvcc_version()
    if not env.cuda_available():
        return Check("nvcc", "idle", f"{found}, unused" if found else "not needed without CUDA")
    if env.gsplat_built():
        return Check("nvcc", "ok", "not needed: gsplat's CUDA code is built")
    problem = env.build_problem()
    if problem is not None:
        return Check("nvcc", "warn", problem.reason, _mend(problem))
    return Check("nvcc", "ok", found)


def check_gsplat() -> Check:
    found, need = env.installed("gsplat"), "gsplat>=1.4,<1.6"
    if not env.cuda_available():
        return Check("gsplat", "idle", f"{found or 'absent'}; not used without CUDA")
    if found is None:
        return Check("gsplat", "warn", "missing: nothing runs on the GPU without it", env.install(need))
    if not (1, 4) <= env.version_tuple(found) < (1, 6):
        return Check("gsplat", "warn", f"{found}; 1.4 or 1.5 is needed", env.install(need))
    built = env.gsplat_built()
    if built:
        return Check("gsplat", "ok", f"{found}, CUDA code built ({built})")
    return Check("gsplat", "ok", f"{found}, CUDA code not built yet: the first use compiles for some minutes")


def check_spconv() -> Check:
    builds = [name for name in SPCONV_BUILDS if env.installed(name)]
    need = "spconv-cu126>=2.3.8"
    if env.installed("spconv"):
        detail = (
            f"the CPU package `spconv` {env.installed('spconv')}: its backward crashes and its forward is silently "
            "wrong with more than one thread"
        )
        return Check("spconv", "warn", detail, env.uninstall("spconv", "cumm"))
    if not env.cuda_available():
        found = ", ".join(f"{name} {env.installed(name)}" for name in builds)
        return Check("spconv", "idle", f"{found or 'absent'}; not used without CUDA")
    if not builds:
        supported = platform.machine() == "x86_64" and sys.version_info < (3, 14)
        fix = env.install(need) if supported else ""
        detail = "missing: sparse convolutions on CUDA run in plain torch, slower"
        return Check("spconv", "warn", detail + ("" if supported else "; none is published for this machine"), fix)
    if len(builds) > 1:
        keep = need.split(">")[0] if need.split(">")[0] in builds else builds[-1]
        drop = [name for name in builds if name != keep]
        return Check("spconv", "warn", f"{' and '.join(builds)} overwrite each other", env.uninstall(*drop))
    try:
        from spconv import pytorch as spconv

        from ...core.cuda import convolve_one

        convolve_one(spconv, env.cuda_device())
    except Exception as error:
        detail = f"{builds[0]} {env.installed(builds[0])} does not work ({first_line(error)})"
        return Check("spconv", "warn", detail, env.install(need, reinstall=True))
    return Check("spconv", "ok", f"{builds[0]} {env.installed(builds[0])}, runs forward and backward")


def check_device(deep: bool = False) -> Check:
    """The device that "auto" stands for, and why.

    Args:
        deep: try the kernels, which compiles gsplat; otherwise they are assumed to work where gsplat can be compiled.
    """
    if not env.cuda_available():
        return Check("device", "ok", "auto takes the CPU: torch finds no CUDA device")
    if deep:
        problem = env.cuda_ready().gsplat
    elif env.installed("gsplat") is None:
        problem = Problem("the package gsplat is not installed", ("gsplat>=1.4,<1.6",))
    else:
        problem = None if env.gsplat_built() else env.build_problem()
    if problem is not None:
        return Check("device", "warn", f"auto takes the CPU: {problem.reason}", _mend(problem))
    sure = "" if deep or env.gsplat_built() else ", once gsplat is compiled (`gaussiancross doctor --deep` does so now)"
    convolutions = "spconv" if any(env.installed(name) for name in SPCONV_BUILDS) else "plain torch"
    return Check("device", "ok", f"auto takes CUDA, sparse convolutions by {convolutions}{sure}")


def _mend(problem: Problem) -> str:
    return env.install(*problem.needs) if problem.needs else problem.advice


# --- the rest ---------------------------------------------------------------------------------------------------


def check_nerfstudio() -> Check:
    found = env.installed("nerfstudio")
    if found is None:
        detail = "absent: `gaussiancross pretrain` works without, `ns-train` does not"
        return Check("nerfstudio", "idle", detail, env.install_all_extras())
    if found != "1.1.5":
        return Check("nerfstudio", "warn", f"{found}; the method is made for 1.1.5", env.install_all_extras())
    methods = {e.name for e in importlib.metadata.entry_points(group="nerfstudio.method_configs")}
    if "gaussiancross" not in methods:
        where = env.ROOT if (env.ROOT / "pyproject.toml").is_file() else "gaussiancross"
        return Check("nerfstudio", "warn", f"{found}, but `ns-train` does not see this method", env.install(str(where)))
    return Check("nerfstudio", "ok", f"{found}, `ns-train gaussiancross` is registered")


def check_optional(name: str) -> Check:
    """One package of `OPTIONAL`."""
    found, (need, without) = env.installed(name), OPTIONAL[name]
    if found is None:
        return Check(name, "idle", f"absent: {without}", env.install(need))
    if env.version_tuple(found) < env.version_tuple(need.partition(">=")[2]):
        return Check(name, "warn", f"{found} is too old: {without}", env.install(need))
    return Check(name, "ok", found)


def check_memory() -> Check:
    free = env.free_memory_gb()
    if free is None:
        return Check("memory", "ok", "free memory unknown on this system")
    if free < MIN_MEMORY_GB:
        return Check("memory", "warn", f"{free:.1f} GB free; the tiny preset wants {MIN_MEMORY_GB:g}", "close programs")
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
        fix = "free some space, or set GAUSSIANCROSS_CACHE to a folder with room"
        return Check("disk", "warn", f"{', '.join(parts)} ({'; '.join(low)})", fix)
    return Check("disk", "ok", ", ".join(parts))


def check_kernels(device: str) -> Check:
    """Run the splatting and convolution kernels forward and backward."""
    name = f"kernels ({device.upper()})"
    if device == "cuda" and not env.cuda_available():
        return Check(name, "idle", "no CUDA device")
    from .kernels import run_kernels

    try:
        seconds = run_kernels(device)
    except Exception as error:
        return Check(name, "fail" if device == "cpu" else "warn", f"{type(error).__name__}: {first_line(error)}")
    return Check(name, "ok", ", ".join(f"{part} {s:.1f} s" for part, s in seconds.items()) + " (with compilation)")
