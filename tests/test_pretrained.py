"""Weights in and out: Pointcept's checkpoints, `from_pretrained`, `save_pretrained`, `convert` and `embed`."""

from __future__ import annotations

import json
import sys
import types
import zlib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.core.config import from_dict, to_dict
from gaussiancross.core.data.batch import InputConfig
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.datasets import open_dataset
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.geometry.normals import estimate_normals
from gaussiancross.core.io import save_checkpoint, write_gaussians, write_points
from gaussiancross.core.io.pretrained import read_pretrained
from gaussiancross.core.io.torch_files import read_weights
from gaussiancross.core.models import GaussianCross, GaussianCrossConfig, load_pretrained
from gaussiancross.core.nn.pointcept import read_pointcept, to_pointcept
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.trainers.pretraining.config import DataConfig, PretrainConfig
from gaussiancross.trainers.pretraining.presets import FIELD
from safetensors.torch import save_file

ASSETS = Path(str(files("gaussiancross.assets")))

SMALL = {"base_channels": 8, "channels": (8, 16, 16, 24, 24, 16, 16, 12), "layers": (1, 2, 1, 1, 1, 1, 2, 1)}


def small_model(**changes) -> GaussianCross:
    torch.manual_seed(0)
    given = {"lattice": "cuboid", "lattice_cells": 512, "lattice_channels": 8, "unet_widths": (8, 16)} | SMALL | changes
    return GaussianCross(GaussianCrossConfig(input=InputConfig(voxel_size=0.1), **given)).eval()


def small_backbone(**changes) -> SpUNet:
    torch.manual_seed(0)
    return SpUNet(**SMALL | changes).eval()


def room(points: int = 3000) -> PointScene:
    """Points on the floor and walls of 4 × 3 × 2.5 m."""
    rng = np.random.default_rng(0)
    coord = rng.random((points, 3)) * [4, 3, 2.5]
    axis = rng.integers(0, 3, points)
    coord[np.arange(points), axis] = 0
    color = rng.integers(0, 256, (points, 3)).astype(np.uint8)
    return PointScene("room", coord.astype(np.float32), color, np.eye(3, dtype=np.float32)[axis])


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


class Scheduler:
    """Stands for a class that a training framework pickles beside the weights."""

    def __init__(self) -> None:
        self.best = np.float64(0.7)

    def __reduce__(self):
        return (print, ("this file was run",), self.__dict__)


# --- Pointcept's files ----------------------------------------------------------------------------------------------


