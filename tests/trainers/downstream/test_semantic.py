"""Semantic segmentation: training, exact resume, votes over augmented passes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.batch import make_points
from gaussiancross.core.errors import InputError
from gaussiancross.trainers.downstream import LabelConfig, SemanticTrainer, SemanticTraining, TestConfig
from gaussiancross.trainers.downstream.testing import PASSES, THIRTEEN, Pass, fragments, vote
from gaussiancross.trainers.engine.log import read_metrics
from helpers.labelled_scenes import COLORS, SMALL, by_color_of, labelled_scene, labelled_scenes
from helpers.networks import equal, weights_of
from rich.console import Console

QUIET = Console(quiet=True)


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
        with pytest.raises(InputError, match="CachedFeatureProbe"):
            SemanticTrainer(replace(SMALL, frozen=True, features="lifted"), tmp_path, scenes)

    def test_predictions_are_stored_and_reused(self, trained, tmp_path, monkeypatch):
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


def test_a_run_folder_that_cannot_be_written_is_an_input_error(scenes, tmp_path):
    (tmp_path / "file").write_text("")
    trainer = SemanticTrainer(SMALL, Path(tmp_path / "file" / "run"), scenes, device="cpu")
    with pytest.raises(InputError, match="can be written to"):
        trainer.fit(console=QUIET)
