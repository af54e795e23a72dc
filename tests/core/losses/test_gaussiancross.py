"""Losses of pre-training: depth, colour, features, their weights."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.losses.gaussiancross import (
    depth_l1,
    feature_cosine,
    rgb_l1,
    to_tokens,
    uncertainty_sum,
    weighted_sum,
)


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