class TestPointcept:
    @pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone.", "module.student.backbone."])
    def test_backbone_is_found_under_any_prefix(self, tmp_path, prefix):
        net = small_backbone()
        weights = {prefix + k: v for k, v in net.state_dict().items()}
        extra = {prefix + "final.weight": torch.zeros(20, 1, 1, 1, 12), "module.mask_token": torch.zeros(1, 6)}
        torch.save({"epoch": 3, "state_dict": weights | extra}, tmp_path / "model.pth")
        found = read_pointcept(tmp_path / "model.pth")
        assert found.prefix == prefix and set(found.left_out) == set(extra) and not found.filled
        assert same_weights(found.backbone, net) and not found.backbone.training

    def test_what_lies_beside_the_weights_is_not_run(self, tmp_path, capsys):
        net = small_backbone()
        content = {"best": np.float64(0.5), "scheduler": {"s": Scheduler()}, "time": np.datetime64("2025-01-01")}
        torch.save(content | {"state_dict": net.state_dict()}, tmp_path / "model_last.pth")
        assert same_weights(read_pointcept(tmp_path / "model_last.pth").backbone, net)
        assert "this file was run" not in capsys.readouterr().out

    def test_every_wrong_key_is_named(self, tmp_path):
        weights = {f"backbone.{k}": v for k, v in small_backbone().state_dict().items()}
        del weights["backbone.enc.0.block0.conv1.weight"], weights["backbone.dec.3.block0.bn2.bias"]
        weights["backbone.enc.1.block0.norm.gain"] = torch.zeros(3)
        weights["backbone.up.0.1.bias"] = torch.zeros(5)
        torch.save(weights, tmp_path / "model.pth")
        with pytest.raises(InputError) as caught:
            read_pointcept(tmp_path / "model.pth")
        assert "2 missing (enc.0.block0.conv1.weight, dec.3.block0.bn2.bias)" in str(caught.value)
        assert "1 unexpected (enc.1.block0.norm.gain)" in str(caught.value)
        assert "1 of another shape (up.0.1.bias [5] instead of [12])" in str(caught.value)

    def test_counters_of_older_files_are_filled(self, tmp_path):
        net = small_backbone()
        weights = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
        torch.save(weights, tmp_path / "model.pth")
        found = read_pointcept(tmp_path / "model.pth")
        assert same_weights(found.backbone, net) and len(found.filled) == len(net.state_dict()) - len(weights)

    def test_several_backbones_need_a_choice(self, tmp_path):
        teacher, student = small_backbone(), small_backbone(in_channels=3)
        weights = {f"teacher.{k}": v for k, v in teacher.state_dict().items()}
        weights |= {f"student.{k}": v for k, v in student.state_dict().items()}
        torch.save({"state_dict": weights}, tmp_path / "model.pth")
        with pytest.raises(InputError, match=r"found 2 at the prefixes \['student.', 'teacher.'\]; choose one"):
            read_pointcept(tmp_path / "model.pth")
        assert same_weights(read_pointcept(tmp_path / "model.pth", "student.").backbone, student)
        with pytest.raises(InputError, match=r"a weight other\.conv_input"):
            read_pointcept(tmp_path / "model.pth", "other.")

    def test_the_layout_of_spconv_1_is_refused(self, tmp_path):
        weights = small_backbone().state_dict()
        weights["conv_input.0.weight"] = weights["conv_input.0.weight"].permute(1, 2, 3, 4, 0)
        torch.save(weights, tmp_path / "model.pth")
        with pytest.raises(InputError, match="layout of spconv 1"):
            read_pointcept(tmp_path / "model.pth")

    def test_half_precision_becomes_single(self, tmp_path):
        torch.save({k: v.half() for k, v in small_backbone().state_dict().items()}, tmp_path / "model.pth")
        net = read_pointcept(tmp_path / "model.pth").backbone
        assert {p.dtype for p in net.parameters()} == {torch.float32}

    def test_export_is_what_pointcept_reads(self, tmp_path):
        net = small_backbone()
        torch.save(to_pointcept(net), tmp_path / "out.pth")
        content = torch.load(tmp_path / "out.pth", weights_only=True)
        assert set(content["state_dict"]) == {f"backbone.{k}" for k in net.state_dict()}
        assert same_weights(read_pointcept(tmp_path / "out.pth").backbone, net)

    def test_features_are_those_of_pointcept(self, tmp_path, shared_data):
        """The recorded weights, written as a release is, through `convert` and back, give the recorded output."""
        weights = {}
        for key, shape in json.loads((shared_data.parent / "spec" / "spunet-keys.json").read_text()).items():
            weights[f"module.backbone.{key}"] = recorded_weight(key, tuple(shape))
        torch.save({"epoch": 1, "best_metric_value": np.float64(0.7), "state_dict": weights}, tmp_path / "last.pth")
        out = tmp_path / "converted"
        assert cli.main(["convert", str(tmp_path / "last.pth"), "--out", str(out)]) == 0
        net = SpUNet.from_pretrained(out)
        assert sum(p.numel() for p in net.parameters()) == 39_155_904
        golden = np.load(shared_data / "golden" / "spunet.npz", allow_pickle=False)
        with torch.no_grad():
            output = net(*(torch.from_numpy(golden[name]) for name in ("grid_coord", "feat", "offset")))
        assert np.abs(output.numpy() - golden["output"]).max() < 1e-4


def recorded_weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    rng = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if len(shape) >= 2:
        value = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    elif key.endswith("running_var"):
        value = 0.5 + rng.random_sample(shape)
    else:
        value = float(key.endswith("weight")) + 0.1 * rng.standard_normal(shape)
    return torch.from_numpy(value.astype(np.float32))


