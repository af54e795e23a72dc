"""A run that version 0.1 wrote before its modules moved is opened, measured and continued."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.trainers.pretraining.runs import load_run
from helpers.box_room import write_box_room

OLD_RUN = Path(__file__).parents[2] / "data" / "run_0_1"

pytest.importorskip("nerfstudio")


@pytest.fixture
def old_run(tmp_path, monkeypatch):
    """The recorded run, with its paths set to folders of this test."""
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "cache"))
    data = write_box_room(tmp_path / "room")
    run = tmp_path / "e" / "gaussiancross-tiny" / "now"
    shutil.copytree(OLD_RUN, run)
    for file in (*run.rglob("*.json"), run / "config.yml"):
        text = file.read_text()
        if file.suffix == ".yml":
            text = text.replace("- DATA\n", f"- {data}\n").replace("- OUTPUTS\n", f"- {tmp_path}\n")
        file.write_text(text.replace('"DATA"', json.dumps(str(data))))
    return run


def recorded():
    """The last line of the recorded run's metrics."""
    return json.loads((OLD_RUN / "metrics.jsonl").read_text().splitlines()[-1])


def test_config_yml_still_names_the_moved_modules():
    """The recording is from before the move: otherwise the tests below show nothing."""
    text = (OLD_RUN / "config.yml").read_text()
    assert "gaussiancross.trainers.config.DataConfig" in text and "gaussiancross.core.batch.InputConfig" in text


def test_checkpoint_loads(old_run):
    model, config, step = load_run(old_run)
    assert step == 3 and config.model.base_channels == 8 and config.data.width == 24
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_eval_reproduces_the_recorded_figures(old_run, tmp_path, capsys):
    assert cli.main(["eval", str(old_run), "--out", str(tmp_path / "eval"), "--device", "cpu"]) == 0
    (report,) = (tmp_path / "eval").rglob("*.json")
    measured = json.dumps(json.loads(report.read_text()))
    assert str(round(recorded()["eval/psnr"], 2)) in measured


def test_ns_eval_reads_config_yml_in_a_fresh_process(old_run, tmp_path):
    command = f"import sys; sys.argv = ['ns-eval', '--load-config', {str(old_run / 'config.yml')!r}, '--output-path', "
    command += f"{str(tmp_path / 'x.json')!r}]; from nerfstudio.scripts.eval import entrypoint; entrypoint()"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads((tmp_path / "x.json").read_text())["results"]
    expected = {name: value for name, value in recorded().items() if name.startswith("eval/")}
    assert {name: results[name] for name in expected} == pytest.approx(expected, rel=1e-3)


def test_training_continues_from_it(old_run):
    config = old_run / "config.yml"
    config.write_text(config.read_text().replace("max_num_iterations: 3", "max_num_iterations: 4"))
    command = f"import sys; sys.argv = ['ns-train', 'gaussiancross-tiny', '--load-config', {str(config)!r}]; "
    command += "from nerfstudio.scripts.train import entrypoint; entrypoint()"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    steps = [json.loads(line)["step"] for line in (old_run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    assert (old_run / "checkpoints" / "step-000000004").is_dir()
