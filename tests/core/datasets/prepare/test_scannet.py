"""`gaussiancross prepare scannet`, from the files as downloaded to what the data sets read."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussiancross.app.commands import prepare
from gaussiancross.core.data.classes import SCANNET20, SCANNET200
from gaussiancross.core.datasets import PointceptDataset, open_dataset, read_rgbd_export
from gaussiancross.core.datasets.prepare import scannet
from gaussiancross.core.datasets.prepare.scannet_benchmark import NYU40_IDS, SCANNET200_IDS, VAL_LOCATIONS
from gaussiancross.core.datasets.scenes import splits
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.ply_table import count_vertices
from helpers import raw_data as raw
from helpers.raw_data import run

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
            assert len(data) == 1 and splits.was_sampled(out / "tasks" / "scenes" / f"{percent}.txt")
        labels = np.load(out / "train" / TRAIN / "segment20.npy")
        smaller: set[int] = set()
        for count in (20, 50, 100, 200):
            points = splits.read_point_lists(out / "tasks" / "points" / f"points{count}")
            assert splits.was_sampled(out / "tasks" / "points" / f"points{count}")
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
        assert not splits.was_sampled(tmp_path / "out" / "tasks" / "scenes" / "1.txt")
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

    def test_finished_work_is_skipped(self, download, tmp_path, capsys):
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

    def test_a_folder_without_a_download_is_refused(self, tmp_path, capsys):
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

    def test_damaged_point_lists_are_refused(self, tmp_path):
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
        shares = [splits.sample_scenes(names, p) for p in (1, 5, 10, 20)]
        assert [len(s) for s in shares] == [12, 60, 120, 240]
        assert all(set(a) < set(b) for a, b in pairwise(shares))
        assert splits.sample_scenes(names[::-1], 1) == shares[0] != splits.sample_scenes(names, 1, seed=1)
        labels = np.array([-1, 0, -1, 2, 3])
        assert splits.sample_points(labels, 200).tolist() == [1, 3, 4]
