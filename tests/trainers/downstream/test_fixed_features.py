"""Linear probes of fixed and of lifted features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.features.interpolate import features_at
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.models import GaussianCross
from gaussiancross.trainers.downstream import CachedFeatureProbe, LabelConfig, LabelledScenes, OptimConfig, SceneList
from gaussiancross.trainers.downstream.segmenter import backbone_of
from helpers.labelled_scenes import CLASSES, NETWORK, SMALL, labelled_scene
from helpers.networks import equal, weights_of
from rich.console import Console

QUIET = Console(quiet=True)


class TestFixed:
    CONFIG = replace(SMALL, frozen=True, cache=True, norm="own", steps=60, eval_every=0, voxel_size=0.03)
    CONFIG = replace(CONFIG, optim=OptimConfig(lr=0.1))

    @staticmethod
    def colors(dataset, index, points):
        return points.feat[:, :3]

    def test_learns_from_any_features(self, scenes, tmp_path):
        probe = CachedFeatureProbe(self.CONFIG, tmp_path, scenes, source=self.colors, device="cpu")
        assert probe.features.shape[1] == 3
        evaluation = probe.fit(console=QUIET)
        assert evaluation["val/miou_present"] > 0.6
        assert int(probe.confusion.sum()) == sum(
            int((scenes.val.scene(i).segment != -1).sum()) for i in range(len(scenes.val))
        )

    @pytest.mark.parametrize("features", ["last", "hypercolumn", "encoder"])
    def test_of_a_random_backbone(self, scenes, tmp_path, features):
        probe = CachedFeatureProbe(replace(self.CONFIG, features=features, steps=10), tmp_path, scenes, device="cpu")
        probe.fit(console=QUIET)
        assert 0 < probe.test().miou_present <= 1

    def test_resume_is_exact(self, scenes, tmp_path):
        straight = CachedFeatureProbe(self.CONFIG, tmp_path / "a", scenes, source=self.colors, device="cpu")
        straight.fit(console=QUIET)
        broken = CachedFeatureProbe(self.CONFIG, tmp_path / "b", scenes, source=self.colors, device="cpu")
        for step in range(7):
            broken.train_step(broken.batch(step))
        broken.save()
        resumed = CachedFeatureProbe(self.CONFIG, tmp_path / "b", scenes, source=self.colors, device="cpu")
        assert resumed.resume() and resumed.step == 7
        resumed.fit(console=QUIET)
        assert equal(weights_of(straight), weights_of(resumed))

    def test_of_the_field(self, scenes, tmp_path):
        from helpers.box_room import SMALL as PRETRAIN

        model = GaussianCross(replace(PRETRAIN.model, teacher_dim=5))
        probe = CachedFeatureProbe(
            replace(self.CONFIG, features="field", steps=5), tmp_path, scenes, model, device="cpu"
        )
        assert probe.features.shape[1] == 5
        with pytest.raises(InputError, match="a backbone alone"):
            CachedFeatureProbe(replace(self.CONFIG, features="field"), tmp_path, scenes, model.backbone)

    def test_lifting_needs_a_teacher_and_frames(self, scenes, tmp_path):
        config = replace(self.CONFIG, cache=False, features="lifted", labels=LabelConfig())
        with pytest.raises(InputError, match="can be lifted"):
            CachedFeatureProbe(replace(config, teacher="none"), tmp_path, scenes)
        with pytest.raises(InputError, match="posed frames"):
            CachedFeatureProbe(replace(config, teacher="builtin"), tmp_path, scenes)

    def test_features_that_are_not_finite_are_refused(self, scenes, tmp_path):
        with pytest.raises(InputError, match="finite features"):
            CachedFeatureProbe(self.CONFIG, tmp_path, scenes, source=lambda d, i, p: p.feat * float("nan"))

    def test_of_scenes_without_labels_is_refused(self, tmp_path):
        scene = labelled_scene(0)
        bare = SceneList([replace(scene, segment=None)], CLASSES)
        with pytest.raises(InputError, match="labels to learn from"):
            CachedFeatureProbe(self.CONFIG, tmp_path, LabelledScenes(bare, bare), source=self.colors)
        empty = SceneList([replace(scene, segment=np.full_like(scene.segment, -1))], CLASSES)
        with pytest.raises(InputError, match="labelled points"):
            CachedFeatureProbe(self.CONFIG, tmp_path, LabelledScenes(empty, empty), source=self.colors)

    def test_a_run_continues_with_a_copy_of_its_model_but_not_with_another_model(self, scenes, tmp_path):
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            backbone_of(None, NETWORK, seed).save_pretrained(tmp_path / name)

        def probe(name):
            return CachedFeatureProbe(
                replace(self.CONFIG, init=str(tmp_path / name)), tmp_path / "run", scenes, device="cpu"
            )

        probe("a").save()
        assert probe("b").resume()
        with pytest.raises(InputError, match="another init;"):
            probe("c").resume()


class TestField:
    def make(self, means, opacities=None, scale=0.1):
        n = len(means)
        quats = torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1)
        opacities = torch.full((n,), 0.9) if opacities is None else torch.tensor(opacities)
        means = torch.tensor(means, dtype=torch.float32)
        return Gaussians(means, quats, torch.full((n, 3), scale), opacities, torch.zeros(n, 3), torch.eye(n))

    def test_a_point_at_a_centre_gets_its_feature(self):
        field = self.make([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
        torch.testing.assert_close(features_at(field, field.means), torch.eye(3), atol=1e-6, rtol=0)

    def test_weights_are_opacity_times_density(self):
        field = self.make([[0, 0, 0], [0.2, 0, 0]], opacities=[0.8, 0.4])
        density = torch.exp(-0.5 * torch.tensor([0.5**2, 1.5**2]))
        expected = density * torch.tensor([0.8, 0.4])
        found = features_at(field, torch.tensor([[0.05, 0.0, 0.0]]))
        torch.testing.assert_close(found[0], expected / expected.sum())

    def test_turned_and_stretched_gaussians(self):
        field = self.make([[0, 0, 0], [0, 0, 0]])
        half = 0.5**0.5
        field = replace(
            field,
            scales=torch.tensor([[1.0, 0.01, 0.01], [1.0, 0.01, 0.01]]),
            quats=torch.tensor([[1.0, 0, 0, 0], [half, 0, 0, half]]),  # the second is turned from x to y
        )
        found = features_at(field, torch.tensor([[0.0, 0.9, 0.0], [0.9, 0.0, 0.0]]))
        torch.testing.assert_close(found, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), atol=1e-4, rtol=0)

    def test_far_points_listen_to_the_closest(self):
        field = self.make([[0, 0, 0], [3, 0, 0]])
        assert torch.isfinite(features_at(field, torch.tensor([[90.0, 0, 0]]))).all()
        assert features_at(field, torch.tensor([[90.0, 0, 0]]))[0].tolist() == pytest.approx([0, 1])

    def test_without_features_is_refused(self):
        with pytest.raises(InputError, match="with features"):
            features_at(replace(self.make([[0, 0, 0]]), features=None), torch.zeros(1, 3))
