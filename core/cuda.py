"""What works on this machine's CUDA devices: the kernels of gsplat and spconv, tried once per process.

gsplat's package holds sources: its first import compiles them with nvcc, which takes minutes, and disables itself where
there is no nvcc. `cuda_ready` does that import at a time of our choice, one process after another, with the compiler of
the extra ``cuda`` where no CUDA toolkit is installed, and turns every failure into a sentence.

Importing this module needs the standard library alone.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError, first_line

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

GSPLAT = "gsplat>=1.4,<1.6"
SPCONV = "spconv-cu126>=2.3.8"
"""Requirements, as in the extra ``cuda``."""

SYSTEM_NVCC = Path("/usr/local/cuda/bin/nvcc")
"""Where torch looks for a compiler that is not on PATH."""


@dataclass(frozen=True)
class Problem:
    """Why kernels cannot be used.

    Attributes:
        reason: a clause that completes "…, because".
        needs: requirements whose installation solves it; empty where no package does.
        advice: what to do instead of installing packages.
    """

    reason: str
    needs: tuple[str, ...] = ()
    advice: str = ""

    @property
    def remedy(self) -> str:
        """The command or action that solves it, or ""."""
        return "pip install " + " ".join(f'"{need}"' for need in self.needs) if self.needs else self.advice


@dataclass(frozen=True)
class CudaReady:
    """Usable kernels on the current CUDA device.

    Attributes:
        gsplat: why splatting cannot run there; None where it does. Without it, "auto" takes the CPU.
        spconv: why spconv cannot run there; None where it does. Without it, sparse convolutions run in torch.
    """

    gsplat: Problem | None
    spconv: Problem | None


_ready: CudaReady | None = None
_lock = threading.Lock()


def cuda_ready() -> CudaReady:
    """Try the kernels of gsplat and spconv on the current CUDA device; later calls return the first one's result.

    The first call on a machine compiles gsplat, with a line in the log. Other processes wait for it meanwhile.
    """
    global _ready
    with _lock:
        if _ready is None:
            import torch

            if sys.platform == "linux":  # the number of Gaussians varies, which would leave holes in the memory
                os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
            if torch.cuda.is_available():
                device = torch.device("cuda", torch.cuda.current_device())
                gsplat = _gsplat_problem(device)
                # Without splatting nothing runs on the device, so that spconv is not asked for.
                _ready = CudaReady(gsplat, _spconv_problem(device) if gsplat is None else None)
            else:
                no_device = Problem("torch finds no CUDA device", advice="`gaussiancross doctor` says why")
                _ready = CudaReady(no_device, no_device)
            if _ready.gsplat is None and _ready.spconv is not None:
                log.warning(
                    "Sparse convolutions run in plain torch, because %s; for spconv: %s.",
                    _ready.spconv.reason,
                    _ready.spconv.remedy,
                )
        return _ready


# --- gsplat -----------------------------------------------------------------------------------------------------------


def _gsplat_problem(device: torch.device) -> Problem | None:
    """Import gsplat, which may compile it, and draw one Gaussian."""
    if find_spec("gsplat") is None:
        return Problem("the package gsplat is not installed", (GSPLAT,))
    try:
        with _one_process("gsplat"), build_environment(), redirect_stdout(sys.stderr):
            built = gsplat_built()
            problem = None if built else build_problem()
            if problem is not None:
                return problem
            if not built:
                log.warning("Compiling gsplat's CUDA code, once on this machine: this takes some minutes.")
            backend = import_module("gsplat.cuda._backend")
    except Exception as error:  # a compiler can fail in any way
        return Problem(f"gsplat could not be compiled ({first_line(error)})", advice=_VERBOSE)
    if backend._C is None:
        return Problem("gsplat was disabled: it found no CUDA compiler", advice=_VERBOSE)
    try:
        _draw_one(device)
    except Exception as error:  # such as code compiled for another GPU
        folder = gsplat_built()
        advice = f"delete {folder} and run the command again" if folder.startswith(os.sep) else _VERBOSE
        return Problem(f"gsplat's kernels fail ({first_line(error)})", advice=advice)
    return None


_VERBOSE = 'VERBOSE=1 python -c "import gsplat.cuda._backend" shows why'


def _draw_one(device: torch.device) -> None:
    """Splat one Gaussian with gsplat's kernels."""
    import torch

    from .geometry.gaussians import Gaussians
    from .splat.cuda import composite

    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(*shape, device=device)

    one = Gaussians(ones(1, 3), ones(1, 4), ones(1, 3), 0.5 * ones(1), ones(1, 3))
    eye = torch.eye(4, device=device)
    alpha = composite(one, eye[None], 8 * eye[None, :3, :3], 16, 16, 0.01, 1e10, 0.3)[2]
    if not bool(alpha.isfinite().all()):
        raise RuntimeError("results that are not finite")
    if not bool((alpha > 0).any()):
        raise RuntimeError("nothing was drawn")


