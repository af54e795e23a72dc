"""`gaussiancross embed`: features of points, splats, runs and their scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app import cli
from gaussiancross.core.config import to_dict
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.io import save_checkpoint, write_gaussians, write_points
from gaussiancross.core.io.pretrained import read_pretrained
from gaussiancross.core.models import GaussianCross
from gaussiancross.trainers.pretraining.config import DataConfig, PretrainConfig
from helpers.networks import small_model
from helpers.scenes import room


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

    def test_the_bundled_model_is_the_default(self, tmp_path):
        scene, out = room(), tmp_path / "features.npy"
        write_points(tmp_path / "room.ply", scene)
        assert cli.main(["embed", str(tmp_path / "room.ply"), "--out", str(out), "--device", "cpu"]) == 0
        shipped = GaussianCross.from_pretrained("builtin")
        np.testing.assert_array_equal(np.load(out), shipped.encode(scene.coord, scene.color, scene.normal).numpy())
        about = read_pretrained("builtin").about
        assert about["label_free"] is False and about["scores_on_held_out_rooms"]["probe-hypercolumn"]["miou"] > 0.5

    def test_impossible_requests_are_refused(self, tmp_path, model, capsys):
        write_points(tmp_path / "room.ply", room())
        scene, out = str(tmp_path / "room.ply"), str(tmp_path / "f.npy")
        assert cli.main(["embed", scene, "--out", out, "--model", str(tmp_path / "nothing")]) == 2
        assert cli.main(["embed", scene, "--out", out, "--model", str(tmp_path / "model"), "--index", "1"]) == 2
        assert cli.main(["embed", scene, "--out", str(tmp_path / "f.txt"), "--model", str(tmp_path / "model")]) == 2
        said = capsys.readouterr().err
        assert "nothing: expected a folder with config.json and model.safetensors" in said
        assert "--index: expected 0 to 0, found 1" in said and "a .npy file" in said

    def test_blocks(self, tmp_path, model, capsys):
        """The same features in blocks; a margin that is too small is said."""
        coord = np.random.default_rng(0).random((30_000, 3)).astype(np.float32) * [110, 4, 0.2]
        color = np.full((30_000, 3), 90, np.uint8)
        color[::2] = 200
        scene = PointScene("corridor", coord, color, np.tile(np.float32([[0, 0, 1]]), (30_000, 1)))
        write_points(tmp_path / "corridor.ply", scene)
        model = small_model(own_statistics=False)
        model.save_pretrained(tmp_path / "model")
        expected = model.encode(scene.coord, scene.color, scene.normal).numpy()
        here = self.embed(tmp_path, tmp_path / "corridor.ply", "--block-voxels", "20000")
        np.testing.assert_allclose(here, expected, atol=1e-4)
        assert "features at seams differ" not in capsys.readouterr().err
        self.embed(tmp_path, tmp_path / "corridor.ply", "--block-voxels", "20000", "--overlap", "1")
        assert "blocks overlap by 1.0 m, the model sees" in capsys.readouterr().err
        out = ["embed", str(tmp_path / "corridor.ply"), "--out", str(tmp_path / "f.npy")]
        assert cli.main([*out, "--overlap", "-1"]) == 2 and cli.main([*out, "--block-voxels", "0"]) == 2
