"""What commands say while they read scenes: progress, skipped frames, missing depth, estimated normals."""

from __future__ import annotations

import io
import json
import pickle
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gaussiancross.app import reporting
from gaussiancross.app.cli import main
from gaussiancross.app.commands import view
from gaussiancross.app.reporting import ConsoleReport
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.datasets import open_dataset, read_rgbd_export
from gaussiancross.core.datasets.scenes import fuse
from gaussiancross.core.io import write_points
from gaussiancross.core.io.images import write_depth
from gaussiancross.core.report import Report, report_of
from helpers.box_room import HEIGHT, WIDTH, write_box_room
from rich.console import Console


class Recording(Report):
    def __init__(self) -> None:
        self.notices: list[str] = []
        self.work: dict[str, list[tuple[int, int]]] = {}

    def progress(self, what: str, done: int, total: int) -> None:
        self.work.setdefault(what, []).append((done, total))

    def notice(self, text: str) -> None:
        self.notices.append(text)


@pytest.fixture
def capture(tmp_path, monkeypatch) -> Path:
    """Twelve frames, of which three have no usable pose and one measured nothing."""
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "cache"))
    folder = write_box_room(tmp_path / "box")
    poses = sorted((folder / "pose").iterdir())
    assert len(poses) == 12
    for path in (poses[2], poses[5]):
        path.write_text("-inf " * 16)
    poses[8].unlink()
    first = folder / "depth" / f"{poses[0].stem}.png"
    write_depth(first, np.zeros((HEIGHT, WIDTH), np.uint16))
    return folder


def check_skipped(said: str, capture: Path, times: int = 1) -> None:
    """The line about skipped frames, with counts, reasons and first names, is there once and whole."""
    names = [p.stem for p in sorted((capture / "color").iterdir())]
    line = f"{capture}: skipped 3 frames: 2 × pose not finite (first {names[2]}), 1 × no pose (first {names[8]})\n"
    assert said.count(line) == times, said


# --- commands --------------------------------------------------------------------------------------------------


def test_embed_says_what_it_left_out(capture, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reporting, "PATIENCE", 0.0)
    assert main(["embed", str(capture), "--out", str(tmp_path / "f.npy")]) == 0
    out, said = capsys.readouterr()
    check_skipped(said, capture)
    assert "box: 1 of 8 frames have no depth between 0 and 6 m (first 00000)\n" in said
    assert f"{capture}: " in said and " points with normals estimated from depth (" in said
    assert said.count("points with normals") == 1
    assert "box: fusing depth images …\n" in said and "skipped" not in out


def test_embed_says_where_normals_come_from(tmp_path, capsys):
    rng = np.random.default_rng(0)
    coord = rng.uniform(0, 1, (400, 3)).astype(np.float32)
    color, zeros = rng.integers(0, 255, (400, 3), np.uint8), np.zeros((400, 3), np.float32)
    write_points(tmp_path / "plain.ply", PointScene("plain", coord, color, zeros))
    assert main(["embed", str(tmp_path / "plain.ply"), "--out", str(tmp_path / "f.npy")]) == 0
    assert "no normals; those of 400 points are estimated from their neighbours\n" in capsys.readouterr().err
    scene = tmp_path / "root" / "val" / "scene0"
    scene.mkdir(parents=True)
    np.save(scene / "coord.npy", coord)
    np.save(scene / "color.npy", color)
    assert main(["embed", str(tmp_path / "root"), "--out", str(tmp_path / "f.npy")]) == 0
    said = capsys.readouterr().err
    assert f"{scene}: no normals (normal.npy)\n" in said and "400 points are estimated" in said


def test_query_says_what_it_left_out(capture, tmp_path, capsys):
    args = ["query", str(capture), "wall", "--field", "lifted", "--split", "train", "--out", str(tmp_path / "q")]
    assert main(args) in (0, 1)
    check_skipped(capsys.readouterr().err, capture)


def test_view_says_what_it_left_out(capture, capsys, monkeypatch):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(view, "time", SimpleNamespace(sleep=interrupt))
    assert main(["view", str(capture), "--port", "0"]) == 130
    check_skipped(capsys.readouterr().err, capture)


def test_pretrain_says_once_what_train_and_val_left_out(capture, tmp_path, capsys):
    args = ["pretrain", "tiny", "--data", str(capture), "--run-dir", str(tmp_path / "run"), "--no-view"]
    assert main([*args, "--steps", "1", "--data.teacher", "none", "--device", "cpu"]) == 0
    said = capsys.readouterr().err
    check_skipped(said, capture)
    assert said.count("points with normals estimated from depth") == 1


