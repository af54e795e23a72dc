"""Preparing many scenes: failures, interruption, other options for the same folder."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from gaussiancross.app import cli
from gaussiancross.app.commands.batch_jobs import OPTIONS
from gaussiancross.core.datasets.prepare import scannet
from gaussiancross.core.datasets.prepare.tasks import Task, run_tasks
from gaussiancross.core.errors import InputError
from helpers import raw_data as raw

SCENE = "scene0000_00"

# --- what goes wrong --------------------------------------------------------------------------------------------------


def write_number(number: int, folder: Path) -> None:
    (folder / "number.txt").write_text(str(number))


def meet_the_unforeseen(folder: Path) -> None:
    (folder / "half.txt").write_text("")
    raise KeyError("segIndices")


def be_killed(folder: Path) -> None:
    (folder / "half.txt").write_text("")
    os.kill(os.getpid(), signal.SIGKILL)


def run_out_of_room(folder: Path) -> None:
    raise OSError("1000 requested and 12 written")  # NumPy's words


def test_an_error_in_one_scene_leaves_the_other_scenes_alone(tmp_path):
    works = {"x": meet_the_unforeseen, "y": partial(write_number, 1)}
    outcomes = {o.task.name: o.error for o in run_tasks([Task(n, tmp_path / "a" / n, w) for n, w in works.items()])}
    assert re.fullmatch(r"KeyError: 'segIndices' \(test_prepare_tasks\.py, line \d+\)", outcomes["x"] or "")
    assert outcomes["y"] is None and [p.name for p in (tmp_path / "a").iterdir()] == ["y"]
    assert not (tmp_path / ".partial").exists()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes that start at once")
def test_a_killed_process_is_one_sentence(tmp_path, monkeypatch):
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: fork)
    tasks = [Task("x", tmp_path / "a" / "x", be_killed)]
    tasks += [Task(str(i), tmp_path / "a" / str(i), partial(write_number, i)) for i in (0, 1)]
    with pytest.raises(InputError, match="fewer --workers; the same command continues"):
        list(run_tasks(tasks, workers=2))
    assert not (tmp_path / ".partial").exists()
    list(run_tasks(tasks[1:]))
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"0", "1"}


def test_a_disk_that_is_full_without_a_number_ends_it(tmp_path, monkeypatch):
    tasks = [Task("x", tmp_path / "a" / "x", run_out_of_room)]
    assert [o.error for o in run_tasks(tasks)] == ["1000 requested and 12 written"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(InputError, match="a full disk; free some space"):
        list(run_tasks(tasks))


# --- other options ----------------------------------------------------------------------------------------------------


@pytest.fixture
def download(tmp_path) -> Path:
    """ScanNet with one scene, whose recording has four frames."""
    raw.write_scannet_scene(tmp_path / "raw", SCENE)
    raw.write_label_table(tmp_path / "raw" / scannet.LABEL_TABLE)
    return tmp_path / "raw"


def run(*args: object) -> int:
    return cli.main(["prepare", *map(str, args), "--workers", "1"])


def test_a_scene_that_cannot_even_be_measured_is_left_out(download, tmp_path, monkeypatch, capsys):
    def fail(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("gaussiancross.app.commands.prepare.count_vertices", fail)
    assert run("scannet", download, "--out", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert f"left out: {SCENE}: [Errno 13] Permission denied" in said.out and "none of 1 usable" in said.err


def test_other_options_for_the_same_folder_are_refused(download, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("scannet", download, "--out", out, "--frames", 0) == 0  # points alone, frames may come later
    assert json.loads((out / OPTIONS).read_text()) == {"data": "scannet"}
    assert run("scannet", download, "--out", out, "--frames", 2) == 0
    assert json.loads((out / OPTIONS).read_text()) == {"data": "scannet", "frames": 2, "color_width": 640}
    for same in (["--frames", 2], ["--frames", 2, "--seed", 7, "--only", SCENE], ["--frames", 0]):
        assert run("scannet", download, "--out", out, *same) == 0
    assert json.loads((out / OPTIONS).read_text()) == {"data": "scannet", "frames": 2, "color_width": 640}
    capsys.readouterr()
    assert run("scannet", download, "--out", out, "--frames", 3, "--color-width", 64, "--estimate") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "expected --frames 2 --color-width 640" in said and "found --frames 3 --color-width 64; give another" in said
    assert len(list((out / "rgbd" / SCENE / "color").iterdir())) == 2


def test_folders_from_before_go_on_and_get_their_options(download, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("scannet", download, "--out", out, "--frames", 2) == 0
    (out / OPTIONS).unlink()
    assert run("scannet", download, "--out", out, "--frames", 2) == 0
    assert json.loads((out / OPTIONS).read_text())["frames"] == 2
    (out / OPTIONS).write_text("[]")
    assert run("scannet", download, "--out", out, "--frames", 2) == 2
    assert "the options" in capsys.readouterr().err


def test_rooms_are_not_turned_one_time_and_left_the_next(tmp_path, capsys):
    raw.write_s3dis_room(tmp_path / "raw", "Area_1", "office_1")
    (tmp_path / "raw" / "Area_1" / "Area_1_alignmentAngle.txt").write_text("office_1 90\n")
    out = tmp_path / "out"
    assert run("s3dis", tmp_path / "raw", "--out", out) == 0
    assert run("s3dis", tmp_path / "raw", "--out", out, "--align") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "expected --no-align, as it was prepared, found --align" in said
    raw.write_scannet_scene(tmp_path / "raw", SCENE)
    raw.write_label_table(tmp_path / "raw" / scannet.LABEL_TABLE)
    assert run("scannet", tmp_path / "raw", "--out", out) == 2
    assert "expected s3dis" in capsys.readouterr().err
