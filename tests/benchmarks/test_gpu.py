"""`gaussiancross bench gpu` on the CPU, at small sizes: its sections, its limits, its report."""

from __future__ import annotations

import importlib
import json
import subprocess
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.benchmarks import _gpu_inputs, _gpu_sections, _gpu_speed, _gpu_switches, gpu
from gaussiancross.core.data.packed import PackedViews
from gaussiancross.core.errors import InputError

pytestmark = pytest.mark.usefixtures("own_cache")
SMALL = gpu.Gpu(device="cpu", size="small", steps=2, batch_size=2, teacher_dim=8)
CHECKS = ("splat", "sparse", "step", "learn", "resume")
OTHERS = ("versions", "tests", "floor", "switches")
"""Sections with a test of their own."""
MEASURES = tuple(name for name in _gpu_sections.SECTIONS if name not in (*CHECKS, *OTHERS))


@pytest.fixture(autouse=True)
def one_thread():
    """The tensors are tiny: more threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    _gpu_inputs.write_inputs(folder, "small")
    return folder


def run_here(name, inputs):
    """A section in this process."""
    module = importlib.import_module(f"{gpu.__package__}.{_gpu_sections.SECTIONS[name].module}")
    result = getattr(module, name)(SimpleNamespace(**asdict(replace(SMALL, inputs=inputs))))
    json.dumps(result)
    return result


@pytest.mark.parametrize("name", CHECKS)
def test_checks_hold_on_the_cpu(inputs, name):
    assert run_here(name, inputs)["passed"]


@pytest.mark.parametrize("name", MEASURES)
def test_measurements_run_on_the_cpu(inputs, name):
    found = run_here(name, inputs)
    assert found.pop("passed", True) and found
    times = [v for k, v in found.items() if k.endswith(("step s", "picture s"))]
    assert all(v > 0 for v in times)


@pytest.mark.slow  # sixteen trainings
def test_every_switch_runs_on_the_cpu(inputs):
    found = run_here("switches", inputs)
    assert list(found) == list(_gpu_switches.SWITCHES) and min(found.values()) > 0


def test_batches_for_a_gpu_are_those_of_the_feed(monkeypatch):
    """On CUDA, steps are measured with packed and pinned batches, as a training gets them."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    data = _gpu_inputs.small_data(2, "small")
    trainer = SimpleNamespace(device=torch.device("cuda"), data=data)
    for packed, plain in zip(_gpu_speed.batches_of(trainer, 2), (data.batch(0), data.batch(1)), strict=True):
        assert isinstance(packed.views[0], PackedViews) and any(t is packed.views[0].depth for t in pinned)
        assert torch.equal(packed.points.feat, plain.points.feat)
        torch.testing.assert_close(packed.to("cpu").views[1].depth, plain.views[1].depth, rtol=0, atol=1e-3)


FILES = {
    "test_good.py": "def test_it():\n    pass\n",
    "test_bad.py": "def test_it():\n    assert 1 == 2\n",
    "test_absent.py": "import package_that_is_not_installed\n",
    "test_long.py": "def test_it():\n    pass\n",
}


def test_a_file_of_gpu_tests_that_fails_ends_no_other(monkeypatch, tmp_path):
    """One of these cannot be imported where packages are missing, and one takes longer than its limit."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    for name, text in FILES.items():
        (tmp_path / name).write_text(f"{text}\nimport pytest\npytestmark = pytest.mark.gpu\n")
    monkeypatch.setattr(_gpu_sections, "TESTS", tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    run = subprocess.run

    def limited(command, **options):
        if command[-1].endswith("test_long.py"):
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", limited)
    found = _gpu_sections.tests(SimpleNamespace())
    assert found["files"] == 4 and found["failed files"] == 3 and not found["passed"]
    assert found["summaries"]["test_good.py"].startswith("1 passed")
    assert "longer than 60 s" in found["summaries"]["test_long.py"]


def test_gpu_tests_are_found():
    names = {p.name for p in _gpu_sections.gpu_test_files()}
    assert {"test_splat_gpu.py", "test_sparse_gpu.py", "test_doctor.py"} <= names


def test_a_wrong_result_fails(inputs, monkeypatch):
    right = _gpu_inputs.splat_results

    def wrong(*args):
        found = right(*args)
        found["reflected.gradient of quats"] *= 1.01
        return found

    monkeypatch.setattr(_gpu_inputs, "splat_results", wrong)
    result = run_here("splat", inputs)
    assert not result["passed"] and result["where"] == "reflected.gradient of quats"


def test_the_floor_replays_the_kernels_of_a_step(inputs):
    found = run_here("floor", inputs)
    assert found["passed"] and found["splat calls"] >= 2 and found["sparse calls"] > 20
    bare = [found[f"bare {name} s"] for name in ("splat", "sparse", "dense U-Net")]
    assert found["floor s"] == pytest.approx(sum(bare)) and min(bare) > 0


def test_inputs_come_first(tmp_path):
    with pytest.raises(InputError, match="--prepare"):
        run_here("sparse", tmp_path)


def test_report(tmp_path, monkeypatch, capsys):
    """Sections in processes of their own: one that works, one that fails, one that does not end, one without time."""
    own = _gpu_sections.SECTIONS["versions"]
    sections = {
        "versions": own,
        "splat": replace(own, name="splat"),
        "sparse": replace(own, name="sparse", limit=0),
        "full": replace(own, name="full", seconds=10_000),
    }
    monkeypatch.setattr(gpu, "SECTIONS", sections)
    options = ["--device", "cpu", "--size", "small", "--out", str(tmp_path), "--inputs", str(tmp_path / "none")]
    assert cli.main(["bench", "gpu", *options]) == 1
    lines = {line["section"]: line for line in map(json.loads, (tmp_path / "gpu.jsonl").read_text().splitlines())}
    assert lines["versions"]["status"] == "ok" and lines["versions"]["result"]["torch"]
    assert lines["splat"]["status"] == "failed" and "--prepare" in lines["splat"]["why"]
    assert lines["sparse"]["status"] == "timeout" and lines["full"]["status"] == "skipped"
    table = (tmp_path / "gpu.md").read_text()
    assert "| versions | ok |" in table and "| sparse | timeout |" in table
    assert set(json.loads((tmp_path / "gpu.json").read_text())["sections"]) == set(sections)
    assert "splat: failed" in capsys.readouterr().out


def test_unknown_sections_are_named(capsys):
    assert cli.main(["bench", "gpu", "--only", "dance"]) == 2
    assert "versions, splat" in capsys.readouterr().err
