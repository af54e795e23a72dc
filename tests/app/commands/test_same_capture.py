"""One capture in five layouts: the same points within 1 cm, and the same answers of `gaussiancross query`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.app import cli
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.datasets import Capture
from gaussiancross.core.io import read_points
from helpers import rewritten
from helpers.box_room import write_box_room
from helpers.rewritten import Source
from PIL import Image
from scipy.spatial import KDTree

LAYOUTS = ("export", "nerfstudio", "tum", "seven_scenes", "colmap")
REAL_FRAMES = 16


@dataclass(frozen=True)
class Opened:
    """What the commands make of a capture.

    Attributes:
        scene: its points.
        phrases: phrase → its entry in ``answer.json``.
        selected: phrase → selected points [N, 3], metres.
    """

    scene: PointScene
    phrases: dict[str, dict]
    selected: dict[str, np.ndarray]


def opened(folder: Path, phrases: tuple[str, ...], out: Path) -> Opened:
    small = ["--views", "1", "--width", "64", "--device", "cpu", "--out", str(out)]
    assert cli.main(["query", str(folder), *phrases, *small]) in (0, 1)
    entries = {entry["phrase"]: entry for entry in json.loads((out / "answer.json").read_text())["phrases"]}
    labels = read_points(out / "labels.ply")
    files = {phrase: out / entry["ply"] for phrase, entry in entries.items() if "ply" in entry}
    selected = {phrase: read_points(file).coord for phrase, file in files.items()}
    assert len(labels)
    return Opened(Capture(folder).scene(0), entries, selected)


def apart(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Distance of each point from the nearest one of another cloud and back, metres."""
    return np.concatenate([KDTree(reference).query(points)[0], KDTree(points).query(reference)[0]])


def overlap(a: np.ndarray, b: np.ndarray, near: float = 0.05) -> float:
    """Share of the points of two selections that have one of the other within ``near`` metres."""
    return float((apart(a, b) < near).mean())


def open_all(source: Source, out: Path, phrases: tuple[str, ...], step: float) -> dict[str, Opened]:
    results = {}
    for layout in LAYOUTS:
        folder = getattr(rewritten, f"as_{layout}")(source, out / layout / "room")
        if layout == "colmap":
            measured = Capture(out / "export" / "room", up_axis="z", voxel=step).scene(0)
            rewritten.add_splats(folder, measured, step)
        results[layout] = opened(folder, phrases, out / layout / "answer")
    return results


def check_same(results: dict[str, Opened], phrases: tuple[str, ...]) -> None:
    """Layouts with depth images agree with the export within 1 cm, one with trained splats nearly so."""
    export = results["export"]
    for layout in ("nerfstudio", "tum", "seven_scenes"):
        other = results[layout]
        assert abs(len(other.scene) - len(export.scene)) <= 0.01 * len(export.scene), layout
        assert np.percentile(apart(other.scene.coord, export.scene.coord), 99) < 0.01, layout
        for phrase in phrases:
            one, same = export.phrases[phrase], other.phrases[phrase]
            assert same["verdict"] == one["verdict"] and abs(same["score"] - one["score"]) < 0.02, (layout, phrase)
            assert (phrase in other.selected) == (phrase in export.selected), (layout, phrase)
            if phrase in export.selected:
                assert overlap(other.selected[phrase], export.selected[phrase]) > 0.97, (layout, phrase)
    trained = results["colmap"]  # depth that is rendered has no holes, so there are more points than in the export
    assert np.percentile(KDTree(trained.scene.coord).query(export.scene.coord)[0], 90) < 0.02  # points are 2 cm apart
    for phrase in phrases:
        assert trained.phrases[phrase]["verdict"] == export.phrases[phrase]["verdict"], phrase


@pytest.mark.usefixtures("own_cache")
def test_a_small_room_in_every_layout(tmp_path: Path) -> None:
    folder = write_box_room(tmp_path / "box")
    for file in (folder / "color").glob("*.png"):
        with Image.open(file) as image:
            image.save(file.with_suffix(".jpg"), quality=95)
        file.unlink()
    source = rewritten.some_frames(folder, 4)
    phrases = ("a wall", "a bathtub")
    check_same(open_all(source, tmp_path, phrases, 0.01), phrases)


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", ["hololens", "livingroom"])
def test_a_real_room_in_every_layout(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = rewritten.some_frames(shared_data / name, REAL_FRAMES)
    phrases = ("a sofa", "a chair", "a table", "a bathtub")
    check_same(open_all(source, tmp_path, phrases, 0.01), phrases)
