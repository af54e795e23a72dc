"""`gaussiancross prepare s3dis`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gaussiancross.app.commands import prepare
from gaussiancross.core.data.classes import S3DIS
from gaussiancross.core.datasets import open_dataset
from gaussiancross.core.datasets.prepare import s3dis
from gaussiancross.core.errors import InputError
from helpers import raw_data as raw
from helpers.raw_data import run


# --- S3DIS -----------------------------------------------------------------------------------------------------------
class TestS3dis:
    @pytest.fixture
    def download(self, tmp_path) -> Path:
        root = tmp_path / "raw"
        for area, name in (("Area_1", "office_1"), ("Area_1", "hallway_2"), ("Area_5", "office_1")):
            raw.write_s3dis_room(root, area, name)
        return root

    def test_there_and_back(self, download, tmp_path):
        out = tmp_path / "out"
        assert run("s3dis", download, "--out", out) == 0
        train, val = open_dataset(out, "Area_1"), open_dataset(out, "val")
        assert train.names == ("Area_1_hallway_2", "Area_1_office_1") and val.names == ("Area_5_office_1",)
        scene = train.scene(1)
        assert len(scene) == 1000 and scene.segment is not None and scene.instance is not None
        names = [S3DIS[k] for k in scene.segment[::200]]
        assert names == ["ceiling", "chair", "chair", "floor", "clutter"]  # stairs are no class
        assert scene.instance[::200].tolist() == [0, 1, 2, 3, 4]
        lines = (download / "Area_1" / "office_1" / "Annotations" / "ceiling_1.txt").read_text().splitlines()
        values = np.array([line.split() for line in lines], float)
        np.testing.assert_allclose(scene.coord[:200], values[:, :3], atol=1e-5)
        np.testing.assert_array_equal(scene.color[:200], values[:, 3:])
        inner = np.abs(scene.coord[:200, :2] - [-18, 31]).max(1) < 0.7
        assert (scene.normal[:200][inner, 2] < -0.9).all()  # the ceiling looks down

    def test_alignment(self, download, tmp_path):
        for name, options in {"as_scanned": [], "aligned": ["--align"]}.items():
            assert run("s3dis", download, "--out", tmp_path / name, "--only", "Area_5", *options) == 0
        before, after = (open_dataset(tmp_path / n, "val").scene(0).coord for n in ("as_scanned", "aligned"))
        middle = (before.min(0) + before.max(0)) / 2
        x, y, z = (before - middle).T
        np.testing.assert_allclose(after - middle, np.stack([y, -x, z], 1), atol=1e-4)  # 90° back, clockwise

    def test_stray_characters(self, tmp_path):
        path = tmp_path / "ceiling_1.txt"
        path.write_bytes(
            b"1.000 2.000 3.000 10 20 30\n"
            b"4.000 5.000 6.000 103.0\x100000 50 60\n"  # inside a number
            b"7.000 8.000 9.000 70 80\x1090\n"  # instead of a space
            b"1.5 2.5\n"
            b"\n"
            b"nan 1 2 3 4 5\n"
            b"-1e-1 2.000 3.000 1 2 3\r\n"
        )
        with pytest.warns(UserWarning, match=r"left out 2 of 6 lines"):
            points = s3dis.read_object(path)
        assert points.tolist() == [
            [1, 2, 3, 10, 20, 30],
            [4, 5, 6, 103, 50, 60],
            [7, 8, 9, 70, 80, 90],
            [-0.1, 2, 3, 1, 2, 3],
        ]

    def test_damaged_lines_whose_numbers_add_up_are_noticed(self, tmp_path):
        path = tmp_path / "x.txt"
        path.write_text("1 2 3 4 5\n1 2 3 4 5 6 7\n1 2 3 4 5 6\n9 9 9 9 9 9")
        with pytest.warns(UserWarning, match="left out 2 of 4"):
            assert s3dis.read_object(path).tolist() == [[1, 2, 3, 4, 5, 6], [9] * 6]
        path.write_text("hello\n")
        with pytest.raises(InputError, match='"x y z r g b"'):
            s3dis.read_object(path)

    def test_bad_rooms_are_listed_and_left_out(self, download, tmp_path):
        for file in (download / "Area_1" / "hallway_2" / "Annotations").glob("*.txt"):
            file.write_text("")
        assert run("s3dis", download, "--out", tmp_path / "out") == 0
        assert "Area_1/hallway_2: " in (tmp_path / "out" / prepare.SKIPPED).read_text()
        assert open_dataset(tmp_path / "out", "Area_1").names == ("Area_1_office_1",)

    def test_alignment_needs_every_angle(self, download, tmp_path, capsys):
        (download / "Area_1" / "Area_1_alignmentAngle.txt").write_text("office_1 0\n")
        assert run("s3dis", download, "--out", tmp_path / "out", "--align") == 0
        assert "the angle of hallway_2" in (tmp_path / "out" / prepare.SKIPPED).read_text()
        (download / "Area_1" / "Area_1_alignmentAngle.txt").unlink()
        assert run("s3dis", download, "--out", tmp_path / "out", "--align") == 2
        assert "without --align" in capsys.readouterr().err
