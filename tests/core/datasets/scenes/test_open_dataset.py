"""`open_dataset`: which reader a path gets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gaussiancross.core.data.classes import S3DIS
from gaussiancross.core.datasets import Capture, PointceptDataset, open_dataset, open_scenes
from gaussiancross.core.datasets.rooms import Rooms
from gaussiancross.core.errors import InputError
from helpers.capture import write_export, write_pointcept, write_transforms


class TestOpenDataset:
    def test_recognises_the_kind_of_a_path(self, tmp_path: Path) -> None:
        export = write_export(tmp_path / "one" / "room", 2)
        write_transforms(tmp_path / "ns", 2)
        write_pointcept(tmp_path / "scannet" / "val" / "s")
        write_pointcept(tmp_path / "s3dis" / "Area_5" / "office_1", labels="segment")
        assert isinstance(open_dataset(str(export)), Capture)
        assert open_dataset(tmp_path / "one", "val", voxel=0.05).names == ("room",)
        assert isinstance(open_dataset(tmp_path / "ns"), Capture)
        assert isinstance(open_dataset(tmp_path / "ns" / "transforms.json"), Capture)
        assert isinstance(open_dataset(tmp_path / "scannet", "val"), PointceptDataset)
        assert open_dataset(tmp_path / "s3dis", "test").class_names == S3DIS
        with pytest.raises(InputError, match=r"train/<scene>/coord\.npy, found 0 scenes"):
            open_dataset(tmp_path / "scannet", "train")
        shutil.move(tmp_path / "one", tmp_path / "scannet" / "rgbd")  # frames of a root, not a root of captures
        assert isinstance(open_dataset(tmp_path / "scannet", "val"), PointceptDataset)
        assert open_dataset("rooms:2", "val", root=tmp_path / "rooms").names == open_dataset("rooms", "val").names[:2]

    def test_an_unknown_path_lists_the_accepted_kinds(self, tmp_path: Path) -> None:
        (tmp_path / "file.doc").write_text("")
        for data, found in (
            (tmp_path, "0 scenes under it"),
            (tmp_path / "none", "no such folder"),
            (tmp_path / "file.doc", "a file"),
            ("", ""),
        ):
            with pytest.raises(InputError, match=rf"transforms\.json.*val/<scene>/coord\.npy.*Area_<k>.*{found}"):
                open_dataset(data, "val")

    def test_one_room_by_name(self) -> None:
        room = open_scenes("rooms:test:3", "val")
        assert isinstance(room, Rooms) and room.names == ("room_test_000003",)
        assert room.seed(0) == Rooms("test", 4).seed(3) == Rooms("test", 2, first=2).seed(1)
        assert open_scenes("rooms:2", "test").names == open_dataset("rooms:2", "test").names
        with pytest.raises(InputError, match="0 to 999,999, found 1000000"):
            open_scenes("rooms:val:1000000")

    @pytest.mark.parametrize("spec", ["rooms:", "rooms:0", "rooms:-3", "rooms:many", "rooms:val:1"])
    def test_bad_number_of_rooms(self, spec: str) -> None:
        with pytest.raises(InputError, match="rooms:8"):
            open_dataset(spec)


def test_a_file_of_points_says_which_commands_take_it(tmp_path: Path) -> None:
    (tmp_path / "scan.npy").touch()
    with pytest.raises(
        InputError, match=r"scan\.npy: expected scenes .* found a file of splats or points; .* take the file"
    ):
        open_dataset(tmp_path / "scan.npy")