def gsplat_built() -> str:
    """Folder of gsplat's compiled CUDA code, or "". Only looks for files: importing gsplat would start a build."""
    try:
        listed = files("gsplat") or []
    except PackageNotFoundError:
        return ""
    if any(f.name.startswith("csrc") and f.suffix in (".so", ".pyd") for f in listed):
        return "in the wheel"
    from torch.utils.cpp_extension import get_default_build_root

    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    found = next((p for p in root.glob("**/gsplat_cuda.*") if p.suffix in (".so", ".pyd", ".lib")), None)
    return str(found.parent) if found else ""


def build_problem() -> Problem | None:
    """Why gsplat cannot be compiled here: no compiler for CUDA or C++, or one for another version than torch's."""
    import torch

    wanted = str(torch.version.cuda)
    nvcc = find_nvcc()
    if nvcc is None:
        return Problem("there is no CUDA compiler (nvcc) to build gsplat with", *compiler_for(wanted))
    found = nvcc_release(nvcc)
    if found.split(".")[0] != wanted.split(".")[0]:
        reason = f"the CUDA compiler is of version {found or 'unknown'} ({nvcc}) and torch is built for {wanted}"
        return Problem(reason, *compiler_for(wanted))
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        reason = "there is no C++ compiler to build gsplat with"
        return Problem(reason, advice="install one, for example: apt-get install g++")
    return None


def compiler_for(version: str) -> tuple[tuple[str, ...], str]:
    """Requirements of nvcc for a CUDA version ("13.0"), and what to do instead where no package has it.

    NVIDIA's packages for CUDA 12 lack the compiler driver.
    """
    if version.partition(".")[0].isdigit() and int(version.partition(".")[0]) >= 13:
        return (f"cuda-toolkit[nvcc,cccl]=={version}.*",), ""
    return (), f"install the CUDA {version} toolkit, for example: conda install -c nvidia cuda-toolkit={version}"


def find_nvcc() -> Path | None:
    """The CUDA compiler that a build would use: of ``CUDA_HOME``, on PATH, in /usr/local/cuda, or NVIDIA's package."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if home:
        own = Path(home) / "bin" / "nvcc"
        return own if own.is_file() else None
    on_path = shutil.which("nvcc")
    places = [Path(on_path)] if on_path else [SYSTEM_NVCC]
    packaged = _packaged_toolkit()
    places += [packaged / "bin" / "nvcc"] if packaged is not None else []
    return next((p for p in places if p.is_file()), None)


def nvcc_release(nvcc: Path) -> str:
    """Version of a CUDA compiler, such as "13.0"; "" if it does not run."""
    try:
        output = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"release ([0-9.]+)", output)
    return match.group(1) if match else ""


def _packaged_toolkit() -> Path | None:
    """Folder ``nvidia/cu…`` of NVIDIA's packages, if the compiler is among them."""
    spec = find_spec("nvidia")
    roots = [] if spec is None else [Path(p) for p in spec.submodule_search_locations or []]
    found = [home for root in roots for home in sorted(root.glob("cu[0-9]*")) if (home / "bin" / "nvcc").is_file()]
    return found[-1] if found else None


