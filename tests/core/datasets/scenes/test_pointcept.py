"""Pointcept folders of ScanNet and S3DIS."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from gaussiancross.core.data.classes import S3DIS, SCANNET20, SCANNET200
from gaussiancross.core.data.scene import PosedFrames
from gaussiancross.core.datasets import PointceptDataset, read_pointcept_scene
from gaussiancross.core.errors import InputError
from helpers.capture import write_export, write_pointcept


class TestPointcept:
    def test_scannet(self, tmp_path: Path) -> None:
        write_pointcept(tmp_path / "train" / "scene0001_00")
        write_pointcept(tmp_path / "train" / "scene0000_00", segment200=np.full(60, 199, np.int16))
        write_pointcept(tmp_path / "test" / "scene0707_00", segment20=None, instance=None)
        dataset = PointceptDataset(tmp_path, "train")
        assert dataset.names == ("scene0000_00", "scene0001_00")
        assert dataset.class_names == SCANNET20
        assert dataset.frames(0) is None
        scene = dataset.scene(1)
        assert scene.segment is not None
        assert scene.segment.dtype == np.int64
        assert scene.segment.min() == -1
        fine = PointceptDataset(tmp_path, "train", "segment200").scene(0)
        assert fine.segment is not None
        assert (fine.segment == 199).all()
        unlabelled = PointceptDataset(tmp_path, "test").scene(0)
        assert unlabelled.segment is None
        assert unlabelled.instance is None

    def test_class_lists(self) -> None:
        assert (len(SCANNET20), len(SCANNET200), len(S3DIS)) == (20, 200, 13)
        assert (SCANNET20[4], SCANNET20[15], SCANNET200[-1], S3DIS[-1]) == (
            "chair",
            "shower curtain",
            "mattress",
            "clutter",
        )
        for names in (SCANNET20, SCANNET200, S3DIS):
            assert len(set(names)) == len(names)
            assert all(name == " ".join(name.split()) and name for name in names)

    def test_s3dis_areas(self, tmp_path: Path) -> None:
        for area in (1, 2, 5):
            write_pointcept(tmp_path / f"Area_{area}" / "office_1", labels="segment", normal=None)
        dataset = PointceptDataset(tmp_path, "Area_1-2")
        assert dataset.names == ("Area_1_office_1", "Area_2_office_1")
        assert dataset.class_names == S3DIS
        scene = dataset.scene(0)
        assert scene.segment is not None
        assert not scene.normal.any()
        assert read_pointcept_scene(tmp_path / "Area_1" / "office_1").segment is not None
        assert PointceptDataset(tmp_path, "train").names == dataset.names
        assert PointceptDataset(tmp_path, "val").names == ("Area_5_office_1",)
        with pytest.raises(InputError, match="Area_5"):
            PointceptDataset(tmp_path, "Area_x")

    def test_no_scene(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"scenes as .*/train/<scene>/coord\.npy, found 0 scenes"):
            PointceptDataset(tmp_path, "train")

    def test_joined_with_frames(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c"):
            write_pointcept(tmp_path / "scannet" / "train" / name)
        write_pointcept(tmp_path / "scannet" / "val" / "d")
        write_export(tmp_path / "rgbd" / "b", 9)
        with pytest.warns(UserWarning, match="2 of 3 train scenes have no RGB-D frames.*first is a") as said:
            dataset = PointceptDataset(tmp_path / "scannet", "train", max_frames=3)
        assert len(said) == 1
        assert dataset.names == ("b",)
        assert dataset.skipped == {"no RGB-D frames": 2}
        frames = dataset.frames(0)
        assert isinstance(frames, PosedFrames)
        assert frames.names == ("0", "4", "8")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            everything = PointceptDataset(tmp_path / "scannet", "train", require_frames=False)
            assert PointceptDataset(tmp_path / "scannet", "val").names == ("d",)
        assert everything.names == ("a", "b", "c")
        assert everything.frames(0) is None
        assert everything.frames(1) is not None
        with pytest.raises(InputError, match="none for 1 scenes"):
            PointceptDataset(tmp_path / "scannet", "val", require_frames=True)
        with pytest.raises(InputError, match="no such folder"):
            PointceptDataset(tmp_path / "scannet", "val", rgbd_root=tmp_path / "other")

    def test_scene_list(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c"):
            write_pointcept(tmp_path / "train" / name)
        (tmp_path / "5.txt").write_text("c\na\n\n")
        assert PointceptDataset(tmp_path, scene_list=tmp_path / "5.txt").names == ("c", "a")
        (tmp_path / "5.txt").write_text("c\nz\n")
        with pytest.raises(InputError, match="no scene z"):
            PointceptDataset(tmp_path, scene_list=tmp_path / "5.txt")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"color": np.random.default_rng(0).random((60, 3)).astype(np.float32)}, "0–255, found colour in 0–1"),
            ({"color": np.full((60, 3), -1.0)}, "0–255.*-1"),
            ({"color": np.full((60, 3), np.nan)}, "0–255"),
            ({"color": np.full((60, 3), 300)}, "0–255.*300"),
            ({"color": np.zeros((59, 3), np.uint8)}, r"\(60, 3\).*\(59, 3\)"),
            ({"color": None}, r"color\.npy.*no such file"),
            ({"coord": np.zeros((60, 2), np.float32)}, r"\(N, 3\)"),
            ({"coord": np.zeros((60, 3), np.int64)}, "float32"),
            ({"coord": np.full((60, 3), np.nan, np.float32)}, "60 of 60 points with NaN"),
            ({"segment20": np.full(60, 20)}, "0–19"),
            ({"segment20": np.zeros(60, np.float32)}, "integer labels"),
            ({"segment20": np.zeros(59, np.int64)}, "60 integer labels"),
            ({"normal": np.zeros((60, 4), np.float32)}, r"normal\.npy"),
        ],
    )
    def test_bad_arrays(self, tmp_path: Path, changes: dict, message: str) -> None:
        write_pointcept(tmp_path / "train" / "s", **changes)
        with pytest.raises(InputError, match=message):
            PointceptDataset(tmp_path).scene(0)

    @pytest.mark.parametrize("n", [0, 1])
    def test_empty_and_one_point_scenes(self, tmp_path: Path, n: int) -> None:
        with pytest.raises(InputError, match=f"at least 2 points, found {n}"):
            read_pointcept_scene(write_pointcept(tmp_path / "s", n))

    def test_float_colour_in_255_and_old_label_shape(self, tmp_path: Path) -> None:
        color = np.array([[0, 127.6, 255.0]] * 60, np.float32)
        scene = read_pointcept_scene(write_pointcept(tmp_path / "s", color=color, segment20=np.full((60, 1), -100)))
        assert scene.color[0].tolist() == [0, 128, 255]
        assert scene.segment is not None
        assert (scene.segment == -1).all()

    @pytest.mark.parametrize("name", ["coord", "color", "segment20"])
    def test_truncated(self, tmp_path: Path, name: str) -> None:
        path = write_pointcept(tmp_path / "s") / f"{name}.npy"
        data = path.read_bytes()
        for cut in (0, 5, 64, 130, len(data) - 1):
            path.write_bytes(data[:cut])
            with pytest.raises(InputError, match=rf"{name}\.npy"):
                read_pointcept_scene(tmp_path / "s")
