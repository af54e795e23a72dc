"""Losses, metrics, the feature basis, heads, configs and the live feed."""

import dataclasses
import math
import threading
import time

import pytest
import torch
from gaussiancross.core.config import from_dict, to_dict
from gaussiancross.core.errors import InputError
from gaussiancross.core.features.pca import PcaBasis
from gaussiancross.core.losses.distillation import (
    depth_l1,
    feature_cosine,
    rgb_l1,
    to_tokens,
    uncertainty_sum,
    weighted_sum,
)
from gaussiancross.core.metrics import depth_error, effective_rank, feature_spread, psnr, token_cosine
from gaussiancross.core.nn.heads import GaussianHead, HeadConfig
from gaussiancross.trainers.engine.live import Curve, LiveFeed, Snapshot


class TestLosses:
    def test_depth_loss_ignores_missing_and_unseen_pixels(self):
        depth = torch.tensor([[[2.0, 9.0, 9.0, 3.0]]], requires_grad=True)
        target = torch.tensor([[[1.0, 0.0, 5.0, 3.5]]])
        alpha = torch.tensor([[[1.0, 1.0, 0.05, 1.0]]])
        loss = depth_l1(depth, alpha, target)
        assert loss.item() == pytest.approx((1 + 0.5) / 2)
        loss.backward()
        assert depth.grad.flatten().tolist() == pytest.approx([0.5, 0, 0, -0.5])

    def test_depth_loss_without_any_measurement_is_zero(self):
        assert depth_l1(torch.ones(1, 2, 2), torch.ones(1, 2, 2), torch.zeros(1, 2, 2)).item() == 0

    def test_feature_loss_is_one_minus_cosine(self):
        a = torch.tensor([1.0, 0.0]).expand(1, 2, 2, 2)
        assert feature_cosine(a, 5 * a).item() == pytest.approx(0, abs=1e-6)
        assert feature_cosine(a, a.flip(-1)).item() == pytest.approx(1)
        assert feature_cosine(a, -a).item() == pytest.approx(2)

    def test_tokens_are_averages_of_their_pixels(self):
        features = torch.randn(2, 6, 8, 3)
        tokens = to_tokens(features, 3, 2)
        assert torch.allclose(tokens[1, 2, 0], features[1, 4:6, :4].mean((0, 1)), atol=1e-6)

    def test_weights_must_cover_the_terms(self):
        terms = {"rgb": torch.tensor(2.0), "depth": torch.tensor(3.0)}
        assert weighted_sum(terms, {"rgb": 10, "depth": 1, "feature": 1}).item() == 23
        with pytest.raises(InputError, match="depth"):
            weighted_sum(terms, {"rgb": 1})

    def test_uncertainty_weights_settle_at_the_inverse_of_their_loss(self):
        terms = {"rgb": torch.tensor(0.25)}
        log_variance = {"rgb": torch.tensor(0.0, requires_grad=True)}
        for _ in range(300):
            (grad,) = torch.autograd.grad(uncertainty_sum(terms, log_variance), log_variance["rgb"])
            log_variance["rgb"].data -= 0.1 * grad
        assert torch.exp(-log_variance["rgb"]).item() == pytest.approx(4, rel=1e-2)

    def test_rgb_loss_is_the_mean_absolute_difference(self):
        assert rgb_l1(torch.zeros(1, 2, 2, 3), torch.full((1, 2, 2, 3), 0.25)).item() == 0.25


