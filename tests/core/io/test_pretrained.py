"""Models as folders: `from_pretrained`, `save_pretrained`, their cards."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.core.config import from_dict
from gaussiancross.core.datasets import open_dataset
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import save_checkpoint
from gaussiancross.core.io.pretrained import read_pretrained
from gaussiancross.core.models import GaussianCross, GaussianCrossConfig, load_pretrained
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.trainers.pretraining.presets import FIELD
from helpers.networks import same_weights, small_backbone, small_model
from helpers.scenes import room

ASSETS = Path(str(files("gaussiancross.assets")))


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

    def test_a_misspelt_path_is_not_looked_up_on_the_hub(self, tmp_path, monkeypatch):
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

    def test_folders_without_a_model_are_refused(self, tmp_path):
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
