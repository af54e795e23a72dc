"""The public interface: `import gaussiancross`, `load`, and the names of the bundled models."""

import subprocess
import sys
from pathlib import Path

import gaussiancross
import numpy as np
import pytest
import torch
from gaussiancross import ClipGS, GaussianCross, Gaussians, PointScene, load
from gaussiancross.app.commands.clipgs import _model
from gaussiancross.app.commands.view import View
from gaussiancross.app.objects.gallery import open_recognizer
from gaussiancross.app.scenes.open import SceneSpec, open_scene
from gaussiancross.core.config import to_dict
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import save_checkpoint, write_gaussians, write_points
from gaussiancross.core.models import ClipGSConfig, GaussianCrossConfig, load_pretrained
from gaussiancross.core.models.clipgs_builtin import save_builtin_clipgs
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.trainers.clipgs.config import ClipGSRun
from gaussiancross.trainers.pretraining.runs import find_checkpoint

SMALL_CLIPGS = ClipGSConfig(width=24, depth=1, heads=3, embed_dim=8, gaussians=64, groups=4, group_size=8)
SMALL = GaussianCrossConfig(base_channels=4, channels=(4,) * 8, layers=(1,) * 8, lattice_channels=4, unet_widths=(4, 4))


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(v, theirs[k]) for k, v in ours.items())


@pytest.fixture
def clipgs() -> ClipGS:
    torch.manual_seed(0)
    return ClipGS(SMALL_CLIPGS).eval()


def test_every_public_name_is_there_and_documented():
    for name in gaussiancross.__all__:
        assert getattr(gaussiancross, name).__doc__, name
    assert set(gaussiancross.__all__) <= set(dir(gaussiancross))
    assert gaussiancross.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gaussiancross.nothing


def test_the_package_imports_nothing_until_it_is_used():
    code = "import sys, gaussiancross; print([m for m in ('torch', 'numpy', 'viser') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


class TestLoad:
    def test_bundled_models_by_name(self):
        rooms, field, clipgs = map(load, ("bundled-rooms", "bundled-field", "bundled-clipgs"))
        assert isinstance(rooms, GaussianCross) and isinstance(field, GaussianCross) and isinstance(clipgs, ClipGS)
        assert not (rooms.training or field.training or clipgs.training)
        assert field.config.input.lifted_frames > 0 == rooms.config.input.lifted_frames
        rng = np.random.default_rng(0)
        coord, color = rng.random((500, 3), np.float32), rng.integers(0, 255, (500, 3), np.uint8)
        assert rooms.encode(coord, color).shape == (500, 48)

    def test_the_older_names_mean_the_same_models(self):
        assert same_weights(load("builtin"), load("bundled-rooms"))
        assert same_weights(ClipGS.from_pretrained("builtin"), ClipGS.from_pretrained("bundled-clipgs"))

    def test_a_saved_model(self, tmp_path):
        model = GaussianCross(SMALL)
        model.save_pretrained(tmp_path / "model")
        assert same_weights(load(tmp_path / "model"), model)

    def test_a_clipgs_run_its_checkpoint_and_an_export(self, tmp_path, clipgs):
        meta = {"kind": "clipgs", "config": to_dict(ClipGSRun(model=SMALL_CLIPGS))}
        checkpoint = save_checkpoint(tmp_path / "run" / "checkpoints", 3, clipgs.state_dict(), meta)
        save_builtin_clipgs(tmp_path / "export", clipgs.half().float(), {"tower": ""})
        state = torch.random.get_rng_state()
        for spec in (tmp_path / "run", checkpoint):
            opened = load(spec)
            assert isinstance(opened, ClipGS) and not opened.training and opened.config == SMALL_CLIPGS
        assert isinstance(load(tmp_path / "export"), ClipGS)
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_errors_name_what_is_wrong(self, tmp_path, clipgs):
        meta = {"kind": "clipgs", "config": to_dict(ClipGSRun(model=SMALL_CLIPGS))}
        run = save_checkpoint(tmp_path / "run" / "checkpoints", 3, clipgs.state_dict(), meta)
        SpUNet(6, 4, (4,) * 8, (1,) * 8).save_pretrained(tmp_path / "backbone")
        for spec, message in (
            ("bundled-sofas", "the bundled models are bundled-rooms, bundled-field and bundled-clipgs"),
            (tmp_path / "nothing", "expected a folder with config.json"),
            (tmp_path / "backbone", "found a backbone alone; load it as SpUNet"),
        ):
            with pytest.raises(InputError, match=message):
                load(spec)
        for wrong in (run, "bundled-clipgs"):
            with pytest.raises(InputError, match=r"use ClipGS\.from_pretrained"):
                load_pretrained(wrong)
        with pytest.raises(InputError, match='"bundled-clipgs" is the bundled one'):
            ClipGS.from_pretrained("bundled-rooms")


