"""Several sources in one training, as they are typed: ``--data rooms:400 captures/* scannet``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from gaussiancross.app import cli
from gaussiancross.app.commands.pretrain import parse, prepare
from gaussiancross.core.datasets import JoinedDataset
from gaussiancross.core.device import pick_device
from helpers import rewritten
from helpers.capture import write_export, write_pointcept
from helpers.docs_workspace import SMALL_PRETRAINING
from rich.console import Console


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Captures in two layouts, one with a plus in its name, and a Pointcept folder with frames."""
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "cache"))
    source = rewritten.some_frames(write_export(tmp_path / "captures" / "a+b", suffix="jpg", count=6), 6)
    rewritten.as_tum(source, tmp_path / "captures" / "tum")
    for split in ("train", "val"):
        write_pointcept(tmp_path / "scannet" / split / f"scene_{split}", 600)
        write_export(tmp_path / "scannet" / "rgbd" / f"scene_{split}", count=4)
    return tmp_path


def words(folder: Path, *more: str) -> list[str]:
    captures = sorted(map(str, (folder / "captures").iterdir()))  # what a shell makes of captures/*
    sources = ["--data", *more, *captures, str(folder / "scannet") + "@2"]
    small = ["--run-dir", str(folder / "run"), "--device", "cpu", "--data.teacher", "none"]
    return ["tiny", *sources, *small, *shlex.split(SMALL_PRETRAINING)]


def test_sources_have_their_shares_and_train_together(folder: Path) -> None:
    trainer = prepare(parse(words(folder)), Console(quiet=True), pick_device("cpu"))
    data = trainer.data.train
    assert isinstance(data, JoinedDataset)
    assert data.names == ("a+b", "tum", "scene_train") and data.shares == (0.25, 0.25, 0.5)
    drawn = [trainer.data.scene_index(step) for step in range(400)]
    assert 0.4 < drawn.count(2) / 400 < 0.6 and set(drawn) == {0, 1, 2}


@pytest.mark.slow
def test_rooms_captures_and_scannet_are_trained_continued_and_evaluated(folder: Path) -> None:
    command = ["pretrain", *words(folder, "rooms:1@3")]
    assert cli.main([*command, "--steps", "2"]) == 0
    assert cli.main(["eval", str(folder / "run"), "--device", "cpu"]) == 0
    assert json.loads((folder / "run" / "eval" / "metrics.json").read_text())
