"""The choice of device and kernels on simulated machines: packages, compilers and kernels that are missing or fail."""

from __future__ import annotations

import logging
import os
import sys
import threading
import types
from pathlib import Path

import pytest
import torch
from gaussiancross.core import cuda, device
from gaussiancross.core.errors import InputError
from gaussiancross.core.nn.unet3d import UNet3d
from gaussiancross.core.sparse import backend, resolve_backend, spconv_backend
from gaussiancross.core.sparse.spconv_backend import SpconvLayer
from gaussiancross.core.splat import default_backend

ON_CUDA = torch.device("cuda")


class Machine:
    """A machine with a GPU and, unless a test says otherwise, everything that it needs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.patch, self.folder, self.imports = monkeypatch, folder, 0
        self.backend = types.SimpleNamespace(_C=object())
        self.error: Exception | None = None
        self.missing: set[str] = set()
        monkeypatch.setattr(cuda, "_ready", None)
        device._splats_on_cuda.cache_clear()
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.version, "cuda", "13.2")
        monkeypatch.setattr(cuda, "find_spec", lambda name: None if name in self.missing else types.SimpleNamespace())
        monkeypatch.setattr(cuda, "_packaged_toolkit", lambda: None)
        monkeypatch.setattr(cuda, "import_module", self.load)
        monkeypatch.setattr(cuda, "_draw_one", lambda device: None)
        monkeypatch.setattr(cuda, "convolve_one", lambda spconv, device: None)
        monkeypatch.setattr(backend, "require_spconv", lambda: None)
        monkeypatch.setattr(cuda, "SYSTEM_NVCC", folder / "none")
        monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(folder / "extensions"))
        for name in ("CUDA_HOME", "CUDA_PATH", "CXX", "PYTORCH_CUDA_ALLOC_CONF"):
            monkeypatch.delenv(name, raising=False)
        self.tools("13.2", "c++")

    def load(self, name: str) -> object:
        assert name == "gsplat.cuda._backend"
        self.imports += 1
        if self.error is not None:
            raise self.error
        return self.backend

    def tools(self, release: str, *others: str) -> None:
        """PATH with an nvcc of a release ("" for none) and other programs."""
        folder = self.folder / f"bin-{release}-{len(others)}"
        folder.mkdir(exist_ok=True)
        for name in (*(["nvcc"] if release else []), *others):
            (folder / name).write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\n")
            (folder / name).chmod(0o755)
        self.patch.setenv("PATH", str(folder))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    yield Machine(monkeypatch, tmp_path)
    device._splats_on_cuda.cache_clear()


def test_auto_takes_cuda_where_all_works_and_asks_once(machine, caplog):
    assert device.default_device() == device.pick_device("auto") == device.pick_device("cuda") == ON_CUDA
    assert resolve_backend("auto", ON_CUDA) == "spconv"
    assert machine.imports == 1
    assert [r.getMessage() for r in caplog.records] == [
        "Compiling gsplat's CUDA code, once on this machine: this takes some minutes."
    ]
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"


def gsplat_missing(machine):
    machine.missing.add("gsplat")
    return "package gsplat is not installed", 'pip install "gsplat>=1.4,<1.6"'


def no_nvcc(machine):
    machine.tools("", "c++")
    return "no CUDA compiler", 'pip install "cuda-toolkit[nvcc,cccl]==13.2.*"'


def no_nvcc_for_cuda_12(machine):
    machine.tools("", "c++")
    machine.patch.setattr(torch.version, "cuda", "12.8")
    return "no CUDA compiler", "conda install -c nvidia cuda-toolkit=12.8"


def another_nvcc(machine):
    machine.tools("12.4", "c++")
    return "is of version 12.4", 'pip install "cuda-toolkit[nvcc,cccl]==13.2.*"'


def no_cpp_compiler(machine):
    machine.tools("13.2")
    return "no C++ compiler", "apt-get install g++"


def failed_build(machine):
    machine.error = RuntimeError("Error building extension 'gsplat_cuda': nvcc fatal\nand a page of output")
    return "could not be compiled (Error building extension 'gsplat_cuda': nvcc fatal)", "VERBOSE=1"


def disabled(machine):
    machine.backend._C = None
    return "gsplat was disabled", "VERBOSE=1"


def failing_kernel(machine):
    def fail(device):
        raise RuntimeError("CUDA error: no kernel image is available")

    machine.patch.setattr(cuda, "_draw_one", fail)
    built = machine.folder / "extensions" / "gsplat_cuda" / "gsplat_cuda.so"
    built.parent.mkdir(parents=True)
    built.touch()
    return "no kernel image is available", f"delete {built.parent}"


FAILURES = [
    gsplat_missing, no_nvcc, no_nvcc_for_cuda_12, another_nvcc, no_cpp_compiler, failed_build, disabled, failing_kernel,
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_auto_takes_the_cpu_where_gsplat_fails_and_says_why(machine, caplog, failure):
    reason, remedy = failure(machine)
    caplog.set_level(logging.WARNING)
    assert device.default_device() == device.pick_device("auto") == torch.device("cpu")
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Using the CPU")]
    assert len(said) == 1 and reason in said[0] and remedy in said[0] and "\n" not in said[0]
    with pytest.raises(InputError) as error:
        device.pick_device("cuda")
    assert reason in str(error.value) and remedy in str(error.value)
    with pytest.raises(InputError, match="a GPU that gsplat can use"):  # a device that was forced on us
        default_backend("cuda")
    assert machine.imports <= 1


def test_without_a_gpu_nothing_is_compiled(machine):
    machine.patch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.default_device() == torch.device("cpu") and machine.imports == 0
    with pytest.raises(InputError, match="a CUDA device"):
        device.pick_device("cuda")


def spconv_missing(machine):
    machine.missing.add("spconv")
    return "package spconv is not installed"


def spconv_of_another_cuda(machine):
    def fail(spconv, device):
        raise OSError("libcudart.so.12: cannot open shared object file")

    machine.patch.setattr(cuda, "convolve_one", fail)
    return "spconv's kernels fail (libcudart.so.12: cannot open shared object file)"


def spconv_for_the_cpu(machine):
    def refuse():
        raise InputError("sparse backend", "spconv 2.3 for CUDA", "a CPU-only or pre-2.2 spconv")

    machine.patch.setattr(backend, "require_spconv", refuse)
    return "CPU-only"


@pytest.mark.parametrize("failure", [spconv_missing, spconv_of_another_cuda, spconv_for_the_cpu])
def test_without_spconv_convolutions_run_in_torch_on_cuda(machine, caplog, failure):
    reason = failure(machine)
    assert device.default_device() == ON_CUDA
    assert resolve_backend("auto", ON_CUDA) == resolve_backend("auto", ON_CUDA) == "torch"
    said = [r.getMessage() for r in caplog.records if "plain torch" in r.getMessage()]
    assert len(said) == 1 and reason in said[0]


def test_kernels_are_tried_on_the_current_device(machine):
    tried = []
    machine.patch.setattr(torch.cuda, "current_device", lambda: 1)
    machine.patch.setattr(cuda, "_draw_one", tried.append)
    machine.patch.setattr(cuda, "convolve_one", lambda spconv, device: tried.append(device))
    cuda.cuda_ready()
    assert tried == [torch.device("cuda:1")] * 2


def test_processes_wait_for_the_one_that_compiles(machine):
    order, inside = [], threading.Event()

    def second():
        inside.wait()
        with cuda._one_process("gsplat"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with cuda._one_process("gsplat"):
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_cache_without_locks_does_not_keep_from_compiling(machine, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    machine.patch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "file"))  # no folder can be made there
    with cuda._one_process("gsplat"):
        pass
    assert "not kept from compiling gsplat" in caplog.text


def test_the_compiler_of_nvidias_packages_is_used_where_there_is_no_other(machine, monkeypatch):
    home = machine.folder / "site-packages" / "nvidia" / "cu13"
    for name in ("bin/nvcc", "lib/libcudart.so.13"):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text("#!/bin/sh\necho release 13.2, V13.2.1\n")
        (home / name).chmod(0o755)
    monkeypatch.undo()
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(machine.folder / "cache"))
    monkeypatch.setattr(cuda, "SYSTEM_NVCC", machine.folder / "none")
    monkeypatch.setattr(cuda, "_packaged_toolkit", lambda: home)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    for name in ("CUDA_HOME", "CUDA_PATH", "LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    extension = types.SimpleNamespace(CUDA_HOME=None)
    monkeypatch.setitem(sys.modules, "torch.utils.cpp_extension", extension)
    assert cuda.find_nvcc() == home / "bin" / "nvcc" and cuda.build_problem() is None
    with cuda.build_environment():
        assert os.environ["CUDA_HOME"] == extension.CUDA_HOME == str(home)
        link = Path(os.environ["LIBRARY_PATH"]) / "libcudart.so"
        assert link.resolve() == (home / "lib" / "libcudart.so.13").resolve()
        assert os.environ["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)  # where ninja is
    assert "CUDA_HOME" not in os.environ and os.environ["PATH"] == "/usr/bin:/bin"


def test_spconv_runs_on_the_device_of_its_tensors(monkeypatch):
    """It launches on the current device, which need not be theirs."""
    entered = []

    class On:
        def __init__(self, where):
            self.where = where

        def __enter__(self):
            entered.append(self.where)

        def __exit__(self, *error):
            entered.append(None)

    class Layer(torch.nn.Module):
        def forward(self, x):
            assert entered == [torch.device("cuda:1")]
            return types.SimpleNamespace(indice_dict={}, features=None)

    monkeypatch.setattr(torch.cuda, "device", On)
    fake = types.SimpleNamespace(SparseConvTensor=lambda *a, **k: None, SubMConv3d=lambda *a, **k: Layer())
    monkeypatch.setattr(spconv_backend, "require_spconv", lambda: fake)
    features = types.SimpleNamespace(is_cuda=True, device=torch.device("cuda:1"))
    features.to = lambda dtype: features
    grid = types.SimpleNamespace(indices=None, spatial_shape=(4, 4, 4), batch_size=1, spconv_maps={})
    SpconvLayer("SubMConv3d", 4, 4)(features, grid, torch.nn.Parameter(torch.zeros(1)), "0")
    assert entered == [torch.device("cuda:1"), None]


@pytest.mark.parametrize(("version", "works"), [(90_100, True), (90_800, False), (91_002, False), (91_500, True)])
def test_a_cudnn_with_broken_bfloat16_convolutions_is_known(monkeypatch, version, works):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: version)
    assert device.bfloat16_conv3d_works(ON_CUDA) == works and device.bfloat16_conv3d_works(torch.device("cpu"))


@pytest.mark.parametrize("works", [True, False])
def test_the_dense_network_leaves_bfloat16_where_it_is_broken(monkeypatch, works):
    from gaussiancross.core.nn import unet3d

    monkeypatch.setattr(unet3d, "bfloat16_conv3d_works", lambda device: works)
    net = UNet3d(4, 4, (4, 4))
    with torch.autocast("cpu", torch.bfloat16):
        out = net(torch.rand(2, 4, 4, 4, 4))
        assert torch.is_autocast_enabled("cpu")
    assert out.dtype == (torch.bfloat16 if works else torch.float32)


def test_gpus_that_emulate_bfloat16_have_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not device.has_bfloat16(ON_CUDA)


def test_nothing_asks_a_gpu_otherwise():
    """torch's own question counts emulated bfloat16, and a random state that is not named opens a context per GPU."""
    root = Path(device.__file__).parents[1]
    for path in (p for part in ("core", "trainers", "app") for p in (root / part).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert path == Path(device.__file__) or "is_bf16_supported" not in text, path
        assert text.count("fork_rng(") == text.count("fork_rng(devices=[])"), path
