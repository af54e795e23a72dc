"""Doubts about the units of poses and depth, as a capture shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.datasets import Capture
from gaussiancross.core.io import read_depth, write_depth
from gaussiancross.core.report import Report
from helpers import rewritten
from helpers.box_room import write_box_room


class Notices(Report):
    """A report that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, text: str) -> None:
        self.said.append(text)


def said_of(folder: Path) -> str:
    notices = Notices()
    Capture(folder, holdout=0, report=notices).scene(0)
    return " ".join(notices.said)


def scale_poses(folder: Path, factor: float) -> None:
    for file in (folder / "pose").iterdir():
        pose = np.loadtxt(file)
        pose[:3, 3] *= factor
        np.savetxt(file, pose)


def shuffle_poses(folder: Path) -> None:
    for number, file in enumerate(sorted((folder / "pose").iterdir())):
        pose = np.eye(4)
        pose[:3, 3] = 20.0 * number
        np.savetxt(file, pose)


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        (lambda folder: None, None),
        (lambda folder: scale_poses(folder, 1000), "look like positions of the poses in millimetres"),
        (lambda folder: scale_poses(folder, 100), "look like positions of the poses in centimetres"),
        (shuffle_poses, "poses, intrinsics or the unit of depth are wrong"),
    ],
)
def test_a_capture_shows_doubts(tmp_path: Path, change: Callable[[Path], None], doubt: str | None) -> None:
    folder = write_box_room(tmp_path / "room")
    change(folder)
    said = said_of(folder)
    assert doubt in said if doubt else "agree" not in said


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", ["hololens", "livingroom"])
def test_real_captures_raise_none(shared_data: Path, name: str) -> None:
    assert "agree" not in said_of(shared_data / name)


@pytest.mark.usefixtures("own_cache")
def test_depth_in_another_unit_is_doubted(shared_data: Path, tmp_path: Path) -> None:
    source = rewritten.some_frames(shared_data / "livingroom", 20)
    folder = rewritten.as_export(source, tmp_path / "room")
    for file in (folder / "depth").iterdir():
        write_depth(file, (read_depth(file).astype(np.uint32) * 5).clip(0, 65534))
    assert "the numbers look like depth in 1/5000 m" in said_of(folder)