@contextmanager
def build_environment() -> Iterator[None]:
    """Set the environment variables that compiling a CUDA extension needs.

    * PATH: the folder of this Python, where `ninja` is even if the virtual environment was not activated.
    * CUDA_HOME: NVIDIA's package, if the compiler is found only there.
    * LIBRARY_PATH: a folder with ``libcudart.so``; that package holds the file under its full version only.
    """
    before = {name: os.environ.get(name) for name in ("PATH", "CUDA_HOME", "LIBRARY_PATH")}
    home = _packaged_toolkit()
    try:
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        if home is not None and find_nvcc() == home / "bin" / "nvcc":
            os.environ["CUDA_HOME"] = str(home)
            folders = [str(_runtime_link(home)), os.environ.get("LIBRARY_PATH", "")]
            os.environ["LIBRARY_PATH"] = os.pathsep.join(filter(None, folders))
            extension = sys.modules.get("torch.utils.cpp_extension")
            if extension is not None:  # it looked for CUDA_HOME when it was imported
                vars(extension)["CUDA_HOME"] = str(home)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _runtime_link(home: Path) -> Path:
    """A folder with a link ``libcudart.so`` to the runtime of NVIDIA's package in ``home``."""
    from .io.cache import cache_folder

    folder = cache_folder() / "cudart" / home.name
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "libcudart.so"
    runtime = next(iter(sorted((home / "lib").glob("libcudart.so.*"))), None)
    if runtime is not None and not (link.is_symlink() and link.resolve() == runtime.resolve()):
        link.unlink(missing_ok=True)
        link.symlink_to(runtime)
    return folder


@contextmanager
def _one_process(name: str) -> Iterator[None]:
    """Hold a lock that all processes of the user share; gsplat's own removes the work of a build under way.

    Without a lock, where the cache folder cannot be written to or its file system has none, the work is done all the
    same.
    """
    with ExitStack() as stack:
        try:
            import fcntl

            from .io.cache import cache_folder

            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((folder / f"{name}.lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        except ImportError:  # Windows
            pass
        except OSError as error:
            log.warning("Other processes are not kept from compiling %s at the same time: %s.", name, error)
        yield


# --- spconv -----------------------------------------------------------------------------------------------------------


def _spconv_problem(device: torch.device) -> Problem | None:
    """Import spconv and run one convolution, forward and backward."""
    from .sparse.backend import require_spconv

    if find_spec("spconv") is None:
        supported = sys.platform == "linux" and os.uname().machine == "x86_64" and sys.version_info < (3, 14)
        advice = "" if supported else "none is published for this Python or processor"
        return Problem("the package spconv is not installed", (SPCONV,) if supported else (), advice)
    try:
        spconv = require_spconv()
        convolve_one(spconv, device)
    except InputError as error:
        return Problem(f"spconv cannot be used ({first_line(error)})", (SPCONV,))
    except Exception as error:  # a library of another CUDA version fails in any way
        return Problem(f"spconv's kernels fail ({first_line(error)})", (SPCONV,))
    return None


def convolve_one(spconv: Any, device: torch.device) -> None:
    """Run a sparse convolution of one voxel with the module ``spconv.pytorch``, forward and backward."""
    import torch

    grid = torch.tensor([[0, 1, 1, 1]], dtype=torch.int32, device=device)
    x = spconv.SparseConvTensor(torch.ones(1, 16, device=device, requires_grad=True), grid, [4, 4, 4], 1)
    spconv.SubMConv3d(16, 16, 3, bias=False).to(device)(x).features.sum().backward()
