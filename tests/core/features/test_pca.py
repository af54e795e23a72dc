"""The PCA basis of feature colours."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.features.pca import PcaBasis


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
