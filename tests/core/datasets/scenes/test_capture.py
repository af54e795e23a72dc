"""Captures: training and held-out frames, up axis, cached fusion, pose check, the rendered living room."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.datasets import Capture, open_dataset, read_rgbd_export
from gaussiancross.core.datasets.scenes import capture
from gaussiancross.core.datasets.scenes.capture import guess_up, hold_out
from gaussiancross.core.datasets.scenes.pose_check import check_poses
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import write_color, write_depth
from helpers.capture import FLIP, SIZE, poses, wall_distance, write_export
from helpers.paths import SHARED_DATA

LIVINGROOM = SHARED_DATA / "livingroom"


@pytest.mark.parametrize(
    ("count", "every", "held"), [(43, 6, [3, 9, 15, 21, 27, 33, 39]), (3, 6, [2]), (1, 6, []), (5, 0, []), (0, 6, [])]
)
def test_hold_out(count: int, every: int, held: list[int]) -> None:
    train, back = hold_out(count, every)
    assert back == held
    assert sorted(train + back) == list(range(count))


TO_Z = {
    "z": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "-z": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "y": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "-y": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "x": [[0, 0, -1], [0, 1, 0], [1, 0, 0]],
    "-x": [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
}
"""The rotations that a capture with this axis up is turned by; stored scenes depend on them."""


class TestCapture:
    def test_train_and_val_share_the_scene_and_split_the_frames(self, export: Path) -> None:
        train, val = Capture(export, "train"), Capture(export, "val")
        a, b = train.frames(0), val.frames(0)
        assert a is not None
        assert b is not None
        assert b.names == ("3", "9")
        assert a.names == tuple(str(i) for i in range(12) if i not in (3, 9))
        assert train.names == val.names == ("room",)
        assert np.array_equal(train.scene(0).coord, val.scene(0).coord)
        assert np.allclose(b.cameras.viewmats[1].numpy(), poses(12)[9], atol=1e-5)

    def test_held_out_frames_leave_no_trace_in_the_scene(self, export: Path) -> None:
        before = Capture(export, "val").scene(0)
        for i in (3, 9):
            write_depth(export / "depth" / f"{i}.png", np.full(SIZE[::-1], 300, np.uint16))
            write_color(export / "color" / f"{i}.png", np.zeros((*SIZE[::-1], 3), np.uint8))
        after = Capture(export, "val").scene(0)
        assert np.array_equal(before.coord, after.coord)
        assert np.array_equal(before.color, after.color)

    @pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
    def test_up_axis_turns_points_and_cameras_alike(self, tmp_path: Path, up: str) -> None:
        """The room stored with another axis up comes out z up, and looks the same to its cameras."""
        to_z = np.array(TO_Z[up], np.float64)
        assert np.linalg.det(to_z) == pytest.approx(1)
        assert (to_z @ ({"x": 0, "y": 1, "z": 2}[up[-1]] == np.arange(3)) * (-1 if "-" in up else 1)).tolist() == [
            0,
            0,
            1,
        ]
        turn = np.eye(4)
        turn[:3, :3] = to_z.T
        folder = write_export(tmp_path / "turned", turn=turn)
        assert guess_up(read_rgbd_export(folder)) == up
        for option in ("auto", up):
            dataset = Capture(folder, up_axis=option)  # type: ignore[arg-type]
            assert np.median(wall_distance(dataset.scene(0).coord)) < 1e-3
            frames = dataset.frames(0)
            assert frames is not None
            kept = [i for i in range(12) if i not in (3, 9)]
            assert np.allclose(frames.cameras.viewmats.numpy(), np.stack(poses(12))[kept], atol=1e-5)
        assert torch.equal(dataset.rotation(0)[:3, :3], torch.tensor(to_z, dtype=torch.float32))

    def test_fused_once(self, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[int] = []
        fuse = capture.fuse_points
        monkeypatch.setattr(capture, "fuse_points", lambda *a, **k: (calls.append(1), fuse(*a, **k))[1])
        first = Capture(export).scene(0)
        again = Capture(export, "val").scene(0)
        assert len(calls) == 1
        for name in ("coord", "color", "normal"):
            assert np.array_equal(first.arrays()[name], again.arrays()[name])
        Capture(export, voxel=0.05).scene(0)
        assert len(calls) == 2
        os.utime(export / "depth" / "0.png", (1, 1))
        Capture(export).scene(0)
        assert len(calls) == 3
        cached = sorted(capture.cache_folder().rglob("*.safetensors"), key=lambda p: p.stat().st_mtime)
        for path in cached:
            path.write_bytes(path.read_bytes()[:-100])  # damaged: made again
        assert np.array_equal(Capture(export).scene(0).coord, first.coord)
        assert len(calls) == 4

    def test_cache_that_cannot_be_written_is_only_a_warning(
        self, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path / "file"))
        dataset = Capture(export)
        with pytest.warns(UserWarning, match="cannot be kept"):
            scene = dataset.scene(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert dataset.scene(0) is scene

    def test_folder_of_captures(self, tmp_path: Path) -> None:
        write_export(tmp_path / "all" / "rgbd" / "b", 3)
        write_export(tmp_path / "all" / "rgbd" / "a", 2)
        dataset = Capture(tmp_path / "all")
        assert dataset.names == ("a", "b")
        assert [len(dataset.frames(i) or ()) for i in (0, 1)] == [1, 2]
        assert dataset.scene(1).name == "b"

    def test_capture_of_one_frame_has_nothing_to_hold_out(self, tmp_path: Path) -> None:
        folder = write_export(tmp_path / "one", 1)
        assert len(Capture(folder).frames(0) or ()) == 1
        assert Capture(folder, "val").frames(0) is None
        assert len(Capture(folder, "val").scene(0)) > 100

    @pytest.mark.parametrize("path", [".", "../scene"])
    def test_the_scene_is_named_after_its_folder(
        self, path: str, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(export)
        assert Capture(path if path == "." else f"../{export.name}").names == (export.name,)

    def test_travels_to_worker_processes(self, export: Path) -> None:
        dataset = Capture(export)
        dataset.frames(0)
        again = pickle.loads(pickle.dumps(dataset))
        assert np.array_equal(again.scene(0).coord, dataset.scene(0).coord)

    def test_bad_options(self, export: Path, tmp_path: Path) -> None:
        for options, message in (
            ({"split": "eval"}, "train"),
            ({"up_axis": "w"}, "up_axis"),
            ({"holdout": 1}, "holdout"),
            ({"holdout": -2}, "holdout"),
        ):
            with pytest.raises(InputError, match=message):
                Capture(export, **options)  # type: ignore[arg-type]
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="found 0 scenes"):
            Capture(tmp_path / "empty")


class TestPoseCheck:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (np.linalg.inv, "found world-to-camera matrices instead of camera-to-world"),
            (lambda c2w: c2w @ FLIP, "found the other camera convention"),
            (lambda c2w: np.linalg.inv(c2w @ FLIP), "found world-to-camera matrices in the other"),
        ],
    )
    def test_mix_ups_are_named(self, export: Path, wrong: Callable[[np.ndarray], np.ndarray], message: str) -> None:
        for path in (export / "pose").iterdir():
            np.savetxt(path, wrong(np.loadtxt(path)))
        with pytest.raises(InputError, match=message):
            Capture(export, up_axis="z").scene(0)

    def test_right_poses_and_still_captures_pass(self, export: Path) -> None:
        frames = read_rgbd_export(export)
        check_poses(frames, "room")
        check_poses(frames.subset([0]), "room")
        still = replace(frames.subset([0, 0, 0]), names=("a", "b", "c"))
        check_poses(still, "room")


@pytest.mark.skipif(not LIVINGROOM.is_dir(), reason="sample data beside the project is absent")
class TestLivingroom:
    def test_fused_scene_matches_held_out_depth(self) -> None:
        train, val = open_dataset(str(LIVINGROOM), "train"), open_dataset(str(LIVINGROOM), "val")
        scene, held = train.scene(0), val.frames(0)
        assert held is not None
        assert held.names == ("00015", "00045", "00075", "00105", "00135", "00165", "00195")
        assert 30_000 < len(scene) < 60_000
        assert np.ptp(scene.coord[:, 2]) < 2.0  # z is up after the turn: the capture stores y down
        up = scene.normal[:, 2] > 0.95
        assert up.mean() > 0.1  # the floor and the seats
        _, depth, cameras = held.stack([2], 160, 120)
        uv, z = cameras.project(torch.from_numpy(scene.coord))
        inside = (z[0] > 0) & (uv[0] >= 0).all(-1) & (uv[0] < torch.tensor([160, 120])).all(-1)
        u, v = uv[0, inside].long().unbind(-1)
        assert (depth[0, v, u] - z[0, inside]).abs().median() < 0.015