class TestReadWeights:
    @pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
    def test_containers(self, tmp_path, key):
        torch.save({key: {"a": torch.ones(2)}, "lr": 0.1}, tmp_path / "x.pth")
        assert read_weights(tmp_path / "x.pth")["a"].tolist() == [1, 1]

    def test_safetensors(self, tmp_path):
        save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
        assert read_weights(tmp_path / "x.safetensors")["a"].tolist() == [1, 1]

    def test_what_is_not_weights_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_weights(tmp_path / "none.pth")
        (tmp_path / "text.pth").write_text("hello")
        with pytest.raises(InputError, match=r"written by torch\.save"):
            read_weights(tmp_path / "text.pth")
        torch.save({"epoch": 3}, tmp_path / "empty.pth")
        with pytest.raises(InputError, match="a mapping of names to tensors"):
            read_weights(tmp_path / "empty.pth")
        torch.save({"a": torch.ones(100)}, tmp_path / "cut.pth")
        whole = (tmp_path / "cut.pth").read_bytes()
        for length in (0, 10, len(whole) // 2, len(whole) - 5):
            (tmp_path / "cut.pth").write_bytes(whole[:length])
            with pytest.raises(InputError):
                read_weights(tmp_path / "cut.pth")
        (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0")
        with pytest.raises(InputError, match="safetensors"):
            read_weights(tmp_path / "cut.safetensors")


# --- from_pretrained --------------------------------------------------------------------------------------------------


class TestPretrained:
    def test_there_and_back(self, tmp_path):
        model = small_model()
        model.save_pretrained(tmp_path / "model", about={"data": "none"})
        again = GaussianCross.from_pretrained(tmp_path / "model")
        assert again.config == model.config and same_weights(again, model) and not again.training
        scene = room()
        expected = model.encode(scene.coord, scene.color, scene.normal)
        assert expected.shape == (len(scene), 12)
        assert torch.equal(again.encode(scene.coord, scene.color, scene.normal), expected)
        assert json.loads((tmp_path / "model" / "config.json").read_text())["about"] == {"data": "none"}
        assert {p.name for p in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}

    def test_a_backbone_keeps_its_kind_and_voxels(self, tmp_path):
        net = small_backbone(own_statistics=True, voxel_size=0.07)
        again = SpUNet.from_pretrained(net.save_pretrained(tmp_path))
        assert again.voxel_size == 0.07 and again.to_config() == net.to_config()
        scene = room()
        assert torch.equal(again.encode(scene.coord, scene.color), net.encode(scene.coord, scene.color))
        assert isinstance(load_pretrained(tmp_path), SpUNet)

    def test_a_model_gives_its_backbone_and_not_the_other_way_round(self, tmp_path):
        model = small_model()
        model.save_pretrained(tmp_path / "model")
        net = SpUNet.from_pretrained(tmp_path / "model")
        assert same_weights(net, model.backbone) and net.to_config() == model.backbone.to_config()
        scene = room()
        assert torch.equal(net.encode(scene.coord, scene.color), model.encode(scene.coord, scene.color))
        net.save_pretrained(tmp_path / "net")
        with pytest.raises(InputError, match="a backbone alone; load it as SpUNet"):
            GaussianCross.from_pretrained(tmp_path / "net")

    def test_a_run_and_its_checkpoints_are_read(self, tmp_path):
        model = small_model()
        weights = model.state_dict() | {"probe.linear.weight": torch.zeros(2, 12)}
        meta = {"config": {"model": model.to_config(), "steps": 7}, "step": 7}
        checkpoint = save_checkpoint(tmp_path / "run" / "checkpoints", 7, weights, meta)
        (tmp_path / "run" / "config.json").write_text("{}")  # as trainings leave one
        for where in (tmp_path / "run", checkpoint):
            assert same_weights(GaussianCross.from_pretrained(where), model)
        assert same_weights(SpUNet.from_pretrained(str(tmp_path / "run")), model.backbone)

    def test_the_random_generator_is_left_alone(self, tmp_path):
        small_model().save_pretrained(tmp_path)
        torch.manual_seed(3)
        expected = torch.rand(1)
        torch.manual_seed(3)
        GaussianCross.from_pretrained(tmp_path)
        assert torch.equal(torch.rand(1), expected)

    def test_hypercolumns_are_all_stages(self):
        net, scene = small_backbone(voxel_size=0.1), room()
        columns = net.encode(scene.coord, scene.color, scene.normal, hypercolumn=True)
        assert columns.shape == (len(scene), 8 + 8 + 16 + 16 + 24 + 24 + 16 + 16 + 12)
        assert torch.equal(columns[:, -12:], net.encode(scene.coord, scene.color, scene.normal))

    def test_points_of_a_voxel_share_features_in_input_order(self):
        net, scene = small_backbone(voxel_size=0.1), room()
        features = net.encode(scene.coord, scene.color, scene.normal)
        order = np.random.default_rng(1).permutation(len(scene))
        turned = net.encode(scene.coord[order], scene.color[order], scene.normal[order])
        first = {}  # voxels keep one of their points: compare those of a single point
        cell = np.floor(scene.coord / 0.1).astype(int)
        for i, c in enumerate(map(tuple, cell)):
            first.setdefault(c, []).append(i)
        assert features.shape == turned.shape
        for members in list(first.values())[:50]:
            assert len({tuple(features[i].tolist()) for i in members}) <= 8  # the grid is shifted by the centring

    def test_names_on_the_hub(self, tmp_path, monkeypatch):
        model = small_model()
        model.save_pretrained(tmp_path / "cache")
        asked = []

        def snapshot_download(name, revision=None, allow_patterns=None):
            asked.append((name, revision, allow_patterns))
            if name == "someone/absent":
                raise OSError("404 not found\nmore")
            return str(tmp_path / "cache")

        hub = types.SimpleNamespace(snapshot_download=snapshot_download)
        monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
        assert same_weights(GaussianCross.from_pretrained("someone/model", revision="v1"), model)
        assert asked == [("someone/model", "v1", ["model.safetensors", "config.json"])]
        with pytest.raises(InputError, match=r"found 404 not found\."):
            GaussianCross.from_pretrained("someone/absent")
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(InputError, match="pip install huggingface_hub"):
            GaussianCross.from_pretrained("someone/model")

    def test_a_misspelt_path_is_not_asked_of_the_hub(self, tmp_path, monkeypatch):
        model, asked = small_model(), []

        def snapshot_download(name, revision=None, allow_patterns=None):
            asked.append(name)
            return str(tmp_path / "runs" / "room")

        monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
        monkeypatch.chdir(tmp_path)
        model.save_pretrained("runs/room")
        with pytest.raises(InputError, match=r"runs/rooms: expected a folder .* no such folder \(runs has room\)"):
            load_pretrained("runs/rooms")
        assert not asked
        assert same_weights(load_pretrained("someone/rooms"), model)
        assert same_weights(GaussianCross.from_pretrained("runs/rooms", revision="v1"), model)  # a folder has none
        assert asked == ["someone/rooms", "runs/rooms"]
        for i in range(9):
            (tmp_path / "runs" / f"a{i}").mkdir()
        with pytest.raises(InputError, match=r"\(runs has a0, .*, a7, …\)"):
            load_pretrained("runs/rooms")

    def test_what_is_no_model_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="found no such folder"):
            GaussianCross.from_pretrained(tmp_path / "none")
        (tmp_path / "model.pth").write_bytes(b"x")
        with pytest.raises(InputError, match="gaussiancross convert"):
            SpUNet.from_pretrained(tmp_path / "model.pth")
        with pytest.raises(InputError, match="found neither"):
            SpUNet.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c.update(version=99), "format version 1 or older, found 99"),
            (lambda c: c.update(format="other"), '"format": "gaussiancross-model"'),
            (lambda c: c.pop("config"), "the key config"),
            (lambda c: c["config"].update(colours=3), "what SpUNet is built from"),
            (lambda c: c["config"].update(layers=[1] * 8), "unexpected"),
            (lambda c: c.update(model="Other"), "a SpUNet, found a Other"),
        ],
    )
    def test_a_config_that_does_not_fit_is_refused(self, tmp_path, change, message):
        small_backbone().save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        change(config)
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=message):
            SpUNet.from_pretrained(tmp_path)


