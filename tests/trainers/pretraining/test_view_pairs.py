"""Contrast of two views of a scene's points: pairs, loss, effect in pre-training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.benchmarks._data import BoxRooms
from gaussiancross.core.data.augment import NO_SCENE_AUGMENT
from gaussiancross.core.data.batch import PointBatch
from gaussiancross.core.data.view_pairs import make_view_pair, match_voxels
from gaussiancross.core.errors import InputError
from gaussiancross.core.losses.contrastive import info_nce
from gaussiancross.core.models import GaussianCross
from gaussiancross.trainers.pretraining.data import PretrainData
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from helpers.box_room import SMALL, write_box_room
from rich.console import Console


class TestPairs:
    def test_matches_share_a_point_and_no_voxel_is_used_twice(self):
        rng = np.random.default_rng(0)
        first, second = rng.integers(-1, 30, 200), rng.integers(-1, 30, 200)
        pairs = match_voxels(first, second, 1000, rng)
        shared = {(a, b) for a, b in zip(first, second, strict=True) if a >= 0 and b >= 0}
        assert {tuple(p) for p in pairs.tolist()} <= shared and len(pairs) > 10
        assert all(len(set(column)) == len(pairs) for column in pairs.T.tolist())
        assert len(match_voxels(first, second, 5, rng)) == 5
        assert len(match_voxels(np.array([-1, 2]), np.array([1, -1]), 9, rng)) == 0

    def test_matched_voxels_are_neighbours_when_nothing_moves(self):
        scene = BoxRooms(1, points=600, frames=3).scene(0)
        pair = make_view_pair(scene, 0.4, 0.3, 64, np.random.default_rng(1), NO_SCENE_AUGMENT)
        coord = pair.points.coord
        a, b = coord[pair.matches[:, 0]], coord[pair.matches[:, 1]]
        # Views are centred on what is left of them: a constant shift, and within it at most a voxel.
        shift = (a - b).median(0).values
        assert len(pair.matches) == 64 and float((a - b - shift).abs().max()) < 2 * 0.4
        assert int(pair.matches[:, 0].max()) < int(pair.points.offset[0]) <= int(pair.matches[:, 1].min())

    def test_masked_blocks_are_hidden_from_one_view_only(self):
        """Every block is visible in a view at least, and matches come from blocks that both views see."""
        scene = BoxRooms(1, points=6000, frames=3).scene(0)
        pair = make_view_pair(scene, 0.1, 0.4, 4096, np.random.default_rng(1), NO_SCENE_AUGMENT, mask_block=0.8)
        split = int(pair.points.offset[0])
        numbers = [len(pair.points.coord[:split]), len(pair.points.coord[split:])]
        whole = make_view_pair(scene, 0.1, 0.0, 4096, np.random.default_rng(1), NO_SCENE_AUGMENT)
        total = int(whole.points.offset[0])
        assert all(0.4 * total < n < 0.8 * total for n in numbers)  # 60 % of the blocks each
        # 20 % of the blocks are visible in both: with draws of single points it would be 36 %.
        assert len(pair.matches) < 0.32 * len(whole.matches)


class TestLoss:
    def test_info_nce_is_its_formula(self):
        torch.manual_seed(0)
        a, b = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
        a.requires_grad_()
        total = 0.0
        for i in range(5):
            for x, y in ((a, b), (b, a)):
                sims = torch.stack([torch.cosine_similarity(x[i], y[j], dim=0) / 0.2 for j in range(5)])
                total = total - sims[i] + torch.logsumexp(sims, 0)
        expected = total / 10
        found = info_nce(a, b, 0.2)
        assert torch.allclose(found, expected)
        grads = [torch.autograd.grad(value, a, retain_graph=True)[0] for value in (found, expected)]
        assert torch.allclose(*grads)
        assert info_nce(a[:0], b[:0], 0.2) == 0

    def test_autocast_does_not_touch_it(self):
        torch.manual_seed(0)
        a, b = torch.randn(50, 16), torch.randn(50, 16)
        b = a + 0.3 * b
        outside = info_nce(a, b, 0.07)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(info_nce(a, b, 0.07), outside)
            logits = a @ b.T  # what it would have been
        assert logits.dtype == torch.bfloat16


CONFIG = replace(
    SMALL, model=replace(SMALL.model, input=replace(SMALL.model.input, pairs=40, mask_ratio=0.3), contrast_weight=0.5)
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        config = replace(CONFIG.data, data=str(write_box_room(folder / "room")), batch_size=2)
        yield PretrainData(config, CONFIG.model.input, seed=0)


class TestPretraining:
    def test_a_batch_has_a_pair_of_each_scene_and_is_otherwise_the_same(self, data):
        batch, again = data.batch(3), data.batch(3)
        assert [len(pair.points) for pair in batch.pairs] == [2, 2]
        assert all(0 < len(pair.matches) <= 40 for pair in batch.pairs)
        assert torch.equal(batch.pairs[1].points.feat, again.pairs[1].points.feat)
        plain = PretrainData(data.config, replace(data.input, pairs=0), 0, data.train, data.val).batch(3)
        assert plain.pairs == [] and torch.equal(plain.points.coord, batch.points.coord)
        assert all(not b.pairs for _, b in data.held_out())

    def test_a_large_scene_is_thinned_first(self, data):
        thin = PretrainData(data.config, replace(data.input, max_points=200), 0, data.train, data.val)
        assert all(len(pair.points.coord) <= 2 * 200 for pair in thin.batch(0).pairs)

    def test_the_loss_is_that_of_each_pair(self, data):
        torch.manual_seed(0)
        model, batch = GaussianCross(CONFIG.model), data.batch(0)
        initial = {k: v.clone() for k, v in model.state_dict().items()}
        total, terms = model.losses(model(batch), batch)
        weights = model.loss_weight()
        assert weights["contrast"] == 0.5
        assert float(total.detach()) == pytest.approx(
            sum(weights[k] * float(v.detach()) for k, v in terms.items()), rel=1e-5
        )
        counted = {k: v for k, v in model.backbone.state_dict().items() if "running" in k}
        again = GaussianCross(CONFIG.model)
        again.load_state_dict(initial)
        again(batch)
        assert all(torch.equal(again.backbone.state_dict()[k], v) for k, v in counted.items())
        terms["contrast"].backward()
        assert float(model.backbone.conv_input[0].weight.grad.abs().sum()) > 0
        assert model.head.rest.weight.grad is None
        with torch.no_grad():
            features = model.backbone_features(PointBatch.cat([pair.points for pair in batch.pairs]))
        each, start = [], 0
        for pair in batch.pairs:
            first, second = (features[start + pair.matches[:, side]] for side in (0, 1))
            each.append(float(info_nce(first, second, 0.07)))
            start += len(pair.points.coord)
        assert float(terms["contrast"].detach()) == pytest.approx(sum(each) / 2, rel=1e-4)

    def test_it_learns_and_resumes_exactly(self, data, tmp_path):
        quiet = Console(quiet=True)
        config = replace(CONFIG, data=data.config)
        straight = Pretrainer(config, tmp_path / "a", data, "cpu")
        straight.fit(console=quiet)
        first = Pretrainer(config, tmp_path / "b", data, "cpu")
        for step in range(3):
            assert "loss/contrast" in first.train_step(first.batch(step))
        first.save()
        second = Pretrainer(config, tmp_path / "b", data, "cpu")
        assert second.resume()
        second.fit(console=quiet)
        weights = straight.model.state_dict()
        assert all(torch.equal(v, weights[k]) for k, v in second.model.state_dict().items())
        batch = straight.batch(0)
        losses = [straight.train_step(batch)["loss/contrast"] for _ in range(8)]
        assert losses[-1] < losses[0]

    @pytest.mark.parametrize("change", [{"contrast_weight": 0.0}, {"contrast_temperature": -1.0}])
    def test_invalid_options_are_refused(self, change):
        with pytest.raises(InputError, match="contrast"):
            replace(CONFIG.model, **change)
