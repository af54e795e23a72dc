"""Feature colours: one PCA basis, its refits and refreshes."""

from __future__ import annotations

import torch
from gaussiancross.app.render.feature_colors import FeatureColors


# --- colours of a run -----------------------------------------------------------------------------------------
class TestFeatureColors:
    def test_one_basis_for_all_scenes(self):
        colors = FeatureColors()
        first = colors.basis("embedding", torch.randn(100, 6), 5)
        assert colors.basis("embedding", torch.randn(80, 6) + 3, 5) is first
        assert colors.basis("embedding", torch.randn(80, 6) + 3, 9) is first

    def test_refit_when_steps_have_doubled_unless_switched_off_or_from_a_teacher(self):
        colors = FeatureColors()
        first = colors.basis("embedding", torch.randn(100, 6), 20)
        assert colors.basis("embedding", torch.randn(100, 6), 50) is not first
        colors.follow = False
        last = colors.basis("embedding", torch.randn(100, 6), 60)
        assert colors.basis("embedding", torch.randn(100, 6), 10_000) is last
        teacher = FeatureColors()
        fixed = teacher.basis("embedding", torch.randn(100, 6), None)
        assert teacher.basis("embedding", torch.randn(100, 6), 10_000) is fixed

    def test_refresh_keeps_the_colours_of_the_same_features(self):
        features = torch.randn(500, 6, generator=torch.Generator().manual_seed(1)) * torch.tensor([5.0, 3, 2, 1, 1, 1])
        colors = FeatureColors()
        before = colors.basis("embedding", features, 1).rgb(features)
        colors.refresh()
        after = colors.basis("embedding", features, 2).rgb(features)
        assert torch.allclose(before, after, atol=1e-3)
        assert colors.describe() == "Gaussians: step 2"