# --- the commands -----------------------------------------------------------------------------------------------------


class TestConvert:
    def test_in_and_out_again(self, tmp_path, capsys):
        net = small_backbone()
        weights = {f"module.backbone.{k}": v for k, v in net.state_dict().items()}
        weights["module.backbone.final.bias"] = torch.zeros(20)
        torch.save({"state_dict": weights}, tmp_path / "in.pth")
        out, back = str(tmp_path / "model"), str(tmp_path / "back.pth")
        assert cli.main(["convert", str(tmp_path / "in.pth"), "--out", out]) == 0
        said = capsys.readouterr().out
        assert "'module.backbone.'" in said and "(1): module.backbone.final.bias" in said
        assert cli.main(["convert", out, "--to-pointcept", back]) == 0
        assert same_weights(read_pointcept(back).backbone, net)

    def test_the_backbone_of_a_model(self, tmp_path):
        model = small_model()
        model.save_pretrained(tmp_path / "model")
        args = ["convert", str(tmp_path / "model"), "--backbone", "--out", str(tmp_path / "net")]
        assert cli.main([*args, "--to-pointcept", str(tmp_path / "net.pth")]) == 0
        assert same_weights(SpUNet.from_pretrained(tmp_path / "net"), model.backbone)
        assert same_weights(read_pointcept(tmp_path / "net.pth").backbone, model.backbone)

    def test_somewhere_to_write_is_needed(self, tmp_path, capsys):
        small_backbone().save_pretrained(tmp_path)
        assert cli.main(["convert", str(tmp_path)]) == 2
        assert cli.main(["convert", str(tmp_path), "--to-pointcept", str(tmp_path / "no" / "x.pth")]) == 2
        assert "expected a file to write to" in capsys.readouterr().err


