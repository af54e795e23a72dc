"""`gaussiancross bench words`: names at points against class maps of the frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.benchmarks.words import CLASSES, compare
from gaussiancross.core.datasets import open_scenes
from gaussiancross.core.errors import InputError
from gaussiancross.core.teachers.precomputed import PrecomputedTeacher
from helpers.box_room import FRAMES, SIZE

CHANNELS = ("other", "wall", "floor", "ceiling", "armchair")


@pytest.fixture
def labelled(capture) -> Path:
    """The box's frames with class maps: upper half "wall", lower half "floor", one cell "other"."""
    folder = capture / "teacher_ade20k"
    folder.mkdir(exist_ok=True)
    (folder / "channels.json").write_text(json.dumps(CHANNELS))
    logits = np.zeros((6, 8, len(CHANNELS)), np.float32)
    logits[:3, :, 1], logits[3:, :, 2], logits[0, 0, 0] = 5, 5, 9
    for i in range(FRAMES):
        np.save(folder / f"{i:05d}.npy", logits)
    return capture


def test_a_teacher_agrees_with_its_own_classes(labelled, tmp_path, capsys):
    """The command, end to end: lifted class scores, compared with the same maps."""
    teacher = f"precomputed:{labelled / 'teacher_ade20k'}"
    assert cli.main(["bench", "words", str(labelled), "--teacher", teacher, "--run", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "words.json").read_text())["captures"][labelled.name][teacher]
    assert result["present"] == ["wall", "floor"] and result["miou"] > 0.7
    assert set(result["unknown"]) == set(CLASSES) - {"wall", "floor", "ceiling"}
    assert "| mean IoU |" in capsys.readouterr().out


def test_counts_cells_of_frames(labelled):
    """Points named by position, compared with the maps: exact where a cell sees only such points."""
    scenes = open_scenes(str(labelled), "val")
    scene, frames = scenes.scene(0), scenes.frames(0)
    maps = PrecomputedTeacher(labelled / "teacher_ade20k")
    coord = torch.from_numpy(scene.coord)
    always = torch.zeros(len(coord), len(CLASSES))
    always[:, list(CLASSES).index("floor")] = 1
    result = compare(coord, always, frames, maps).summary()
    share = result["share"]
    assert result["iou"]["floor"] == pytest.approx(share["floor"]) and result["iou"]["wall"] == 0
    assert share["wall"] == pytest.approx(23 / 47, abs=0.02)  # the cell of another class is left out
    by_height = torch.zeros(len(coord), len(CLASSES))
    low = coord[:, 2] < SIZE[2] / 2 - 0.05
    by_height[low, 1], by_height[~low, 0] = 1, 1
    assert compare(coord, by_height, frames, maps).summary()["miou"] > result["miou"] + 0.3


def test_needs_names_of_the_classes(labelled):
    scenes = open_scenes(str(labelled), "val")
    (labelled / "teacher_ade20k" / "channels.json").unlink()
    maps = PrecomputedTeacher(labelled / "teacher_ade20k")
    with pytest.raises(InputError, match="names of the classes"):
        compare(torch.zeros(1, 3), torch.zeros(1, len(CLASSES)), scenes.frames(0), maps)


def test_needs_a_capture(capsys):
    assert cli.main(["bench", "words"]) == 2
    assert "at least one capture" in capsys.readouterr().err
