"""`gaussiancross bench gpu` on the CPU, at small sizes: its sections, its limits, its report."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from gaussiancross.app import cli
from gaussiancross.benchmarks import _gpu_inputs, _gpu_sections, gpu
from gaussiancross.core.errors import InputError

pytestmark = pytest.mark.usefixtures("own_cache")
SMALL = gpu.Gpu(device="cpu", size="small", steps=2, batch_size=2, teacher_dim=8)
QUICK = ("splat", "sparse", "step")
SLOW = tuple(name for name in _gpu_sections.SECTIONS if name not in (*QUICK, "versions", "tests"))


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


@pytest.mark.parametrize("name", QUICK)
def test_checks_hold_on_the_cpu(inputs, name):
    assert run_here(name, inputs)["passed"]


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


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SLOW if n != "floor"])
def test_every_section_runs_on_the_cpu(inputs, name):
    assert run_here(name, inputs).get("passed", True)


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
