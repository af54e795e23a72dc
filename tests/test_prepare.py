"""`gaussiancross prepare`: ScanNet and S3DIS as downloaded, through our readers, to what the data sets read."""

from __future__ import annotations

import json
import struct
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import raw_data as raw
import torch
from gaussiancross.app import cli
from gaussiancross.app.commands import prepare
from gaussiancross.core.data.classes import S3DIS, SCANNET20, SCANNET200
from gaussiancross.core.datasets import PointceptDataset, open_dataset, read_rgbd_export
from gaussiancross.core.datasets.prepare import s3dis, scannet
from gaussiancross.core.datasets.prepare.scannet_benchmark import NYU40_IDS, SCANNET200_IDS, VAL_LOCATIONS
from gaussiancross.core.datasets.prepare.tasks import Task, run_tasks
from gaussiancross.core.datasets.scenes import splits
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.normals import vertex_normals
from gaussiancross.core.io.ply_table import count_vertices, read_triangles, read_vertices
from gaussiancross.core.io.sens import read_sens

TRAIN, VAL, TEST = "scene0000_00", "scene0011_00", "scene0707_00"


@pytest.fixture
def download(tmp_path) -> Path:
    """ScanNet with two training scenes, one of validation and one of the test set."""
    root = tmp_path / "raw"
    for name in (TRAIN, "scene0001_00", VAL):
        raw.write_scannet_scene(root, name)
    raw.write_scannet_scene(root, TEST, labels=False)
    raw.write_label_table(root / scannet.LABEL_TABLE)
    return root


def run(*args: object) -> int:
    return cli.main(["prepare", *map(str, args), "--workers", "1"])


# --- .sens -----------------------------------------------------------------------------------------------------------


class TestSens:
    def test_header_frames_and_images(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=3)
        sens = read_sens(tmp_path / "a.sens")
        assert (sens.name, sens.color_codec, sens.depth_codec) == ("StructureSensor", "jpeg", "zlib")
        assert sens.color_size == raw.COLOR_SIZE and sens.depth_size == raw.DEPTH_SIZE
        np.testing.assert_array_equal(sens.color_intrinsics.astype(np.float32), raw.intrinsics(*raw.COLOR_K))
        np.testing.assert_array_equal(sens.depth_intrinsics.astype(np.float32), raw.intrinsics(*raw.DEPTH_K))
        assert [f.index for f in sens.frames] == [0, 1, 2]
        np.testing.assert_array_equal(sens.frames[2].pose, raw.pose_of(2))
        for i, (color, depth) in zip((2, 0), sens.images([sens.frames[2], sens.frames[0]]), strict=True):
            np.testing.assert_array_equal(depth, raw.depth_of(i))
            assert color.size == raw.COLOR_SIZE
            np.testing.assert_allclose(np.asarray(color)[5, 5], (20 * i, 100, 200), atol=3)

    def test_other_depth_units_become_millimetres(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=1, shift=5000)
        sens = read_sens(tmp_path / "a.sens")
        (_, depth), *_ = sens.images(sens.frames)
        np.testing.assert_array_equal(depth, raw.depth_of(0))

    def test_truncation_at_any_byte_is_said(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=2)
        whole = (tmp_path / "a.sens").read_bytes()[:-8]
        for length in [*range(0, 400, 7), len(whole) // 2, len(whole) - 1]:
            (tmp_path / "a.sens").write_bytes(whole[:length])
            with pytest.raises(InputError, match=r"truncated|ends in frame|version|name|sizes"):
                read_sens(tmp_path / "a.sens")

    def test_what_is_not_read_is_refused(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=1)
        whole = (tmp_path / "a.sens").read_bytes()
        codecs = 4 + 8 + len(b"StructureSensor") + 4 * 64
        for place, value, message in ((0, 3, "version 3"), (codecs, 7, "codes 7 and 1"), (codecs + 8, 10**6, "sizes")):
            (tmp_path / "a.sens").write_bytes(whole[:place] + struct.pack("<I", value) + whole[place + 4 :])
            with pytest.raises(InputError, match=message):
                read_sens(tmp_path / "a.sens")
        with pytest.raises(InputError, match="no such file"):
            read_sens(tmp_path / "none.sens")

    def test_a_damaged_image_names_its_frame(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=2)
        data = bytearray((tmp_path / "a.sens").read_bytes())
        frame = read_sens(tmp_path / "a.sens").frames[1]
        data[frame.offset + frame.color_bytes + 5] ^= 0xFF
        (tmp_path / "a.sens").write_bytes(data)
        sens = read_sens(tmp_path / "a.sens")
        with pytest.raises(InputError, match="frame 1"):
            list(sens.images(sens.frames))


# --- meshes ----------------------------------------------------------------------------------------------------------


class TestMesh:
    def test_triangles_and_normals(self, tmp_path):
        coord, color, triangles, segment = raw.corner()
        raw.write_mesh(tmp_path / "m.ply", coord, color, triangles)
        assert count_vertices(tmp_path / "m.ply") == len(read_vertices(tmp_path / "m.ply")) == len(coord)
        np.testing.assert_array_equal(read_triangles(tmp_path / "m.ply"), triangles)
        normal = vertex_normals(coord, triangles)
        np.testing.assert_allclose(normal, np.where(segment[:, None] == 7, [0, 0, 1], [1, 0, 0]), atol=1e-6)

    def test_area_weighs_and_lone_vertices_have_none(self):
        coord = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1], [5, 5, 5]])
        normal = vertex_normals(coord, np.array([[0, 1, 2], [0, 2, 3]]))  # areas 1 (z) and 1/2 (x)
        np.testing.assert_allclose(normal[0], np.array([1, 0, 2]) / 5**0.5, atol=1e-6)
        assert not normal[4].any()

    def test_what_has_no_triangles_is_refused(self, tmp_path):
        coord, color, triangles, _ = raw.corner()
        path = tmp_path / "m.ply"
        raw.write_mesh(path, coord, color, triangles)
        whole = path.read_bytes()
        path.write_bytes(whole[:-5])
        with pytest.raises(InputError, match=r"rows of 1600"):
            read_triangles(path)
        path.write_bytes(whole[:-13] + b"\x04" + whole[-12:])
        with pytest.raises(InputError, match="other polygons"):
            read_triangles(path)