class TestMetrics:
    def test_psnr_of_a_tenth_is_twenty(self):
        assert psnr(torch.zeros(2, 3, 4, 3), torch.full((2, 3, 4, 3), 0.1)).tolist() == pytest.approx([20, 20])

    def test_depth_error_is_the_median_over_measured_pixels(self):
        target = torch.tensor([[[1.0, 2.0, 0.0, 4.0]], [[0.0, 0, 0, 0]]])
        depth = torch.tensor([[[1.1, 2.0, 9.0, 2.0]], [[1.0, 1, 1, 1]]])
        errors = depth_error(depth, target)
        assert errors[0].item() == pytest.approx(0.1, abs=1e-6)
        assert torch.isnan(errors[1])

    def test_token_cosine(self):
        a = torch.randn(2, 3, 3, 8)
        assert token_cosine(a, 3 * a).tolist() == pytest.approx([1, 1], abs=1e-5)

    def test_effective_rank_counts_directions(self):
        torch.manual_seed(0)
        full = torch.randn(4000, 16)
        assert effective_rank(full) == pytest.approx(16, rel=0.02)
        assert effective_rank(full[:, :3] @ torch.linalg.qr(torch.randn(16, 3))[0].T + 7) == pytest.approx(3, rel=0.02)
        assert effective_rank(torch.ones(10, 4)) == 0
        assert effective_rank(torch.full((10, 4), torch.nan)) == 0

    def test_feature_spread_sees_collapse(self):
        torch.manual_seed(0)
        assert feature_spread(torch.randn(4000, 16)) == pytest.approx(0.25, rel=0.02)
        assert feature_spread(torch.ones(100, 16)) == pytest.approx(0, abs=1e-6)


class TestPca:
    def test_a_rotation_of_the_samples_or_solver_does_not_flip_colours(self):
        torch.manual_seed(0)
        x = torch.randn(500, 8) * torch.tensor([5.0, 3, 2, 1, 1, 1, 1, 1]) + 3
        a, b = PcaBasis.fit(x), PcaBasis.fit(x[torch.randperm(500)])
        assert torch.allclose(a.rgb(x), b.rgb(x), atol=1e-3)
        assert 0.4 < a.rgb(x).mean() < 0.6

    def test_a_refit_stays_aligned_with_the_previous_basis(self):
        torch.manual_seed(0)
        x = torch.randn(2000, 8) * torch.tensor([3.0, 3, 3, 1, 1, 1, 1, 1])
        first = PcaBasis.fit(x)
        again = PcaBasis.fit(x + 0.05 * torch.randn_like(x), previous=first)
        assert (first.rgb(x) - again.rgb(x)).abs().mean() < 0.05

    @pytest.mark.parametrize("x", [torch.zeros(0, 5), torch.full((9, 5), torch.nan), torch.zeros(9, 2)])
    def test_degenerate_features_give_finite_colours(self, x):
        assert torch.isfinite(PcaBasis.fit(x).rgb(torch.zeros(3, x.shape[1]))).all()


class TestHeads:
    def make(self, n=5000, **changes):
        torch.manual_seed(0)
        head = GaussianHead(16, HeadConfig(**changes))
        pitch = torch.tensor([0.1, 0.2, 0.3])
        return head, head(torch.randn(n, 16), torch.randn(n, 3), pitch), pitch

    def test_starts_at_the_anchors_with_the_stated_shape(self):
        head, g, pitch = self.make(prune_floor=1.0)
        torch.manual_seed(0)
        assert len(g) == 5000
        assert torch.allclose(g.scales, 0.5 * pitch.expand(5000, 3), rtol=1e-4)
        assert torch.equal(g.quats, torch.tensor([1.0, 0, 0, 0]).expand(5000, 4))
        assert (g.opacities > head.config.prune_threshold).all()
        assert g.features.shape == (5000, 32)
        offsets = head(torch.zeros(7, 16), torch.zeros(7, 3), pitch).means
        assert (offsets == 0).all()

    @pytest.mark.parametrize("seed", range(3))
    def test_ranges_hold_for_any_weights(self, seed):
        head, _, pitch = self.make()
        torch.manual_seed(seed)
        for p in head.parameters():
            torch.nn.init.normal_(p, std=3)
        g = head(torch.randn(4000, 16), torch.zeros(4000, 3), pitch)
        assert (g.means.abs() <= pitch * (1 + 1e-6)).all()
        assert (g.scales >= 0.1 * pitch * (1 - 1e-5)).all() and (g.scales <= 3 * pitch * (1 + 1e-5)).all()
        assert ((g.colors >= 0) & (g.colors <= 1)).all()

    def test_prunes_by_opacity_but_never_below_the_floor(self):
        head = GaussianHead(4, HeadConfig(prune_floor=0.6))
        opacities = torch.tensor([0.1, 0.9, 0.3, 0.25, 0.31])
        assert head.keep(opacities).tolist() == [1, 2, 4]  # two above τ (0.3 itself is not), and the next to the floor
        assert head.keep(torch.tensor([0.5, 0.6, 0.7, 0.8, 0.01])).tolist() == [0, 1, 2, 3]
        assert head.keep(torch.tensor([0.1])).tolist() == [0]

    def test_a_floor_that_is_no_share_is_refused(self):
        with pytest.raises(InputError, match="share of the anchors"):
            HeadConfig(prune_floor=2000)

    def test_base_colour_plus_residual(self):
        head = GaussianHead(4, HeadConfig(prune_floor=1.0))
        base = torch.rand(9, 3)
        torch.nn.init.zeros_(head.rest.weight)
        g = head(torch.randn(9, 4), torch.zeros(9, 3), torch.ones(3), base_color=base)
        assert torch.allclose(g.colors, base)

    def test_everything_gets_a_gradient(self):
        head, g, _ = self.make()
        sum(t.square().sum() for t in (g.means, g.quats, g.scales, g.opacities, g.colors, g.features)).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