def test_pointcept_frames_are_reported(capture, tmp_path):
    scene = tmp_path / "root" / "train" / "box"
    scene.mkdir(parents=True)
    np.save(scene / "coord.npy", np.random.default_rng(0).uniform(0, 1, (50, 3)).astype(np.float32))
    np.save(scene / "color.npy", np.full((50, 3), 9, np.uint8))
    (tmp_path / "root" / "rgbd").mkdir()
    capture.rename(tmp_path / "root" / "rgbd" / "box")
    report = Recording()
    dataset = open_dataset(tmp_path / "root", "train", report=report)
    assert report_of(dataset) is report and dataset.frames(0) is not None
    assert len(report.notices) == 1 and "rgbd/box: skipped 3 frames: 2 × pose not finite" in report.notices[0]


def test_transforms_frames_without_depth_are_reported(capture, tmp_path):
    posed = read_rgbd_export(capture)
    entries = [
        {"file_path": f"color/{name}.png", "depth_file_path": f"depth/{name}.png", "transform_matrix": c2w.tolist()}
        for name, c2w in zip(posed.names, np.linalg.inv(posed.cameras.viewmats.double().numpy()), strict=True)
    ]
    del entries[1]["depth_file_path"], entries[4]["depth_file_path"]
    entries[3]["transform_matrix"] = "none"
    (capture / "transforms.json").write_text(json.dumps({"fl_x": 60, "frames": entries}))
    for folder in ("pose", "intrinsic"):
        (capture / folder).rename(tmp_path / folder)
    report = Recording()
    open_dataset(capture, "train", report=report).frames(0)
    name = str(capture / "transforms.json")
    assert report.notices == [
        f"{name}: skipped 1 frame: 1 × unreadable transform_matrix (first {entries[3]['file_path']})",
        f"{name}: 2 of 8 frames have no depth file (first {posed.names[1]})",
    ]


# --- progress --------------------------------------------------------------------------------------------------


def test_progress_of_reading_and_fusing(capture):
    report = Recording()
    open_dataset(capture, "train", report=report).scene(0)
    assert report.work["box: reading image headers"] == [*((n, 9) for n in range(9)), (9, 9)]
    assert report.work["box: fusing depth images"] == [*((n, 8) for n in range(8)), (8, 8)]


def test_work_ends_where_it_fails():
    report = Recording()
    with pytest.raises(ZeroDivisionError):
        for item in report.steps("work", [1, 0, 2]):
            1 / item
    assert report.work["work"] == [(0, 3), (1, 3), (3, 3)]


def test_bars_are_shown_on_a_terminal_when_work_takes_long(monkeypatch):
    report = ConsoleReport("opening x")
    report._console = Console(file=io.StringIO(), force_terminal=True, width=100)

    def shown() -> str:
        return report._console.file.getvalue()  # type: ignore[attr-defined]

    for _ in report.steps("quick work", range(50)):
        pass
    assert shown() == ""
    monkeypatch.setattr(reporting, "PATIENCE", 0.05)
    with report:
        for n in report.steps("slow work", range(4)):
            time.sleep(0.15)
            if n == 2:
                report.notice("a notice")
                report.notice("a notice")
    assert "opening x" in shown() and "slow work" in shown() and "2/4" in shown()
    assert shown().count("a notice") == 1 and "quick work" not in shown()
    assert report._bar is None and report._timer is None


def test_reports_are_pickled_without_their_terminal(capture):
    dataset = open_dataset(capture, "train", report=ConsoleReport())
    again = pickle.loads(pickle.dumps(dataset))
    assert type(again.report) is Report and again.names == dataset.names


# --- memory ----------------------------------------------------------------------------------------------------


def test_long_captures_are_fused_in_bounded_memory(capture, monkeypatch):
    frames = read_rgbd_export(capture)
    index = list(range(1, len(frames))) * 12

    def peak() -> tuple[int, PointScene]:
        tracemalloc.start()
        scene = fuse.fuse_points(frames, index, voxel=0.05)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size, scene

    fuse.fuse_points(frames, index, voxel=0.05)  # frames are decoded now
    most, expected = peak()
    monkeypatch.setattr(fuse, "ROWS", 4000)
    least, scene = peak()
    assert least < most / 2
    assert np.array_equal(scene.color, expected.color)
    np.testing.assert_allclose(scene.coord, expected.coord, atol=1e-6)
    np.testing.assert_allclose(scene.normal, expected.normal, atol=1e-5)