class TestPointSceneLoad:
    """`PointScene.load`: one call for every file of points."""

    @pytest.fixture
    def scene(self) -> PointScene:
        rng = np.random.default_rng(0)
        coord = (rng.random((400, 3)) * [2, 2, 0.01]).astype(np.float32)
        color = rng.integers(0, 256, (400, 3)).astype(np.uint8)
        return PointScene("floor", coord, color, np.tile(np.float32([0, 0, 1]), (400, 1)))

    def test_all_formats_give_the_same_points(self, tmp_path, scene):
        table = np.concatenate([scene.coord, scene.color], 1)
        write_points(tmp_path / "a.ply", scene)
        np.save(tmp_path / "a.npy", table)
        np.savez(tmp_path / "a.npz", coord=scene.coord, color=scene.color, normal=scene.normal)
        np.savetxt(tmp_path / "a.xyz", table, fmt="%.6f")
        np.savetxt(tmp_path / "a.csv", table, fmt="%.6f", delimiter=",", header="x,y,z,r,g,b")
        for ending in ("ply", "npy", "npz", "xyz", "csv"):
            found = PointScene.load(tmp_path / f"a.{ending}")
            np.testing.assert_allclose(found.coord, scene.coord, atol=1e-5)
            np.testing.assert_array_equal(found.color, scene.color)
            assert np.median(np.abs(found.normal[:, 2])) > 0.95, ending  # stored or estimated

    def test_centres_of_splats(self, tmp_path, scene):
        n, coord = len(scene), torch.from_numpy(scene.coord)
        scales = torch.tensor([0.1, 0.1, 0.001]).expand(n, 3)
        quats, opacity = torch.tensor([1.0, 0, 0, 0]).expand(n, 4), torch.full((n,), 0.9)
        gaussians = Gaussians(coord, quats, scales, opacity, torch.from_numpy(scene.color) / 255)
        write_gaussians(tmp_path / "splats.ply", gaussians)
        found = PointScene.load(str(tmp_path / "splats.ply"))
        np.testing.assert_allclose(found.coord, scene.coord, atol=1e-5)
        assert np.abs(found.normal[:, 2]).min() > 0.99

    def test_without_colour_points_are_grey(self, tmp_path, scene):
        np.save(tmp_path / "a.npy", scene.coord)
        assert (PointScene.load(tmp_path / "a.npy").color == 128).all()

    def test_errors_say_what_was_expected(self, tmp_path, scene):
        np.save(tmp_path / "wide.npy", np.zeros((5, 4)))
        np.save(tmp_path / "unit.npy", np.concatenate([scene.coord, scene.color / 255], 1))
        np.savez(tmp_path / "other.npz", points=scene.coord)
        (tmp_path / "text.xyz").write_text("no numbers here\n")
        for name, message in (
            ("wide.npy", "expected columns x y z"),
            ("unit.npy", "expected colour in 0–255"),
            ("other.npz", "expected an array named coord"),
            ("text.xyz", "expected rows of numbers"),
            ("scan.docx", "expected a file ending in"),
            ("none.ply", "found no such file"),
        ):
            with pytest.raises(InputError, match=message):
                PointScene.load(tmp_path / name)


class TestBundledNamesOnTheCommandLine:
    def test_models_of_scenes(self):
        for name in ("bundled-rooms", "bundled-field"):
            found = find_checkpoint(Path(name))
            assert found is not None and found.name in name
            source = open_scene(SceneSpec(name, data="rooms:1", device="cpu")).source
            assert source.scene_names

    def test_a_folder_of_that_name_comes_first(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        model = GaussianCross(SMALL)
        model.save_pretrained("bundled-rooms")
        assert same_weights(load("bundled-rooms"), model)

    def test_models_of_objects(self):
        for name in ("bundled-clipgs", "builtin"):
            model, tower = _model(Path(name), "cpu")
            assert isinstance(model, ClipGS) and tower == "builtin"
            assert open_recognizer(name, None) is not None
        assert View().object_model == "bundled-clipgs"
