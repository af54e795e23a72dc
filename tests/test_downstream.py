"""Semantic segmentation downstream: batches, heads, frozen and learning backbones, votes, exact resume."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.batch import PointBatch, make_points
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.features.interpolate import features_at
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.models import GaussianCross, GaussianCrossConfig
from gaussiancross.core.nn.spunet import SpUNet
from gaussiancross.trainers.downstream import (
    CachedFeatureProbe,
    LabelConfig,
    LabelledScenes,
    OptimConfig,
    SceneList,
    Segmenter,
    SemanticTrainer,
    SemanticTraining,
    TestConfig,
)
from gaussiancross.trainers.downstream.scenes import SemanticData, fewer_labels
from gaussiancross.trainers.downstream.segmenter import backbone_of
from gaussiancross.trainers.downstream.semantic import segmentation_losses
from gaussiancross.trainers.downstream.testing import PASSES, THIRTEEN, Pass, fragments, vote
from gaussiancross.trainers.engine.log import read_metrics
from gaussiancross.trainers.engine.loop import prefetched
from labelled_scenes import CLASSES, COLORS, NETWORK, SMALL, labelled_scene, labelled_scenes
from rich.console import Console

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def scenes():
    return labelled_scenes()


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    trainer = SemanticTrainer(replace(SMALL, steps=60, eval_every=0), folder, scenes, device="cpu")
    trainer.fit(console=QUIET)
    return trainer


def weights_of(trainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in trainer.weights().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class TestBatches:
    def test_are_functions_of_seed_and_step(self, scenes):
        one, two = (SemanticData(SMALL, scenes) for _ in range(2))
        first, again = one.batch(4), (two.batch(1), two.batch(4))[1]
        assert torch.equal(first.feat, again.feat) and torch.equal(first.segment, again.segment)
        other = SemanticData(replace(SMALL, seed=1), scenes).batch(4)
        assert first.feat.shape != other.feat.shape or not torch.equal(first.feat, other.feat)

    def test_every_scene_comes_once_an_epoch(self, scenes):
        data = SemanticData(SMALL, scenes)
        epoch = [data.scene_index(step, slot) for step in range(2) for slot in range(2)]
        assert sorted(epoch) == [0, 1, 2, 3]

    def test_steps_follow_from_epochs(self, scenes):
        assert SemanticData(replace(SMALL, steps=0, epochs=10, batch_size=2), scenes).steps == 20

    def test_mixed_scenes_are_one_and_no_voxel_occurs_twice(self, scenes):
        batch = SemanticData(replace(SMALL, mix=1.0), scenes).batch(0)
        assert len(batch) == 1
        assert len(torch.unique(batch.grid_coord, dim=0)) == len(batch.grid_coord)
        assert len(SemanticData(replace(SMALL, mix=0.0), scenes).batch(0)) == 2

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
    def test_split_is_the_inverse_of_cat(self, scenes, count):
        batch = SemanticData(replace(SMALL, mix=0.0, batch_size=4), scenes).batch(0)
        parts = batch.split(count)
        sizes = [len(part) for part in parts]
        assert len(parts) == min(count, 4) and max(sizes) - min(sizes) <= 1
        again = PointBatch.cat(parts)
        for name in ("coord", "grid_coord", "feat", "offset", "segment"):
            assert torch.equal(getattr(again, name), getattr(batch, name))

    def test_crops_are_no_larger_than_asked_for(self, scenes):
        batch = SemanticData(replace(SMALL, mix=0.0, max_voxels=100), scenes).batch(0)
        assert batch.offset.tolist() == [100, 200]

    def test_few_labels_are_never_lost(self):
        scene = fewer_labels(SceneList([labelled_scene(0)], CLASSES), LabelConfig(data="x", points=9), seed=0).scene(0)
        assert (scene.segment != -1).sum() == 9
        inside = LabelledScenes(SceneList([scene], CLASSES), SceneList([scene], CLASSES))
        data = SemanticData(replace(SMALL, batch_size=1, max_points=600, mix=0), inside)
        kept = [int((data.batch(step).segment != -1).sum()) for step in range(12)]
        assert min(kept) >= 7  # two may share a voxel


class TestLabels:
    def test_smaller_draws_lie_in_larger_ones(self):
        dataset = SceneList([labelled_scene(i) for i in range(20)], CLASSES)
        one, five = (fewer_labels(dataset, LabelConfig(data="x", scenes=p), seed=3) for p in (5, 25))
        assert len(one) == 1 and len(five) == 5
        assert set(one.names) <= set(five.names)
        few, many = (
            fewer_labels(dataset, LabelConfig(data="x", points=n), seed=3).scene(2).segment != -1 for n in (5, 50)
        )
        assert few.sum() == 5 and many.sum() == 50 and (few <= many).all()

    def test_all_labels_are_the_dataset_itself(self):
        dataset = SceneList([labelled_scene(0)], CLASSES)
        assert fewer_labels(dataset, LabelConfig(data="x")) is dataset

    def test_other_classes_and_empty_splits_are_refused(self):
        one = SceneList([labelled_scene(0)], CLASSES)
        with pytest.raises(InputError, match="same classes"):
            LabelledScenes(one, SceneList([labelled_scene(0)], CLASSES[:3]))
        with pytest.raises(InputError, match="at least one"):
            LabelledScenes(one, SceneList([], CLASSES))


class TestSegmenter:
    def test_the_papers_probe_has_1940_parameters(self):
        net = Segmenter(SpUNet(), 20, frozen=True)
        assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 1940

    @pytest.mark.parametrize(("features", "width"), [("last", 8), ("hypercolumn", 72), ("encoder", 40)])
    def test_width_of_what_is_read(self, features, width, scenes):
        net = Segmenter(backbone_of(None, NETWORK), 4, features)
        points, _ = make_points(scenes.val.scene(0), 0.08)
        assert net.width == width
        assert net.features(points).shape == (len(points.coord), width)
        assert net.train()(points).shape == (len(points.coord), 4)

    def test_last_is_what_the_backbone_gives(self, scenes):
        net = Segmenter(backbone_of(None, NETWORK), 4).eval()
        points, _ = make_points(scenes.val.scene(0), 0.08)
        expected = net.head(net.backbone(points.grid_coord, points.feat, points.offset))
        assert torch.equal(net(points), expected)

    @pytest.mark.parametrize(("norm", "changes"), [("train", True), ("eval", False), ("own", False)])
    def test_running_statistics_move_in_train_mode_alone(self, norm, changes, scenes):
        net = Segmenter(backbone_of(None, NETWORK), 4, norm=norm, frozen=True).train()
        points, _ = make_points(scenes.val.scene(0), 0.08)
        before = net.backbone.conv_input[1].running_mean.clone()
        net(points)
        assert torch.equal(before, net.backbone.conv_input[1].running_mean) != changes

    def test_own_statistics_do_not_depend_on_the_running_ones(self, scenes):
        net = Segmenter(backbone_of(None, NETWORK), 4, norm="own").eval()
        points, _ = make_points(scenes.val.scene(0), 0.08)
        before = net(points)
        for module in net.backbone.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean += 5
        assert torch.equal(net(points), before)
        assert not torch.equal(Segmenter(net.backbone, 4, norm="eval").eval()(points), before)

    def test_backbones_come_from_models_and_folders_as_copies(self, tmp_path):
        model = GaussianCross(
            GaussianCrossConfig(
                base_channels=8, channels=(8,) * 8, layers=(1,) * 8, lattice_channels=8, unet_widths=(8, 8)
            )
        )
        model.save_pretrained(tmp_path / "model")
        for given in (model, model.backbone, tmp_path / "model", str(tmp_path / "model")):
            backbone = backbone_of(given, NETWORK)
            assert equal(backbone.state_dict(), model.backbone.state_dict())
            assert next(backbone.parameters()) is not next(model.backbone.parameters())

    def test_random_backbones_follow_the_seed_alone(self):
        state = torch.random.get_rng_state()
        one, same, other = (backbone_of("", NETWORK, seed).state_dict() for seed in (1, 1, 2))
        assert equal(one, same) and not equal(one, other)
        assert torch.equal(state, torch.random.get_rng_state())


class TestLosses:
    def test_nothing_labelled_gives_zeros_with_gradients(self):
        logits = torch.randn(5, 3, requires_grad=True)
        terms = segmentation_losses(logits, torch.full((5,), -1))
        sum(terms.values()).backward()
        assert all(float(v.detach()) == 0 for v in terms.values())
        assert float(logits.grad.abs().sum()) == 0

    def test_cross_entropy_is_the_mean_over_labelled_voxels(self):
        logits, segment = torch.randn(6, 3), torch.tensor([0, 1, 2, -1, -1, 1])
        expected = torch.nn.functional.cross_entropy(logits[[0, 1, 2, 5]], segment[[0, 1, 2, 5]])
        assert float(segmentation_losses(logits, segment, 0.0)["entropy"]) == pytest.approx(float(expected))


class TestTraining:
    def test_from_scratch_learns(self, trained):
        scores = trained.test()
        assert scores.miou_present > 0.7
        assert scores.iou[3] == 0 and not bool(scores.present[3])

    def test_curves_are_written(self, trained):
        rows = read_metrics(trained.run_dir / "metrics.jsonl")
        assert [row["step"] for row in rows] == list(range(1, 61))
        assert rows[-1]["loss/entropy"] < 0.5 * rows[0]["loss/entropy"]
        assert rows[-1]["val/miou_present"] > 0.7
        assert list((trained.run_dir / "tensorboard").iterdir())

    def test_a_probe_leaves_the_backbone_alone(self, scenes, tmp_path, trained):
        source = trained.model.backbone
        config = replace(SMALL, frozen=True, norm="own", steps=40)
        trainer = SemanticTrainer(config, tmp_path, scenes, source, "cpu")
        trainer.fit(console=QUIET)
        assert equal(trainer.model.backbone.state_dict(), source.state_dict())
        assert trainer.test().miou_present > 0.6

    def test_fine_tuning_changes_a_copy(self, scenes, tmp_path, trained):
        before = {k: v.clone() for k, v in trained.model.backbone.state_dict().items()}
        trainer = SemanticTrainer(SMALL, tmp_path, scenes, trained.model.backbone, "cpu")
        trainer.fit(console=QUIET)
        assert equal(before, trained.model.backbone.state_dict())
        assert not equal(before, trainer.model.backbone.state_dict())

    @pytest.mark.parametrize(("mix", "micro", "sizes"), [(0.0, 1, [1] * 4), (0.0, 3, [2, 2]), (1.0, 2, [1, 1])])
    def test_a_batch_in_parts_learns_from_their_mean(self, scenes, tmp_path, monkeypatch, mix, micro, sizes):
        config = replace(SMALL, batch_size=4, mix=mix, norm="own")
        plain = SemanticTrainer(config, tmp_path / "plain", scenes, device="cpu")
        seen, losses = [], SemanticTrainer.losses
        for part in plain.batch(0).split(len(sizes)):
            (sum(losses(plain, part).values()) / len(sizes)).backward()
        parted = SemanticTrainer(replace(config, micro_batch=micro), tmp_path / "parted", scenes, device="cpu")
        monkeypatch.setattr(SemanticTrainer, "losses", lambda self, b: (seen.append(len(b)), losses(self, b))[1])
        parted.train_step(parted.batch(0))
        assert seen == sizes  # a mixed pair is two scenes
        for a, b in zip(parted.model.parameters(), plain.model.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad)

    def test_running_statistics_are_those_of_all_parts(self, scenes, tmp_path):
        config = replace(SMALL, batch_size=4, mix=0.0, norm="train", frozen=True, micro_batch=1)
        trainer = SemanticTrainer(config, tmp_path, scenes, device="cpu")
        first = next(m for m in trainer.model.backbone.modules() if isinstance(m, torch.nn.BatchNorm1d))
        seen = []
        first.register_forward_pre_hook(lambda _, args: seen.append(args[0].mean(0)))
        for step in range(2):
            trainer.train_step(trainer.batch(step))
        assert len(seen) == 8
        torch.testing.assert_close(first.running_mean, torch.stack(seen).mean(0))

    def test_a_run_goes_on_with_other_parts(self, scenes, tmp_path):
        SemanticTrainer(SMALL, tmp_path, scenes, device="cpu").save()
        assert SemanticTrainer(replace(SMALL, micro_batch=1), tmp_path, scenes, device="cpu").resume()

    @pytest.mark.parametrize("changes", [{}, {"frozen": True}, {"features": "hypercolumn", "norm": "own"}])
    def test_resume_is_exact(self, scenes, tmp_path, changes):
        config = replace(SMALL, **changes)
        straight = SemanticTrainer(config, tmp_path / "straight", scenes, device="cpu")
        straight.fit(console=QUIET)
        broken = SemanticTrainer(config, tmp_path / "broken", scenes, device="cpu")
        for step in range(3):
            broken.train_step(broken.batch(step))
        broken.save()
        resumed = SemanticTrainer(config, tmp_path / "broken", scenes, device="cpu")
        assert resumed.resume() and resumed.step == 3
        resumed.fit(console=QUIET)
        assert equal(weights_of(straight), weights_of(resumed))
        assert torch.equal(
            straight.optimizer.state_dict()["state"][0]["exp_avg"],
            resumed.optimizer.state_dict()["state"][0]["exp_avg"],
        )

    def test_another_config_does_not_continue(self, scenes, tmp_path):
        trainer = SemanticTrainer(SMALL, tmp_path, scenes, device="cpu")
        trainer.save()
        with pytest.raises(InputError, match=r"another optim\.lr, seed;"):
            other = replace(SMALL, seed=1, optim=replace(SMALL.optim, lr=1.0))
            SemanticTrainer(other, tmp_path, scenes, device="cpu").resume()

    def test_moved_data_and_other_tests_continue_but_other_scenes_and_models_do_not(self, scenes, tmp_path, trained):
        def trainer(config=SMALL, scenes=scenes, model=None, run="run"):
            return SemanticTrainer(config, tmp_path / run, scenes, model, "cpu")

        trainer().save()
        labels = replace(SMALL.labels, data="moved", val="other", val_scenes=1)
        assert trainer(replace(SMALL, labels=labels, test=TestConfig("thirteen"))).resume()
        with pytest.raises(InputError, match=r"another labels\.data;"):
            trainer(scenes=labelled_scenes(3, 2)).resume()
        with pytest.raises(InputError, match="another init;"):
            trainer(model=trained.model.backbone).resume()

        trained.model.backbone.save_pretrained(tmp_path / "here")
        shutil.copytree(tmp_path / "here", tmp_path / "there")
        trainer(replace(SMALL, init=str(tmp_path / "here")), run="tuned").save()
        assert trainer(replace(SMALL, init=str(tmp_path / "there")), run="tuned").resume()

    def test_the_time_of_earlier_invocations_counts(self, scenes, tmp_path):
        first = SemanticTrainer(SMALL, tmp_path, scenes, device="cpu")
        first.clock.earlier = 1000.0
        first.save()
        again = SemanticTrainer(SMALL, tmp_path, scenes, device="cpu")
        assert again.clock.seconds < 1000 and again.resume() and 1000 <= again.clock.seconds < 2000

    def test_options_out_of_range_are_named(self):
        for change, message in (
            ({"batch_size": 0}, "batch_size: expected a positive number, found 0"),
            ({"voxel_size": -0.5}, r"voxel_size: expected a positive number, found -0\.5"),
            ({"steps": -1}, "steps: expected 0 or more, found -1"),
        ):
            with pytest.raises(InputError, match=message):
                replace(SMALL, **change)
        with pytest.raises(InputError, match=r"labels\.scenes: expected 1 to 100 per cent, found 0"):
            LabelConfig(scenes=0)
        with pytest.raises(InputError, match=r"labels\.val_scenes: expected 0 or more, found -2"):
            LabelConfig(val_scenes=-2)

    def test_a_bad_batch_changes_nothing(self, scenes, tmp_path):
        trainer = SemanticTrainer(SMALL, tmp_path, scenes, device="cpu")
        before = weights_of(trainer)
        batch = trainer.batch(0)
        trainer.train_step(replace(batch, feat=torch.full_like(batch.feat, float("nan"))))
        assert trainer.nan_steps == trainer.step == 1
        assert equal(before, weights_of(trainer))

    def test_the_time_limit_ends_it_with_a_checkpoint(self, scenes, tmp_path):
        trainer = SemanticTrainer(replace(SMALL, steps=100_000), tmp_path, scenes, device="cpu")
        trainer.fit(seconds=0.2, console=QUIET)
        assert 0 < trainer.step < 100_000 and not trainer.finished
        assert SemanticTrainer(replace(SMALL, steps=100_000), tmp_path, scenes, device="cpu").resume()

    def test_features_that_cannot_be_trained_are_refused(self, scenes, tmp_path):
        with pytest.raises(InputError, match="cannot be trained"):
            SemanticTraining(features="lifted")
        with pytest.raises(InputError, match="norm"):
            SemanticTraining(frozen=True, cache=True)
        with pytest.raises(InputError, match="FixedProbe"):
            SemanticTrainer(replace(SMALL, frozen=True, features="lifted"), tmp_path, scenes)

    def test_predictions_are_kept_and_not_computed_again(self, trained, tmp_path, monkeypatch):
        first = trained.test(folder=tmp_path / "kept")
        monkeypatch.setattr(trained, "predict", lambda points: pytest.fail("computed again"))
        seen = []
        again = trained.test(folder=tmp_path / "kept", progress=lambda done, total: seen.append((done, total)))
        assert again.miou == first.miou
        assert seen == [(1, 2), (2, 2)]
        assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["scene0004.npy", "scene0005.npy"]


class TestVotes:
    def test_fragments_cover_every_point_with_one_point_per_voxel(self):
        scene = labelled_scene(0)
        _, inverse = make_points(scene, 0.08)
        parts = list(fragments(scene.coord, 0.08))
        assert set(np.concatenate(parts)) == set(range(len(scene)))
        assert len(parts) == int(torch.bincount(inverse).max())
        for part in parts:
            assert sorted(inverse[part].tolist()) == list(range(int(inverse.max()) + 1))

    def test_thirteen_passes_are_those_published(self):
        turns = {(p.quarters, p.scale) for p in THIRTEEN if not p.flip}
        assert len(THIRTEEN) == 13
        assert turns == {(q, s) for q in range(4) for s in (1.0, 0.95, 1.05)}
        np.testing.assert_allclose(THIRTEEN[-1].transform(), np.diag([-1, -1, 1, 1]), atol=1e-12)
        quarter = Pass(1, 0.95).transform()
        np.testing.assert_allclose(quarter @ [1, 0, 0, 1], [0, 0.95, 0, 1], atol=1e-12)
        np.testing.assert_allclose(quarter @ [0, 0, 2, 1], [0, 0, 1.9, 1], atol=1e-12)

    @pytest.mark.parametrize("passes", PASSES)
    def test_with_fragments_every_point_gets_its_own_answer(self, passes):
        scene = labelled_scene(1)

        def by_color(points):
            color = (points.feat[:, :3] + 1) * 127.5
            return -torch.cdist(color, torch.tensor(COLORS).float())

        expected = by_color_of(scene)
        votes = vote(scene, by_color, 3, 0.3, TestConfig(passes))
        assert torch.equal(votes.argmax(1), expected)
        together = vote(scene, by_color, 3, 0.3, TestConfig(passes, fragments=False)).argmax(1)
        assert 0.3 < float((together == expected).float().mean()) < 1  # voxels of 30 cm hold several classes

    def test_votes_are_summed_probabilities(self):
        scene = labelled_scene(2)
        votes = vote(scene, lambda p: torch.zeros(len(p.coord), 4), 4, 0.08, TestConfig("thirteen", fragments=False))
        torch.testing.assert_close(votes, torch.full((len(scene), 4), 13 / 4))


def by_color_of(scene: PointScene) -> torch.Tensor:
    color = torch.from_numpy(scene.color).float()
    return (-torch.cdist((color / 127.5 - 1 + 1) * 127.5, torch.tensor(COLORS).float())).argmax(1)


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
        from box_room import SMALL as PRETRAIN

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

    def test_runs_of_one_model_go_on_wherever_it_lies_and_of_another_do_not(self, scenes, tmp_path):
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


class TestPrefetched:
    @pytest.mark.parametrize("workers", [1, 3])
    def test_order_and_errors(self, workers):
        def make(step: int) -> int:
            time.sleep(0.002 * (step % 3))  # later ones are done earlier
            if step == 8:
                raise ValueError("eighth")
            return step

        items = prefetched(make, 1, workers)
        assert [next(items) for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
        with pytest.raises(ValueError, match="eighth"):
            next(items)
        assert not _threads()

    def test_closing_ends_the_threads(self):
        items = prefetched(lambda step: step, 0, 2)
        next(items)
        items.close()
        assert not _threads()


def _threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("batches")]


def test_run_folders_that_cannot_be_written_are_said_so(scenes, tmp_path):
    (tmp_path / "file").write_text("")
    trainer = SemanticTrainer(SMALL, Path(tmp_path / "file" / "run"), scenes, device="cpu")
    with pytest.raises(InputError, match="can be written to"):
        trainer.fit(console=QUIET)
