"""objects-bench at a small size, from objects to the bundled model; Gaussians without an optimiser."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.benchmarks import objects as bench
from gaussiancross.core.config import from_dict
from gaussiancross.core.datasets.objects.point_clouds import CloudTriplets, sample_surface
from gaussiancross.core.datasets.objects.triplets import Triplets
from gaussiancross.core.datasets.procedural_triplets import (
    ObjectTripletsConfig,
    list_triplets,
    read_renders,
    write_category,
)
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.gaussians import Gaussians, quat_to_rotmat
from gaussiancross.core.metrics import psnr
from gaussiancross.core.models.clipgs import ClipGS, ClipGSConfig
from gaussiancross.core.models.clipgs_builtin import load_builtin_clipgs, save_builtin_clipgs
from gaussiancross.core.models.clipgs_files import CARD
from gaussiancross.core.query.text import EncodedPhrases
from gaussiancross.core.splat import rasterize
from gaussiancross.core.synthetic.objects import build_object, light_object, object_gaussians
from gaussiancross.core.synthetic.objects.gaussians import nearest_farthest_points
from gaussiancross.core.synthetic.objects.render import front, render_object
from gaussiancross.core.teachers.base import ImageTeacher, TeacherInfo
from gaussiancross.trainers.clipgs.config import ClipGSRun

DIM = 16


class QueryableFeatures:
    """Every word is a direction; only the words of objects are known."""

    dim = DIM

    def encode(self, phrases):
        vectors = [torch.stack([self.word(w) for w in p.split()]).sum(0) for p in phrases]
        known = torch.tensor(["photo" not in p and "model" not in p and "{" not in p for p in phrases])
        return EncodedPhrases(torch.nn.functional.normalize(torch.stack(vectors), dim=-1), known)

    @staticmethod
    def word(word):
        return torch.randn(DIM, generator=torch.Generator().manual_seed(sum(word.encode())))


class Thumbnails(ImageTeacher):
    """What a picture is like at 2 × 2 pixels, in some directions."""

    fingerprint = "thumbnails"

    def __init__(self) -> None:
        self.info = TeacherInfo("thumbnails", DIM, "none", None, True)
        self.size = (64, 64)
        self.text = QueryableFeatures()
        self._to = torch.randn(12, DIM, generator=torch.Generator().manual_seed(0))

    def maps(self, images):
        small = torch.nn.functional.adaptive_avg_pool2d(images.permute(0, 3, 1, 2), 2)
        return (small.flatten(1) @ self._to)[:, None, None]


@pytest.fixture(scope="module")
def lit():
    return light_object(build_object("chair", 3))


class TestGaussians:
    def test_they_look_like_the_object(self, lit):
        camera = front(lit.obj, 64)
        color, alpha = render_object(lit, camera, backgrounds=[(1.0, 1.0, 1.0)])
        picture = torch.from_numpy(color).float() / 255
        quality = []
        for count in (64, 512):
            g = object_gaussians(lit, count)
            seen = rasterize(g, camera.viewmats, camera.Ks, 64, 64, background=torch.ones(3)).color
            quality.append(float(psnr(seen, picture)))
        assert quality[1] > 21 and quality[1] > quality[0] + 1
        assert quality[1] > float(psnr(torch.ones_like(picture), picture)) + 5
        assert alpha.max() == 1

    def test_axes_fall_in_size_and_the_third_points_outwards(self):
        g = object_gaussians(build_object("apple", 0), 200)
        assert len(g) == 200 and bool((g.scales[:, :-1] >= g.scales[:, 1:] - 1e-7).all())
        outwards = quat_to_rotmat(g.quats)[:, :, 2]
        middle = g.means.mean(0)
        assert float(((g.means - middle) * outwards).sum(1).gt(0).float().mean()) > 0.9
        assert torch.linalg.det(quat_to_rotmat(g.quats)).allclose(torch.ones(200), atol=1e-4)
        assert float(g.opacities.min()) > 0 and float(g.opacities.max()) < 1

    def test_flat_things_become_large_flat_gaussians_and_rods_thin_ones(self):
        rug, sword = (object_gaussians(build_object(c, 0), 128) for c in ("rug", "knife"))
        assert float((rug.scales[:, 2] / rug.scales[:, 1]).median()) < 0.2
        long = lambda g: float((g.scales[:, 0] / g.scales[:, 1]).median())  # noqa: E731
        assert long(sword) > long(rug)

    def test_the_same_seed_gives_the_same_ones(self, lit):
        a, b, c = (object_gaussians(lit, 64, seed) for seed in (0, 0, 1))
        assert torch.equal(a.means, b.means) and not torch.equal(a.means, c.means)
        with pytest.raises(InputError, match="1 or more Gaussians, found 0"):
            object_gaussians(lit, 0)

    def test_groups_are_around_the_farthest_points(self):
        points = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
        picked = [0]
        for _ in range(9):
            near = ((points[:, None] - points[picked]) ** 2).sum(-1).min(1)
            picked.append(int(near.argmax()))
        expected = ((points[:, None] - points[picked]) ** 2).sum(-1).argmin(1)
        np.testing.assert_array_equal(nearest_farthest_points(points, 10), expected)


class TestClouds:
    def test_points_are_sampled_from_the_gaussians(self):
        flat = Gaussians(
            means=torch.tensor([[0.0, 0, 0], [10, 0, 0]]),
            quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1),
            scales=torch.tensor([[2.0, 1.0, 0.01], [0.2, 0.1, 0.01]]),
            opacities=torch.ones(2),
            colors=torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]),
        )
        cloud = sample_surface(flat, 4000, np.random.default_rng(0))
        first = cloud.means[:, 0] < 5
        assert 0.98 < float(first.float().mean()) < 0.998  # 100 times the area
        spread = cloud.means[first].std(0)
        torch.testing.assert_close(spread, torch.tensor([2.0, 1.0, 0.0]), atol=0.05, rtol=0)
        assert bool((cloud.colors[first] == flat.colors[0]).all()) and len(cloud.scales.unique()) == 1


class TestFolders:
    def test_a_category_on_the_disk(self, tmp_path):
        config = ObjectTripletsConfig(
            train=2, val=0, test=1, gaussians=64, views=2, size=32, categories=("apple", "pear")
        )
        for name in config.categories:
            folder = tmp_path / config.folder / name
            folder.mkdir(parents=True)
            write_category(name, replace(config, unseen=1), folder)
        found = list_triplets(tmp_path, config)
        assert [(o.split, o.class_name) for o in found] == [
            ("test", "apple"), ("train", "apple"), ("train", "apple"), ("unseen", "pear")
        ]  # fmt: skip
        assert found[0].caption.endswith("apple")
        assert read_renders(tmp_path, found[0].file).shape == (2, 32, 32, 3)
        with pytest.raises(InputError, match="the captions of a category"):
            list_triplets(tmp_path, replace(config, train=3))

    def test_nonsense_is_refused(self):
        with pytest.raises(InputError, match="some of them not held out, found gnu"):
            ObjectTripletsConfig(categories=("gnu", "chair"))
        with pytest.raises(InputError, match="some of them not held out, found pear"):
            ObjectTripletsConfig(categories=("pear",))
        with pytest.raises(InputError, match="at least 1 to train on"):
            ObjectTripletsConfig(train=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The quick variant with two rows, done."""
    root = tmp_path_factory.mktemp("objects-bench")
    given = bench.quick(bench.ObjectsBench(root / "out", root / "work", "thumbnails", ("clouds", "voting"), workers=1))
    small = replace(given.data, train=4, categories=("apple", "chair", "pear", "truck"), unseen=7)
    given = replace(given, data=small, run=replace(given.run, batch_size=8), export=root / "assets")
    assert bench.run(given, Thumbnails()) == 0
    return given


