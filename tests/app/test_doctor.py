"""`gaussiancross doctor` on simulated machines."""

import json
import sys
import types
from pathlib import Path

import pytest
import torch
from gaussiancross.app.commands import doctor as command
from gaussiancross.app.doctor import checks as doctor
from gaussiancross.app.doctor import environment, report
from gaussiancross.core import cuda as core_cuda
from helpers.install_extras import extra_requirements


@pytest.fixture
def versions(monkeypatch):
    """Installed versions as the test says; everything else is absent."""
    known: dict[str, str] = {}
    monkeypatch.setattr(environment, "installed", known.get)
    return known


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(environment, "cuda_available", lambda: False)
    monkeypatch.setattr(environment, "output_of", lambda *command: "")


@pytest.fixture
def cuda(monkeypatch):
    """A machine with an H100, as far as torch says."""
    fake = types.SimpleNamespace(
        __version__="2.8.0+cu126",
        version=types.SimpleNamespace(cuda="12.6"),
        get_num_threads=lambda: 8,
        cuda=types.SimpleNamespace(
            mem_get_info=lambda i: (70e9, 80e9),
            get_device_name=lambda i: "NVIDIA H100",
            get_device_capability=lambda i: (9, 0),
            device_count=lambda: 1,
            current_device=lambda: 0,
            is_available=lambda: True,
        ),
        ones=lambda n, device: FakeTensor(),
        device=torch.device,
        backends=types.SimpleNamespace(cudnn=types.SimpleNamespace(version=lambda: 92_600)),
    )
    monkeypatch.setattr(environment, "torch_module", lambda: fake)
    monkeypatch.setattr(environment, "gsplat_built", lambda: "")
    outputs = {"nvidia-smi": "570.1", "nvcc": "Cuda compilation tools, release 12.6, V12.6.20"}
    monkeypatch.setattr(environment, "output_of", lambda *command: outputs.get(command[0], ""))
    monkeypatch.setattr(core_cuda, "find_nvcc", lambda: Path("nvcc") if outputs["nvcc"] else None)
    monkeypatch.setattr(core_cuda, "nvcc_release", lambda nvcc: outputs["nvcc"].partition("release ")[2].split(",")[0])
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    return types.SimpleNamespace(torch=fake, outputs=outputs)


class FakeTensor:
    def __mul__(self, other):
        return self

    def sum(self):
        return self

    def item(self):
        return 16.0


