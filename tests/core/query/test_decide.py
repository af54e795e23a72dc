"""Thresholds, presence and combination of scores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gaussiancross.core import query
from gaussiancross.core.errors import InputError
from gaussiancross.core.query.decide import TWO_GROUPS, otsu
from helpers.query_features import random_features
from hypothesis import given, settings
from hypothesis import strategies as st


class TestCombine:
    def test_mean_of_directions(self):
        a, b, c = torch.eye(3)
        assert torch.allclose(query.combine(torch.stack([a * 5, b])), (a + b) / 2**0.5)
        assert torch.allclose(query.combine(a[None], c[None]), (a - 0.5 * c) / 1.25**0.5)
        assert torch.allclose(query.combine(a[None], torch.zeros(0, 3)), a)
        assert torch.allclose(query.combine(torch.stack([a, a * float("nan")]), torch.zeros(1, 3)), a)

    def test_exclude_pushes_away(self):
        f = random_features(50, 16)
        plain, pushed = query.combine(f[:3]), query.combine(f[:3], f[10:12])
        assert (query.similarity(f[10:12], pushed[None]) < query.similarity(f[10:12], plain[None])).all()

    def test_excluded_as_negatives(self):
        f = random_features(50, 16)
        negatives = torch.cat([f[20:22], f[10:12]])
        got = query.relevancy(f, query.combine(f[:3])[None], negatives)
        assert (got[10:12] <= query.relevancy(f, query.combine(f[:3])[None], f[20:22])[10:12]).all()
        assert (got[10:12] < 0.5).all()

    def test_errors(self):
        a = torch.eye(3)[:1]
        for include, exclude in ((torch.zeros(2, 3), None), (torch.cat([a, -a]), None), (a, a)):
            with pytest.raises(InputError, match="picks"):
                query.combine(include, exclude, 1.0)


class TestThreshold:
    def _scores(self, share: float, n: int = 50_000) -> tuple[torch.Tensor, torch.Tensor]:
        g = torch.Generator().manual_seed(1)
        truth = torch.arange(n) < share * n
        noise = torch.randn(n, generator=g)
        return torch.where(truth, 0.75 + 0.05 * noise, 0.4 + 0.05 * noise), truth

    @pytest.mark.parametrize("share,method", [(0.3, "otsu"), (0.02, "otsu"), (0.002, "otsu above floor")])
    def test_finds_the_object(self, share, method):
        scores, truth = self._scores(share)
        got = query.auto_threshold(scores)
        chosen = scores > got.value
        assert got.method == method and got.separability >= TWO_GROUPS
        assert (chosen & truth).sum() / (chosen | truth).sum() > 0.95

    @pytest.mark.parametrize(
        "draw", [torch.rand, torch.randn, lambda n, generator: torch.rand(n, generator=generator).log().neg()]
    )
    def test_one_group_gets_the_floor(self, draw):
        scores = 0.4 + 0.05 * draw(50_000, generator=torch.Generator().manual_seed(2))
        got = query.auto_threshold(scores)
        assert got.method == "floor" and got.value == 0.5 and got.separability < TWO_GROUPS
        standout = query.auto_threshold(scores, floor=None)
        assert standout.value > scores.median() and (scores > standout.value).float().mean() < 0.08

    def test_two_groups_below_the_floor(self):
        scores, _ = self._scores(0.3)
        got = query.auto_threshold(scores - 0.4)
        assert (got.value, got.method) == (0.5, "floor")  # a score or two above it are not two groups

    def test_otsu_against_brute_force(self):
        values = torch.from_numpy(np.random.default_rng(0).beta(0.5, 0.7, 400)).float()
        cuts = np.linspace(float(values.min()), float(values.max()), 257)[1:-1]

        def within(cut: float) -> float:
            return sum(len(v) * float(v.var(correction=0)) for v in (values[values <= cut], values[values > cut]))

        assert within(otsu(values)[0]) <= min(within(c) for c in cuts) * 1.001

    def test_gap_is_cut_in_the_middle(self):
        got = query.auto_threshold(torch.tensor([0.2] * 50 + [0.9] * 50))
        assert got.method == "otsu" and abs(got.value - 0.55) < 0.01

    def test_degenerate(self):
        nan = float("nan")
        for scores in ([], [nan], [0.0, 0.0], [0.7], [0.7] * 9, [nan, 0.0, 0.3]):
            got = query.auto_threshold(torch.tensor(scores))
            assert (got.value, got.method, got.separability) == (0.5, "floor", 0.0)
        few = query.auto_threshold(torch.tensor([0.6] * 9 + [0.9] * 9))
        assert (few.value, few.method) == (0.5, "floor") and few.separability > TWO_GROUPS
        assert np.isfinite(query.auto_threshold(np.zeros(3), floor=None).value)

    def test_points_without_feature_do_not_count(self):
        scores, _ = self._scores(0.02)
        padded = torch.cat([scores, torch.zeros(50_000), torch.full((100,), float("nan"))])
        assert query.auto_threshold(padded) == query.auto_threshold(scores)


class TestPresence:
    @given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.lists(st.integers(0, 6), min_size=1, max_size=12))
    @settings(deadline=None)
    def test_auc_and_cut_against_brute_force(self, positive, negative):
        pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p, n in itertools.product(positive, negative)]
        cut, auc, *_ = query.calibrate(np.array(positive) / 6, np.array(negative) / 6)
        assert abs(auc - np.mean(pairs)) < 1e-12

        def balanced(c: float) -> float:
            return float(np.mean(np.array(positive) / 6 > c) + np.mean(np.array(negative) / 6 <= c))

        assert abs(balanced(cut) - max(balanced(c) for c in np.arange(-1.5, 14) / 12)) < 1e-9

    def test_separable(self):
        cut, auc, *_ = query.calibrate(torch.tensor([0.8, 0.9]), torch.tensor([0.1, 0.4]))
        assert auc == 1.0 and abs(cut - 0.6) < 1e-6

    def test_present(self):
        scores = torch.full((1000,), 0.3)
        scores[:40] = 0.8
        scores[41] = float("nan")
        assert query.present(scores, 0.6) == query.Presence(True, pytest.approx(0.8), 0.6)
        assert not query.present(scores, 0.85).present

    def test_one_stray_point_is_not_an_object(self):
        scores = torch.full((1000,), 0.3)
        scores[5] = 1.0
        assert not query.present(scores, 0.5).present

    def test_degenerate(self):
        assert query.present(torch.zeros(0), 0.1) == query.Presence(False, 0.0, 0.1)
        assert query.present(torch.tensor([0.4]), 0.1).present
        with pytest.raises(InputError, match="positive_scores"):
            query.calibrate(np.array([]), np.array([1.0]))
        with pytest.raises(InputError, match="negative_scores"):
            query.calibrate(np.array([1.0]), np.array([np.nan]))