class TestConfig:
    def test_round_trip_and_unknown_keys(self):
        config = HeadConfig(hidden=7, scale_range=(0.2, 2.0))
        assert from_dict(HeadConfig, to_dict(config)) == config
        assert from_dict(HeadConfig, {}) == HeadConfig()
        with pytest.raises(InputError, match="colour"):
            from_dict(HeadConfig, {"colour": 1})

    def test_presets_round_trip_through_json(self):
        import json

        from gaussiancross.trainers.pretraining.presets import FULL, TINY
        from gaussiancross.trainers.pretraining.trainer import PretrainConfig

        for preset in (FULL, TINY):
            assert from_dict(PretrainConfig, json.loads(json.dumps(to_dict(preset)))) == preset
            assert dataclasses.is_dataclass(preset)


class TestLiveFeed:
    def test_subscribers_get_snapshots_until_they_leave(self):
        feed, seen = LiveFeed(), []
        leave = feed.subscribe(lambda s: seen.append(s.step))
        feed.wants_snapshot.set()
        feed.publish(Snapshot(1, {}))
        assert not feed.wants_snapshot.is_set()
        leave()
        feed.publish(Snapshot(2, {}))
        assert seen == [1] and feed.snapshot.step == 2

    def test_pause_single_step_resume(self):
        feed, steps = LiveFeed(), []
        done = threading.Event()

        def train():
            while not done.is_set():
                feed.wait_while_paused(done.is_set)
                steps.append(1)
                time.sleep(0.005)

        def settled() -> int:
            time.sleep(0.1)
            return len(steps)

        feed.pause()
        thread = threading.Thread(target=train)
        thread.start()
        before = settled()
        assert before == 0
        feed.single_step()
        assert settled() == 1
        feed.pause(False)
        assert settled() > 2
        feed.pause()
        done.set()
        thread.join(2)
        assert not thread.is_alive()

    def test_save_is_asked_once_and_series_are_copies(self):
        feed = LiveFeed()
        feed.request_save()
        assert feed.take_save_request() and not feed.take_save_request()
        feed.log(3, {"loss": 1.5})
        feed.series()["loss"].append((9, 9.0))
        assert feed.series() == {"loss": [(3, 1.5)]}


class TestCurve:
    def test_short_curves_are_exact(self):
        curve = Curve(size=8)
        for step in range(7):
            curve.add(10 * step, float(step) ** 2)
        assert curve.points() == [(10 * s, float(s) ** 2) for s in range(7)]

    @pytest.mark.parametrize("count", [8, 9, 100, 1000])
    def test_long_curves_are_means_of_consecutive_values(self, count):
        curve = Curve(size=8)
        values = [float((7 * i) % 13) for i in range(count)]
        for step, value in enumerate(values):
            curve.add(step, value)
        points, begin = curve.points(), 0
        assert 4 <= len(points) <= 8 and points[-1][0] == count - 1
        for step, value in points:
            assert value == pytest.approx(sum(values[begin : step + 1]) / (step + 1 - begin))
            begin = step + 1

    def test_what_is_not_finite_counts_only_alone(self):
        curve = Curve(size=4)
        for step, value in enumerate([1.0, math.nan, 3.0, math.inf]):
            curve.add(step, value)
        assert curve.points() == [(1, 1.0), (3, 3.0)]
        curve.add(4, math.inf)
        assert curve.points()[-1] == (4, math.inf)
