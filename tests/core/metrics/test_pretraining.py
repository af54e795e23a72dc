"""Metrics of pre-training: PSNR, depth error, cosine, effective rank, spread."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.metrics import depth_error, effective_rank, feature_spread, psnr, token_cosine


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