# --- ScanNet ---------------------------------------------------------------------------------------------------------


class TestScanNet:
    def test_benchmark_lists_are_the_published_ones(self, shared_data):
        meta = shared_data / "meta"
        classes = json.loads((meta / "scannet_classes.json").read_text())
        assert list(NYU40_IDS) == classes["VALID_CLASS_IDS_20"]
        assert list(SCANNET200_IDS) == classes["VALID_CLASS_IDS_200"]
        for split in ("train", "val"):
            names = (meta / f"scannetv2_{split}.txt").read_text().split()
            assert {scannet.split_of(n) for n in names} == {split}
        assert scannet.split_of("scene0806_00") == "test" and len(VAL_LOCATIONS) == 142

    def test_the_published_label_table(self, shared_data):
        table = scannet.read_label_table(shared_data / "meta" / scannet.LABEL_TABLE)
        named = {k: (SCANNET20[a] if a >= 0 else "", SCANNET200[b] if b >= 0 else "") for k, (a, b) in table.items()}
        assert named["wall"] == ("wall", "wall") and named["couch"] == ("sofa", "couch")
        assert named["trash can"] == ("otherfurniture", "trash can") and named["pillow"] == ("", "pillow")
        assert {a for a, _ in table.values()} == {-1, *range(20)} and {b for _, b in table.values()} == {
            -1,
            *range(200),
        }

    def test_there_and_back(self, download, tmp_path):
        out = tmp_path / "out"
        assert run("scannet", download, "--out", out, "--frames", 3) == 0
        assert open_dataset(out, "train").names == (TRAIN, "scene0001_00")
        assert open_dataset(out, "val").names == (VAL,)
        coord, color, _, segment = raw.corner()
        for labels, (floor, wall) in {"segment20": (1, -1), "segment200": (2, SCANNET200.index("pillow"))}.items():
            data = PointceptDataset(out, "train", labels)
            scene = data.scene(0)
            np.testing.assert_array_equal(scene.coord, coord)
            np.testing.assert_array_equal(scene.color, color)
            assert (scene.normal[segment == 7] == [0, 0, 1]).all()
            annotated = coord[:, 1] <= 1.55
            np.testing.assert_array_equal(scene.segment, np.where(annotated, np.where(segment == 7, floor, wall), -1))
            np.testing.assert_array_equal(scene.instance, np.where(annotated, np.where(segment == 7, 0, 1), -1))
        frames = data.frames(0)
        assert frames is not None and len(frames) == 3
        assert not (out / "test" / TEST / "segment20.npy").exists() and (out / "test" / TEST / "coord.npy").is_file()
        assert (out / prepare.SKIPPED).read_text() == "" and not (out / ".partial").exists()

    def test_splits(self, download, tmp_path):
        out = tmp_path / "out"
        assert run("scannet", download, "--out", out, "--frames", 0) == 0
        assert not (out / "rgbd").exists()
        assert (out / "splits" / "train.txt").read_text().split() == [TRAIN, "scene0001_00"]
        for percent in (1, 5, 10, 20):
            data = PointceptDataset(out, "train", scene_list=out / "tasks" / "scenes" / f"{percent}.txt")
            assert len(data) == 1 and splits.is_drawn(out / "tasks" / "scenes" / f"{percent}.txt")
        labels = np.load(out / "train" / TRAIN / "segment20.npy")
        smaller: set[int] = set()
        for count in (20, 50, 100, 200):
            points = splits.read_point_lists(out / "tasks" / "points" / f"points{count}")
            assert splits.is_drawn(out / "tasks" / "points" / f"points{count}")
            assert set(points) == {TRAIN, "scene0001_00"}
            index = set(points[TRAIN].tolist())
            assert len(index) == count and smaller < index and (labels[points[TRAIN]] >= 0).all()
            smaller = index
            scene = PointceptDataset(out, "train", point_list=out / "tasks" / "points" / f"points{count}").scene(0)
            assert scene.segment is not None and scene.instance is not None
            assert set(np.flatnonzero(scene.segment >= 0).tolist()) == index
            np.testing.assert_array_equal(scene.segment[points[TRAIN]], labels[points[TRAIN]])
            assert (scene.instance[np.setdiff1d(np.arange(len(scene)), points[TRAIN])] == -1).all()

    def test_the_benchmarks_own_lists_are_copied(self, download, tmp_path):
        (download / "tasks" / "scenes").mkdir(parents=True)
        (download / "tasks" / "scenes" / "1.txt").write_text(f"{TRAIN}\n")
        assert run("scannet", download, "--out", tmp_path / "out", "--frames", 0) == 0
        assert (tmp_path / "out" / "tasks" / "scenes" / "1.txt").read_text() == f"{TRAIN}\n"
        assert not splits.is_drawn(tmp_path / "out" / "tasks" / "scenes" / "1.txt")
        assert not (tmp_path / "out" / "tasks" / "points").exists()

    def test_bad_scenes_are_listed_and_left_out(self, download, tmp_path, capsys):
        out, broken = tmp_path / "out", download / "scans" / "scene0001_00"
        (broken / "scene0001_00_vh_clean_2.0.010000.segs.json").write_text('{"segIndices": [1, 2]}')
        sens = download / "scans" / VAL / f"{VAL}.sens"
        raw.write_sens(sens, frames=2, lost=(0, 1))
        (download / "scans" / TRAIN / f"{TRAIN}_vh_clean_2.ply").write_bytes(b"ply\n")
        assert run("scannet", download, "--out", out) == 0
        said = (out / prepare.SKIPPED).read_text().splitlines()
        printed = capsys.readouterr().out
        assert len(said) == 3 and all(f"left out: {line.split(':')[0]}" in printed for line in said)
        assert any(line.startswith("scene0001_00: ") and "882 integers" in line for line in said)
        assert any(line.startswith(f"{VAL} frames: ") and "2 × pose not finite" in line for line in said)
        assert any(line.startswith(f"{TRAIN}: ") and "a PLY file" in line for line in said)
        assert not (out / "train").joinpath("scene0001_00").exists() and (out / "val" / VAL).is_dir()
        assert not (out / ".partial").exists()

    def test_what_is_done_is_not_done_again(self, download, tmp_path, capsys):
        out = tmp_path / "out"
        assert run("scannet", download, "--out", out, "--only", TRAIN) == 0
        assert not (out / "val").exists()
        stamp = (out / "train" / TRAIN / "coord.npy").stat().st_mtime_ns
        (out / ".partial" / f"val-{VAL}" / "rest").mkdir(parents=True)  # as a killed process leaves it
        assert run("scannet", download, "--out", out) == 0
        assert (out / "train" / TRAIN / "coord.npy").stat().st_mtime_ns == stamp
        assert {p.name for p in (out / "val").iterdir()} == {VAL} and not (out / ".partial").exists()
        capsys.readouterr()
        assert run("scannet", download, "--out", out, "--estimate") == 0
        assert "about 0 B" in capsys.readouterr().out

    def test_the_estimate_is_close_and_guards_the_disk(self, download, tmp_path, monkeypatch, capsys):
        out = tmp_path / "out"
        assert run("scannet", download, "--out", out, "--estimate") == 0
        assert not out.exists()
        scene = scannet.find_scenes(download)[0]
        assert run("scannet", download, "--out", out, "--only", scene.name) == 0
        arrays = sum(f.stat().st_size - 128 for f in (out / "train" / scene.name).iterdir())
        assert arrays == count_vertices(scene.mesh) * scannet.BYTES_PER_POINT
        images = sum(f.stat().st_size for f in (out / "rgbd" / scene.name).rglob("*.*g"))
        assert scannet.frame_bytes(scene.recording, 4, 130) == pytest.approx(images, rel=1.0)
        monkeypatch.setattr(prepare.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
        assert run("scannet", download, "--out", tmp_path / "other") == 2
        assert "of space, found 10 B" in capsys.readouterr().err

    def test_frames_are_those_of_the_recording(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=9, lost=(0, 3))
        assert scannet.export_frames(tmp_path / "a.sens", tmp_path / "out", count=4, width=64) == 4
        frames = read_rgbd_export(tmp_path / "out")
        assert frames.names == ("1", "4", "6", "8") and not frames.skipped
        np.testing.assert_allclose(torch.linalg.inv(frames.cameras.viewmats[1]).numpy(), raw.pose_of(4), atol=1e-5)
        fx, _, cx, _ = raw.DEPTH_K
        assert frames.cameras.Ks[0, 0].tolist() == pytest.approx([fx, 0, cx + 0.5], abs=1e-3)
        frame = frames.read(1, *raw.DEPTH_SIZE)
        np.testing.assert_allclose(frame.depth, raw.depth_of(4) / 1000, atol=1e-6)
        np.testing.assert_allclose(frame.color[20, 30] * 255, (80, 100, 200), atol=4)

    def test_shrunk_colour_sees_the_same(self, tmp_path):
        """What a depth pixel's ray hits in the colour image stays in place, whatever size that is exported at."""
        raw.write_sens(tmp_path / "a.sens", frames=1)
        boxes = []
        for width in (130, 65):
            scannet.export_frames(tmp_path / "a.sens", tmp_path / str(width), count=1, width=width)
            box = read_rgbd_export(tmp_path / str(width)).read.files[0].box
            boxes.append(np.array(box if box is not None else (0, 0, width, width)) / width)
        np.testing.assert_allclose(boxes[0], boxes[1], atol=0.01)

    def test_what_is_no_download_is_refused(self, tmp_path, capsys):
        assert run("scannet", tmp_path, "--out", tmp_path / "out") == 2
        raw.write_scannet_scene(tmp_path, TRAIN, frames=0)
        assert run("scannet", tmp_path, "--out", tmp_path / "out") == 2
        raw.write_label_table(tmp_path / scannet.LABEL_TABLE)
        assert run("scannet", tmp_path, "--out", tmp_path / "out", "--only", "scene0005_00") == 2
        said = capsys.readouterr().err
        assert "found 0 scenes" in said and "table of labels" in said and "found scene0005_00" in said


class TestPointLists:
    def test_arrays_of_the_benchmark_are_read(self, tmp_path):
        torch.save({TRAIN: np.array([3, 1]), VAL: [5]}, tmp_path / "points20")
        points = splits.read_point_lists(tmp_path / "points20")
        assert {k: v.tolist() for k, v in points.items()} == {TRAIN: [3, 1], VAL: [5]}

    def test_what_is_no_list_is_refused(self, tmp_path):
        torch.save({TRAIN: np.array([0.5])}, tmp_path / "x")
        with pytest.raises(InputError, match="indices of points by scene"):
            splits.read_point_lists(tmp_path / "x")
        torch.save([1, 2], tmp_path / "x")
        with pytest.raises(InputError, match="found list"):
            splits.read_point_lists(tmp_path / "x")

    def test_a_list_of_other_scenes_is_refused(self, tmp_path):
        folder = tmp_path / "train" / TRAIN
        folder.mkdir(parents=True)
        np.save(folder / "coord.npy", np.zeros((3, 3), np.float32))
        np.save(folder / "color.npy", np.zeros((3, 3), np.uint8))
        np.save(folder / "segment20.npy", np.zeros(3, np.int64))
        splits.write_point_lists(tmp_path / "points", {VAL: np.array([0])})
        with pytest.raises(InputError, match=f"points of {TRAIN}"):
            PointceptDataset(tmp_path, "train", point_list=tmp_path / "points").scene(0)
        splits.write_point_lists(tmp_path / "points", {TRAIN: np.array([3])})
        with pytest.raises(InputError, match="indices from 0 to 2"):
            PointceptDataset(tmp_path, "train", point_list=tmp_path / "points").scene(0)

    def test_draws_are_nested_and_belong_to_their_seed(self):
        names = [f"scene{i:04d}_00" for i in range(1201)]
        shares = [splits.draw_scenes(names, p) for p in (1, 5, 10, 20)]
        assert [len(s) for s in shares] == [12, 60, 120, 240]
        assert all(set(a) < set(b) for a, b in pairwise(shares))
        assert splits.draw_scenes(names[::-1], 1) == shares[0] != splits.draw_scenes(names, 1, seed=1)
        labels = np.array([-1, 0, -1, 2, 3])
        assert splits.draw_points(labels, 200).tolist() == [1, 3, 4]


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

    def test_lines_that_only_add_up_are_noticed(self, tmp_path):
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


# --- tasks -----------------------------------------------------------------------------------------------------------


def write_number(number: int, folder: Path) -> None:
    if number == 2:
        raise InputError("two", "another number", "2")
    (folder / "number.txt").write_text(str(number))


def fill_disk(folder: Path) -> None:
    raise OSError(28, "No space left on device")


class TestTasks:
    @pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_all_is_done_once_and_failures_leave_nothing(self, tmp_path, workers):
        tasks = [Task(str(i), tmp_path / "a" / str(i), partial(write_number, i)) for i in range(5)]
        (tmp_path / "a" / "3").mkdir(parents=True)
        outcomes = {o.task.name: o.error for o in run_tasks(tasks, workers)}
        assert set(outcomes) == {"0", "1", "2", "4"} and "another number" in (outcomes.pop("2") or "")
        assert set(outcomes.values()) == {None}
        assert {p.name for p in (tmp_path / "a").iterdir()} == {"0", "1", "3", "4"}
        assert (tmp_path / "a" / "4" / "number.txt").read_text() == "4"

    def test_a_full_disk_ends_it(self, tmp_path):
        tasks = [Task(n, tmp_path / "a" / n, work) for n, work in (("x", fill_disk), ("y", partial(write_number, 1)))]
        with pytest.raises(InputError, match="full disk; free some space"):
            list(run_tasks(tasks))
        assert [p.name for p in tmp_path.iterdir()] == ["a"] and not list((tmp_path / "a").iterdir())