class TestBench:
    def test_reports_and_pictures(self, finished):
        report = json.loads((finished.out / "objects.json").read_text())
        assert report["objects"] == {"train": 8, "test": 4, "unseen": 14}
        assert set(report["rows"]) == {"clouds", "voting"} and len(report["rows"]["voting"]) == 1
        scores = report["rows"]["voting"][0]
        assert scores["unseen/chance"] == 0.5 and 0 <= scores["text→3D R@1"] <= 1
        assert "4 × chance" in (finished.out / "objects.md").read_text()
        assert (finished.out / "objects.png").is_file() and (finished.out / "objects_search.png").is_file()

    def test_finished_work_is_skipped(self, finished, monkeypatch):
        def never(*_args, **_kwargs):
            raise AssertionError("trained again")

        monkeypatch.setattr("gaussiancross.trainers.clipgs.trainer.ClipGSTrainer.train_step", never)
        monkeypatch.setattr("gaussiancross.core.datasets.procedural_triplets.write_category", never)
        before = (finished.out / "objects.json").read_text()
        assert bench.run(replace(finished, export=None), Thumbnails()) == 0
        after = json.loads((finished.out / "objects.json").read_text())
        assert after["rows"] == json.loads(before)["rows"]

    def test_the_fine_tuned_row_starts_from_the_clouds(self, finished):
        folders = sorted(p.name.split("-")[0] for p in (finished.work / "runs").iterdir())
        assert folders == ["clouds", "voting"]
        config = json.loads(next((finished.work / "runs").glob("voting-*/config.json")).read_text())
        run = from_dict(ClipGSRun, config)
        assert "clouds-s0" in run.init and run.voting == "share" and run.model.tokenizer == "gs"

    def test_the_shipped_model_is_the_trained_one(self, finished):
        assert finished.export is not None
        model, card = load_builtin_clipgs(finished.export)
        assert card["tower"] == "thumbnails" and card["scores"]["unseen/chance"] == 0.5
        triplets = Triplets(finished.work, "test")
        vectors = torch.load(next((finished.work / "runs").glob("voting-*/vectors.pt")), weights_only=True)["test"]
        found = model.encode([triplets.gaussians(i) for i in range(len(triplets))])
        assert float((found * vectors).sum(1).min()) > 0.98  # half precision

    def test_clouds_are_the_same_objects(self, finished):
        cloud, plain = (kind(finished.work, "train") for kind in (CloudTriplets, Triplets))
        assert [o.id for o in cloud.objects] == [o.id for o in plain.objects]
        a, b = cloud.gaussians(0), plain.gaussians(0)
        assert len(a) == len(b) and not torch.equal(a.means, b.means)
        assert torch.equal(cloud.gaussians(0).means, a.means)

    def test_unknown_names_are_refused(self, finished):
        with pytest.raises(InputError, match="some of clouds, points"):
            bench.run(replace(finished, rows=("uni3d",)), Thumbnails())
        teacher = Thumbnails()
        teacher.text.encode = lambda phrases: EncodedPhrases(
            torch.zeros(len(phrases), DIM), torch.zeros(len(phrases)) > 0
        )
        with pytest.raises(InputError, match="none of"):
            bench.run(finished, teacher)


class TestShipped:
    def test_damage_is_one_sentence(self, tmp_path):
        with pytest.raises(InputError, match="the description of a CLIP-GS model"):
            load_builtin_clipgs(tmp_path)
        model = ClipGS(ClipGSConfig(width=12, depth=1, heads=1, gaussians=64, groups=4, group_size=8, embed_dim=4))
        save_builtin_clipgs(tmp_path, model, {"tower": "builtin"})
        again, card = load_builtin_clipgs(tmp_path)
        assert card["tower"] == "builtin" and again.config == model.config and not again.training
        card["config"]["width"] = 24
        (tmp_path / CARD).write_text(json.dumps(card))
        with pytest.raises(InputError, match="the weights that"):
            load_builtin_clipgs(tmp_path)
