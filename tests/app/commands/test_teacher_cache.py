"""The command that computes teacher features: output, refusals, interruption."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from gaussiancross.app.cli import main
from gaussiancross.app.commands import features as command
from gaussiancross.core.errors import InputError
from gaussiancross.core.teachers import registry, write_cache
from helpers.feature_scenes import Averages, Scenes, content, fill


# --- the command ---------------------------------------------------------------------------------------------------
@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry.KINDS, "averages", lambda _: Averages())
    splits = {"train": Scenes(3), "val": Scenes(2, seed=1)}

    def opened(data: str, split: str) -> Scenes:
        if split not in splits:
            raise InputError(data, "train or val", split)
        return splits[split]

    monkeypatch.setattr(command, "open_dataset", opened)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")


def test_the_command(scenes: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["features", "some/data", "--teacher", "averages", "--storage", "int8"]
    assert main([*args, "--estimate"]) == 0
    said = capsys.readouterr().out
    assert "5 scenes, 3 frames each, 3×4 tokens of 16 in int8" in said
    assert "36.9" in said
    assert not list(tmp_path.rglob("*.safetensors"))
    assert main(args) == 0
    said = capsys.readouterr().out
    assert "15 frames; int8 costs a cosine error of" in said
    assert "cached:features/data-averages-int8" in said
    assert main([*args, "--verify"]) == 0
    path = tmp_path / "features" / "data-averages-int8" / "val" / "scene1.safetensors"
    path.write_bytes(path.read_bytes() + b"x")
    assert main([*args, "--verify"]) == 1
    said = capsys.readouterr().out
    assert "val/scene1.safetensors: expected the bytes with SHA-256" in said
    assert "4 of 5 files" in said
    assert main(args) == 2  # the damaged file is named, not used
    path.unlink()
    assert main([*args, "--splits", "val", "test"]) == 0
    assert main([*args, "--verify"]) == 0


def test_the_command_refuses(
    scenes: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*args: str) -> str:
        assert main(["features", *args]) == 2
        return capsys.readouterr().err

    assert "a dataset" in error()
    assert "expected a model" in error("d", "--teacher", "none")
    assert "one of none" in error("d", "--teacher", "clop")
    assert "train or val" in error("d", "--teacher", "averages", "--splits", "test")
    assert "a feature cache" in error("d", "--verify")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("gaussiancross.core.teachers.cache.shutil.disk_usage", lambda _: usage)
    assert "GB of free disk, found 0.0 GB; use --storage int8" in error("d", "--teacher", "averages")
    assert not (tmp_path / "features").exists()


def test_stopped_in_the_middle_of_a_scene(tmp_path: Path) -> None:
    class Stopped(Averages):
        def maps(self, images: torch.Tensor) -> torch.Tensor:
            if self.calls >= 4:
                raise KeyboardInterrupt
            return super().maps(images)

    with pytest.raises(KeyboardInterrupt):
        list(write_cache(tmp_path / "c", Stopped(), "averages", {"train": Scenes(3)}, group=2))
    assert [p.name for p in (tmp_path / "c" / "train").iterdir()] == ["scene0.safetensors"]
    fill(tmp_path / "c", train=Scenes(3))
    fill(tmp_path / "whole", train=Scenes(3))
    assert content(tmp_path / "c") == content(tmp_path / "whole")


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from helpers.feature_scenes import Averages, Scenes
from gaussiancross.core.teachers import write_cache
from pathlib import Path

class Slow(Averages):
    def maps(self, images):
        time.sleep(0.01)
        return super().maps(images)

for done in write_cache(Path({folder!r}), Slow(), "averages", {{"train": Scenes(40)}}):
    print(done.scene, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_killed_and_run_again(tmp_path: Path) -> None:
    fill(tmp_path / "whole", train=Scenes(40))
    script = KILLED.format(tests=str(Path(__file__).parents[2]), folder=str(tmp_path / "c"))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("scene7"):
            break
    time.sleep(0.005)
    process.kill()
    process.wait(timeout=30)
    process.stdout.close()
    assert 7 < len(list((tmp_path / "c").rglob("*.safetensors"))) < 40
    fill(tmp_path / "c", train=Scenes(40))
    left = {k: v for k, v in content(tmp_path / "c").items() if not k.endswith(".part")}
    assert left == content(tmp_path / "whole")