class TestEmbed:
    @pytest.fixture
    def model(self, tmp_path) -> GaussianCross:
        model = small_model()
        model.save_pretrained(tmp_path / "model")
        return model

    def embed(self, tmp_path: Path, scene: Path | str, *more: str) -> np.ndarray:
        out = tmp_path / "features.npy"
        args = ["embed", str(scene), "--out", str(out), "--model", str(tmp_path / "model"), "--device", "cpu"]
        assert cli.main([*args, *more]) == 0
        return np.load(out, allow_pickle=False)

    def test_points_in_input_order(self, tmp_path, model):
        scene = room()
        write_points(tmp_path / "room.ply", scene)
        features = self.embed(tmp_path, tmp_path / "room.ply")
        assert features.dtype == np.float32
        expected = model.encode(scene.coord, scene.color, scene.normal)
        np.testing.assert_array_equal(features, expected.numpy())
        assert self.embed(tmp_path, tmp_path / "room.ply", "--hypercolumn").shape == (len(scene), 140)

    def test_a_pointcept_scene_and_its_folder(self, tmp_path, model):
        scene, folder = room(), tmp_path / "data" / "val" / "room"
        folder.mkdir(parents=True)
        for name in ("coord", "color", "normal"):
            np.save(folder / f"{name}.npy", getattr(scene, name))
        expected = model.encode(scene.coord, scene.color, scene.normal).numpy()
        for where in (folder, tmp_path / "data"):
            np.testing.assert_array_equal(self.embed(tmp_path, where), expected)

    def test_a_run_and_its_own_scenes(self, tmp_path, model):
        scene, folder = room(), tmp_path / "data" / "val" / "room"
        folder.mkdir(parents=True)
        for name in ("coord", "color", "normal"):
            np.save(folder / f"{name}.npy", getattr(scene, name))
        config = PretrainConfig(model=model.config, data=DataConfig(data=str(tmp_path / "data")))
        meta = {"config": to_dict(config), "step": 3}
        save_checkpoint(tmp_path / "run" / "checkpoints", 3, model.state_dict(), meta)
        out = tmp_path / "f.npy"
        assert cli.main(["embed", str(tmp_path / "run"), "--out", str(out), "--device", "cpu"]) == 0
        np.testing.assert_array_equal(np.load(out), model.encode(scene.coord, scene.color, scene.normal).numpy())

    def test_splats(self, tmp_path, model):
        scene = room(500)
        coord = torch.from_numpy(scene.coord)
        scales = torch.where(torch.from_numpy(scene.normal) > 0, 0.01, 0.05)  # flat along the normal
        quats = torch.tensor([1.0, 0, 0, 0]).expand(500, 4)
        color = torch.from_numpy(scene.color) / 255
        write_gaussians(tmp_path / "splats.ply", Gaussians(coord, quats, scales, torch.full((500,), 0.9), color))
        features = self.embed(tmp_path, tmp_path / "splats.ply", "--points", str(tmp_path / "points.ply"))
        expected = model.encode(scene.coord, scene.color, scene.normal)  # the middle is on the positive side
        np.testing.assert_allclose(features, expected.numpy(), atol=1e-4)
        assert (tmp_path / "points.ply").stat().st_size > 500 * 20

    def test_the_model_that_ships_is_the_default(self, tmp_path):
        scene, out = room(), tmp_path / "features.npy"
        write_points(tmp_path / "room.ply", scene)
        assert cli.main(["embed", str(tmp_path / "room.ply"), "--out", str(out), "--device", "cpu"]) == 0
        shipped = GaussianCross.from_pretrained("builtin")
        np.testing.assert_array_equal(np.load(out), shipped.encode(scene.coord, scene.color, scene.normal).numpy())
        about = read_pretrained("builtin").about
        assert about["label_free"] is False and about["scores_on_held_out_rooms"]["probe-hypercolumn"]["miou"] > 0.5

    def test_what_cannot_be_done_is_said(self, tmp_path, model, capsys):
        write_points(tmp_path / "room.ply", room())
        scene, out = str(tmp_path / "room.ply"), str(tmp_path / "f.npy")
        assert cli.main(["embed", scene, "--out", out, "--model", str(tmp_path / "nothing")]) == 2
        assert cli.main(["embed", scene, "--out", out, "--model", str(tmp_path / "model"), "--index", "1"]) == 2
        assert cli.main(["embed", scene, "--out", str(tmp_path / "f.txt"), "--model", str(tmp_path / "model")]) == 2
        said = capsys.readouterr().err
        assert "nothing: expected a folder with config.json and model.safetensors" in said
        assert "--index: expected 0 to 0, found 1" in said and "a .npy file" in said