class TestHere:
    def test_the_exit_status_is_zero_where_the_cpu_path_works(self, capsys):
        assert command.main(["--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["ok"] is True
        states = {c["name"]: c["state"] for c in report["checks"]}
        assert states["torch"] == states["numba"] == states["viser"] == states["packages"] == "ok"

    def test_report_for_people(self, capsys):
        checks = [doctor.Check("viser", "fail", "0.2.7 [unsafe]", "pip install 'viser>=1.1'")]
        report.print_report(checks)
        out = capsys.readouterr().out
        assert "✗" in out and "0.2.7 [unsafe]" in out and "pip install 'viser>=1.1'" in out and "not work" in out

    def test_report_without_rich(self, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "rich.console", None)
        report.print_report([doctor.Check("rich", "fail", "missing", "pip install rich")])
        out = capsys.readouterr().out
        assert "rich: missing" in out and "rich: pip install rich" in out

    def test_a_check_that_breaks_does_not_end_the_report(self, monkeypatch):
        def broken():
            raise OSError("libcudart.so.12: cannot open shared object file")

        monkeypatch.setattr(doctor, "check_torch", broken)
        checks = {c.name: c for c in report.run_checks()}
        assert checks["torch"].state == "fail" and "libcudart" in checks["torch"].detail
        assert checks["disk"].state in ("ok", "warn")
        assert not report.is_healthy(list(checks.values()))


class TestViser:
    @pytest.mark.parametrize("version", ["0.2.7", "1.0.24"])
    def test_versions_that_serve_any_file_fail(self, versions, version):
        versions["viser"] = version
        check = doctor.check_viser()
        assert check.state == "fail" and "unsafe" in check.detail and "viser>=1.1" in check.fix

    def test_safe_but_old(self, versions):
        versions["viser"] = "1.0.26"
        check = doctor.check_viser()
        assert check.state == "fail" and "unsafe" not in check.detail

    def test_safe(self, versions):
        versions["viser"] = "1.1.1"
        assert doctor.check_viser() == doctor.Check("viser", "ok", "1.1.1, safe")


class TestPackages:
    def test_missing_and_old_packages_are_named_with_one_command(self, versions):
        versions |= dict.fromkeys(environment.requirements(), "99") | {"numpy": "1.21.0", "pip": "25"}
        del versions["trimesh"]
        check = doctor.check_packages()
        assert check.state == "fail"
        assert "numpy>=1.26 (1.21.0)" in check.detail and "trimesh>=4.4 (missing)" in check.detail
        assert "-m pip install 'numpy>=1.26' 'trimesh>=4.4'" in check.fix

    def test_requirements_are_those_of_a_plain_install(self):
        needs = environment.requirements()
        assert needs["numpy"] == "1.26" and needs["embreex"].startswith("2.17") and "viser" in needs
        assert "nerfstudio" not in needs and "gsplat" not in needs

    def test_version_order(self):
        assert (
            environment.version_tuple("1.0.25")
            < environment.version_tuple("1.1")
            < environment.version_tuple("1.10.0.post1")
        )
        assert environment.version_tuple("2.15.0+cu130") == (2, 15, 0)
        assert environment.version_tuple("") == ()

    def test_suggested_commands_fit_the_machine(self, versions):
        assert "uv pip install --python" in environment.install("gsplat>=1.4,<1.6")
        assert environment.install("gsplat>=1.4,<1.6").endswith("'gsplat>=1.4,<1.6'")
        versions["pip"] = "25.0"
        assert (
            environment.install("numba", reinstall=True) == f"{sys.executable} -m pip install --force-reinstall numba"
        )

    def test_mismatched_torchvision(self, versions):
        versions |= {"torch": "2.10.0+cpu", "torchvision": "0.25.0"}
        check = doctor.check_torch()
        assert check.state == "warn" and "torchvision" in check.detail

    def test_missing_torch_fails(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        check = doctor.check_torch()
        assert check.state == "fail" and "torch>=2.10" in check.fix

    def test_missing_embreex_is_only_a_gap(self, versions):
        check = doctor.check_embreex()
        assert check.state == "warn" and "rooms" in check.detail

    def test_broken_numba_fails(self, versions, monkeypatch):
        versions["numba"] = "0.60"
        monkeypatch.setitem(sys.modules, "numba", None)
        assert doctor.check_numba().state == "fail"


class TestSpconv:
    def test_plain_cpu_package_is_warned_of(self, versions, no_cuda):
        versions |= {"spconv": "2.1.21", "pip": "25"}
        check = doctor.check_spconv()
        assert check.state == "warn" and "silently wrong" in check.detail and "uninstall -y spconv" in check.fix

    def test_idle_without_cuda(self, versions, no_cuda):
        assert doctor.check_spconv().state == "idle"
        versions["spconv-cu120"] = "2.3.6"
        assert doctor.check_spconv().state == "idle"

    def test_missing_on_cuda(self, versions, cuda):
        check = doctor.check_spconv()
        assert check.state == "warn" and "spconv-cu12" in check.fix

    def test_two_builds_overwrite_each_other(self, versions, cuda):
        versions |= {"spconv-cu118": "2.3.6", "spconv-cu120": "2.3.6", "spconv-cu126": "2.3.8"}
        check = doctor.check_spconv()
        assert check.state == "warn" and "spconv-cu118" in check.fix and "overwrite" in check.detail


class TestCuda:
    def test_no_driver_is_no_gap(self, no_cuda):
        assert doctor.check_cuda().state == doctor.check_nvcc().state == "idle"

    def test_driver_with_a_cpu_build_of_torch(self, cuda):
        cuda.torch.version.cuda = None
        cuda.torch.cuda.is_available = lambda: False
        check = doctor.check_cuda()
        assert check.state == "warn" and "CPU build" in check.detail and "--torch-backend=auto" in check.fix

    def test_device_is_described(self, cuda):
        check = doctor.check_cuda()
        assert check.state == "ok"
        assert all(part in check.detail for part in ("H100", "9.0", "70.0 of 80.0 GB", "570.1", "12.6"))

    def test_kernels_that_do_not_run_on_the_device(self, cuda):
        def fail(n, device):
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")

        cuda.torch.ones = fail
        check = doctor.check_cuda()
        assert check.state == "warn" and "no kernel image" in check.detail and "more" not in check.detail

    def test_nvcc_of_another_major_version(self, cuda):
        cuda.outputs["nvcc"] = "release 11.8, V11.8.89"
        check = doctor.check_nvcc()
        assert check.state == "warn" and "11.8" in check.detail and "12.6" in check.fix
        cuda.outputs["nvcc"] = ""
        assert doctor.check_nvcc().state == "warn"
        cuda.outputs["nvcc"] = "release 12.2, V12.2.1"
        assert doctor.check_nvcc().state == "ok"

    @pytest.mark.parametrize(
        ("version", "state"), [("1.3.0", "warn"), ("1.4.0", "ok"), ("1.5.3", "ok"), ("1.6.0", "warn")]
    )
    def test_gsplat_versions(self, versions, cuda, version, state):
        versions["gsplat"] = version
        assert doctor.check_gsplat().state == state

    def test_gsplat_missing(self, versions, cuda):
        assert doctor.check_gsplat().state == "warn"

    def test_a_cudnn_whose_convolutions_are_not_used(self, cuda):
        cuda.torch.backends.cudnn.version = lambda: 91_002
        check = doctor.check_cuda()
        assert check.state == "warn" and "cuDNN 9.10" in check.detail and "float32" in check.detail and check.fix

    def test_the_compiler_comes_from_nvidias_packages(self, versions, cuda, monkeypatch):
        versions["pip"] = "25"
        cuda.outputs["nvcc"] = ""
        monkeypatch.setattr(torch.version, "cuda", "13.2")
        assert doctor.check_nvcc().fix.endswith("-m pip install 'cuda-toolkit[nvcc,cccl]==13.2.*'")


class TestDevice:
    def test_without_cuda(self, no_cuda):
        assert doctor.check_device().state == "ok" and "CPU" in doctor.check_device().detail

    def test_the_cpu_with_its_reason_and_one_command(self, versions, cuda):
        versions["pip"] = "25"
        check = doctor.check_device()
        assert check.state == "warn" and "auto takes the CPU: the package gsplat is not installed" in check.detail
        assert check.fix.endswith("-m pip install 'gsplat>=1.4,<1.6'")
        versions["gsplat"], cuda.outputs["nvcc"] = "1.5.3", ""
        check = doctor.check_device()
        assert "no CUDA compiler" in check.detail and "cuda-toolkit=12.6" in check.fix

    def test_cuda_with_the_convolutions_that_it_takes(self, versions, cuda, monkeypatch):
        versions["gsplat"] = "1.5.3"
        check = doctor.check_device()
        assert check.state == "ok" and "plain torch" in check.detail and "--deep" in check.detail
        versions["spconv-cu126"] = "2.3.8"
        monkeypatch.setattr(environment, "gsplat_built", lambda: "/somewhere")
        assert doctor.check_device().detail == "auto takes CUDA, sparse convolutions by spconv"

    def test_deep_tries_the_kernels(self, versions, cuda, monkeypatch):
        problem = core_cuda.Problem("gsplat's kernels fail (no kernel image)", advice="delete /x")
        monkeypatch.setattr(environment, "cuda_ready", lambda: core_cuda.CudaReady(problem, None))
        check = doctor.check_device(deep=True)
        assert check.state == "warn" and "no kernel image" in check.detail and check.fix == "delete /x"


class TestRest:
    def test_nerfstudio_is_optional(self, versions):
        versions["pip"] = "25"
        assert doctor.check_nerfstudio().state == "idle"
        versions["nerfstudio"] = "1.1.4"
        assert doctor.check_nerfstudio().state == "warn"

    @pytest.mark.parametrize("found", [None, "1.1.4"])
    @pytest.mark.parametrize("checkout", [True, False])
    def test_nerfstudio_comes_without_its_old_pins(self, versions, monkeypatch, tmp_path, found, checkout):
        """`pip install nerfstudio` would bring the viser that this report calls unsafe."""
        versions |= {"pip": "25"} | ({} if found is None else {"nerfstudio": found})
        if checkout:
            (tmp_path / "pyproject.toml").touch()
        monkeypatch.setattr(environment, "ROOT", tmp_path)
        mend = doctor.check_nerfstudio().fix
        assert "uv sync --all-extras" in mend and "pip install" not in mend
        assert (str(tmp_path) in mend) == checkout and ("in a checkout" in mend) != checkout

    @pytest.mark.parametrize("name", doctor.OPTIONAL)
    def test_small_extras(self, versions, name):
        need, without = doctor.OPTIONAL[name]
        assert doctor.check_optional(name) == doctor.Check(
            name, "idle", f"absent: {without}", environment.install(need)
        )
        versions[name] = "0.1"
        assert doctor.check_optional(name).state == "warn" and need in doctor.check_optional(name).fix
        versions[name] = "99.0"
        assert doctor.check_optional(name) == doctor.Check(name, "ok", "99.0")

    def test_small_extras_are_those_of_the_project(self):
        extras = ("teachers", "umap", "index", "objects", "scans")
        asked = [requirement for extra in extras for requirement in extra_requirements(extra)]
        for requirement in asked:  # doctor names a package alone; the marker says where it has a wheel
            requirement.marker = None
        assert [str(requirement) for requirement in asked] == [need for need, _ in doctor.OPTIONAL.values()]
        assert set(doctor.OPTIONAL) <= {check.name for check in report.run_checks()}

    def test_little_memory(self, monkeypatch):
        monkeypatch.setattr(environment, "free_memory_gb", lambda: 1.5)
        assert doctor.check_memory().state == "warn"
        monkeypatch.setattr(environment, "free_memory_gb", lambda: None)
        assert doctor.check_memory().state == "ok"

    def test_cache_folder_that_does_not_exist_yet(self, monkeypatch, tmp_path):
        monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "a" / "b"))
        assert str(tmp_path / "a" / "b") in doctor.check_disk().detail


class TestKernels:
    def test_on_the_cpu(self):
        check = doctor.check_kernels("cpu")
        assert check.state == "ok" and "splatting" in check.detail and "sparse convolution" in check.detail

    def test_wrong_results_are_a_failure(self, monkeypatch):
        from gaussiancross.app.doctor import kernels as selftest

        monkeypatch.setattr(selftest, "_splat", lambda device: [selftest.torch.tensor(float("nan"))])
        check = doctor.check_kernels("cpu")
        assert check.state == "fail" and "not finite" in check.detail

    def test_idle_without_cuda(self, no_cuda):
        assert doctor.check_kernels("cuda").state == "idle"

    @pytest.mark.gpu
    def test_cuda_agrees_with_the_cpu(self):
        check = doctor.check_kernels("cuda")
        assert check.state == "ok", check.detail
