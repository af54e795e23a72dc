"""The online probe: learns, resumes exactly, does not change the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.core.data.batch import InputConfig, PointBatch, make_input
from gaussiancross.core.data.scene import PointScene
from gaussiancross.trainers.engine.live import LiveFeed
from gaussiancross.trainers.engine.log import read_metrics
from gaussiancross.trainers.pretraining.data import PretrainData
from gaussiancross.trainers.pretraining.online_probe import LinearProbe, OnlineProbe, split_probe, with_probe
from gaussiancross.trainers.pretraining.runs import find_checkpoint, load_probe, load_run
from gaussiancross.trainers.pretraining.timeline import list_frames
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from helpers.box_room import SMALL, Walls, write_box_room


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        plain = PretrainData(replace(SMALL.data, data=str(write_box_room(folder / "room"))), SMALL.model.input, seed=0)
        yield PretrainData(plain.config, plain.input, 0, Walls(plain.train), Walls(plain.val))


@pytest.fixture
def make_run(data, tmp_path):
    def make(folder="run", feed=None, data=data, **changes):
        config = replace(SMALL, data=data.config, **changes)
        return Pretrainer(config, tmp_path / folder, data=data, device="cpu", feed=feed)

    return make


def blobs(n: int = 600, classes: int = 4, dim: int = 6, seed: int = 0):
    """Features around one centre per class."""
    generator = torch.Generator().manual_seed(seed)
    segment = torch.arange(n) % classes
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(9))
    return 5 + 3 * centres[segment] + torch.randn(n, dim, generator=generator), segment


class TestBatch:
    def test_labels_follow_their_voxels(self):
        coord = np.random.default_rng(0).random((500, 3)).astype(np.float32)
        segment = (coord[:, 0] > 0.5).astype(np.int64)
        color = np.repeat((segment * 255).astype(np.uint8)[:, None], 3, 1)
        scene = PointScene("s", coord, color, np.zeros_like(coord), segment)
        given = make_input(scene, InputConfig(voxel_size=0.02), np.random.default_rng(1)).points
        assert torch.equal(given.segment, (given.feat[:, 0] > 0).long())
        bare = make_input(replace(scene, segment=None), InputConfig(voxel_size=0.02)).points
        assert bare.segment is None and bare.to("cpu").segment is None
        both = PointBatch.cat([bare, given])
        assert (both.segment[: len(bare.coord)] == -1).all()
        assert torch.equal(both.segment[len(bare.coord) :], given.segment)
        assert PointBatch.cat([bare, bare]).segment is None


class TestOnlineProbe:
    def test_learns_linearly_separable_classes(self):
        probe = OnlineProbe(6, ("a", "b", "c", "d"))
        losses = [probe.learn(step, *blobs(seed=step)) for step in range(150)]
        assert losses[0] == pytest.approx(np.log(4), abs=1e-4) and losses[-1] < 0.3
        probe.observe(*blobs(seed=999))
        scores = probe.take_scores()
        assert scores.allacc > 0.97 and scores.miou_present > 0.95
        assert probe.take_scores() is None  # taken

    def test_scores_at_chance_on_features_without_class_information(self):
        probe = OnlineProbe(6, ("a", "b", "c", "d"))
        for step in range(60):
            features, segment = blobs(seed=step)
            probe.learn(step, torch.randn(features.shape, generator=torch.Generator().manual_seed(step)), segment)
        features, segment = blobs(seed=999)
        probe.observe(torch.randn(features.shape, generator=torch.Generator().manual_seed(-1)), segment)
        assert probe.take_scores().allacc < 0.4

    def test_no_gradient_reaches_the_features(self):
        features, segment = blobs()
        features.requires_grad_()
        probe = OnlineProbe(6, ("a", "b", "c", "d"))
        assert probe.learn(0, features * 1.0, segment) is not None
        assert features.grad is None

    def test_nothing_to_learn_from(self):
        features, segment = blobs()
        probe = OnlineProbe(6, ("a", "b", "c", "d"))
        before = probe.weights()
        assert probe.learn(0, features, None) is None
        assert probe.learn(0, features, torch.full_like(segment, -1)) is None
        assert probe.learn(0, features, torch.full_like(segment, 99)) is None
        assert probe.learn(0, features * torch.nan, segment) is None
        assert all(torch.equal(v, before[k]) for k, v in probe.weights().items())

    def test_draws_no_global_randomness(self):
        state = torch.random.get_rng_state()
        probe = OnlineProbe(6, ("a", "b", "c", "d"))
        features, segment = blobs(40_000)
        probe.learn(0, features, segment)
        assert torch.equal(state, torch.random.get_rng_state())

    def test_weights_make_the_same_probe_again(self):
        probe = OnlineProbe(6, ("a", "b", "c", "d"))
        probe.learn(0, *blobs())
        own, found = split_probe(with_probe({"backbone.w": torch.ones(2)}, probe.weights()))
        assert list(own) == ["backbone.w"] and found is not None
        features = blobs()[0]
        assert torch.equal(LinearProbe.of(found)(features), probe.model.eval()(features))
        assert split_probe(own) == (own, None)


class TestInARun:
    def test_leaves_the_network_alone_bit_for_bit(self, make_run):
        with_it, without = make_run("a"), make_run("b", probe=False)
        assert with_it.probe is not None and without.probe is None
        with_it.fit()
        without.fit()
        a, b = with_it.model.state_dict(), without.model.state_dict()
        assert [k for k in a if not torch.equal(a[k], b[k])] == []
        rows = read_metrics(with_it.run_dir / "metrics.jsonl")
        assert all("probe/loss" in row for row in rows)
        assert [row["step"] for row in rows if "probe/miou" in row] == [3, 6]
        assert not any(k.startswith("probe") for row in read_metrics(without.run_dir / "metrics.jsonl") for k in row)

    def test_resumes_exactly(self, make_run):
        whole = make_run("whole")
        whole.fit()
        cut = make_run("cut")
        while cut.step < 3:
            cut.train_step(cut.data.batch(cut.step))
        cut.save()
        again = make_run("cut")
        assert again.resume()
        again.fit()
        a, b = whole.probe.weights(), again.probe.weights()
        assert [k for k in a if not torch.equal(a[k], b[k])] == []

    def test_older_checkpoints_and_other_classes_start_afresh(self, make_run, data):
        run = make_run(probe=False)
        run.train_step(data.batch(0))
        run.save()
        again = make_run()
        assert again.resume() and again.step == 1 and not again.probe.weights()["linear.weight"].any()
        fewer = OnlineProbe(8, ("a", "b"))
        kept = fewer.weights()
        assert not fewer.load(again.probe.weights(), again.probe.state())
        assert all(torch.equal(v, kept[k]) for k, v in fewer.weights().items())

    def test_snapshots_checkpoints_and_the_time_line_carry_it(self, make_run):
        feed = LiveFeed()
        run = make_run(feed=feed)
        run.fit()
        weights = run.probe.weights()
        assert torch.equal(feed.snapshot.probe["linear.weight"], weights["linear.weight"])
        assert not any(k.startswith("probe.") for k in feed.snapshot.weights)
        assert torch.equal(load_probe(run.run_dir).linear.weight, weights["linear.weight"])
        model, _, step = load_run(find_checkpoint(run.run_dir))
        assert step == 6
        for frame in list_frames(run.run_dir):
            own, probe = split_probe(frame.weights())
            model.load_state_dict(own)  # the network's names alone
            assert probe.keys() == weights.keys()
        assert torch.equal(probe["linear.weight"], weights["linear.weight"])

    def test_data_without_labels_have_no_probe(self, make_run, data):
        plain = PretrainData(data.config, data.input, 0, data.train.inner, data.val.inner)
        run = make_run(data=plain)
        assert run.probe is None
        metrics = run.train_step(plain.batch(0)) | run.evaluate()
        assert not any(k.startswith("probe") for k in metrics)