class TestCards:
    """What the models that ship say of themselves."""

    @pytest.mark.parametrize("folder", ["rooms", "field"])
    def test_origin_and_licence(self, folder):
        about = read_pretrained(ASSETS / folder).about
        assert about["licence"] == "Apache-2.0" and about["label_free"] is False and about["name"]
        assert "It knows synthetic rooms, not scans." in about["description"]

    def test_the_field_is_of_its_preset(self, tmp_path):
        stored = read_pretrained(ASSETS / "field")
        recipe = replace(
            FIELD,
            model=replace(from_dict(GaussianCrossConfig, stored.config), teacher_dim=0),
            data=replace(FIELD.data, data=stored.about["data"], teacher=stored.about["teacher"]),
            steps=stored.about["step"],
        )
        assert recipe == FIELD
        rooms = open_dataset(stored.about["data"], "train")
        assert stored.about["training_seeds"] == [rooms.seed(0), rooms.seed(len(rooms) - 1)]
        assert cli.main(["convert", str(ASSETS / "field"), "--out", str(tmp_path / "copy"), "--half"]) == 0
        assert read_pretrained(tmp_path / "copy").about["licence"] == "Apache-2.0"


class TestNormals:
    def test_walls_face_the_room(self):
        scene = room(20_000)
        normal = estimate_normals(scene.coord, voxel=0.05)
        inner = (scene.coord > 0.3).sum(1) == 2  # away from the edges where walls meet
        cosine = (normal * scene.normal).sum(1)[inner]
        assert cosine.min() > 0.99 and inner.sum() > 10_000

    def test_toward_a_point(self):
        flat = np.random.default_rng(0).random((500, 3)) * [1, 1, 0]
        assert (estimate_normals(flat, 0.05, toward=np.array([0, 0, -9.0]))[:, 2] < -0.999).all()

    def test_too_few_points(self):
        assert not estimate_normals(np.zeros((2, 3))).any() and estimate_normals(np.zeros((0, 3))).shape == (0, 3)
