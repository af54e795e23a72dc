"""Evaluation sets in their published layouts, pickles read without running them, triplets."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.objects import points_as_gaussians, write_object_npz
from gaussiancross.core.datasets.objects.published import SCANOBJECTNN, open_object_set, read_fold
from gaussiancross.core.datasets.objects.triplets import TripletObject, Triplets, splits, write_triplets
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.pickles import read_object_array, read_pickle
from gaussiancross.core.io.ply import write_gaussians

RNG = np.random.default_rng(0)


def cloud(n=100):
    return RNG.uniform(-1, 1, (n, 3)).astype(np.float32)


class Evil:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


class TestPickles:
    @pytest.mark.parametrize("protocol", range(2, 6))
    def test_arrays_in_containers(self, tmp_path, protocol):
        value = {"train": [(cloud(5), 3, np.int64(4)), (cloud(5).astype(np.float64), "é", None)], "b": b"x", "f": 1.5}
        path = tmp_path / "a.pkl"
        path.write_bytes(pickle.dumps(value, protocol))
        found = read_pickle(path)
        np.testing.assert_array_equal(found["train"][0][0], value["train"][0][0])
        assert found["train"][1][1:] == ("é", None) and found["train"][0][2] == 4 and found["f"] == 1.5

    @pytest.mark.parametrize("nested", [False, True])
    def test_code_is_refused_by_name_before_it_runs(self, tmp_path, nested):
        mark, path = tmp_path / "ran", tmp_path / "a.pkl"
        value = np.array([Evil(mark)], object) if nested else Evil(mark)
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(
            InputError, match=r"the name pathlib.*Path.*touch|the name pathlib|the name builtins.getattr"
        ):
            read_pickle(path)
        np.save(tmp_path / "a.npy", np.array([Evil(mark)], object), allow_pickle=True)
        with pytest.raises(InputError, match="the name "):
            read_object_array(tmp_path / "a.npy")
        assert not mark.exists()

    def test_damage(self, tmp_path):
        path = tmp_path / "a.npy"
        np.save(path, np.array([{"xyz": cloud()}] * 3, object), allow_pickle=True)
        whole = path.read_bytes()
        assert read_object_array(path)[2]["xyz"].shape == (100, 3)
        for cut in (3, 40, 130, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:cut])
            with pytest.raises(InputError, match=r"a\.npy"):
                read_object_array(path)
        np.save(path, cloud())
        with pytest.raises(InputError, match="an array of type float32"):
            read_object_array(path)

    def test_a_dict_in_an_array_without_axes(self, tmp_path):
        np.save(tmp_path / "a.npy", {"xyz": 3}, allow_pickle=True)  # type: ignore[arg-type]
        assert read_object_array(tmp_path / "a.npy") == {"xyz": 3}


def write_modelnet(root, names=("bed", "night_stand", "bed"), listed=None):
    clouds = np.empty(len(names), object)
    for i in range(len(names)):
        clouds[i] = {"xyz": cloud().astype(np.float64), "rgb": np.full((100, 3), 51 * i)}
    np.save(root / "test_pc.npy", clouds, allow_pickle=True)
    (root / "test_split.json").write_text(
        json.dumps([{"category": n, "name": f"{n}_{i}"} for i, n in enumerate(names)])
    )
    if listed:
        (root / "modelnet40_shape_names.txt").write_text("\n".join(listed) + "\n")
    return clouds


class TestSets:
    def test_modelnet40(self, tmp_path):
        clouds = write_modelnet(tmp_path, listed=["airplane", "bed", "night_stand"])
        s = open_object_set(tmp_path)
        assert s.name == "ModelNet40" and s.classes == ("airplane", "bed", "night stand") and len(s) == 3
        assert s.labels.tolist() == [1, 2, 1] and s.ids == ("bed_0", "night_stand_1", "bed_2")
        g = s.load(1)
        np.testing.assert_allclose(g.means.numpy(), clouds[1]["xyz"], rtol=1e-6)
        np.testing.assert_allclose(g.colors.numpy(), 0.2, rtol=1e-6)
        up = open_object_set(tmp_path, up="z").load(1)
        np.testing.assert_allclose(up.means.numpy()[:, 1], clouds[1]["xyz"][:, 2], atol=1e-6)

    def test_modelnet40_that_does_not_fit(self, tmp_path):
        write_modelnet(tmp_path, listed=["airplane"])
        with pytest.raises(InputError, match=r"categories among airplane.*'bed'"):
            open_object_set(tmp_path)
        write_modelnet(tmp_path)
        (tmp_path / "test_split.json").write_text('[{"category": "bed"}]')
        with pytest.raises(InputError, match=r"1 clouds.*\(3,\)"):
            open_object_set(tmp_path)

    def test_objaverse_lvis(self, tmp_path):
        (tmp_path / "pc").mkdir()
        for name in ("aa", "bb"):
            np.save(tmp_path / "pc" / f"{name}.npy", {"xyz": cloud(), "rgb": np.full((100, 3), 0.3)}, allow_pickle=True)  # type: ignore[arg-type]
        write_object_npz(tmp_path / "pc" / "cc.npz", points_as_gaussians(cloud()))
        lines = ["3,wooden_chair,aa,/pc/aa.npy", "0,lamp,bb,/pc/bb.npy", "3,wooden_chair,cc,pc/cc.npz"]
        (tmp_path / "lvis_testset.txt").write_text("\n".join(lines) + "\n")
        s = open_object_set(tmp_path)
        assert s.classes == ("lamp", "class 1", "class 2", "wooden chair") and s.ids == ("aa", "bb", "cc")
        assert s.labels.tolist() == [3, 0, 3]
        np.testing.assert_allclose(s.load(0).colors.numpy(), 0.3, rtol=1e-6)
        assert len(s.load(2)) == 100
        (tmp_path / "lvis_testset.txt").write_text(lines[0] + "\nx,lamp,bb\n")
        with pytest.raises(InputError, match=r"line 2: expected class number.*'x,lamp,bb'"):
            open_object_set(tmp_path)

    def test_scanobjectnn_h5(self, tmp_path):
        h5py = pytest.importorskip("h5py")
        data = np.stack([cloud(128) for _ in range(3)])
        with h5py.File(tmp_path / "test_objectdataset.h5", "w") as file:
            file["data"], file["label"] = data, np.array([0, 14, 4])
        s = open_object_set(tmp_path / "test_objectdataset.h5")
        assert s.classes == SCANOBJECTNN and s.labels.tolist() == [0, 14, 4]
        np.testing.assert_allclose(s.load(2).means.numpy(), data[2])
        np.testing.assert_allclose(s.load(2).colors.numpy(), 0.4, rtol=1e-6)
        (tmp_path / "cut.h5").write_bytes((tmp_path / "test_objectdataset.h5").read_bytes()[:600])
        with pytest.raises(InputError, match=r"cut\.h5"):
            open_object_set(tmp_path / "cut.h5")

    def test_without_h5py(self, tmp_path, monkeypatch):
        (tmp_path / "a.h5").write_bytes(b"\x89HDF")
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(InputError, match="pip install h5py"):
            open_object_set(tmp_path / "a.h5")

    def test_scanobjectnn_npy(self, tmp_path):
        table = {"xyz": np.stack([cloud(), cloud()]), "label": np.array([3, 5])}
        np.save(tmp_path / "xyz_label.npy", table, allow_pickle=True)  # type: ignore[arg-type]
        s = open_object_set(tmp_path)
        assert s.labels.tolist() == [3, 5] and len(s.load(1)) == 100
        table["label"] = np.array([3, 15])
        np.save(tmp_path / "xyz_label.npy", table, allow_pickle=True)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="labels from 0 to 14, found 3 to 15"):
            open_object_set(tmp_path)

    def test_shapesplats(self, tmp_path):
        for name, number in (("airplane", 627), ("airplane", 628), ("night_stand", 1)):
            folder = tmp_path / name / "test" / f"{name}_{number:04d}"
            folder.mkdir(parents=True)
            write_gaussians(folder / "point_cloud.ply", points_as_gaussians(cloud()))
        s = open_object_set(tmp_path)
        assert s.classes == ("airplane", "night stand") and s.labels.tolist() == [0, 0, 1]
        assert s.ids[1] == "airplane_0628" and len(s.load(1)) == 100
        with pytest.raises(InputError, match="train/<id>"):
            open_object_set(tmp_path, "train")

    def test_something_else(self, tmp_path):
        with pytest.raises(InputError, match=r"expected an \.h5 file, or a folder with test_pc\.npy.*found neither"):
            open_object_set(tmp_path)

    def test_bad_clouds(self, tmp_path):
        clouds = write_modelnet(tmp_path)
        clouds[0]["xyz"] = clouds[0]["xyz"][:5]
        clouds[1]["xyz"][0, 0] = np.nan
        clouds[2]["rgb"] = np.zeros((3, 3))
        np.save(tmp_path / "test_pc.npy", clouds, allow_pickle=True)
        s = open_object_set(tmp_path)
        for i, match in enumerate(["at least 64 points", "NaN", "colours of shape"]):
            with pytest.raises(InputError, match=match):
                s.load(i)


class TestFolds:
    def write(self, root, ways=5, shots=2):
        rows = [(cloud(64).repeat(2, 1), c, np.int64(c + 30)) for c in range(ways) for _ in range(shots)]
        folder = root / f"{ways}way_{shots}shot"
        folder.mkdir(exist_ok=True)
        (folder / "0.pkl").write_bytes(pickle.dumps({"train": rows, "test": rows[:3]}))

    def test_layout(self, tmp_path):
        self.write(tmp_path)
        fold = read_fold(tmp_path, 5, 2, 0)
        assert len(fold.support) == 10 and fold.support[0].shape == (64, 3)
        assert fold.support_labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and len(fold.query) == 3

    def test_refused(self, tmp_path):
        self.write(tmp_path)
        (tmp_path / "5way_2shot").rename(tmp_path / "5way_3shot")
        with pytest.raises(InputError, match="15 examples of 5 classes, found 10 of 5"):
            read_fold(tmp_path, 5, 3, 0)
        with pytest.raises(InputError, match="no such file"):
            read_fold(tmp_path, 5, 3, 1)


class TestTriplets:
    OBJECTS = tuple(
        TripletObject(f"o{i}", f"o{i}.npz", f"a {'red' if i % 2 else 'blue'} bed", "val" if i > 3 else "train", "bed")
        for i in range(6)
    )

    @pytest.fixture
    def root(self, tmp_path):
        for o in self.OBJECTS:
            write_object_npz(tmp_path / o.file, points_as_gaussians(cloud() + 3))
        text, image = RNG.normal(size=(6, 8)), RNG.normal(size=(6, 4, 8))
        write_triplets(tmp_path, self.OBJECTS, text, image, "tower", ["bed"], RNG.normal(size=(1, 8)))
        self.text, self.image = text, image
        return tmp_path

    def test_round_trip(self, root):
        assert splits(root) == ("train", "val")
        t = Triplets(root, "val")
        assert len(t) == 2 and t.dim == 8 and t.views == 4 and t.tower == "tower" and t.objects == self.OBJECTS[4:]
        expected = self.text[4:] / np.linalg.norm(self.text[4:], axis=1, keepdims=True)
        np.testing.assert_allclose(t.text.numpy(), expected, atol=1e-6)
        view = self.image[5, 2] / np.linalg.norm(self.image[5, 2])
        np.testing.assert_allclose(t.images(1, [2])[0].numpy(), view, atol=1e-3)
        assert t.labels.tolist() == [0, 0] and t.class_vectors is not None and t.class_vectors.shape == (1, 8)
        assert Triplets(root, "train").caption_ids.tolist() == [0, 1, 0, 1]
        g = t.gaussians(0)
        assert float(g.means.norm(dim=1).max()) == pytest.approx(1, abs=1e-5)
        assert torch.equal(g.means, t.gaussians(0).means)

    def test_refused(self, root):
        with pytest.raises(InputError, match="objects of the split 'test', found splits train, val"):
            Triplets(root, "test")
        with pytest.raises(InputError, match=r"with triplets\.json"):
            Triplets(root / "nothing")
        np.save(root / "image.npy", np.zeros((5, 4, 8), np.float16))
        with pytest.raises(InputError, match=r"shape \(6, V, 8\), found \(5, 4, 8\)"):
            Triplets(root)
        np.save(root / "image.npy", np.zeros((6, 4, 8), np.float16))
        with pytest.raises(InputError, match="not zero"):
            Triplets(root).images(0)
        index = json.loads((root / "triplets.json").read_text())
        index["objects"][0]["class"] = "sofa"
        (root / "triplets.json").write_text(json.dumps(index))
        with pytest.raises(InputError, match="'sofa'"):
            Triplets(root)
        (root / "triplets.json").write_text("{}")
        with pytest.raises(InputError, match="gaussiancross-triplets"):
            Triplets(root)

    def test_writing_is_checked(self, tmp_path):
        with pytest.raises(InputError, match="M objects"):
            write_triplets(tmp_path, self.OBJECTS, np.zeros((5, 8)), np.zeros((5, 4, 8)), "tower")
        twice = (self.OBJECTS[0], replace(self.OBJECTS[1], id="o0"))
        with pytest.raises(InputError, match="one id twice"):
            write_triplets(tmp_path, twice, np.zeros((2, 8)), np.zeros((2, 4, 8)), "tower")
